//! The list of keys, made of the table that they work by.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::Look;
use super::parts::{boxed, scrolled, wrapped};
use crate::keys::{Group, KEYS, written};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, look: &Look<'_>, above: usize) {
    let width = area.width.saturating_sub(4).min(150);
    let height = area.height.saturating_sub(2);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + 1, width, height };
    Clear.render(place, buffer);
    let inner = boxed(buffer, place, look, Line::styled(" keys (j k scroll, Esc closes) ", look.styles.title));
    scrolled(buffer, inner, look, &lines(look, usize::from(inner.width)), above);
}

fn lines(look: &Look<'_>, width: usize) -> Vec<Line<'static>> {
    let styles = look.styles;
    let mut lines = Vec::new();
    for group in Group::ALL {
        lines.push(Line::styled(format!(" {}", group.title()), styles.title));
        for binding in KEYS.iter().filter(|binding| binding.group == group) {
            let mut key = written(binding);
            for text in wrapped(binding.about, width.saturating_sub(18)) {
                let spans = vec![Span::styled(format!("   {key:<14} "), styles.key), Span::styled(text, styles.text)];
                lines.push(Line::from(spans));
                key.clear();
            }
        }
    }
    lines
}
