//! The list of keys, made of the table that they work by.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Widget};

use super::Look;
use super::parts::{boxed, cut};
use crate::keys::{Group, KEYS, written};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let styles = look.styles;
    let width = area.width.saturating_sub(4).min(150);
    let height = area.height.saturating_sub(2);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + 1, width, height };
    Clear.render(place, buffer);
    let inner = boxed(buffer, place, look, Line::styled(" keys (Esc closes) ", styles.title));
    // Two columns where there is room: long sentences are cut, the manual has them whole.
    let columns = if inner.width >= 120 { 2 } else { 1 };
    let column = inner.width / columns;
    let lines = lines(look, usize::from(column));
    let rows = usize::from(inner.height);
    // What does not fit on a small screen: the groups of the screen that is shown come first.
    for (at, line) in lines.into_iter().take(rows * usize::from(columns)).enumerate() {
        let x = inner.x + u16::try_from(at / rows).unwrap_or(0) * column;
        let y = inner.y + u16::try_from(at % rows).unwrap_or(0);
        Paragraph::new(line).render(Rect { x, y, width: column, height: 1 }, buffer);
    }
}

fn lines(look: &Look<'_>, width: usize) -> Vec<Line<'static>> {
    let styles = look.styles;
    let mut lines = Vec::new();
    for group in Group::ALL {
        lines.push(Line::styled(format!(" {}", group.title()), styles.title));
        for binding in KEYS.iter().filter(|binding| binding.group == group) {
            lines.push(Line::from(vec![
                Span::styled(format!("   {:<12}", written(binding)), styles.key),
                Span::styled(cut(binding.about, width.saturating_sub(16)), styles.text),
            ]));
        }
    }
    lines
}
