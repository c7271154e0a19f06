//! A line of the socket: the figures of a run that goes on, as one JSON document without line breaks. Keys that `--json` has
//! too are made by the same code, so they mean the same. Every key stands in [`super::SNAPSHOT_KEYS`], which
//! tickscope-socket(7) is made from.

use serde_json::{Map, Value, json};
use tickscope_model::Nanos;

use super::json::{counts, details, facts, groups, segments, slow_order, slowed, time, verdicts};
use super::jsonl;
use super::table::TableRow;
use crate::pair::OrderRow;
use crate::stats::{Histogram, Kept, Latencies, Pace, Slowest, Snapshot};

/// Changes only when the meaning of a key does.
pub(super) const VERSION: u64 = 1;
/// A bucket for drawing is a sixteenth of a power of two wide.
const DIGITS: u32 = 5;

/// Who reads from the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    pub connected: u64,
    /// Dropped since they did not take what they were sent.
    pub dropped: u64,
    /// Not let in since there were too many.
    pub refused: u64,
}

/// The document and its line end. `newest` are rows, the newest first.
pub fn snapshot_line<'a>(snapshot: &Snapshot, newest: impl Iterator<Item = &'a Kept>, readers: Readers) -> Vec<u8> {
    let mut line = document(snapshot, newest, readers).to_string().into_bytes();
    line.push(b'\n');
    line
}

pub(super) fn document<'a>(snapshot: &Snapshot, newest: impl Iterator<Item = &'a Kept>, readers: Readers) -> Value {
    let summary = &snapshot.summary;
    let whole = snapshot.whole.as_deref().unwrap_or(summary);
    let taps = whole.tap_names();
    let (first, last) = whole.span().unzip();
    let busiest: Vec<_> = snapshot.busiest.iter().collect();
    let left_out = |all: u64, shown: usize| all.saturating_sub(shown as u64);
    let (causes, slowness) = (summary.attribution.causes, snapshot.slowness.as_deref());
    json!({
        "tickscope_snapshot": VERSION,
        "version": env!("CARGO_PKG_VERSION"),
        "number": snapshot.number,
        "t_ns": snapshot.time.0,
        "t": snapshot.time.to_string(),
        "started": time(Some(snapshot.start)),
        "is_last": snapshot.is_last,
        "of_capture": snapshot.of_capture,
        "first": time(first),
        "last": time(last),
        "rates": rates(snapshot.pace),
        "market_messages": snapshot.market_messages,
        "requests": summary.requests(),
        "requests_by_kind": counts(summary.requests_by_kind()),
        "triggered": summary.triggered(),
        "causes": counts(causes.named().into_iter()),
        "segments": with_buckets(segments(summary), &summary.overall),
        "sessions": groups(&busiest, summary),
        "sessions_left_out": left_out(snapshot.session_count, busiest.len()),
        "slowed": slowness.map(|found| slowed(&found.verdict, &found.summary)),
        "verdict": slowness.map(|found| verdicts(&found.verdict, &found.summary)),
        "verdict_as_of": time(slowness.map(|found| found.time)),
        "slowest": { "t2t": slowest(&summary.slowest_internal, &taps), "answer": slowest(&summary.slowest_external, &taps) },
        "newest": newest.map(|kept| order(&kept.row, &taps)).collect::<Vec<Value>>(),
        "taps": whole.taps.iter().map(facts::tap).collect::<Vec<Value>>(),
        "feeds": whole.feeds.iter().map(facts::feed).collect::<Vec<Value>>(),
        "feeds_left_out": left_out(snapshot.feed_count, whole.feeds.len()),
        "order_sessions": facts::order_sessions(whole),
        "order_sessions_left_out": left_out(snapshot.conversation_count, whole.sessions.len()),
        "hops": facts::hops(whole),
        "quality": facts::quality(whole),
        "readers": { "connected": readers.connected, "dropped": readers.dropped, "refused": readers.refused },
        "snapshots_skipped": snapshot.skipped,
        "rows_skipped": snapshot.rows_skipped,
        "processor_ns": snapshot.processor_ns,
        "spent_ns": snapshot.spent_ns,
        "made": snapshot.made,
    })
}

fn rates(pace: Pace) -> Value {
    json!({
        "over_ns": pace.over_ns,
        "frames_per_s": pace.frames_per_s,
        "market_messages_per_s": pace.market_messages_per_s,
        "requests_per_s": pace.requests_per_s,
    })
}

/// The segments of a group, each with what can be drawn of it.
pub(super) fn with_buckets(mut segments: Value, latencies: &Latencies) -> Value {
    for (kind, histogram) in latencies.iter() {
        if let Some(figures) = segments.get_mut(kind.name()).and_then(Value::as_object_mut) {
            figures.insert("buckets".into(), buckets(histogram));
        }
    }
    segments
}

/// Highest value and count of each bucket that was hit, ascending.
fn buckets(histogram: &Histogram) -> Value {
    let mut all: Vec<(u64, u64)> = Vec::new();
    for (value, count) in histogram.buckets() {
        let highest = drawn(value);
        match all.last_mut() {
            Some((last, sum)) if *last == highest => *sum += count,
            _ => all.push((highest, count)),
        }
    }
    all.into_iter().map(|(highest, count)| json!([highest, count])).collect()
}

