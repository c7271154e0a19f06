//! What comes in: a line of the socket (tickscope-socket(7)) as values. What a line has beyond what is drawn is left alone, and
//! what it lacks is empty; a line of another version of the format is refused with both versions.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

/// The version of the format that is understood.
pub(crate) const VERSION: u64 = 1;

/// A line.
#[derive(Debug)]
pub(crate) enum Message {
    Snapshot(Box<Snapshot>),
    Progress(Progress),
    Rows(RowsAnswer),
    Groups(GroupsAnswer),
    Order(Box<OrderAnswer>),
    Packets(PacketsAnswer),
}

/// What says what a line is.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Kind {
    tickscope_snapshot: Option<u64>,
    tickscope_progress: Option<u64>,
    tickscope_answer: Option<u64>,
    version: Option<String>,
    query: Option<String>,
    error: Option<String>,
}

/// Reads a line. The error is for people.
pub(crate) fn read(line: &[u8]) -> Result<Message, String> {
    let kind: Kind = serde_json::from_slice(line).map_err(|error| format!("this is no line of tickscope: {error}"))?;
    if kind.tickscope_progress.is_some() {
        return parse(line).map(Message::Progress);
    }
    let Some(found) = kind.tickscope_snapshot.or(kind.tickscope_answer) else {
        return Err("this is no line of tickscope's socket: it has no version".to_owned());
    };
    if found != VERSION {
        let theirs = kind.version.as_deref().unwrap_or("unknown");
        return Err(format!(
            "the other side speaks version {found} of the socket's format (tickscope {theirs}), this program version {VERSION}: \
             use tickscope of the same version on both sides"
        ));
    }
    if kind.tickscope_snapshot.is_some() {
        return parse(line).map(Message::Snapshot);
    }
    match kind.query.as_deref() {
        Some("rows") => parse(line).map(Message::Rows),
        Some("groups") => parse(line).map(Message::Groups),
        Some("order") => parse(line).map(Message::Order),
        Some("packets") => parse(line).map(Message::Packets),
        _ => Err(kind.error.unwrap_or_else(|| "an answer to nothing that was asked".to_owned())),
    }
}

fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| format!("a line of the socket cannot be read: {error}"))
}

/// Values by name, in the order in which they came.
#[derive(Clone, Debug)]
pub(crate) struct Named<T>(pub(crate) Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named(Vec::new())
    }
}

impl<T> Named<T> {
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find_map(|(known, value)| (known == name).then_some(value))
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Named<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    all.push(pair);
                }
                Ok(Named(all))
            }

            fn visit_unit<E>(self) -> Result<Named<T>, E> {
                Ok(Named::default())
            }
        }
        deserializer.deserialize_any(Pairs(PhantomData))
    }
}

/// A field that may be null stands for its default.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

