//! The first table of the report: every latency over the whole run, and what its names mean. Tails of latencies that
//! rest on inferred pairs are stated over sure pairs, in a line of their own where not all pairs are sure.

use tickscope_model::SegmentKind;

use super::across;
use super::screen::{Columns, Style, Unit, factor, grouped};
use crate::pair::Across;
use crate::stats::{Causes, Histogram, QUANTILES, Summary};

pub(super) fn latencies(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    let mut columns = Columns::new(&[0]);
    let mut titles = vec!["LATENCY".to_owned(), "n".into(), "unit".into(), "min ".into()];
    titles.extend(QUANTILES.iter().map(|quantile| format!("{} ", quantile.label)));
    titles.extend(["max ".into(), "mean ".into(), "p99/p50".into()]);
    columns.push(titles);
    let mut kinds = Vec::new();
    for (kind, all) in main_table(summary) {
        kinds.push(kind);
        match summary.overall.tail_of(kind) {
            Some(sure) if sure.n() == all.n() => columns.push(distribution(kind.name().to_owned(), all, Tail::Shown)),
            None => columns.push(distribution(kind.name().to_owned(), all, Tail::Left)),
            Some(sure) => {
                columns.push(distribution(kind.name().to_owned(), all, Tail::Left));
                kinds.push(kind);
                let name = format!("{} {}", kind.name(), sure_title(summary));
                columns.push(distribution(name, sure, Tail::Shown));
            }
        }
    }
    let mut table = columns.titled(&[0]).into_iter();
    lines.push(style.heading(&table.next().unwrap_or_default()));
    for (kind, line) in kinds.into_iter().zip(table) {
        lines.push(if is_internal(kind) { style.internal(&line) } else { style.external(&line) });
    }
    lines.push(String::new());
    lines.extend(legend(summary).iter().map(|line| style.faint(line)));
}

/// Parts of a latency stand in a table of their own.
fn main_table(summary: &Summary) -> impl Iterator<Item = (SegmentKind, &Histogram)> {
    summary.overall.iter().filter(|(kind, _)| !kind.is_part())
}

/// Whether a line has its percentiles from p99 up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    Shown,
    Left,
}

fn distribution(name: String, histogram: &Histogram, tail: Tail) -> Vec<String> {
    let unit = Unit::of(histogram.median());
    let mut cells = vec![name, grouped(histogram.n()), unit.name().into()];
    cells.push(format!("{} ", unit.digits(histogram.min())));
    for quantile in QUANTILES {
        if tail == Tail::Left && quantile.is_tail() {
            cells.push("– ".into());
            continue;
        }
        let mark = if histogram.is_few(quantile) { '*' } else { ' ' };
        cells.push(format!("{}{mark}", unit.digits(histogram.percentile(quantile))));
    }
    cells.push(format!("{} ", unit.digits(histogram.max())));
    cells.push(format!("{} ", unit.digits(histogram.mean())));
    let spread = histogram.spread().filter(|_| tail == Tail::Shown);
    cells.push(spread.map_or("–".into(), factor));
    cells
}

pub(super) fn is_internal(kind: SegmentKind) -> bool {
    kind.is_inferred() || kind == SegmentKind::WallToWall
}

/// `≥ 0.90`
pub(super) fn sure_title(summary: &Summary) -> String {
    format!("≥ {:.2}", summary.attribution.threshold)
}

/// `0 exact, 1,699 likely, 73 ambiguous, 66 untriggered`
pub(super) fn causes_text(causes: &Causes) -> String {
    causes.named().map(|(name, count)| format!("{} {name}", grouped(count))).join(", ")
}

/// What the names mean, and the mark.
fn legend(summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    let letters = |kind| summary.letters(kind);
    let has = |kind| summary.overall.of(kind).is_some();
    if has(SegmentKind::TickToTrade) {
        let text = "from the market-data message that made us act to the request";
        lines.push(format!("  t2t      internal, {}: {text}", letters(SegmentKind::TickToTrade)));
        lines.extend(error(summary, &[SegmentKind::TickToTrade], "market data and requests"));
    }
    if has(SegmentKind::FillToRequest) {
        let text = "from a fill of our own to the request that it made us send";
        lines.push(format!("  fill_to_request  internal, {}: {text}", letters(SegmentKind::FillToRequest)));
        lines.extend(error(summary, &[SegmentKind::FillToRequest], "fills and requests"));
    }
    if has(SegmentKind::TickToTrade) || has(SegmentKind::FillToRequest) {
        lines.extend(about_tails(summary));
    }
    if has(SegmentKind::WallToWall) {
        let text = "from the request in one session to the same request in the next";
        lines.push(format!("  w2w      internal, {}: {text}", letters(SegmentKind::WallToWall)));
        lines.extend(error(summary, &[SegmentKind::WallToWall], "the two sessions"));
    }
    let others: Vec<SegmentKind> = main_table(summary)
        .map(|(kind, _)| kind)
        .filter(|kind| !is_internal(*kind) && *kind != SegmentKind::Hop)
        .collect();
    if !others.is_empty() {
        let text = "from the request to the exchange's answer";
        lines.push(format!("  others   external, {}: {text}", letters(SegmentKind::Ack)));
        lines.extend(error(summary, &others, "requests and answers"));
    }
    if has(SegmentKind::Hop) {
        lines.push("  hop      from one tap to the next: the same request at both".into());
        lines.extend(error(summary, &[SegmentKind::Hop], "the two taps"));
    }
    let is_few = |histogram: &Histogram| QUANTILES.iter().any(|quantile| histogram.is_few(*quantile));
    if main_table(summary).any(|(_, histogram)| is_few(histogram)) {
        lines.push("  *        fewer than 10 samples lie above this percentile: luck has a large part in it".into());
    }
    lines
}

/// Over which pairs tails are stated, and how many requests there are of each kind.
fn about_tails(summary: &Summary) -> [String; 2] {
    let kinds = [SegmentKind::TickToTrade, SegmentKind::FillToRequest];
    let (there, sure) = (kinds.map(|kind| summary.overall.of(kind)), kinds.map(|kind| summary.overall.tail_of(kind)));
    let names: Vec<&str> = kinds.iter().zip(there).filter_map(|(kind, it)| it.map(|_| kind.name())).collect();
    let at_least = sure_title(summary);
    let over = if sure.iter().all(Option::is_none) {
        format!("none, since no pair is exact or has a confidence {at_least}")
    } else {
        format!("over pairs that are exact or have a confidence {at_least}")
    };
    let causes = causes_text(&summary.attribution.causes);
    [format!("  p99 up   of {}: {over}", names.join(" and ")), format!("           requests: {causes}")]
}

/// The ± of latencies whose ends stand on different clocks.
pub(super) fn error(summary: &Summary, kinds: &[SegmentKind], who: &str) -> Option<String> {
    let most = kinds.iter().map(|kind| summary.across(*kind)).max()?;
    let error = across::plus_minus(most)?;
    let why =
        if most == Across::Unknown { ", and nobody said how well their clocks are kept ([[tap]] error)" } else { "" };
    Some(format!("           each {error}: {who} stand on different clocks{why}"))
}
