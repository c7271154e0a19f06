//! Pieces that several panels are made of.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Widget};

use super::Look;
use crate::chart::{Axis, Histogram, Mark, cells, histogram};
use crate::units::grouped;
use crate::wire::Figures;

/// A box with a title; its inside.
pub(super) fn boxed(buffer: &mut Buffer, area: Rect, look: &Look<'_>, title: Line<'_>) -> Rect {
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(look.styles.faint).title(title);
    let inner = block.inner(area);
    block.render(area, buffer);
    inner
}

/// A time of day in the user's zone, with so many decimals.
pub(super) fn clock(look: &Look<'_>, t_ns: u64, decimals: usize) -> String {
    let text = (look.app.zone)(t_ns);
    let end = text.find('.').map_or(text.len(), |at| if decimals == 0 { at } else { at + 1 + decimals });
    text.get(..end).unwrap_or(&text).to_owned()
}

/// At most so many characters; what is cut ends in an ellipsis. What no screen shows becomes a `?`.
pub(super) fn cut(text: &str, width: usize) -> String {
    let shown = |char: char| if char.is_control() { '?' } else { char };
    if text.chars().count() <= width {
        return text.chars().map(shown).collect();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).map(shown).collect();
    if width > 0 {
        short.push('…');
    }
    short
}

/// A sentence in lines of at most so many characters, where its words allow.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A percentile with its marks: `*` where few samples are above it, `~` where it rests on buckets.
pub(super) fn percentile(look: &Look<'_>, figures: &Figures, value_ns: u64, name: &str) -> String {
    if figures.n == 0 {
        return "–".to_owned();
    }
    let rough = if look.app.is_rough() { "~" } else { "" };
    let few = if figures.is_few(name) { "*" } else { " " };
    format!("{rough}{}{few}", look.app.unit.latency(value_ns))
}

/// The style of a value that has a budget.
pub(super) fn judged(look: &Look<'_>, value_ns: u64, budget_ns: Option<u64>, usual: Style) -> Style {
    if budget_ns.is_some_and(|budget| value_ns > budget) { look.styles.bad } else { usual }
}

/// A histogram with the percentiles and the budget marked, and below it a line with figures. Its axis.
pub(super) fn latencies(
    buffer: &mut Buffer,
    area: Rect,
    look: &Look<'_>,
    (segment, figures): (&str, &Figures),
    style: Style,
) -> Option<Axis> {
    let Look { app, styles, glyphs } = look;
    let budget = app.budget(segment);
    let axis = Axis::over(&figures.buckets, budget, usize::from(area.width))?;
    let mut marks = vec![
        Mark { value_ns: figures.p50_ns, name: "p50", style: styles.text, is_budget: false },
        Mark { value_ns: figures.p99_ns, name: "p99", style: styles.text, is_budget: false },
        Mark { value_ns: figures.p99_9_ns, name: "p99.9", style: styles.text, is_budget: false },
    ];
    if let Some(value_ns) = budget {
        marks.push(Mark { value_ns, name: "budget", style: styles.bad, is_budget: true });
    }
    let counts = axis.counts(&figures.buckets);
    let picture = Histogram { axis, counts, other: None, style, marks, is_log: app.is_log, cursor: None };
    histogram(buffer, area, &picture, styles, glyphs);
    Some(axis)
}

