//! The list of requests.

use std::fmt::Write;
use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::Look;
use super::parts::{Cell, Column, boxed, clock, fitting, judged, left, list, right};
use crate::rows::Row;
use crate::units::grouped;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let Look { app, styles, .. } = look;
    let orders = &app.orders;
    let filter = if orders.text.is_empty() { String::new() } else { format!(" /{} ", orders.text) };
    let reversed = if orders.is_reversed { ", reversed" } else { "" };
    let count = format!("{} of {} requests", grouped(orders.matches as u64), grouped(app.rows.len() as u64));
    let shown = if orders.lines.len() < orders.matches {
        format!(", the first {}", grouped(orders.lines.len() as u64))
    } else {
        String::new()
    };
    let title = Line::from(vec![
        Span::styled(" orders ", styles.title),
        Span::styled(filter, styles.key),
        Span::styled(format!(" {count}{shown}  {}{reversed} ", orders.sort.name()), styles.faint),
    ]);
    let inner = boxed(buffer, area, look, title);
    let columns = fitting(columns(inner.width, app.unit.width()), inner.width);
    let nothing =
        if app.rows.len() == 0 { "no request is done yet" } else { "no request is like that; Esc clears the filter" };
    let cells = |order: &Arc<Row>| cells(look, order, inner.width);
    list(buffer, inner, look, (&columns, &orders.lines, cells), (nothing, notes(look)));
}

/// Which columns there are depends on the width: what is most wanted stands first.
fn columns(width: u16, latency: u16) -> Vec<Column> {
    if width < 110 {
        return vec![
            left("sent", 12),
            left("clordid", 14),
            left("symbol", 8),
            left("request", 7),
            right("t2t", latency),
            right("answer", latency),
            left("outcome", 9),
        ];
    }
    vec![
        left("sent", 18),
        left("clordid", 18),
        left("session", 18),
        left("symbol", 9),
        left("request", 7),
        left("side", 4),
        right("t2t", latency),
        right("answer", latency),
        left("outcome", 10),
        left("trigger", 13),
        right("tcp_ack", latency),
        right("first_fill", latency),
        right("price", 10),
        right("qty", 7),
        left("flags", 24),
    ]
}

fn cells(look: &Look<'_>, order: &Row, width: u16) -> Vec<Cell> {
    let Look { app, styles, .. } = look;
    let latency = |value: Option<i64>, segment: &str| {
        let text = value.map_or("–".to_owned(), |value| signed(look, value));
        let style =
            value.map_or(styles.faint, |value| judged(look, value.unsigned_abs(), app.budget(segment), styles.text));
        (text, style)
    };
    let outcome = match &*order.outcome {
        "rejected" | "unanswered" => styles.warn,
        _ => styles.text,
    };
    let plain = |text: &str| (text.to_owned(), styles.text);
    let sent = |decimals| (clock(look, order.t_out_ns, decimals), styles.faint);
    let (t2t, answer) = (latency(order.t2t_ns, "t2t"), latency(order.answer_ns(), app.external()));
    if width < 110 {
        return vec![
            sent(3),
            plain(&order.clordid),
            plain(&order.symbol),
            plain(&order.request),
            t2t,
            answer,
            (order.outcome.to_string(), outcome),
        ];
    }
    let trigger =
        if order.method.is_empty() { "–".to_owned() } else { format!("{} {:.2}", order.method, order.confidence) };
    vec![
        sent(9),
        plain(&order.clordid),
        plain(&order.session),
        plain(&order.symbol),
        plain(&order.request),
        plain(&order.side),
        t2t,
        answer,
        (order.outcome.to_string(), outcome),
        (trigger, styles.faint),
        latency(order.tcp_ack_ns, "tcp_ack"),
        latency(order.first_fill_ns, "first_fill"),
        plain(&order.price),
        plain(&order.qty),
        (order.flags.to_string(), styles.warn),
    ]
}

/// Without a sign where it is none.
fn signed(look: &Look<'_>, value_ns: i64) -> String {
    match u64::try_from(value_ns) {
        Ok(value) => look.app.unit.latency(value),
        Err(_) => look.app.unit.signed(value_ns),
    }
}

fn notes(look: &Look<'_>) -> String {
    let rows = &look.app.rows;
    let mut text = " answer: the exchange's first".to_owned();
    if rows.last < rows.known {
        let _ = write!(text, "   {} more are on their way", grouped(rows.known - rows.last));
    }
    if rows.missed > 0 {
        let _ = write!(text, "   {} older ones are not kept any more", grouped(rows.missed));
    }
    text
}
