//! `--json`: the whole report as one document, `"schema": 1`. Keys only ever get more. All times and latencies are
//! integer nanoseconds; a time `t_ns` has its text `t` (`seconds.nanoseconds`) beside it, since many readers cut
//! integers at 53 bits. What is absent is `null`, never 0 or -1.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use tickscope_model::{Level, Nanos, SegmentKind, TapId, Timestamp};

use super::jsonl;
use super::table::TableRow;
use super::text::sentence;
use super::{Format, Output, Style};
use crate::capture::stamp::{Edge, Undecided};
use crate::pair::attribution::Aggregate;
use crate::pair::{Across, OrderRow};
use crate::stats::{
    ClockRelation, Compared, Coverage, Feed, Group, Histogram, LateLine, Latencies, Part, Piece, QUANTILES, Relation,
    Slow, Slowest, Summary, Tap, Verdict, explanations, first_answer,
};

pub(super) static FORMAT: Format =
    Format { name: "json", option: "--json", extension: ".json", title: "the whole report as one JSON document" };

/// The whole report.
pub fn write_json(summary: &Summary, mut output: Output) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut output, &document(summary)).map_err(io::Error::from)?;
    output.write_all(b"\n")?;
    output.flush()
}

fn document(summary: &Summary) -> Value {
    let names: Vec<String> = summary.taps.iter().map(|tap| tap.name.clone()).collect();
    let (first, last) = summary.span().unzip();
    let verdict = Verdict::of(summary);
    json!({
        "schema": 1,
        "tool": "tickscope",
        "version": env!("CARGO_PKG_VERSION"),
        "first": time(first),
        "last": time(last),
        "requests": summary.requests(),
        "requests_by_kind": counts(summary.requests_by_kind()),
        "triggered": summary.triggered(),
        "segments": segments(summary),
        "attribution": attribution(summary),
        "external_split": external_split(summary),
        "slowed": slowed(&verdict),
        "verdict": verdicts(&verdict),
        "sessions": groups(&summary.by_session.by_requests()),
        "outcomes": groups(&summary.by_outcome.by_requests()),
        "symbols": groups(&summary.by_symbol.by_requests()),
        "over_time": over_time(summary),
        "slowest": {
            "t2t": slowest(&summary.slowest_internal, &names, summary, &verdict),
            "answer": slowest(&summary.slowest_external, &names, summary, &verdict),
        },
        "clocks": summary.clocks.iter().map(clock).collect::<Vec<Value>>(),
        "hops": hops(summary),
        "taps": summary.taps.iter().map(tap).collect::<Vec<Value>>(),
        "feeds": summary.feeds.iter().map(feed).collect::<Vec<Value>>(),
        "order_sessions": order_sessions(summary),
        "quality": quality(summary),
        "notes": summary.notes,
    })
}

fn time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| json!({ "t_ns": time.0, "t": time.to_string() }))
}

fn counts<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> Value {
    counts.map(|(name, count)| (name.to_owned(), Value::from(count))).collect::<Map<String, Value>>().into()
}

fn segments(summary: &Summary) -> Value {
    let mut object = Map::new();
    for kind in SegmentKind::ALL {
        let negative = summary.negatives(kind);
        let Some(histogram) = summary.overall.of(kind) else {
            if negative > 0 {
                object.insert(kind.name().into(), json!({ "n": 0, "negative": negative }));
            }
            continue;
        };
        let mut values = distribution(histogram);
        values.insert("letters".into(), summary.letters(kind).into());
        error(summary.across(kind), &mut values);
        values.insert("negative".into(), negative.into());
        object.insert(kind.name().into(), values.into());
    }
    object.into()
}

/// The ± of figures between two clocks: `null` where nobody said how well they are kept.
fn error(across: Across, values: &mut Map<String, Value>) {
    if across != Across::One {
        values.insert("error_ns".into(), across.error().map(|error| error.0).into());
    }
}

/// n, min, percentiles, max, mean: the same keys wherever a segment is described.
fn distribution(histogram: &Histogram) -> Map<String, Value> {
    let mut values = Map::new();
    values.insert("n".into(), histogram.n().into());
    values.insert("min_ns".into(), histogram.min().into());
    for quantile in QUANTILES {
        values.insert(format!("{}_ns", quantile.key), histogram.percentile(quantile).into());
    }
    values.insert("max_ns".into(), histogram.max().into());
    values.insert("mean_ns".into(), histogram.mean().into());
    values.insert("p99_over_p50".into(), histogram.spread().map_or(Value::Null, hundredths));
    let few: Vec<&str> = QUANTILES.iter().filter(|q| histogram.is_few(**q)).map(|q| q.key).collect();
    values.insert("few".into(), few.into());
    values
}

