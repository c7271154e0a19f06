//! Latencies by session, outcome and symbol: three tables whose columns stand below each other.

use tickscope_model::SegmentKind;

use super::across;
use super::overall::{is_internal, sure_title};
use super::screen::{Columns, Style, grouped, latency, printable, shortened};
use crate::stats::{Group, Histogram, Latencies, Quantile, Summary};

/// Lines of a table.
const TOP: usize = 10;
/// Segments beside each other, as far as there is room for them.
const BESIDE: usize = 3;
const NAME_WIDTH: usize = 24;
const WIDEST: usize = 120;

pub(super) fn groups(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    let tables = [
        ("BY SESSION", summary.by_session.by_requests()),
        ("BY OUTCOME", summary.by_outcome.by_requests()),
        ("BY SYMBOL", summary.by_symbol.by_requests()),
    ];
    let tables = tables.iter().filter(|(_, groups)| !groups.is_empty());
    let mut kinds = vec![SegmentKind::TickToTrade];
    kinds.retain(|kind| summary.overall.of(*kind).is_some());
    kinds.extend(externals(&summary.overall));
    kinds.truncate(BESIDE);
    let mut table = lined_up(tables.clone(), &kinds, summary);
    while kinds.len() > 1 && table.iter().any(|line| line.chars().count() > WIDEST) {
        kinds.pop();
        table = lined_up(tables.clone(), &kinds, summary);
    }
    let mut table = table.into_iter();
    let mut is_shown = false;
    for (_, groups) in tables {
        is_shown = true;
        lines.push(String::new());
        lines.push(style.heading(&table.next().unwrap_or_default()));
        lines.extend(table.by_ref().take(groups.len().min(TOP)));
        let hidden = groups.len().saturating_sub(TOP);
        if hidden > 0 {
            lines.push(style.faint(&format!("  … and {} more, see --json", grouped(hidden as u64))));
        }
    }
    if is_shown {
        lines.extend(captions(summary, &kinds).iter().map(|line| style.faint(&format!("  {line}"))));
    }
}

/// All tables with their titles, in common columns.
fn lined_up<'a>(
    tables: impl Iterator<Item = &'a (&'static str, Vec<&'a Group>)>,
    kinds: &[SegmentKind],
    summary: &Summary,
) -> Vec<String> {
    let mut columns = Columns::new(&[0]);
    let (mut at, mut title_lines) = (0, Vec::new());
    for (title, groups) in tables {
        columns.push(titles(title, kinds, summary));
        let shown = groups.iter().take(TOP);
        title_lines.push(at);
        at += 1 + shown.len();
        shown.for_each(|group| columns.push(group_line(group, kinds)));
    }
    columns.titled(&title_lines)
}

/// Only beside figures that rest on pairs it matters how sure these are.
fn has_causes(kinds: &[SegmentKind]) -> bool {
    kinds.iter().any(|kind| kind.is_inferred())
}

fn titles(title: &str, kinds: &[SegmentKind], summary: &Summary) -> Vec<String> {
    let mut titles = vec![title.to_owned(), "requests".into()];
    if has_causes(kinds) {
        titles.push("e/l/a/u".into());
    }
    for kind in kinds {
        let tail = if kind.is_inferred() { format!("p99 {} ", sure_title(summary)) } else { "p99 ".into() };
        titles.extend([format!("{} p50", kind.name()), tail]);
    }
    titles
}

fn group_line(group: &Group, kinds: &[SegmentKind]) -> Vec<String> {
    let name = if group.name.is_empty() { "(none)".into() } else { shortened(&printable(&group.name), NAME_WIDTH) };
    let mut cells = vec![name, grouped(group.requests)];
    if has_causes(kinds) {
        cells.push(group.causes.named().map(|(_, count)| grouped(count)).join("/"));
    }
    let p99 = |histogram: &Histogram| {
        let mark = if histogram.is_few(Quantile::P99) { '*' } else { ' ' };
        format!("{}{mark}", latency(histogram.percentile(Quantile::P99)))
    };
    for kind in kinds {
        cells.push(group.latencies.of(*kind).map_or("–".into(), |all| latency(all.median())));
        cells.push(group.latencies.tail_of(*kind).map_or("– ".into(), p99));
    }
    cells
}

/// What the columns mean, below the last table.
fn captions(summary: &Summary, kinds: &[SegmentKind]) -> Vec<String> {
    let mut captions = Vec::new();
    if has_causes(kinds) {
        let sure = sure_title(summary);
        captions.push("e/l/a/u: requests that are exact/likely/ambiguous/untriggered".to_owned());
        captions.push(format!("p99 {sure}: over pairs that are exact or have a confidence {sure} (likely)"));
    }
    captions.extend(across::caption(summary, kinds));
    captions
}

/// External segments by how often they occur; fills only where nothing else answers.
fn externals(overall: &Latencies) -> Vec<SegmentKind> {
    let is_fill = |kind| matches!(kind, SegmentKind::FirstFill | SegmentKind::FullFill);
    let mut kinds: Vec<(SegmentKind, u64)> = overall
        .iter()
        .filter(|(kind, _)| !is_internal(*kind) && *kind != SegmentKind::Hop && !kind.is_part())
        .map(|(kind, histogram)| (kind, histogram.n()))
        .collect();
    kinds.sort_by_key(|(kind, n)| (is_fill(*kind), std::cmp::Reverse(*n), *kind));
    kinds.into_iter().map(|(kind, _)| kind).collect()
}
