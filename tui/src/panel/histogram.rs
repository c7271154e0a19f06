//! One segment as large as the screen: its histogram and its curve of percentiles, beside a baseline where there is one, with a
//! cursor that reads values.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::Look;
use super::parts::{boxed, judged, pair, percentile};
use crate::app::{App, Baseline, Shown};
use crate::chart::{Axis, Histogram, Mark, cells, curve, curve_marks, histogram, nines};
use crate::units::{grouped, short};
use crate::wire::Figures;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let Look { app, styles, .. } = look;
    let segment = app.chosen().to_owned();
    let figures = app.chosen_figures().unwrap_or_default();
    let group = app.group.as_ref().map_or(String::new(), |(by, name)| format!("{} {name}  ", by.name()));
    let of = if app.group.is_some() { "whole run" } else { app.span.name() };
    let style = app.side_style(&segment);
    let title = Line::from(vec![
        Span::styled(format!(" {segment} "), style.add_modifier(Modifier::BOLD)),
        Span::styled(format!("{group}{}  n {}  {of} ", figures.letters, grouped(figures.n)), styles.faint),
    ]);
    let inner = boxed(buffer, area, look, title);
    let [pictures, values, more] =
        Layout::vertical([Constraint::Min(4), Constraint::Length(1), Constraint::Length(1)]).areas(inner);
    app.cursor_ns.set(None);
    if figures.n == 0 {
        let text = "no samples here; m: another segment, w: another span";
        Paragraph::new(text).style(styles.faint).centered().render(pictures, buffer);
        return;
    }
    let baseline = app.baseline.as_ref().filter(|baseline| app.is_compared && baseline.segment == segment);
    let (upper, lower) = match app.shown {
        Shown::Histogram => (Some(pictures), None),
        Shown::Curve => (None, Some(pictures)),
        Shown::Both => {
            let [upper, lower] = Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(pictures);
            (Some(upper), Some(lower))
        }
    };
    let Some(axis) = common_axis(app, &segment, &figures, baseline, usize::from(pictures.width)) else { return };
    let mut reading = None;
    if let Some(area) = upper {
        reading = bars(buffer, area, look, (&segment, &figures, baseline), axis, style);
    }
    if let Some(area) = lower {
        percentiles(buffer, area, look, (&figures, baseline), &axis, style);
    }
    all_figures(look, &segment, &figures, baseline).render(values, buffer);
    let reading = reading.unwrap_or_else(|| scale_note(app, baseline));
    Line::styled(reading, styles.faint).render(more, buffer);
}

/// An axis on which both stand.
fn common_axis(
    app: &App,
    segment: &str,
    figures: &Figures,
    baseline: Option<&Baseline>,
    columns: usize,
) -> Option<Axis> {
    let mut ends: Vec<(u64, u64)> = figures.buckets.clone();
    ends.extend(baseline.iter().flat_map(|baseline| &baseline.figures.buckets));
    ends.sort_unstable();
    Axis::over(&ends, app.budget(segment), columns)
}

/// The histogram; what the cursor reads.
fn bars(
    buffer: &mut Buffer,
    area: Rect,
    look: &Look<'_>,
    (segment, figures, baseline): (&str, &Figures, Option<&Baseline>),
    axis: Axis,
    style: ratatui::style::Style,
) -> Option<String> {
    let Look { app, styles, glyphs } = look;
    let columns = usize::from(area.width);
    app.columns.set(columns);
    let named = [
        (figures.p50_ns, "p50"),
        (figures.p90_ns, "p90"),
        (figures.p99_ns, "p99"),
        (figures.p99_9_ns, "p99.9"),
        (figures.max_ns, "max"),
    ];
    let mut marks: Vec<Mark<'_>> = named
        .map(|(value_ns, name)| Mark { value_ns, name, style: styles.text, is_budget: false })
        .into_iter()
        .collect();
    if let Some(value_ns) = app.budget(segment) {
        marks.push(Mark { value_ns, name: "budget", style: styles.bad, is_budget: true });
    }
    app.median.set(axis.column(figures.p50_ns));
    let cursor = app.cursor.map(|cursor| cursor.min(columns.saturating_sub(1)));
    let picture = Histogram {
        axis,
        counts: axis.counts(&figures.buckets),
        other: baseline.map(|baseline| axis.counts(&baseline.figures.buckets)),
        style,
        marks,
        is_log: app.is_log,
        cursor,
    };
    histogram(buffer, area, &picture, styles, glyphs);
    cursor.map(|cursor| {
        let (from_ns, to_ns) = axis.range(cursor);
        app.cursor_ns.set(Some(from_ns));
        let up_to: u64 = figures.buckets.iter().filter(|(value, _)| *value <= to_ns).map(|(_, count)| count).sum();
        #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
        let share = up_to as f64 * 100.0 / figures.n.max(1) as f64;
        let here = picture.counts.get(cursor).copied().unwrap_or(0.0);
        format!(
            " cursor {} to {}: about {here:.0} here, {} ({share:.3} %) up to here, {} above; Enter lists orders from here on",
            app.unit.latency(from_ns),
            app.unit.latency(to_ns),
            grouped(up_to),
            grouped(figures.n.saturating_sub(up_to)),
        )
    })
}