/// 471 is 4.71.
#[allow(clippy::cast_precision_loss, reason = "a ratio of two digits behind the point")]
fn hundredths(value: u64) -> Value {
    Value::from(value as f64 / 100.0)
}

fn latencies(latencies: &Latencies) -> Value {
    latencies
        .iter()
        .map(|(kind, histogram)| (kind.name().to_owned(), distribution(histogram).into()))
        .collect::<Map<String, Value>>()
        .into()
}

fn groups(groups: &[&Group]) -> Value {
    groups
        .iter()
        .map(|group| json!({ "name": &*group.name, "requests": group.requests, "segments": latencies(&group.latencies) }))
        .collect()
}

/// On what the tick-to-trade pairs rest.
fn attribution(summary: &Summary) -> Value {
    let far = summary.far_tail().map(|(far, _)| far);
    json!({
        "rule": summary.trigger.text,
        "window_ns": summary.trigger.window_ns,
        "min_ns": summary.trigger.min_ns,
        "messages": summary.trigger.messages,
        "model": summary.trigger.model,
        "methods": counts(summary.methods()),
        "confidence": f64::from((summary.attribution.threshold * 1000.0).round()) / 1000.0,
        "exact": summary.attribution.exact,
        "likely": summary.attribution.likely,
        "ambiguous": summary.attribution.ambiguous,
        "untriggered": summary.attribution.untriggered,
        "t2t_sure": some_distribution(&summary.attribution.sure),
        "t2t_newest": some_distribution(&summary.attribution.newest),
        "t2t_oldest": some_distribution(&summary.attribution.oldest),
        "aggregate": summary.attribution.aggregate.map(aggregate),
        "by_rate": summary.attribution.by_rate().map(by_rate).collect::<Vec<Value>>(),
        "t2t_above_ten_times_p50": far,
    })
}

fn some_distribution(histogram: &Histogram) -> Value {
    if histogram.n() == 0 { Value::Null } else { distribution(histogram).into() }
}

/// Without claiming any pair.
fn aggregate(it: Aggregate) -> Value {
    let tenth = |value: f64| (value * 10.0).round() / 10.0;
    json!({
        "mode_ns": it.mode_ns,
        "z": tenth(it.z),
        "triggered": tenth(it.triggered),
        "error": tenth(it.error),
        "within_ns": it.within_ns,
        "requests": it.requests,
    })
}

fn by_rate((rate, coverage): (u64, Coverage)) -> Value {
    let Coverage { requests, triggered, sure } = coverage;
    json!({ "messages_per_s": rate, "requests": requests, "triggered": triggered, "sure": sure })
}

/// The clearest stretch, by the number of slow requests.
fn slowed(verdict: &Verdict) -> Value {
    let n = |slow: &&Slow| slow.slow().first().map_or(0, |it| it.n);
    let Some(clearest) = verdict.slow.iter().rev().max_by_key(n) else { return Value::Null };
    let Some(slow) = clearest.slow().first().copied() else { return Value::Null };
    let is_internal = slow.kind == SegmentKind::TickToTrade;
    let other = if is_internal { &clearest.external } else { &clearest.internal };
    json!({
        "side": if is_internal { "internal" } else { "external" },
        "from": time(Some(clearest.from)),
        "to": time(Some(clearest.to)),
        "slow": compared(slow),
        "factor": slow.factor_hundredths().map_or(Value::Null, hundredths),
        "other": other.as_ref().map(compared),
        "other_verdict": other.as_ref().map(Compared::change),
        "more_intervals": verdict.slow.len() - 1,
        "sentence": sentence(clearest, &Style::default()),
    })
}

fn compared(it: &Compared) -> Value {
    json!({
        "segment": it.kind.name(),
        "usual_p50_ns": it.usual_p50_ns,
        "during_p50_ns": it.during_p50_ns,
        "n": it.n,
        "factor": it.factor_hundredths().map_or(Value::Null, hundredths),
        "is_slow": it.is_slow,
    })
}

