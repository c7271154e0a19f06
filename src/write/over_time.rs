//! Internal beside external latency and the rate of market data, span by span.

use tickscope_model::{SegmentKind, Timestamp};

use super::across;
use super::overall::causes_text;
use super::screen::{Columns, Style, bar, duration, grouped, latency};
use crate::stats::{Histogram, Span, Summary};

/// Lines of the table.
const TIMES: usize = 24;

pub(super) fn over_time(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    let spans = summary.timeline.at_most(TIMES);
    let internal = summary.overall.of(SegmentKind::TickToTrade).map(|_| SegmentKind::TickToTrade);
    let external = shown_beside(summary);
    if spans.len() < 2 || (internal.is_none() && external.is_none()) {
        return;
    }
    let kinds: Vec<SegmentKind> = internal.into_iter().chain(external).collect();
    let (first, last) = (&spans[0], &spans[spans.len() - 1]);
    let width_ns = first.to.0 - first.from.0;
    let with_date = !style.is_same_day(first.from, last.from);
    let mut columns = Columns::new(&[0, 4, 7]);
    let mut titles = vec![format!("OVER TIME ({})", style.zone_name(first.from)), "messages/s".into()];
    for kind in &kinds {
        titles.extend([format!("{} n", kind.name()), "p50".into(), String::new()]);
    }
    columns.push(titles);
    let median = |span: &Span, kind| span.latencies.of(kind).map(Histogram::median);
    let most: Vec<u64> =
        kinds.iter().map(|kind| spans.iter().filter_map(|span| median(span, *kind)).max().unwrap_or(0)).collect();
    for span in &spans {
        let tenths = market_per_second(span, summary.span());
        let mut cells = vec![style.bucket_time(span.from, width_ns, with_date), rate(tenths)];
        for (kind, most) in kinds.iter().zip(&most) {
            cells.extend(time_cells(span.latencies.of(*kind), *most));
        }
        columns.push(cells);
    }
    let table = columns.titled(&[0]);
    lines.push(String::new());
    lines.push(style.heading(&table[0]));
    for (index, line) in table.into_iter().skip(1).enumerate() {
        if let Some(before) = index.checked_sub(1).and_then(|before| spans.get(before))
            && before.to < spans[index].from
        {
            let quiet = duration(spans[index].from.0 - before.to.0);
            lines.push(style.faint(&format!("  ⋮ nothing for {quiet}")));
        }
        lines.push(line);
    }
    lines.extend(notes(summary, &kinds, width_ns).iter().map(|line| style.faint(&format!("  {line}"))));
}

fn notes(summary: &Summary, kinds: &[SegmentKind], width_ns: u64) -> Vec<String> {
    let mut notes = vec![
        format!("each line is {} wide; bars show p50, each column on its own scale from 0", duration(width_ns)),
        "messages/s: market-data messages a second, each counted once".to_owned(),
    ];
    if kinds.contains(&SegmentKind::TickToTrade) {
        notes.push(format!("t2t: all pairs; requests: {}", causes_text(&summary.attribution.causes)));
    }
    notes.extend(across::caption(summary, kinds));
    notes
}

/// Market-data messages in ten seconds, of the part of a span that the captures hold.
pub(super) fn market_per_second(span: &Span, captured: Option<(Timestamp, Timestamp)>) -> u64 {
    let (first, last) = captured.unwrap_or((span.from, span.to));
    let length = span.to.min(last).0.saturating_sub(span.from.max(first).0);
    // A capture that ends with the span's first message says nothing of a rate.
    let length = u128::from(if length == 0 { span.to.0 - span.from.0 } else { length });
    let tenths = u128::from(span.market) * 10_000_000_000;
    u64::try_from((tenths + length / 2).checked_div(length).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// Whole messages a second, and tenths where there are few.
fn rate(tenths: u64) -> String {
    if tenths == 0 || tenths >= 100 { grouped((tenths + 5) / 10) } else { format!("{}.{}", tenths / 10, tenths % 10) }
}

/// The exchange's answer that stands beside tick-to-trade: the most frequent one, since an ACK of the network says
/// nothing of the exchange; fills and network only where there is no other.
fn shown_beside(summary: &Summary) -> Option<SegmentKind> {
    let n = |kind: &SegmentKind| summary.overall.of(*kind).map_or(0, Histogram::n);
    let answers = [SegmentKind::ReplaceAck, SegmentKind::CancelAck, SegmentKind::Reject, SegmentKind::Ack];
    let most = answers.into_iter().filter(|kind| n(kind) > 0).max_by_key(n);
    most.or([SegmentKind::FirstFill, SegmentKind::TcpAck].into_iter().find(|kind| n(kind) > 0))
}

fn time_cells(histogram: Option<&Histogram>, most: u64) -> [String; 3] {
    match histogram {
        None => ["–".into(), "–".into(), String::new()],
        Some(histogram) => {
            let p50 = histogram.median();
            [grouped(histogram.n()), latency(p50), bar(p50, most, 18)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Latencies;

    #[test]
    fn a_rate_is_that_of_the_time_that_was_captured() {
        const SECOND: u64 = 1_000_000_000;
        let span = |market| Span {
            from: Timestamp(30 * SECOND),
            to: Timestamp(60 * SECOND),
            market,
            latencies: Latencies::default(),
        };
        let captured = |from: u64, to: u64| Some((Timestamp(from * SECOND), Timestamp(to * SECOND)));
        for (market, captured, expected) in [
            (3000, captured(0, 90), "100"),
            (1000, captured(50, 90), "100"),
            (1000, captured(0, 40), "100"),
            (100, None, "3.3"),
            (1_234_567, None, "41,152"),
            (0, captured(0, 90), "0"),
            (30, captured(0, 30), "1.0"),
        ] {
            assert_eq!(rate(market_per_second(&span(market), captured)), expected, "{market} {captured:?}");
        }
    }
}
