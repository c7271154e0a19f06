//! The slowest orders of the report: each with what triggered it and what happened to it, times relative to the moment
//! the request was sent.

use tickscope_model::{Nanos, SegmentKind, TapId};

use crate::book::decimal_of;

use super::across;
use super::screen::{Columns, Style, latency, printable, shortened, signed_latency, wrapped};
use super::text::WIDTH;
use super::why::evidence;
use crate::pair::{Method, OrderRow, Trigger};
use crate::stats::{Explanation, Slowest, Summary, Verdict, explanations, first_answer};

/// Orders shown of each list; `--json` has all.
const SHOWN: usize = 3;
/// Moments shown of an order.
const MOMENTS: usize = 12;

pub(super) fn slowest(summary: &Summary, verdict: &Verdict, style: &Style, lines: &mut Vec<String>) {
    let by_t2t = |row: &OrderRow| row.latency(SegmentKind::TickToTrade).map(|value| (SegmentKind::TickToTrade, value));
    list("SLOWEST BY TICK-TO-TRADE", &summary.slowest_internal, by_t2t, (summary, verdict), style, lines);
    list("SLOWEST BY FIRST ANSWER", &summary.slowest_external, first_answer, (summary, verdict), style, lines);
}

fn list(
    title: &str,
    slowest: &Slowest,
    what: impl Fn(&OrderRow) -> Option<(SegmentKind, Nanos)>,
    (summary, verdict): (&Summary, &Verdict),
    style: &Style,
    lines: &mut Vec<String>,
) {
    if slowest.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(style.heading(title));
    for (value, row) in slowest.rows().take(SHOWN) {
        let measured = what(row);
        let name = measured.map_or("", |(kind, _)| kind.name());
        let value = latency(u64::try_from(value.0).unwrap_or(0));
        let error = measured.map_or(String::new(), |(kind, _)| across::behind(row.across_of(kind)));
        lines.push(format!("  {}  {}", style.heading(&format!("{name} {value}{error}")), request(row)));
        lines.extend(measured.map(|measured| why(row, measured, summary, verdict)).into_iter().flatten());
        lines.extend(moments(row, summary));
    }
    let left = slowest.rows().skip(SHOWN).count();
    if left > 0 {
        lines.push(style.faint(&format!("  … and {left} more, see --json")));
    }
}

/// `    microburst: 90 market-data messages in its tenth of a second, usually 20`
fn why(row: &OrderRow, measured: (SegmentKind, Nanos), summary: &Summary, verdict: &Verdict) -> Vec<String> {
    let found = explanations(row, measured, summary, verdict);
    let text = |it| format!("{}: {}", Explanation::reason(it).name(), evidence(it));
    let lines = found.iter().flat_map(|it| wrapped(&text(it), WIDTH - 4, 2));
    lines.map(|line| format!("    {line}")).collect()
}

/// `new A-17  ABC B 100 @ 26.05  FOO->BAR  filled  [retransmitted]`
fn request(row: &OrderRow) -> String {
    let mut words = vec![row.request.request_name().to_owned(), shortened(&printable(&row.clordid), 32)];
    words.push(printable(&row.symbol));
    words.extend(row.side.map(|side| side.text().to_owned()));
    words.extend(row.quantity.map(|quantity| quantity.to_string()));
    words.extend(row.price.map(|price| format!("@ {price}")));
    words.push(printable(&row.session));
    words.push(row.outcome.to_owned());
    let flags: Vec<&str> = row.flags.names().collect();
    if !flags.is_empty() {
        words.push(format!("[{}]", flags.join(" ")));
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

fn moments(row: &OrderRow, summary: &Summary) -> Vec<String> {
    let place = |tap: TapId, frame: u64| match summary.taps.get(usize::from(tap.0)) {
        Some(tap) => format!("{} frame {frame}", tap.name),
        None => format!("frame {frame}"),
    };
    let mut columns = Columns::new(&[0, 2, 3]);
    if let Some(trigger) = &row.trigger {
        let kind = if trigger.method == Method::Fill { SegmentKind::FillToRequest } else { SegmentKind::TickToTrade };
        let error = across::behind(row.across_of(kind));
        let ago = format!("{}{error}", signed_latency(trigger.time.since(row.t_out).0));
        columns.push(vec!["  trigger".into(), ago, place(trigger.tap, trigger.frame), message(trigger)]);
    }
    if let Some(best) = &row.bbo {
        let side = |price, quantity: u32| match price {
            0 => "–".to_owned(),
            price => format!("{quantity} @ {}", decimal_of(price)),
        };
        let text = format!("{} / {}", side(best.bid, best.bid_quantity), side(best.ask, best.ask_quantity));
        columns.push(vec!["  bbo".into(), "0".into(), "at the request".into(), text]);
    }
    let is_request = |what: &str| what == "request";
    if !row.timeline.iter().any(|moment| is_request(moment.what)) {
        columns.push(vec!["  request".into(), "0".into(), place(row.tap, row.frame), String::new()]);
    }
    for moment in row.timeline.iter().take(MOMENTS) {
        let after = moment.time.since(row.t_out).0;
        let after = if is_request(moment.what) && after == 0 { "0".into() } else { signed_latency(after) };
        let detail = shortened(&printable(&moment.detail.to_string()), 60);
        columns.push(vec![format!("  {}", moment.what), after, place(moment.tap, moment.frame), detail]);
    }
    let mut lines = columns.lines();
    let hidden = row.timeline.len().saturating_sub(MOMENTS);
    if hidden > 0 {
        lines.push(format!("    … and {hidden} more, see --json"));
    }
    lines
}

/// `Trade seq 12 of 233.54.12.111:26477 A (newest message, confidence 0.9)`
fn message(trigger: &Trigger) -> String {
    let sequence = if trigger.sequence > 0 { format!(" seq {}", trigger.sequence) } else { String::new() };
    let rule = trigger.method.name();
    format!("{}{sequence} of {} ({rule}, confidence {})", trigger.msg, trigger.feed, trigger.confidence)
}
