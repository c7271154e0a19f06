//! Questions on the socket and their answers, a line of JSON each: what is asked, and what is said to it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tickscope_model::{TapId, Timestamp};

use super::json::{groups, time};
use super::jsonl::write_value;
use super::snapshot::{VERSION, order, with_buckets};
use super::table::{Cell, TableRow};
use crate::pair::{OrderRow, Trigger};
use crate::stats::{By, Group, Kept, Snapshot, Summary};

/// So many rows are in an answer.
const MOST_ROWS: u64 = 1000;

/// What somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A request's row with its candidates.
    Order { session: Option<String>, clordid: String },
    /// The frames that tell of a request, as a capture file.
    Packets { session: Option<String>, clordid: String },
    /// One session's figures with their buckets.
    Session { session: String },
    /// Rows behind a number, so many at most.
    Rows { after: u64, most: usize },
    /// The busiest groups with their buckets.
    Groups { by: By },
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
            Question::Rows { .. } => "rows",
            Question::Groups { .. } => "groups",
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
    let number = |key: &str, default: u64| match value.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(number) => number.as_u64().ok_or_else(|| format!("\"{key}\" must be a whole number of 0 or more")),
    };
    let needed = |key: &str| text(key)?.ok_or_else(|| format!("\"{name}\" needs \"{key}\""));
    match name {
        "order" => Ok(Question::Order { session: text("session")?, clordid: needed("clordid")? }),
        "packets" => Ok(Question::Packets { session: text("session")?, clordid: needed("clordid")? }),
        "session" => Ok(Question::Session { session: needed("session")? }),
        "rows" => {
            let most = number("most", MOST_ROWS)?.min(MOST_ROWS);
            Ok(Question::Rows { after: number("after", 0)?, most: usize::try_from(most).unwrap_or(usize::MAX) })
        }
        "groups" => {
            let by = needed("by")?;
            let known = || By::ALL.map(|by| format!("\"{}\"", by.name())).join(", ");
            let by = By::named(&by).ok_or_else(|| format!("there are no groups by \"{by}\"; known are {}", known()))?;
            Ok(Question::Groups { by })
        }
        "snapshot" => Ok(Question::Snapshot),
        "stream" => Ok(Question::Stream),
        other => {
            let known = "\"order\", \"packets\", \"session\", \"rows\", \"groups\", \"snapshot\", \"stream\"";
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
    // There were some, and they are not kept any more.
    let is_gone = |kept: &&Kept| kept.candidates.is_empty() && kept.row.weighed.is_some_and(|it| it.candidates > 0);
    let candidates = found
        .filter(|kept| !is_gone(kept))
        .map(|kept| kept.candidates.iter().map(|it| candidate(it, kept, taps)).collect::<Vec<Value>>());
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
    let session = drawn(group, &snapshot.summary);
    line(&json!({
        "tickscope_answer": VERSION,
        "query": "session",
        "t_ns": snapshot.time.0,
        "t": snapshot.time.to_string(),
        "session": session,
        "taps": snapshot.summary.tap_names(),
    }))
}

/// A group whose segments have buckets.
fn drawn(group: &Group, summary: &Summary) -> Value {
    let mut value = groups(&[group], summary).get_mut(0).map(Value::take).unwrap_or_default();
    if let Some(segments) = value.get_mut("segments") {
        *segments = with_buckets(segments.take(), &group.latencies);
    }
    value
}

/// The busiest groups, as of this snapshot; `None` where it was not asked for them.
pub fn groups_answer(by: By, snapshot: &Snapshot) -> Option<Vec<u8>> {
    let asked = snapshot.groups.iter().find(|asked| asked.by == by)?;
    let groups: Vec<Value> = asked.busiest.iter().map(|group| drawn(group, &snapshot.summary)).collect();
    Some(line(&json!({
        "tickscope_answer": VERSION,
        "query": "groups",
        "by": by.name(),
        "t_ns": snapshot.time.0,
        "t": snapshot.time.to_string(),
        "error": null,
        "groups": groups,
        "left_out": asked.left_out,
    })))
}

/// Rows that follow each other.
pub struct Numbered<'a> {
    pub rows: Vec<&'a Kept>,
    /// Number of the first of these.
    pub first: Option<u64>,
    /// Number of the newest row that there is; 0 where there is none.
    pub last: u64,
    /// How many of those that were asked for have aged out.
    pub missed: u64,
}

