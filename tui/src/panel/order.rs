//! One order: its life as a waterfall in nanoseconds, from the message that caused it to its last answer; the messages that could
//! have caused it; its frames, byte by byte.

use std::fmt::Write;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::Look;
use super::parts::{boxed, clock, cut, pair, scrolled};
use crate::FrameView;
use crate::app::{Drill, Part};
use crate::chart::cells;
use crate::units::grouped;
use crate::wire::{Candidate, Order, OrderAnswer};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, look: &Look<'_>, drill: &Drill) {
    let styles = look.styles;
    let row = &drill.row;
    let title = Line::from(vec![
        Span::styled(format!(" {} ", cut(&row.clordid, 40)), styles.title),
        Span::styled(
            format!(
                "{}  {} {} {} {} @ {}  {} ",
                row.session, row.request, row.side, row.qty, row.symbol, row.price, row.outcome
            ),
            styles.text,
        ),
    ]);
    let inner = boxed(buffer, area, look, title);
    let Some(answer) = &drill.answer else {
        buffer.set_string(inner.x + 1, inner.y, "looking for it …", styles.faint);
        return;
    };
    let Some(order) = &answer.order else {
        let why = answer.error.clone().unwrap_or_else(|| "no such row".to_owned());
        buffer.set_string(inner.x + 1, inner.y, why, styles.warn);
        return;
    };
    let events = events(order);
    let upper = cells(events.len() + 4).min(inner.height * 3 / 5);
    let [life, rest] = Layout::vertical([Constraint::Length(upper), Constraint::Min(3)]).areas(inner);
    summary(look, order).render(Rect { height: 1, ..life }, buffer);
    book(look, order).render(Rect { y: life.y + 1, height: 1, ..life }, buffer);
    waterfall(buffer, Rect { y: life.y + 2, height: life.height.saturating_sub(2), ..life }, look, &events);
    match drill.part {
        Part::Candidates => candidates(buffer, rest, look, (answer, order), drill.above),
        Part::Packets => packets(buffer, rest, look, drill),
    }
}

/// Something that happened, at nanoseconds after the first of all.
struct Event {
    at_ns: i64,
    what: String,
    tap: String,
    frame: u64,
    detail: String,
    side: Side,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Market,
    Us,
    Exchange,
}

/// The trigger and the steps of the timeline.
fn events(order: &Order) -> Vec<Event> {
    let first = order.trigger_t_ns.unwrap_or(order.t_out_ns).min(order.t_out_ns);
    let since = |t_ns: u64| i64::try_from(t_ns).unwrap_or(i64::MAX) - i64::try_from(first).unwrap_or(0);
    let mut all = Vec::new();
    if let Some(t_ns) = order.trigger_t_ns {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let sequence = order.trigger_seq.map_or(String::new(), |seq| format!(" seq {}", grouped(seq)));
        all.push(Event {
            at_ns: since(t_ns),
            what: "trigger".to_owned(),
            tap: text(&order.trigger_tap),
            frame: order.trigger_frame.unwrap_or(0),
            detail: format!("{}{sequence}  {}", text(&order.trigger_feed), text(&order.trigger_msg)),
            side: Side::Market,
        });
    }
    all.extend(order.timeline.iter().map(|step| Event {
        at_ns: since(step.t_ns),
        what: step.what.clone(),
        tap: step.tap.clone().unwrap_or_default(),
        frame: step.frame,
        detail: step.detail.clone(),
        side: if step.what == "request" { Side::Us } else { Side::Exchange },
    }));
    all.sort_by_key(|event| event.at_ns);
    all
}