/// Every slow stretch with what it rests on.
fn verdicts(verdict: &Verdict) -> Value {
    let slow = |slow: &Slow| {
        json!({
            "culprit": slow.culprit.name(),
            "session": slow.session.as_deref(),
            "from": time(Some(slow.from)),
            "to": time(Some(slow.to)),
            "from_the_beginning": slow.is_open.0,
            "to_the_end": slow.is_open.1,
            "internal": slow.internal.as_ref().map(compared),
            "external": slow.external.as_ref().map(compared),
            "network": slow.network.as_ref().map(compared),
            "market_per_second": slow.market.map(|(usual, during)| json!({ "usual": usual, "during": during })),
            "late_line": slow.line.as_ref().map(late_line),
            "retransmitted": slow.retransmitted,
            "md_gaps": slow.md_gaps,
            "sentence": sentence(slow, &Style::default()),
        })
    };
    json!({ "is_testable": verdict.is_testable, "slow": verdict.slow.iter().map(slow).collect::<Vec<Value>>() })
}

fn late_line(line: &LateLine) -> Value {
    json!({
        "address": line.address,
        "line": line.letter,
        "usual_p50_ns": line.usual_p50_ns,
        "during_p50_ns": line.during_p50_ns,
        "n": line.n,
    })
}

fn over_time(summary: &Summary) -> Value {
    let spans = summary.timeline.spans();
    let buckets: Vec<Value> = spans
        .iter()
        .map(|span| {
            let segments: Map<String, Value> =
                span.latencies.iter().map(|(kind, it)| (kind.name().to_owned(), distribution(it).into())).collect();
            json!({
                "t_ns": span.from.0,
                "t": span.from.to_string(),
                "market_messages": span.market,
                "segments": segments,
            })
        })
        .collect();
    json!({ "width_ns": summary.timeline.width_ns(), "buckets": buckets })
}

fn slowest(slowest: &Slowest, taps: &[String], summary: &Summary, verdict: &Verdict) -> Value {
    let order = |(value, row): (Nanos, &OrderRow)| {
        let mut object = slow_order(value, row, taps);
        let is_internal = std::ptr::eq(slowest, &raw const summary.slowest_internal);
        let kind = if is_internal { Some(SegmentKind::TickToTrade) } else { first_answer(row).map(|(kind, _)| kind) };
        let found = kind.map(|kind| explanations(row, (kind, value), summary, verdict)).unwrap_or_default();
        let found = found.iter().map(|it| json!({ "reason": it.reason.name(), "evidence": it.evidence }));
        object.insert("explanations".into(), found.collect());
        Value::Object(object)
    };
    slowest.rows().map(order).collect()
}

/// Parts of external latency, and the requests that have none, by reason.
fn external_split(summary: &Summary) -> Value {
    let mut object = Map::new();
    for (part, figures) in summary.evidence.split.iter() {
        let mut values = if figures.values.is_empty() {
            Map::from_iter([("n".to_owned(), 0.into())])
        } else {
            distribution(&figures.values)
        };
        values.insert("without".into(), counts(figures.without.iter().copied()));
        part.segments().iter().for_each(|kind| error(summary.across(*kind), &mut values));
        if part == Part::OrderToMd {
            values.insert("inferred".into(), summary.evidence.split.inferred.into());
        }
        if part == Part::OrderToFill {
            let by = summary.evidence.split.marketable().map(|(evidence, count)| (evidence.name(), count));
            values.insert("marketable_by".into(), counts(by));
        }
        object.insert(part.name().into(), values.into());
    }
    object.into()
}

/// The keys of an `--orders` line, and the timeline.
fn slow_order(value: Nanos, row: &OrderRow, taps: &[String]) -> Map<String, Value> {
    let mut object = jsonl::object(OrderRow::columns(), &row.cells(taps));
    object.insert("value_ns".into(), value.0.into());
    object.insert("outcome".into(), row.outcome.into());
    object.insert("frame".into(), row.frame.into());
    let trigger_frame = row.trigger.as_ref().map(|trigger| trigger.frame);
    object.insert("trigger_frame".into(), trigger_frame.into());
    let trigger_tap = row.trigger.as_ref().and_then(|trigger| taps.get(usize::from(trigger.tap.0)));
    object.insert("trigger_tap".into(), trigger_tap.cloned().into());
    let moments: Vec<Value> = row
        .timeline
        .iter()
        .map(|moment| {
            json!({
                "t_ns": moment.time.0,
                "t": moment.time.to_string(),
                "what": moment.what,
                "tap": taps.get(usize::from(moment.tap.0)),
                "frame": moment.frame,
                "detail": moment.detail.to_string(),
            })
        })
        .collect();
    object.insert("timeline".into(), moments.into());
    object
}