/// `p50 19.887 µs  p99 36.703 µs*  p99.9 43.509 µs*  max 43.509 µs`, as far as there is room.
pub(super) fn figures_line(look: &Look<'_>, segment: &str, figures: &Figures, width: u16) -> Line<'static> {
    let budget = look.app.budget(segment);
    let all = [
        ("p50", "p50", figures.p50_ns),
        ("p99", "p99", figures.p99_ns),
        ("p99.9", "p99_9", figures.p99_9_ns),
        ("max", "max", figures.max_ns),
    ];
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (name, key, value_ns) in all {
        let text = percentile(look, figures, value_ns, key);
        used += name.len() + text.chars().count() + 3;
        if used > usize::from(width) {
            break;
        }
        spans.push(Span::styled(format!(" {name} "), look.styles.faint));
        spans.push(Span::styled(format!("{text} "), judged(look, value_ns, budget, look.styles.text)));
    }
    Line::from(spans)
}

/// A table's column: its title, its width, and whether it stands to the right.
pub(super) struct Column {
    pub(super) title: String,
    pub(super) width: u16,
    pub(super) is_right: bool,
}

pub(super) fn left(title: &str, width: u16) -> Column {
    Column { title: title.to_owned(), width, is_right: false }
}

pub(super) fn right(title: &str, width: u16) -> Column {
    Column { title: title.to_owned(), width, is_right: true }
}

/// A cell with its style.
pub(super) type Cell = (String, Style);

/// As many of the columns as there is room for, the first ones first.
pub(super) fn fitting(columns: Vec<Column>, width: u16) -> Vec<Column> {
    let mut used = 0;
    let fits = |column: &Column| {
        used += column.width + 1;
        used <= width + 1
    };
    columns.into_iter().take_while(fits).collect()
}

/// A line of a table.
fn row(buffer: &mut Buffer, area: Rect, columns: &[Column], row: &[Cell]) {
    let mut x = area.x;
    for (column, (text, style)) in columns.iter().zip(row) {
        let text = cut(text, usize::from(column.width));
        let free = column.width.saturating_sub(cells(text.chars().count()));
        let begin = if column.is_right { x + free } else { x };
        if begin < area.right() {
            buffer.set_stringn(begin, area.y, &text, usize::from(area.right() - begin), *style);
        }
        x += column.width + 1;
    }
}

fn titles(buffer: &mut Buffer, area: Rect, look: &Look<'_>, columns: &[Column]) {
    let titles: Vec<Cell> = columns.iter().map(|column| (column.title.clone(), look.styles.faint)).collect();
    row(buffer, area, columns, &titles);
}

/// A table of which one line is selected, around which the others are shown; `nothing` stands there where there is none, and a note
/// below. Tells the keys how many lines a page has, and the mouse where the list is.
pub(super) fn list<T>(
    buffer: &mut Buffer,
    area: Rect,
    look: &Look<'_>,
    (columns, lines, cells): (&[Column], &[T], impl Fn(&T) -> Vec<Cell>),
    (nothing, note): (&str, String),
) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]).areas(area);
    titles(buffer, head, look, columns);
    let (selected, height) = (look.app.selected(), usize::from(body.height));
    let first = selected.saturating_sub(height / 2).min(lines.len().saturating_sub(height));
    look.app.page.set(height.max(1));
    look.app.list.set(Some((body.y, first)));
    for (at, (line, y)) in (first..).zip(lines[first..].iter().zip(body.top()..body.bottom())) {
        let place = Rect { y, height: 1, ..body };
        row(buffer, place, columns, &cells(line));
        if at == selected {
            buffer.set_style(place, look.styles.selected);
        }
    }
    if lines.is_empty() {
        buffer.set_string(body.x + 1, body.y, nothing, look.styles.faint);
    }
    Line::styled(note, look.styles.faint).render(foot, buffer);
}

/// Lines that are longer than the window, with the first so many left out. Tells the keys how far they may go.
pub(super) fn scrolled(buffer: &mut Buffer, area: Rect, look: &Look<'_>, lines: &[Line<'_>], above: usize) {
    let height = usize::from(area.height);
    let below = lines.len().saturating_sub(height);
    look.app.below.set(below);
    look.app.page.set(height.max(1));
    let above = above.min(below);
    for (line, y) in lines.iter().skip(above).zip(area.top()..area.bottom()) {
        line.render(Rect { y, height: 1, ..area }, buffer);
    }
    if below > above && area.height > 1 {
        let text = format!(" … {} more below ", grouped((below - above) as u64));
        let x = area.right().saturating_sub(cells(text.chars().count()));
        buffer.set_string(x, area.bottom() - 1, text, look.styles.faint);
    }
}

/// `name  value` with the name faint.
pub(super) fn pair(look: &Look<'_>, name: &str, value: impl Into<String>) -> [Span<'static>; 2] {
    [Span::styled(format!("{name} "), look.styles.faint), Span::styled(format!("{}  ", value.into()), look.styles.text)]
}
