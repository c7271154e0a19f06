//! Questions on the socket and their answers, a line of JSON each: what is asked, and what is said to it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tickscope_model::{TapId, Timestamp};

use super::json::{groups, time};
use super::snapshot::{VERSION, order, with_buckets};
use crate::pair::Trigger;
use crate::stats::{Kept, Snapshot};

/// What somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A request's row with its candidates.
    Order { session: Option<String>, clordid: String },
    /// The frames that tell of a request, as a capture file.
    Packets { session: Option<String>, clordid: String },
    /// One session's figures with their buckets.
    Session { session: String },
    /// The next snapshot.
    Snapshot,
    /// All snapshots from now on.
    Stream,
}

impl Question {
    pub fn name(&self) -> &'static str {
        match self {
            Question::Order { .. } => "order",
            Question::Packets { .. } => "packets",
            Question::Session { .. } => "session",
            Question::Snapshot => "snapshot",
            Question::Stream => "stream",
        }
    }
}

/// Reads a line. The error is for whoever asked.
pub fn question(line: &[u8]) -> Result<Question, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("this is no JSON: {error}"))?;
    let Some(name) = value.get("query").and_then(Value::as_str) else {
        return Err("expected an object with a text \"query\"".to_owned());
    };
    let text = |key: &str| match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("\"{key}\" must be a text")),
    };
    let needed = |key: &str| text(key)?.ok_or_else(|| format!("\"{name}\" needs \"{key}\""));
    match name {
        "order" => Ok(Question::Order { session: text("session")?, clordid: needed("clordid")? }),
        "packets" => Ok(Question::Packets { session: text("session")?, clordid: needed("clordid")? }),
        "session" => Ok(Question::Session { session: needed("session")? }),
        "snapshot" => Ok(Question::Snapshot),
        "stream" => Ok(Question::Stream),
        other => {
            let known = "\"order\", \"packets\", \"session\", \"snapshot\", \"stream\"";
            Err(format!("there is no query \"{other}\"; known are {known}"))
        }
    }
}

