//! All segments as a table, or one of them by session, symbol, venue, outcome or method.

use std::fmt::Write;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::Look;
use super::parts::{Cell, Column, boxed, fitting, judged, left, list, percentile, right};
use crate::app::{By, SegmentSort};
use crate::chart::spark;
use crate::history::{Columns, percentile as rank};
use crate::units::grouped;
use crate::wire::Figures;

/// Points of a trend.
const TREND: usize = 10;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let app = look.app;
    let what = match app.by {
        By::Segment => "segments".to_owned(),
        by => format!("{} by {}", app.chosen(), by.name()),
    };
    let sorted =
        if app.sort == SegmentSort::Given { String::new() } else { format!("  sorted by {}", app.sort.name()) };
    let of = if app.by == By::Segment { app.span.name() } else { "whole run" };
    let title = Line::from(vec![
        Span::styled(format!(" {what} "), look.styles.title),
        Span::styled(format!(" {of}{sorted} "), look.styles.faint),
    ]);
    let inner = boxed(buffer, area, look, title);
    let columns = columns(look, inner.width);
    let cells = |(name, figures): &(String, Figures)| cells(look, name, figures);
    list(buffer, inner, look, (&columns, &app.segment_lines(), cells), ("…", notes(look)));
}

fn columns(look: &Look<'_>, width: u16) -> Vec<Column> {
    let is_grouped = look.app.by != By::Segment;
    let name = if width >= 110 { 22 } else { 14 };
    let latency = look.app.unit.width();
    let mut all = vec![
        left(if is_grouped { look.app.by.name() } else { "segment" }, name),
        right("n", 8),
        right("p50", latency),
        right("p99", latency + 1),
        right("p99/p50", 8),
        right("max", latency + 1),
        right("trend p50", 10),
        right("p99.9", latency + 1),
        right("p90", latency + 1),
        right("p99.99", latency + 1),
        right("min", latency + 1),
        right("mean", latency + 1),
        left("letters", 10),
        right("negative", 8),
    ];
    if is_grouped {
        // Groups come without history.
        all.retain(|column| column.title != "trend p50" && column.title != "letters");
    }
    fitting(all, width)
}

fn cells(look: &Look<'_>, name: &str, figures: &Figures) -> Vec<Cell> {
    let Look { app, styles, .. } = look;
    let is_grouped = app.by != By::Segment;
    let segment = if is_grouped { app.chosen() } else { name };
    let style = app.side_style(segment);
    let budget = app.budget(segment);
    let of = |value_ns: u64, key: &str| {
        (percentile(look, figures, value_ns, key), judged(look, value_ns, budget, styles.text))
    };
    let ratio = match figures.p99_over_p50 {
        Some(ratio) if ratio >= 1000.0 => format!("×{ratio:.0}"),
        Some(ratio) => format!("×{ratio:.2}"),
        None => "–".to_owned(),
    };
    let plain = |text: String| (text, styles.text);
    let value =
        |value_ns: u64| if figures.n == 0 { "– ".to_owned() } else { format!("{} ", app.unit.latency(value_ns)) };
    let mut all = vec![
        (if name.is_empty() { "(none)".to_owned() } else { name.to_owned() }, style),
        plain(grouped(figures.n)),
        of(figures.p50_ns, "p50"),
        of(figures.p99_ns, "p99"),
        plain(ratio),
        (value(figures.max_ns), judged(look, figures.max_ns, budget, styles.text)),
        (trend(look, name), style),
        of(figures.p99_9_ns, "p99_9"),
        of(figures.p90_ns, "p90"),
        of(figures.p99_99_ns, "p99_99"),
        plain(value(figures.min_ns)),
        plain(value(figures.mean_ns)),
        (figures.letters.clone(), styles.faint),
        plain(if figures.negative > 0 { grouped(figures.negative) } else { String::new() }),
    ];
    if is_grouped {
        all.remove(12);
        all.remove(6);
    }
    all
}

/// The median in each tenth of the shown time.
fn trend(look: &Look<'_>, segment: &str) -> String {
    let app = look.app;
    let Some(range) = app.time_range() else { return String::new() };
    let median = |between: Option<Vec<(u64, u64)>>| between.filter(|it| !it.is_empty()).map(|it| rank(&it, 500_000));
    let columns = Columns::new(&app.history, range, TREND);
    let medians: Vec<Option<u64>> = columns.added(segment).into_iter().map(median).collect();
    spark(&medians, &look.glyphs)
}

/// What the marks mean, where there are any.
fn notes(look: &Look<'_>) -> String {
    let app = look.app;
    let mut text = " * fewer than 10 samples above it".to_owned();
    if app.is_rough() && app.by == By::Segment {
        text.push_str("   ~ of buckets 1/16 of a power of two wide");
    }
    if app.by != By::Segment {
        text.push_str("   h l: another segment");
    }
    if let Some((by, _, left_out)) =
        app.groups.as_ref().filter(|(by, _, left_out)| by == app.by.name() && *left_out > 0)
    {
        let _ = write!(text, "   {} more by {by}, with fewer requests", grouped(*left_out));
    }
    let sure = app.snapshot().and_then(|shown| shown.segments.get("t2t")?.tails_over.clone());
    if let Some(sure) = sure.filter(|_| !app.is_rough()) {
        let _ =
            write!(text, "   t2t from p99 on: over {} pairs with confidence ≥ {}", grouped(sure.n), sure.confidence);
    }
    text
}