/// The curve of percentiles.
fn percentiles(
    buffer: &mut Buffer,
    area: Rect,
    look: &Look<'_>,
    (figures, baseline): (&Figures, Option<&Baseline>),
    axis: &Axis,
    style: ratatui::style::Style,
) {
    let Look { styles, glyphs, .. } = look;
    if area.height < 4 {
        return;
    }
    let [picture, marks] = Layout::vertical([Constraint::Min(2), Constraint::Length(1)]).areas(area);
    let names = 8;
    let chart = Rect { x: picture.x + names, width: picture.width.saturating_sub(names), ..picture };
    let nines = nines(figures.n.max(baseline.map_or(0, |baseline| baseline.figures.n)));
    if let Some(baseline) = baseline {
        curve(buffer, chart, (&baseline.figures.buckets, axis, nines), (glyphs.other, styles.warn), glyphs);
    }
    curve(buffer, chart, (&figures.buckets, axis, nines), (glyphs.dot, style), glyphs);
    buffer.set_string(picture.x, picture.y, short(figures.max_ns), styles.faint);
    buffer.set_string(picture.x, picture.bottom() - 1, short(figures.min_ns), styles.faint);
    let mut free = chart.x;
    for (column, text) in curve_marks(chart.width, nines) {
        let width = cells(text.chars().count());
        let x = (chart.x + column).min(chart.right().saturating_sub(width));
        if x >= free {
            buffer.set_string(x, marks.y, text, styles.faint);
            free = x + width + 1;
        }
    }
}

fn all_figures(look: &Look<'_>, segment: &str, figures: &Figures, baseline: Option<&Baseline>) -> Line<'static> {
    let budget = look.app.budget(segment);
    let other = baseline.map(|baseline| &baseline.figures);
    let all = [
        ("min", "min", figures.min_ns, other.map(|it| it.min_ns)),
        ("p50", "p50", figures.p50_ns, other.map(|it| it.p50_ns)),
        ("p90", "p90", figures.p90_ns, other.map(|it| it.p90_ns)),
        ("p99", "p99", figures.p99_ns, other.map(|it| it.p99_ns)),
        ("p99.9", "p99_9", figures.p99_9_ns, other.map(|it| it.p99_9_ns)),
        ("p99.99", "p99_99", figures.p99_99_ns, other.map(|it| it.p99_99_ns)),
        ("max", "max", figures.max_ns, other.map(|it| it.max_ns)),
        ("mean", "mean", figures.mean_ns, other.map(|it| it.mean_ns)),
    ];
    let mut spans = vec![Span::raw(" ")];
    for (name, key, value_ns, other) in all {
        let [title, mut value] = pair(look, name, percentile(look, figures, value_ns, key));
        value.style = judged(look, value_ns, budget, look.styles.text);
        spans.extend([title, value]);
        if let Some(change) = other.and_then(|other| change(other, value_ns)) {
            spans.push(Span::styled(format!("({change}) "), look.styles.warn));
        }
    }
    Line::from(spans)
}

/// `+118 %`
fn change(from: u64, to: u64) -> Option<String> {
    #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
    let share = (from > 0).then(|| (to as f64 / from as f64 - 1.0) * 100.0)?;
    Some(format!("{share:+.0} %"))
}

fn scale_note(app: &App, baseline: Option<&Baseline>) -> String {
    let scale = if app.is_log { "counts on a logarithmic scale" } else { "counts on a linear scale" };
    let other = baseline.map_or(String::new(), |baseline| {
        format!("   baseline (other colour): {}, n {}", baseline.label, grouped(baseline.figures.n))
    });
    format!(" {scale}; h l: a cursor that reads values{other}")
}