fn tap(tap: &Tap) -> Value {
    json!({
        "name": tap.name,
        "file": tap.file,
        "frames": tap.frames,
        "bytes": tap.bytes,
        "first": time(tap.first),
        "last": time(tap.last),
        "point": tap.point.map(String::from),
        "has_market_data": tap.has_market,
        "has_orders": tap.has_orders,
        "resolution_ns": (tap.resolution_ns > 0).then_some(tap.resolution_ns),
        "clock": tap.clock,
        "ahead_of_exchange_ns": tap.exchange.map(|ahead| ahead.median.0),
        "looks_like_tai": tap.exchange.is_some_and(|ahead| ahead.is_tai()),
        "stamps": stamps(tap),
        "cut": tap.cut,
    })
}

/// How two clocks are related.
fn clock(relation: &ClockRelation) -> Value {
    let (how, pieces) = match &relation.how {
        Relation::Given => ("given", &[][..]),
        Relation::Unknown => ("unknown", &[][..]),
        Relation::Bounded(pieces) => ("bounded", pieces.as_slice()),
    };
    let bounds = |(least, most): (Nanos, Nanos)| json!({ "least_ns": least.0, "most_ns": most.0 });
    let piece = |piece: &Piece| {
        json!({
            "from": time(Some(piece.from)),
            "to": time(Some(piece.to)),
            "at_start": bounds(piece.at_start),
            "at_end": bounds(piece.at_end),
            "width_ns": piece.width().0,
            "drift_ns_per_s": piece.drift(),
            "taken_off_at_start_ns": piece.middle(piece.from).0,
            "taken_off_at_end_ns": piece.middle(piece.to).0,
            "causes": piece.most,
            "effects": piece.least,
            "set_before": piece.is_set,
        })
    };
    let unknown = |&(from, to): &(Timestamp, Timestamp)| json!({ "from": time(Some(from)), "to": time(Some(to)) });
    json!({
        "clock": relation.names[1],
        "reference": relation.names[0],
        "relation": how,
        "error_ns": relation.error.map(|error| error.0),
        "pieces": pieces.iter().map(piece).collect::<Vec<Value>>(),
        "unknown": relation.blind.iter().map(unknown).collect::<Vec<Value>>(),
    })
}

/// Packets that two taps saw.
fn hops(summary: &Summary) -> Value {
    let name = |tap: TapId| summary.taps.get(usize::from(tap.0)).map(|tap| tap.name.clone());
    let pair = |(from, to, latencies): &(TapId, TapId, Histogram)| {
        let mut object = distribution(latencies);
        object.insert("from".into(), name(*from).into());
        object.insert("to".into(), name(*to).into());
        let error = summary.error_between(*from, *to);
        object.insert("error_ns".into(), error.map(|error| error.0).into());
        Value::from(object)
    };
    let hops = &summary.hops;
    json!({
        "pairs": hops.pairs.iter().map(pair).collect::<Vec<Value>>(),
        "ambiguous": hops.ambiguous,
        "unrelated": hops.unrelated,
        "evicted": hops.evicted,
        "beyond": hops.beyond,
    })
}

/// Whose times a tap's are.
fn stamps(tap: &Tap) -> Value {
    let Some(stamps) = &tap.stamps else {
        return json!({ "source": "capture", "edge": Edge::Unknown.name(), "moved_to_start": false });
    };
    let counts = &stamps.counts;
    let mut object = json!({
        "source": stamps.format.unwrap_or("capture"),
        "edge": stamps.edge.name(),
        "moved_to_start": stamps.is_moved,
        "speed_bps": stamps.speed,
        "undecided": stamps.undecided.as_ref().map(undecided),
    });
    if stamps.format.is_some()
        && let Some(object) = object.as_object_mut()
    {
        object.insert("title".into(), stamps.title.into());
        object.insert("found".into(), stamps.because.clone().into());
        object.insert("proven".into(), stamps.is_proven.into());
        object.insert("stamped".into(), counts.stamped.into());
        object.insert("keyframes".into(), counts.keyframes.into());
        let without = json!({
            "none": counts.nothing,
            "cut": counts.cut,
            "doubtful": counts.doubtful,
            "no_keyframe": counts.no_keyframe,
        });
        object.insert("without".into(), without);
        object.insert("ahead_of_capture_ns".into(), stamps.difference.map(|difference| difference.0).into());
        object.insert("taken_off_ns".into(), stamps.tai.0.into());
        object.insert("warnings".into(), stamps.warnings.clone().into());
    }
    object
}

