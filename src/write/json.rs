//! `--json`: the whole report as one document, `"schema": 1`. Keys only ever get more. All times and latencies are
//! integer nanoseconds; a time `t_ns` has its text `t` (`seconds.nanoseconds`) beside it, since many readers cut
//! integers at 53 bits. What is absent is `null`, never 0 or -1.

pub(super) mod facts;

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use tickscope_model::{Nanos, SegmentKind, Timestamp};

use super::jsonl;
use super::over_time::market_per_second;
use super::table::TableRow;
use super::text::sentence;
use super::why::evidence;
use super::{Format, Output, Style};
use crate::book::{Best, decimal_of};
use crate::pair::attribution::{Aggregate, Suggestion};
use crate::pair::{Across, OrderRow};
use crate::stats::{
    ALPHA, Compared, Coverage, Group, Histogram, LateLine, Latencies, Part, QUANTILES, Quantile, Slow, Slowest,
    Summary, VERDICT_TEST, Verdict, explanations, first_answer,
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
    let names = summary.tap_names();
    let (first, last) = summary.span().unzip();
    let verdict = Verdict::of(summary);
    let mut document = json!({
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
        "slowed": slowed(&verdict, summary),
        "verdict": verdicts(&verdict, summary),
        "sessions": groups(&summary.by_session.by_requests(), summary),
        "outcomes": groups(&summary.by_outcome.by_requests(), summary),
        "symbols": groups(&summary.by_symbol.by_requests(), summary),
        "over_time": over_time(summary),
        "slowest": {
            "t2t": slowest(&summary.slowest_internal, &names, summary, &verdict),
            "answer": slowest(&summary.slowest_external, &names, summary, &verdict),
        },
        "clocks": summary.clocks.iter().map(facts::clock).collect::<Vec<Value>>(),
        "hops": facts::hops(summary),
        "taps": summary.taps.iter().map(facts::tap).collect::<Vec<Value>>(),
        "feeds": summary.feeds.iter().map(facts::feed).collect::<Vec<Value>>(),
        "order_sessions": facts::order_sessions(summary),
        "quality": facts::quality(summary),
        "notes": summary.notes,
    });
    if let Some(recorded) = &summary.recorded {
        document["recording"] = facts::recorded(recorded);
    }
    document
}

pub(super) fn time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| json!({ "t_ns": time.0, "t": time.to_string() }))
}

pub(super) fn counts<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> Value {
    counts.map(|(name, count)| (name.to_owned(), Value::from(count))).collect::<Map<String, Value>>().into()
}