fn line(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// What cannot be answered, and why.
pub fn error_answer(query: Option<&str>, error: &str) -> Vec<u8> {
    line(&json!({ "tickscope_answer": VERSION, "query": query, "error": error }))
}

/// A row and what could have caused it; without one, that it is unknown or may have aged out. `kept` says how many rows are
/// kept, since when, and how many were and are not any more.
pub fn candidates_answer(found: Option<&Kept>, taps: &[String], kept: (usize, Option<Timestamp>, u64)) -> Vec<u8> {
    let (rows, since, aged_out) = kept;
    let error = found.is_none().then(|| no_row(rows, aged_out));
    let order = found.map(|kept| order(&kept.row, taps));
    let candidates =
        found.map(|kept| kept.candidates.iter().map(|it| candidate(it, kept, taps)).collect::<Vec<Value>>());
    line(&json!({
        "tickscope_answer": VERSION,
        "query": "order",
        "error": error,
        "order": order,
        "candidates": candidates,
        "kept": { "rows": rows, "since": time(since), "aged_out": aged_out },
    }))
}

/// Why a row is not among so many, while so many others have aged out.
pub fn no_row(rows: usize, aged_out: u64) -> String {
    match aged_out {
        0 => "no such row; a request has none until it is done, or [pairing] answer_timeout old".to_owned(),
        _ => format!("no such row among the newest {rows}; older ones have aged out"),
    }
}

/// Frames that were asked for, as far as they are still held.
#[derive(Debug, Default)]
pub struct Packets {
    /// Those that are held, as a file.
    pub pcapng: Vec<u8>,
    pub found: usize,
    /// Too old, or never captured.
    pub missing: Vec<(TapId, u64)>,
    /// Time of the oldest frame that is held; `None` where there is none.
    pub oldest: Option<Timestamp>,
}

/// The frames of a request, by session and ClOrdID, as a pcapng in base64, and which of them have aged out.
pub fn packets_answer((session, clordid): (&str, &str), packets: &Packets, taps: &[String]) -> Vec<u8> {
    let Packets { pcapng, found, missing, oldest } = packets;
    let error = match missing.len() {
        0 => None,
        count => Some(format!("{count} of {} frames are not in the flight recorder any more", found + count)),
    };
    let frame = |(tap, number): &(TapId, u64)| json!({ "tap": taps.get(usize::from(tap.0)), "frame": number });
    line(&json!({
        "tickscope_answer": VERSION,
        "query": "packets",
        "error": error,
        "session": session,
        "clordid": clordid,
        "frames": found,
        "missing": missing.iter().map(frame).collect::<Vec<Value>>(),
        "oldest": time(*oldest),
        "pcapng": (*found > 0).then(|| BASE64_STANDARD.encode(pcapng)),
    }))
}

fn candidate(it: &Trigger, of: &Kept, taps: &[String]) -> Value {
    let tap = |tap: TapId| taps.get(usize::from(tap.0));
    json!({
        "tap": tap(it.tap),
        "frame": it.frame,
        "t_ns": it.time.0,
        "t": it.time.to_string(),
        "age_ns": of.row.t_out.since(it.time).0,
        "feed": &*it.feed,
        "seq": it.sequence,
        "msg": it.msg,
        "symbol": &*it.symbol,
        "method": it.method.name(),
        "probability": (f64::from(it.confidence) * 1000.0).round() / 1000.0,
    })
}

/// The figures of one session, as of this snapshot.
pub fn session_answer(name: &str, snapshot: &Snapshot) -> Vec<u8> {
    let all = || snapshot.busiest.iter().chain(&snapshot.earliest);
    let Some(group) = all().find(|group| *group.name == *name) else {
        return error_answer(Some("session"), "no such session among those that the snapshot holds");
    };
    let mut value = groups(&[group], &snapshot.summary);
    let session = value.get_mut(0).map(Value::take).unwrap_or_default();
    let session = match session {
        Value::Object(mut object) => {
            let segments = object.remove("segments").unwrap_or_default();
            object.insert("segments".to_owned(), with_buckets(segments, &group.latencies));
            Value::Object(object)
        }
        other => other,
    };
    line(&json!({
        "tickscope_answer": VERSION,
        "query": "session",
        "t_ns": snapshot.time.0,
        "t": snapshot.time.to_string(),
        "session": session,
        "taps": snapshot.summary.tap_names(),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::snapshot;
    use super::*;
    use crate::stats::summary_tests::row;

    #[test]
    fn questions_are_read_and_what_is_wrong_is_said() {
        let order = Question::Order { session: Some("A->B".into()), clordid: "7".into() };
        assert_eq!(question(br#"{"query":"order","session":"A->B","clordid":"7","later":1}"#), Ok(order));
        assert_eq!(question(br#"{"query":"snapshot"}"#), Ok(Question::Snapshot));
        for (line, expected) in [
            (&b"{"[..], "no JSON"),
            (b"\xff\xfe", "no JSON"),
            (b"[]", "a text \"query\""),
            (br#"{"query":"order"}"#, "needs \"clordid\""),
            (br#"{"query":"order","clordid":7}"#, "must be a text"),
            (br#"{"query":"packets"}"#, "needs \"clordid\""),
            (br#"{"query":"frames"}"#, "no query \"frames\""),
        ] {
            let error = question(line).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    fn parsed(line: &[u8]) -> Value {
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn a_row_that_aged_out_is_told_from_one_that_never_was() {
        let kept = Kept { row: Box::new(row("7", 5)), candidates: Vec::new() };
        let answer = parsed(&candidates_answer(Some(&kept), &["md".to_owned()], (1, None, 0)));
        assert_eq!((&answer["order"]["clordid"], &answer["error"]), (&"7".into(), &Value::Null));
        let never = parsed(&candidates_answer(None, &[], (1, Some(Timestamp(5)), 0)));
        assert!(never["error"].as_str().unwrap().starts_with("no such row; "));
        let aged = parsed(&candidates_answer(None, &[], (8, Some(Timestamp(5)), 3)));
        assert!(aged["error"].as_str().unwrap().ends_with("aged out"));
        assert_eq!((&aged["kept"]["aged_out"], &aged["kept"]["since"]["t_ns"]), (&3.into(), &5.into()));
    }

    #[test]
    fn frames_come_as_base64_and_those_that_aged_out_are_named() {
        let missing = vec![(TapId(0), 3)];
        let packets = Packets { pcapng: b"any".to_vec(), found: 2, missing, oldest: None };
        let answer = parsed(&packets_answer(("A->B", "7"), &packets, &["md".to_owned()]));
        assert_eq!((&answer["session"], &answer["clordid"]), (&"A->B".into(), &"7".into()));
        assert_eq!((&answer["pcapng"], &answer["frames"]), (&"YW55".into(), &2.into()));
        assert_eq!(answer["missing"], json!([{ "tap": "md", "frame": 3 }]));
        assert_eq!(answer["error"], "1 of 3 frames are not in the flight recorder any more");
        let none = parsed(&packets_answer(("A->B", "7"), &Packets { found: 0, ..packets }, &[]));
        assert_eq!(none["pcapng"], Value::Null);
    }

    #[test]
    fn a_session_has_its_buckets() {
        let snapshot = snapshot();
        let name = snapshot.busiest[0].name.to_string();
        let answer = parsed(&session_answer(&name, &snapshot));
        let ack = &answer["session"]["segments"]["ack"];
        let sum: u64 = ack["buckets"].as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap()).sum();
        assert_eq!(Some(sum), ack["n"].as_u64());
        assert!(parsed(&session_answer("nobody", &snapshot))["error"].is_string());
    }
}