fn summary(look: &Look<'_>, order: &Order) -> Line<'static> {
    let unit = look.app.unit;
    let mut spans = vec![Span::raw(" ")];
    spans.extend(pair(look, "sent", clock(look, order.t_out_ns, 9)));
    if let Some(t2t) = order.t2t_ns {
        let bracket = match (order.t2t_min_ns, order.t2t_max_ns) {
            (Some(min), Some(max)) => format!(" [{}, {}]", unit.signed(min), unit.signed(max)),
            _ => String::new(),
        };
        spans.extend(pair(look, "t2t", format!("{}{bracket}", unit.signed(t2t).trim_start_matches('+'))));
        let method = order.trigger_method.clone().unwrap_or_default();
        spans.extend(pair(look, "by", format!("{method}, confidence {:.3}", order.trigger_confidence.unwrap_or(0.0))));
    } else {
        spans.push(Span::styled("no trigger found  ", look.styles.warn));
    }
    if let Some(original) = order.orig_clordid.as_ref().filter(|it| !it.is_empty()) {
        spans.extend(pair(look, "changes", original.clone()));
    }
    if let Some(flags) = order.flags.as_ref().filter(|flags| !flags.is_empty()) {
        spans.push(Span::styled(format!("! {flags}"), look.styles.warn));
    }
    Line::from(spans)
}

/// The best prices when it was sent.
fn book(look: &Look<'_>, order: &Order) -> Line<'static> {
    let Some(bbo) = &order.bbo else {
        return Line::styled(" BBO at the request unknown: no book of its symbol was kept", look.styles.faint);
    };
    let side = |price: &Option<String>, quantity: u64| match price {
        Some(price) => format!("{} @ {price}", grouped(quantity)),
        None => "–".to_owned(),
    };
    let mut spans = vec![Span::raw(" ")];
    let text = format!("{} / {}", side(&bbo.bid, bbo.bid_qty), side(&bbo.ask, bbo.ask_qty));
    spans.extend(pair(look, "BBO at the request", text));
    Line::from(spans)
}

/// A line an event: when, what, and a bar from the event before it to it. Times that are far longer than others are drawn as they
/// are; the numbers say how long they were.
fn waterfall(buffer: &mut Buffer, area: Rect, look: &Look<'_>, events: &[Event]) {
    let Look { app, styles, glyphs } = look;
    let last = events.last().map_or(1, |event| event.at_ns.max(1));
    let (times, names) = (14, 14);
    let bars = (area.width.saturating_sub(times + names + 2) / 2).clamp(10, 70);
    let place = |at_ns: i64| {
        let share = i128::from(at_ns.max(0)) * i128::from(bars - 1) / i128::from(last);
        u16::try_from(share).unwrap_or(0)
    };
    let mut before = 0;
    for (event, y) in events.iter().zip(area.top()..area.bottom()) {
        let style = match event.side {
            Side::Market => styles.market,
            Side::Us => styles.internal,
            Side::Exchange => styles.external,
        };
        let time = app.unit.signed(event.at_ns);
        let x = area.x + times.saturating_sub(cells(time.chars().count()));
        buffer.set_string(x, y, &time, styles.text);
        buffer.set_string(area.x + times + 1, y, cut(&event.what, usize::from(names) - 1), style);
        let begin = area.x + times + names + 1;
        // From what came before it to it; the answers all begin at the request.
        for x in place(before)..place(event.at_ns) {
            buffer.set_string(begin + x, y, if app.is_ascii { "-" } else { "─" }, style);
        }
        buffer.set_string(begin + place(event.at_ns), y, glyphs.dot.to_string(), style);
        if event.side != Side::Exchange {
            before = event.at_ns;
        }
        let room = usize::from((area.right()).saturating_sub(begin + bars + 1));
        let frame =
            if event.frame > 0 { format!("{} frame {}", event.tap, grouped(event.frame)) } else { event.tap.clone() };
        buffer.set_string(begin + bars + 1, y, cut(&format!("{frame}  {}", event.detail), room), styles.faint);
    }
}

fn candidates(buffer: &mut Buffer, area: Rect, look: &Look<'_>, (answer, order): (&OrderAnswer, &Order), above: usize) {
    let styles = look.styles;
    let count = answer.candidates.len();
    let title = Line::from(vec![
        Span::styled(format!(" {count} messages could have caused it "), styles.title),
        Span::styled(" Enter: packets ", styles.faint),
    ]);
    let inner = boxed(buffer, area, look, title);
    let mut lines = vec![Line::styled(
        format!(" {:>12}  {:>6}  {:8}  {:24} {:>14}  {}", "before it", "sure", "by", "feed", "seq", "message"),
        styles.faint,
    )];
    let is_chosen = |it: &Candidate| Some(it.t_ns) == order.trigger_t_ns && it.seq == order.trigger_seq;
    for it in &answer.candidates {
        let age = look.app.unit.signed(it.age_ns);
        let style: Style = if is_chosen(it) { styles.key } else { styles.text };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tenths")]
        let bar = "█".repeat((it.probability.clamp(0.0, 1.0) * 10.0).round() as usize);
        let sequence = it.seq.map_or(String::new(), grouped);
        let text = format!(
            " {:>12}  {:>5.1} %  {:8}  {:24} {:>14}  {} {}  {bar}",
            age.trim_start_matches('+'),
            it.probability * 100.0,
            it.method,
            cut(&it.feed, 24),
            sequence,
            it.msg,
            it.symbol,
        );
        lines.push(Line::styled(text.replacen("  %", " %", 1), style));
    }
    if answer.candidates.is_empty() {
        lines.push(Line::styled(" nothing in the market data explains it: untriggered", styles.warn));
    }
    scrolled(buffer, inner, look, &lines, above);
}

fn packets(buffer: &mut Buffer, area: Rect, look: &Look<'_>, drill: &Drill) {
    let styles = look.styles;
    let frames = match &drill.frames {
        None => return said(buffer, area, look, "looking for its packets …"),
        Some(Err(why)) => return said(buffer, area, look, why),
        Some(Ok(frames)) => frames,
    };
    let at = drill.frame.min(frames.len().saturating_sub(1));
    let Some(frame) = frames.get(at) else { return said(buffer, area, look, "there are no packets of it") };
    let title = Line::from(vec![
        Span::styled(format!(" packet {} of {} ", at + 1, frames.len()), styles.title),
        Span::styled(
            format!(
                " {}  {}  {} bytes   h l: another, p: as pcapng ",
                frame.tap,
                clock(look, frame.t_ns, 9),
                frame.bytes.len()
            ),
            styles.faint,
        ),
    ]);
    let inner = boxed(buffer, area, look, title);
    let lines = frame_lines(look, frame);
    scrolled(buffer, inner, look, &lines, drill.above);
}

fn said(buffer: &mut Buffer, area: Rect, look: &Look<'_>, text: &str) {
    let inner = boxed(buffer, area, look, Line::styled(" packets ", look.styles.title));
    buffer.set_string(inner.x + 1, inner.y, cut(text, usize::from(inner.width.saturating_sub(2))), look.styles.warn);
}

/// What the frame says, and its bytes.
fn frame_lines(look: &Look<'_>, frame: &FrameView) -> Vec<Line<'static>> {
    let styles = look.styles;
    let mut lines = vec![Line::styled(format!(" {}", cut(&frame.title, 200)), styles.key)];
    for (name, value) in &frame.fields {
        lines.push(Line::from(vec![
            Span::styled(format!("   {name:<28} "), styles.faint),
            Span::styled(cut(value, 160), styles.text),
        ]));
    }
    lines.push(Line::raw(""));
    for (at, bytes) in frame.bytes.chunks(16).enumerate() {
        let mut hex = String::new();
        for (place, byte) in bytes.iter().enumerate() {
            // Writing to a text cannot fail.
            let _ = write!(hex, "{byte:02x} ");
            if place == 7 {
                hex.push(' ');
            }
        }
        let text: String =
            bytes.iter().map(|byte| if (32..127).contains(byte) { char::from(*byte) } else { '.' }).collect();
        lines.push(Line::from(vec![
            Span::styled(format!("   {:04x}  ", at * 16), styles.faint),
            Span::styled(format!("{hex:<49}  "), styles.text),
            Span::styled(text, styles.market),
        ]));
    }
    lines
}