/// A vote on stamps that no format won.
fn undecided(undecided: &Undecided) -> Value {
    json!({
        "nearest": undecided.format,
        "frames": undecided.frames,
        "of": undecided.of,
        "why": undecided.why,
    })
}

fn feed(feed: &Feed) -> Value {
    let line = |line: &crate::stats::Line| json!({ "line": line.letter, "address": line.address, "messages": line.messages, "first": line.first });
    let gap = |gap: &crate::stats::Gap| {
        json!({
            "t_ns": gap.time.0,
            "t": gap.time.to_string(),
            "seq": gap.sequence,
            "missing": gap.missing,
            "recovered": gap.recovered,
        })
    };
    let delay = (!feed.line_delay.is_empty()).then(|| Value::from(distribution(&feed.line_delay)));
    json!({
        "feed": feed.label,
        "protocol": feed.protocol,
        "title": feed.title,
        "messages": feed.messages,
        "duplicates": feed.duplicates,
        "lines": feed.lines.iter().map(line).collect::<Vec<Value>>(),
        "line_delay": delay,
        "gaps": {
            "count": feed.gap_count,
            "missing": feed.missing,
            "recovered": feed.recovered,
            "first": feed.gaps.iter().map(gap).collect::<Vec<Value>>(),
        },
    })
}

fn order_sessions(summary: &Summary) -> Value {
    summary
        .sessions
        .iter()
        .map(|session| {
            json!({
                "session": session.name,
                "protocol": session.title,
                "client": session.client,
                "server": session.server,
                "requests": session.requests,
                "answers": session.answers,
                "state": session.state,
            })
        })
        .collect()
}

fn quality(summary: &Summary) -> Value {
    let (totals, losses) = (&summary.totals, &summary.losses);
    let discrepancies: Vec<Value> = summary
        .accounting()
        .into_iter()
        .map(|found| json!({ "what": found.what, "left": found.left, "right": found.right }))
        .collect();
    let reasons: Vec<Value> = losses
        .nonzero()
        .map(|(loss, count)| {
            json!({ "reason": loss.name(), "level": loss.level().name(), "count": count, "text": loss.text() })
        })
        .collect();
    json!({
        "frames": { "in": totals.frames_read, "used": totals.frames_used, "lost": losses.total(Level::Frame) },
        "stream_bytes": {
            "in": totals.stream_bytes,
            "used": totals.stream_bytes_used,
            "lost": losses.total(Level::Stream),
        },
        "messages": { "in": totals.messages, "used": totals.messages_used, "lost": losses.total(Level::Message) },
        "requests": { "in": totals.requests, "reported": summary.requests(), "unanswered": summary.unanswered() },
        "answers": { "in": totals.answers, "matched": totals.answers_matched },
        "tcp_ack_with_answer": summary.ack_with_answer(),
        "losses": reasons,
        "adds_up": discrepancies.is_empty(),
        "discrepancies": discrepancies,
    })
}

#[cfg(test)]
mod tests {
    use super::super::golden::{check, sample};
    use super::super::output::tests::Shared;
    use super::*;

    fn written(summary: &Summary) -> String {
        let shared = Shared::default();
        write_json(summary, shared.output()).unwrap();
        shared.text()
    }

    #[test]
    fn the_document_of_a_session_without_market_data() {
        check("orders_only.json", &written(&sample::orders_only()));
    }

    #[test]
    fn the_document_of_nothing() {
        check("empty.json", &written(&Summary::default()));
    }

    #[test]
    fn every_time_has_its_text_beside_it() {
        fn walk(value: &Value, times: &mut usize) {
            if let Value::Object(object) = value {
                for name in ["t", "t_out", "trigger_t"] {
                    if let Some(time) = object.get(&format!("{name}_ns")) {
                        let expected = time.as_u64().map(|time| Value::from(Timestamp(time).to_string()));
                        assert_eq!(object.get(name), Some(&expected.unwrap_or(Value::Null)));
                        *times += 1;
                    }
                }
            }
            match value {
                Value::Object(object) => object.values().for_each(|value| walk(value, times)),
                Value::Array(array) => array.iter().for_each(|value| walk(value, times)),
                _ => {}
            }
        }
        let mut times = 0;
        walk(&serde_json::from_str(&written(&sample::full())).unwrap(), &mut times);
        assert!(times > 100, "{times}");
    }

    #[test]
    fn a_ratio_has_two_digits() {
        assert_eq!(hundredths(471).to_string(), "4.71");
        assert_eq!(hundredths(100).to_string(), "1.0");
    }
}