pub(super) fn segments(summary: &Summary) -> Value {
    let mut object = Map::new();
    for kind in SegmentKind::ALL {
        let negative = summary.negatives(kind);
        let Some(all) = summary.overall.of(kind) else {
            if negative > 0 {
                object.insert(kind.name().into(), json!({ "n": 0, "negative": negative }));
            }
            continue;
        };
        let mut values = figures((kind, all), &summary.overall, summary);
        values.insert("letters".into(), summary.letters(kind).into());
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

/// The figures of one segment: tails of what rests on inferred pairs are those of sure pairs, `null` where there are none.
fn figures((kind, all): (SegmentKind, &Histogram), latencies: &Latencies, summary: &Summary) -> Map<String, Value> {
    let mut values = distribution(all);
    if kind.is_inferred() {
        let sure = latencies.tail_of(kind);
        for quantile in QUANTILES.iter().filter(|quantile| quantile.is_tail()) {
            let value = sure.map(|sure| sure.percentile(*quantile));
            values.insert(format!("{}_ns", quantile.key), value.into());
        }
        let spread = sure.and_then(Histogram::spread);
        values.insert("p99_over_p50".into(), spread.map_or(Value::Null, hundredths));
        let of = |quantile: &Quantile| if quantile.is_tail() { sure } else { Some(all) };
        let few = QUANTILES.iter().filter(|quantile| of(quantile).is_some_and(|of| of.is_few(**quantile)));
        values.insert("few".into(), few.map(|quantile| quantile.key).collect());
        let over = json!({ "confidence": threshold(summary), "n": sure.map_or(0, Histogram::n) });
        values.insert("tails_over".into(), over);
    }
    error(summary.across(kind), &mut values);
    values
}

pub(super) fn latencies(latencies: &Latencies, summary: &Summary) -> Value {
    latencies
        .iter()
        .map(|(kind, all)| (kind.name().to_owned(), figures((kind, all), latencies, summary).into()))
        .collect::<Map<String, Value>>()
        .into()
}

pub(super) fn groups(groups: &[&Group], summary: &Summary) -> Value {
    let group = |group: &&Group| {
        json!({
            "name": &*group.name,
            "requests": group.requests,
            "causes": counts(group.causes.named().into_iter()),
            "segments": latencies(&group.latencies, summary),
        })
    };
    groups.iter().map(group).collect()
}

/// A pair that is at least this sure counts for tails.
fn threshold(summary: &Summary) -> f64 {
    f64::from((summary.attribution.threshold * 1000.0).round()) / 1000.0
}

/// On what the tick-to-trade pairs rest.
fn attribution(summary: &Summary) -> Value {
    let far = summary.far_tail().map(|(far, _)| far);
    let causes = summary.attribution.causes;
    json!({
        "rule": summary.trigger.text,
        "window_ns": summary.trigger.window_ns,
        "min_ns": summary.trigger.min_ns,
        "messages": summary.trigger.messages,
        "model": summary.trigger.model,
        "methods": counts(summary.methods()),
        "confidence": threshold(summary),
        "exact": causes.exact,
        "likely": causes.likely,
        "ambiguous": causes.ambiguous,
        "untriggered": causes.untriggered,
        "book_partial": summary.attribution.book_partial,
        "t2t_sure": t2t(&summary.attribution.sure, summary),
        "t2t_newest": t2t(&summary.attribution.newest, summary),
        "t2t_oldest": t2t(&summary.attribution.oldest, summary),
        "aggregate": summary.attribution.aggregate.map(|it| aggregate(it, summary)),
        "suggested_links": summary.attribution.suggested_links.iter().map(|it| suggested_link(it, summary)).collect::<Vec<Value>>(),
        "by_rate": summary.attribution.by_rate().map(by_rate).collect::<Vec<Value>>(),
        "t2t_above_ten_times_p50": far,
    })
}

/// Tick-to-trade over some pairs.
fn t2t(histogram: &Histogram, summary: &Summary) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let mut values = distribution(histogram);
    error(summary.across(SegmentKind::TickToTrade), &mut values);
    values.into()
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn suggested_link(it: &Suggestion, summary: &Summary) -> Value {
    let mut object = json!({
        "orders": &*it.orders,
        "symbol": &*it.symbol,
        "messages": if it.is_trades { "trades" } else { "any" },
        "requests": it.requests,
        "of": it.of,
        "expected": tenth(it.expected),
        "within_ns": it.within_ns,
        "mode_ns": it.mode_ns,
        "z": tenth(it.z),
        "when": it.when,
    });
    if let Some(values) = object.as_object_mut() {
        error(summary.across(SegmentKind::TickToTrade), values);
    }
    object
}

/// Without claiming any pair.
fn aggregate(it: Aggregate, summary: &Summary) -> Value {
    let mut object = json!({
        "mode_ns": it.mode_ns,
        "z": tenth(it.z),
        "triggered": tenth(it.triggered),
        "error": tenth(it.error),
        "within_ns": it.within_ns,
        "requests": it.requests,
    });
    if let Some(values) = object.as_object_mut() {
        error(summary.across(SegmentKind::TickToTrade), values);
    }
    object
}

fn by_rate((rate, coverage): (u64, Coverage)) -> Value {
    let Coverage { requests, triggered, sure } = coverage;
    json!({ "messages_per_s": rate, "requests": requests, "triggered": triggered, "sure": sure })
}

/// The clearest stretch, by the number of slow requests.
pub(super) fn slowed(verdict: &Verdict, summary: &Summary) -> Value {
    let n = |slow: &&Slow| slow.slow().first().map_or(0, |it| it.n);
    let Some(clearest) = verdict.slow.iter().rev().max_by_key(n) else { return Value::Null };
    let Some(slow) = clearest.slow().first().copied() else { return Value::Null };
    let is_internal = slow.kind == SegmentKind::TickToTrade;
    let other = if is_internal { &clearest.external } else { &clearest.internal };
    json!({
        "side": if is_internal { "internal" } else { "external" },
        "from": time(Some(clearest.from)),
        "to": time(Some(clearest.to)),
        "slow": compared(slow, summary),
        "factor": slow.factor_hundredths().map_or(Value::Null, hundredths),
        "other": other.as_ref().map(|it| compared(it, summary)),
        "other_verdict": other.as_ref().map(Compared::change),
        "more_intervals": verdict.slow.len() - 1,
        "sentence": sentence(clearest, summary, &Style::default()),
    })
}

fn compared(it: &Compared, summary: &Summary) -> Value {
    let mut object = json!({
        "segment": it.kind.name(),
        "usual_p50_ns": it.usual_p50_ns,
        "during_p50_ns": it.during_p50_ns,
        "n": it.n,
        "factor": it.factor_hundredths().map_or(Value::Null, hundredths),
        "is_slow": it.is_slow,
    });
    if let Some(values) = object.as_object_mut() {
        error(summary.across(it.kind), values);
    }
    object
}

/// Every slow stretch with what it rests on.
pub(super) fn verdicts(verdict: &Verdict, summary: &Summary) -> Value {
    let side = |it: &Option<Compared>| it.as_ref().map(|it| compared(it, summary));
    let slow = |slow: &Slow| {
        json!({
            "culprit": slow.culprit.name(),
            "session": slow.session.as_deref(),
            "from": time(Some(slow.from)),
            "to": time(Some(slow.to)),
            "from_the_beginning": slow.is_open.0,
            "to_the_end": slow.is_open.1,
            "internal": side(&slow.internal),
            "external": side(&slow.external),
            "network": side(&slow.network),
            "market_per_second": slow.market.map(|(usual, during)| json!({ "usual": usual, "during": during })),
            "late_line": slow.line.as_ref().map(late_line),
            "retransmitted": slow.retransmitted,
            "md_gaps": slow.md_gaps,
            "sentence": sentence(slow, summary, &Style::default()),
        })
    };
    json!({
        "is_testable": verdict.is_testable,
        "test": VERDICT_TEST,
        "false_alarm": ALPHA,
        "slow": verdict.slow.iter().map(slow).collect::<Vec<Value>>(),
    })
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
            json!({
                "t_ns": span.from.0,
                "t": span.from.to_string(),
                "market_messages": span.market,
                "market_per_second": (market_per_second(span, summary.span()) + 5) / 10,
                "segments": latencies(&span.latencies, summary),
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
        let found = found.iter().map(|it| json!({ "reason": it.reason().name(), "evidence": evidence(it) }));
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
pub(super) fn slow_order(value: Nanos, row: &OrderRow, taps: &[String]) -> Map<String, Value> {
    let mut object = jsonl::object(OrderRow::columns(), &row.cells(taps));
    object.insert("value_ns".into(), value.0.into());
    details(row, taps, &mut object);
    object
}

/// What no column says.
pub(super) fn details(row: &OrderRow, taps: &[String], object: &mut Map<String, Value>) {
    object.insert("outcome".into(), row.outcome.into());
    object.insert("frame".into(), row.frame.into());
    let trigger_frame = row.trigger.as_ref().map(|trigger| trigger.frame);
    object.insert("trigger_frame".into(), trigger_frame.into());
    let trigger_tap = row.trigger.as_ref().and_then(|trigger| taps.get(usize::from(trigger.tap.0)));
    object.insert("trigger_tap".into(), trigger_tap.cloned().into());
    object.insert("bbo".into(), row.bbo.as_ref().map(bbo).into());
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
}

/// Best prices and what stands there; null where a side is empty.
fn bbo(best: &Best) -> Value {
    let price = |price| (price > 0).then(|| decimal_of(price).to_string());
    json!({
        "bid": price(best.bid),
        "bid_qty": best.bid_quantity,
        "ask": price(best.ask),
        "ask_qty": best.ask_quantity,
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
    fn tails_are_those_of_sure_pairs_in_every_group() {
        let document: Value = serde_json::from_str(&written(&sample::full())).unwrap();
        // The slowest pair is not sure.
        let sure = &document["attribution"]["t2t_sure"];
        assert_ne!(document["segments"]["t2t"]["max_ns"], sure["max_ns"]);
        let session = &document["sessions"][0];
        for values in [&document["segments"]["t2t"], &session["segments"]["t2t"]] {
            for key in ["p99_ns", "p99_9_ns", "p99_99_ns", "p99_over_p50"] {
                assert_eq!(values[key], sure[key], "{key}");
            }
            assert_eq!(values["n"], 1959);
            assert_eq!(values["tails_over"]["n"], sure["n"]);
        }
        let causes = json!({ "exact": 0, "likely": 1900, "ambiguous": 80, "untriggered": 20 });
        assert_eq!(session["causes"], causes);
        assert!(session["segments"]["ack"]["tails_over"].is_null(), "an answer is no inference");
        let buckets = document["over_time"]["buckets"].as_array().unwrap();
        assert!(buckets.iter().any(|it| it["segments"]["t2t"]["tails_over"]["n"].as_u64() > Some(0)));
    }

    #[test]
    fn figures_between_two_clocks_carry_their_error() {
        let document: Value = serde_json::from_str(&written(&sample::two_clocks())).unwrap();
        let attribution = &document["attribution"];
        for values in [
            &document["segments"]["t2t"],
            &document["symbols"][0]["segments"]["t2t"],
            &document["over_time"]["buckets"][0]["segments"]["t2t"],
            &attribution["t2t_sure"],
            &attribution["t2t_newest"],
            &attribution["t2t_oldest"],
            &attribution["aggregate"],
            &document["verdict"]["slow"][0]["internal"],
        ] {
            assert_eq!(values["error_ns"], 37_313, "{values}");
        }
        assert!(document["verdict"]["slow"][0]["sentence"].as_str().unwrap().contains("±37.313 µs"));
    }

    #[test]
    fn keys_of_stamps_are_always_the_same() {
        let document: Value = serde_json::from_str(&written(&sample::full())).unwrap();
        let keys = |tap: usize| document["taps"][tap]["stamps"].as_object().unwrap().keys().collect::<Vec<_>>();
        assert_eq!(keys(0), keys(1));
        assert_eq!(
            (&document["taps"][0]["clock"], &document["taps"][1]["offset_ns"]),
            (&json!("ptp0"), &json!(-37_000))
        );
        let edge = |tap: usize| &document["taps"][tap]["stamps"]["edge"];
        assert_eq!((edge(0), edge(1)), (&json!("unknown"), &json!("sof")));
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