/// Rows as arrays of values, in the order of `columns`. They may be many, so no object is made of each.
pub fn rows_answer(found: &Numbered<'_>, taps: &[String]) -> Vec<u8> {
    let columns: Vec<&str> = OrderRow::columns().iter().map(|column| column.name).chain(["outcome"]).collect();
    let start = json!({ "tickscope_answer": VERSION, "query": "rows", "error": null, "columns": columns });
    let end = json!({ "first": found.first, "last": found.last, "missed": found.missed });
    let mut line = start.to_string().into_bytes();
    line.pop();
    line.extend_from_slice(b",\"rows\":[");
    for (at, kept) in found.rows.iter().enumerate() {
        line.extend_from_slice(if at == 0 { b"[" } else { b",[" });
        for cell in kept.row.cells(taps) {
            // Memory takes everything.
            let _ = write_value(&mut line, &cell);
            line.push(b',');
        }
        let _ = write_value(&mut line, &Cell::Text(kept.row.outcome.into()));
        line.push(b']');
    }
    line.extend_from_slice(b"],");
    line.extend_from_slice(end.to_string().trim_start_matches('{').as_bytes());
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::snapshot;
    use super::super::table::tests::full_row;
    use super::*;
    use crate::stats::Asked;
    use crate::stats::summary_tests::row;

    #[test]
    fn questions_are_read_and_what_is_wrong_is_said() {
        let order = Question::Order { session: Some("A->B".into()), clordid: "7".into() };
        assert_eq!(question(br#"{"query":"order","session":"A->B","clordid":"7","later":1}"#), Ok(order));
        assert_eq!(question(br#"{"query":"snapshot"}"#), Ok(Question::Snapshot));
        assert_eq!(question(br#"{"query":"rows"}"#), Ok(Question::Rows { after: 0, most: 1000 }));
        let rows = Question::Rows { after: 7, most: 1000 };
        assert_eq!(question(br#"{"query":"rows","after":7,"most":5000}"#), Ok(rows));
        assert_eq!(question(br#"{"query":"groups","by":"venue"}"#), Ok(Question::Groups { by: By::Venue }));
        for (line, expected) in [
            (&b"{"[..], "no JSON"),
            (b"\xff\xfe", "no JSON"),
            (b"[]", "a text \"query\""),
            (br#"{"query":"order"}"#, "needs \"clordid\""),
            (br#"{"query":"order","clordid":7}"#, "must be a text"),
            (br#"{"query":"packets"}"#, "needs \"clordid\""),
            (br#"{"query":"frames"}"#, "no query \"frames\""),
            (br#"{"query":"rows","after":-1}"#, "\"after\" must be a whole number"),
            (br#"{"query":"groups"}"#, "needs \"by\""),
            (br#"{"query":"groups","by":"side"}"#, "known are \"session\", \"symbol\""),
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
    #[test]
    fn rows_are_the_values_of_an_order() {
        let taps = ["md".to_owned()];
        let kept = [full_row(), row("7", 5)].map(|row| Kept { row: Box::new(row), candidates: Vec::new() });
        let found = Numbered { rows: kept.iter().collect(), first: Some(4), last: 9, missed: 3 };
        let answer = parsed(&rows_answer(&found, &taps));
        assert_eq!((&answer["first"], &answer["last"], &answer["missed"]), (&4.into(), &9.into(), &3.into()));
        assert_eq!(answer["error"], Value::Null);
        let columns: Vec<&str> = answer["columns"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(columns.len(), OrderRow::columns().len() + 1);
        for (kept, values) in kept.iter().zip(answer["rows"].as_array().unwrap()) {
            let order = order(&kept.row, &taps);
            let values = values.as_array().unwrap();
            assert_eq!(values.len(), columns.len());
            for (column, value) in columns.iter().zip(values) {
                assert_eq!(order[column], *value, "{column}");
            }
        }
        let none = parsed(&rows_answer(&Numbered { rows: Vec::new(), first: None, last: 0, missed: 0 }, &taps));
        assert_eq!((&none["rows"], &none["first"], &none["last"]), (&json!([]), &Value::Null, &0.into()));
    }

    #[test]
    fn groups_come_where_the_snapshot_was_asked_for_them() {
        let mut snapshot = snapshot();
        assert!(groups_answer(By::Session, &snapshot).is_none());
        snapshot.groups = vec![Asked { by: By::Session, busiest: snapshot.busiest.clone(), left_out: 2 }];
        let answer = parsed(&groups_answer(By::Session, &snapshot).unwrap());
        assert_eq!((&answer["by"], &answer["left_out"]), (&"session".into(), &2.into()));
        let group = &answer["groups"][0];
        assert_eq!(group["requests"], snapshot.busiest[0].requests);
        assert!(group["segments"]["ack"]["buckets"].is_array() && group["causes"].is_object(), "{group:#}");
        assert!(groups_answer(By::Venue, &snapshot).is_none());
    }
}