/// The highest value of the drawn bucket that a value falls in: those with the same first five binary digits.
fn drawn(value: u64) -> u64 {
    let rest = (u64::BITS - value.leading_zeros()).saturating_sub(DIGITS);
    value | ((1 << rest) - 1)
}

fn slowest(slowest: &Slowest, taps: &[String]) -> Value {
    slowest.rows().map(|(value, row): (Nanos, &OrderRow)| Value::Object(slow_order(value, row, taps))).collect()
}

/// The keys of an `--orders` line, and what else is known of the row.
pub(super) fn order(row: &OrderRow, taps: &[String]) -> Value {
    let mut object: Map<String, Value> = jsonl::object(OrderRow::columns(), &row.cells(taps));
    details(row, taps, &mut object);
    object.into()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::super::golden::sample;
    use super::super::snapshot_keys::{COUNTED, SNAPSHOT_KEYS};
    use super::*;
    use crate::stats::Slowness;
    use tickscope_model::{SegmentKind, Timestamp};

    pub(crate) fn snapshot() -> Snapshot {
        let summary = sample::full();
        let busiest: Vec<_> = summary.by_session.busiest(64).into_iter().cloned().collect();
        let slowness = Some(Arc::new(Slowness::find(Timestamp(4), summary.clone())));
        let (number, time, earliest) = (7, Timestamp(5), busiest.clone());
        Snapshot { number, time, summary, busiest, earliest, slowness, ..Snapshot::default() }
    }

    /// `segments.*.p50_ns`: names of segments, and keys of what is counted by name, are stars; lists are their elements.
    fn paths(value: &Value, path: &str, all: &mut BTreeSet<String>) {
        let joined = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            Value::Object(object) => {
                let is_counted = COUNTED.contains(&path);
                for (name, value) in object {
                    let is_star = is_counted
                        || path.ends_with("segments") && SegmentKind::ALL.iter().any(|kind| kind.name() == name);
                    let inner = joined(if is_star { "*" } else { name });
                    all.insert(inner.clone());
                    paths(value, &inner, all);
                }
            }
            Value::Array(array) => array.iter().for_each(|value| paths(value, path, all)),
            _ => {}
        }
    }

    #[test]
    fn every_key_of_a_snapshot_has_its_words() {
        let kept = snapshot().summary.slowest_internal.rows().next().map(|(_, row)| row.clone()).unwrap();
        let kept = Kept { row: Box::new(kept), candidates: Vec::new() };
        let document = document(&snapshot(), std::iter::once(&kept), Readers::default());
        let mut found = BTreeSet::new();
        paths(&document, "", &mut found);
        let known: BTreeSet<String> = SNAPSHOT_KEYS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let is_row = |path: &str| ["newest.", "slowest.t2t.", "slowest.answer."].iter().any(|it| path.starts_with(it));
        let as_internal = |path: &str| {
            let sides = ["slowed.slow.", "slowed.other.", "verdict.slow.external.", "verdict.slow.network."];
            let key = sides.iter().find_map(|side| path.strip_prefix(side))?;
            Some(format!("verdict.slow.internal.{key}"))
        };
        // Of a time, or as in --json.
        let is_inside = |path: &str| {
            let times =
                ["slowed.from.", "slowed.to.", "verdict.slow.from.", "verdict.slow.to.", "verdict.slow.late_line."];
            times.iter().any(|time| path.starts_with(time))
        };
        let is_known = |path: &String| {
            known.contains(path) || as_internal(path).is_some_and(|path| known.contains(&path)) || is_inside(path)
        };
        let missing: Vec<&String> = found.iter().filter(|path| !is_row(path) && !is_known(path)).collect();
        assert!(missing.is_empty(), "{missing:#?}");
        let columns: BTreeSet<&str> = OrderRow::columns().iter().map(|column| column.name).collect();
        let row = |path: &String| path.rsplit_once("newest.").map(|(_, name)| name.to_owned());
        let of_row: BTreeSet<String> = found.iter().filter_map(row).collect();
        let texts = ["t_out", "trigger_t"];
        let other = of_row.iter().filter(|name| !columns.contains(name.as_str()) && !texts.contains(&name.as_str()));
        let missing: Vec<&String> = other.filter(|name| !known.contains(&format!("newest.{name}"))).collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn figures_are_those_of_the_report() {
        let (snapshot, report) = (snapshot(), sample::full());
        let mut document = document(&snapshot, std::iter::empty(), Readers::default());
        for (_, figures) in document["segments"].as_object_mut().unwrap() {
            figures.as_object_mut().unwrap().remove("buckets");
        }
        assert_eq!(document["segments"], segments(&report));
        assert_eq!(document["quality"], facts::quality(&report));
    }

    #[test]
    fn drawn_buckets_hold_every_sample_and_are_few() {
        let mut histogram = Histogram::default();
        (0..100_000_u64).for_each(|step| histogram.record(step * step));
        let all = buckets(&histogram);
        let pairs: Vec<(u64, u64)> = serde_json::from_value(all).unwrap();
        assert_eq!(pairs.iter().map(|(_, count)| count).sum::<u64>(), histogram.n());
        assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0));
        assert!(pairs.len() < 500, "{}", pairs.len());
        for (value, expected) in [(0, 0), (31, 31), (32, 33), (63, 63), (64, 67), (1000, 1023), (u64::MAX, u64::MAX)] {
            assert_eq!(drawn(value), expected, "{value}");
        }
    }
}