macro_rules! wire {
    ($($(#[$about:meta])* $name:ident { $($field:ident: $kind:ty,)* })*) => { $(
        $(#[$about])*
        #[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
        #[allow(clippy::struct_field_names, clippy::struct_excessive_bools, reason = "these are the keys of the socket")]
        #[serde(default)]
        pub(crate) struct $name { $(#[serde(deserialize_with = "or_default")] pub(crate) $field: $kind,)* }
    )* };
}

wire! {
    /// The figures at a moment.
    Snapshot {
        version: String,
        number: u64,
        t_ns: u64,
        of_capture: bool,
        is_last: bool,
        first: Option<Time>,
        last: Option<Time>,
        rates: Rates,
        market_messages: u64,
        requests: u64,
        requests_by_kind: Named<u64>,
        triggered: u64,
        causes: Named<u64>,
        segments: Named<Figures>,
        sessions: Vec<Group>,
        sessions_left_out: u64,
        slowed: Option<Slowed>,
        verdict: Option<Verdict>,
        verdict_as_of: Option<Time>,
        slowest: Slowest,
        taps: Vec<Tap>,
        feeds: Vec<Feed>,
        feeds_left_out: u64,
        order_sessions: Vec<OrderSession>,
        order_sessions_left_out: u64,
        hops: Hops,
        quality: Quality,
        readers: Readers,
        snapshots_skipped: u64,
        rows_skipped: u64,
        processor_ns: Option<u64>,
        spent_ns: u64,
        made: u64,
    }
    Time { t_ns: u64, }
    Rates { over_ns: u64, frames_per_s: u64, market_messages_per_s: u64, requests_per_s: u64, }
    /// A latency's figures.
    Figures {
        n: u64,
        min_ns: u64,
        p50_ns: u64,
        p90_ns: u64,
        p99_ns: u64,
        p99_9_ns: u64,
        p99_99_ns: u64,
        max_ns: u64,
        mean_ns: u64,
        p99_over_p50: Option<f64>,
        few: Vec<String>,
        tails_over: Option<TailsOver>,
        letters: String,
        negative: u64,
        buckets: Vec<(u64, u64)>,
    }
    TailsOver { confidence: f64, n: u64, }
    /// The figures of a session, a symbol, …
    Group { name: String, requests: u64, causes: Named<u64>, segments: Named<Figures>, }
    Slowed { side: String, from: Time, to: Time, sentence: String, more_intervals: u64, }
    Verdict { is_testable: bool, slow: Vec<Stretch>, }
    /// A time in which something was slow.
    Stretch { culprit: String, session: Option<String>, from: Time, to: Time, to_the_end: bool, sentence: String, }
    Slowest { t2t: Vec<SlowOrder>, answer: Vec<SlowOrder>, }
    SlowOrder { session: String, clordid: String, t_out_ns: u64, value_ns: i64, }
    Tap {
        name: String,
        file: String,
        frames: u64,
        bytes: u64,
        point: Option<String>,
        has_market_data: bool,
        has_orders: bool,
        resolution_ns: u64,
        clock: Option<String>,
        offset_ns: i64,
        looks_like_tai: bool,
        stamps: Stamps,
        cut: Option<Value>,
        live: Option<LiveTap>,
    }
    /// Packets that several taps saw.
    Hops { pairs: Vec<Hop>, ambiguous: u64, unrelated: u64, evicted: u64, beyond: u64, overlooked: u64, }
    /// From the tap that saw them first to another.
    Hop {
        from: String,
        to: String,
        n: u64,
        min_ns: u64,
        p50_ns: u64,
        p99_ns: u64,
        max_ns: u64,
        error_ns: Option<u64>,
    }
    Stamps { source: String, edge: String, title: Option<String>, warnings: Vec<String>, }
    /// What became of every frame of an interface.
    LiveTap {
        interface: String,
        driver: String,
        stamps: Vec<Stamp>,
        clock_error_ns: Option<u64>,
        tai_offset_s: Option<i64>,
        seen: u64,
        used: u64,
        waiting: u64,
        queue_fill: f64,
        lost: Named<u64>,
        queues: Vec<Queue>,
        late: u64,
        cut: u64,
        last_events: Vec<String>,
        violations: Vec<String>,
    }
    Stamp { source: String, direction: String, frames: u64, about: String, }
    Queue { queue: u64, seen: u64, used: u64, lost: Named<u64>, }
    Feed {
        feed: String,
        protocol: String,
        title: String,
        messages: u64,
        duplicates: u64,
        lines: Vec<Line>,
        line_delay: Option<Figures>,
        gaps: Gaps,
    }
    Line { line: String, address: String, messages: u64, first: u64, heartbeats: u64, last: Option<Time>, }
    Gaps { count: u64, missing: u64, recovered: u64, }
    OrderSession {
        session: String,
        logons: u64,
        heartbeats: u64,
        retransmitted: u64,
        gaps: u64,
        last: Option<Time>,
        last_msg: Option<String>,
        protocol: String,
        client: String,
        server: String,
        requests: u64,
        answers: u64,
        state: String,
    }
    Quality {
        frames: Account,
        stream_bytes: Account,
        messages: Account,
        requests: Requests,
        answers: Answers,
        losses: Vec<Loss>,
        adds_up: bool,
    }
    Account { r#in: u64, used: u64, lost: u64, }
    Requests { r#in: u64, reported: u64, unanswered: u64, }
    Answers { r#in: u64, matched: u64, }
    Loss { reason: String, level: String, count: u64, text: String, }
    Readers { connected: u64, dropped: u64, refused: u64, }
    /// How far captures are read.
    Progress { done: Option<f64>, text: String, }
    RowsAnswer {
        error: Option<String>,
        columns: Vec<String>,
        rows: Vec<Vec<Value>>,
        first: Option<u64>,
        last: u64,
        missed: u64,
    }
    GroupsAnswer { error: Option<String>, by: String, groups: Vec<Group>, left_out: u64, }
    OrderAnswer { error: Option<String>, order: Option<Order>, candidates: Vec<Candidate>, }
    /// A request with all that is known of it.
    Order {
        session: String,
        clordid: String,
        orig_clordid: Option<String>,
        chain: Option<String>,
        request: String,
        symbol: Option<String>,
        side: Option<String>,
        price: Option<String>,
        qty: Option<String>,
        t_out_ns: u64,
        trigger_t_ns: Option<u64>,
        trigger_feed: Option<String>,
        trigger_seq: Option<u64>,
        trigger_msg: Option<String>,
        trigger_method: Option<String>,
        trigger_confidence: Option<f64>,
        t2t_ns: Option<i64>,
        t2t_min_ns: Option<i64>,
        t2t_max_ns: Option<i64>,
        flags: Option<String>,
        outcome: Option<String>,
        tap: Option<String>,
        frame: Option<u64>,
        trigger_tap: Option<String>,
        trigger_frame: Option<u64>,
        bbo: Option<Bbo>,
        timeline: Vec<Step>,
    }
    /// The best prices in the book of its symbol when it was sent; null where that side was empty.
    Bbo { bid: Option<String>, bid_qty: u64, ask: Option<String>, ask_qty: u64, }
    Step { t_ns: u64, what: String, tap: Option<String>, frame: u64, detail: String, }
    Candidate {
        tap: Option<String>,
        frame: u64,
        t_ns: u64,
        age_ns: i64,
        feed: String,
        seq: Option<u64>,
        msg: String,
        symbol: String,
        method: String,
        probability: f64,
    }
    PacketsAnswer { error: Option<String>, session: String, clordid: String, frames: u64, pcapng: Option<String>, }
}

impl PacketsAnswer {
    /// The capture file; the error is for people.
    pub(crate) fn file(&self) -> Result<Vec<u8>, String> {
        let none = || self.error.clone().unwrap_or_else(|| "no frames of it are kept".to_owned());
        let text = self.pcapng.as_ref().ok_or_else(none)?;
        BASE64_STANDARD.decode(text).map_err(|error| format!("the answer's pcapng cannot be read: {error}"))
    }
}

impl Figures {
    /// Whether that percentile (`p99`) rests on fewer than ten samples above it.
    pub(crate) fn is_few(&self, percentile: &str) -> bool {
        self.few.iter().any(|name| name == percentile)
    }
}

impl Snapshot {
    /// Highest value and count of each bucket of a segment.
    pub(crate) fn buckets(&self, segment: &str) -> &[(u64, u64)] {
        self.segments.get(segment).map_or(&[], |figures| &figures.buckets)
    }

    /// Frames and messages that could not be used: of those that NIC, kernel or a queue lost, and of those that no stage could read.
    /// (Requests without a trigger are none: nothing of them is lost.)
    pub(crate) fn lost(&self) -> u64 {
        self.lost_frames() + self.lost_of("message")
    }

    pub(crate) fn lost_frames(&self) -> u64 {
        let live = self.taps.iter().filter_map(|tap| tap.live.as_ref());
        live.flat_map(|tap| &tap.lost.0).map(|(_, count)| count).sum::<u64>() + self.lost_of("frame")
    }

    /// Of that level: frame, stream (bytes), message, order.
    pub(crate) fn lost_of(&self, level: &str) -> u64 {
        self.quality.losses.iter().filter(|loss| loss.level == level).map(|loss| loss.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_versions_are_refused_with_both_versions() {
        let error = read(br#"{"tickscope_snapshot":2,"version":"0.9.0"}"#).unwrap_err();
        assert!(error.contains("version 2") && error.contains("0.9.0") && error.contains("version 1"), "{error}");
        assert!(read(b"{}").unwrap_err().contains("no version"));
        assert!(read(b"\xff").unwrap_err().contains("no line of tickscope"));
    }

    #[test]
    fn what_is_null_or_missing_is_empty() {
        let line = br#"{"tickscope_snapshot":1,"requests":null,"segments":{"t2t":{"n":0,"p50_ns":null},"ack":{"n":3}},"later":[]}"#;
        let Message::Snapshot(snapshot) = read(line).unwrap() else { panic!("no snapshot") };
        assert_eq!((snapshot.requests, snapshot.segments.0[1].0.as_str()), (0, "ack"));
        assert_eq!(snapshot.segments.get("t2t").unwrap().p50_ns, 0);
    }

    #[test]
    fn answers_are_told_apart() {
        let rows = br#"{"tickscope_answer":1,"query":"rows","error":null,"columns":["clordid"],"rows":[["7"]],"first":1,"last":1,"missed":0}"#;
        assert!(matches!(read(rows), Ok(Message::Rows(answer)) if answer.rows.len() == 1));
        let packets = br#"{"tickscope_answer":1,"query":"packets","error":"2 of 2 frames are gone","pcapng":null}"#;
        let Ok(Message::Packets(packets)) = read(packets) else { panic!("no packets") };
        assert_eq!(packets.file(), Err("2 of 2 frames are gone".to_owned()));
        assert_eq!(read(br#"{"tickscope_answer":1,"query":null,"error":"too many"}"#).unwrap_err(), "too many");
    }
}
