//! Sessions of order entry, and feeds of market data: state, rates, gaps, and the race between the lines of a feed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::Look;
use super::parts::{boxed, clock, cut, pair, scrolled};
use crate::units::{age, grouped};
use crate::wire::{Feed, Group, Line as FeedLine, OrderSession, Snapshot, Time};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let Some(shown) = look.app.snapshot() else { return };
    let inner = boxed(buffer, area, look, Line::styled(" sessions and feeds ", look.styles.title));
    let before = look.app.history.until(shown.t_ns.saturating_sub(1_000_000_000));
    let before = before.map(|moment| &**moment).filter(|_| !shown.of_capture);
    let mut lines = Vec::new();
    for session in &shown.order_sessions {
        let figures = shown.sessions.iter().find(|group| group.name == session.session);
        lines.extend(session_lines(look, session, figures, before));
    }
    if shown.order_sessions.is_empty() {
        lines.push(Line::styled(" no order entry was found", look.styles.warn));
    }
    if shown.order_sessions_left_out > 0 {
        lines.push(Line::styled(
            format!(" … and {} older ones", grouped(shown.order_sessions_left_out)),
            look.styles.faint,
        ));
    }
    lines.push(Line::raw(""));
    shown.feeds.iter().for_each(|feed| lines.extend(feed_lines(look, feed, before)));
    if shown.feeds.is_empty() {
        lines.push(Line::styled(" no market data was found", look.styles.warn));
    }
    if shown.feeds_left_out > 0 {
        lines.push(Line::styled(format!(" … and {} more", grouped(shown.feeds_left_out)), look.styles.faint));
    }
    scrolled(buffer, inner, look, &lines, look.app.selected());
}

/// Events in the last second, where that is known.
fn rate(now: u64, before: Option<u64>) -> String {
    before.map_or(String::new(), |before| format!(" ({}/s)", crate::units::rate(now.saturating_sub(before))))
}

fn session_lines(
    look: &Look<'_>,
    session: &OrderSession,
    figures: Option<&Group>,
    before: Option<&Snapshot>,
) -> [Line<'static>; 3] {
    let styles = look.styles;
    let earlier = before.and_then(|before| {
        before.order_sessions.iter().find(|it| it.session == session.session && it.client == session.client)
    });
    let mut first = vec![Span::styled(format!(" {}  ", cut(&session.session, 40)), styles.external)];
    first.push(Span::styled(format!("{}  {} > {}  ", session.protocol, session.client, session.server), styles.faint));
    first.push(Span::styled(session.state.clone(), styles.text));
    let mut second = vec![Span::raw("   ")];
    let requests = rate(session.requests, earlier.map(|it| it.requests));
    let answers = rate(session.answers, earlier.map(|it| it.answers));
    second.extend(pair(look, "requests", format!("{}{requests}", grouped(session.requests))));
    second.extend(pair(look, "answers", format!("{}{answers}", grouped(session.answers))));
    for name in [look.app.internal(), "tcp_ack", look.app.external()] {
        if let Some(found) = figures.and_then(|group| group.segments.get(name)).filter(|found| found.n > 0) {
            let (median, tail) = (look.app.unit.latency(found.p50_ns), look.app.unit.latency(found.p99_ns));
            second.extend(pair(look, name, format!("p50 {median} p99 {tail}")));
        }
    }
    [Line::from(first), Line::from(second), life(look, session)]
}

/// When something came, and how long that was before the newest frame of all.
fn how_old(look: &Look<'_>, time: &Time) -> String {
    let newest = look.app.snapshot().and_then(|shown| shown.last.as_ref()).map_or(time.t_ns, |newest| newest.t_ns);
    format!("at {}, {} before", clock(look, time.t_ns, 3), age(newest.saturating_sub(time.t_ns)))
}

/// How its line is: heartbeats, what TCP sent again, bytes that are missing, and how old its last message is.
fn life(look: &Look<'_>, session: &OrderSession) -> Line<'static> {
    let styles = look.styles;
    let mut spans = vec![Span::raw("   ")];
    spans.extend(pair(look, "heartbeats", grouped(session.heartbeats)));
    for (name, count) in [("retransmitted", session.retransmitted), ("gaps", session.gaps)] {
        let style = if count > 0 { styles.warn } else { styles.good };
        let mark = if count > 0 { "! " } else { "" };
        spans.push(Span::styled(format!("{mark}{name} {}  ", grouped(count)), style));
    }
    if let Some(last) = &session.last {
        let message = session.last_msg.clone().unwrap_or_default();
        spans.extend(pair(look, "last message", format!("{message} {}", how_old(look, last))));
    }
    Line::from(spans)
}

fn feed_lines(look: &Look<'_>, feed: &Feed, before: Option<&Snapshot>) -> Vec<Line<'static>> {
    let styles = look.styles;
    let earlier = before.and_then(|before| before.feeds.iter().find(|it| it.feed == feed.feed));
    let mut lines = vec![Line::from(vec![
        Span::styled(format!(" {}  ", feed.feed), styles.market),
        Span::styled(feed.title.clone(), styles.faint),
    ])];
    let mut second = vec![Span::raw("   ")];
    let messages = rate(feed.messages, earlier.map(|it| it.messages));
    second.extend(pair(look, "messages", format!("{}{messages}", grouped(feed.messages))));
    second.extend(pair(look, "copies", grouped(feed.duplicates)));
    let gaps = &feed.gaps;
    if gaps.count > 0 {
        let text = format!(
            "! {} gaps, {} messages missing, {} came late  ",
            grouped(gaps.count),
            grouped(gaps.missing),
            grouped(gaps.recovered)
        );
        second.push(Span::styled(text, if gaps.missing > 0 { styles.bad } else { styles.warn }));
    } else {
        second.push(Span::styled("no gaps  ", styles.good));
    }
    lines.push(Line::from(second));
    for line in &feed.lines {
        if feed.lines.len() > 1 {
            lines.push(race(look, feed, line));
        }
        let last = line.last.as_ref().map_or("–".to_owned(), |last| how_old(look, last));
        let mut spans = vec![Span::raw("      ")];
        spans.extend(pair(look, "heartbeats", grouped(line.heartbeats)));
        spans.extend(pair(look, "last packet", last));
        lines.push(Line::from(spans));
    }
    if let Some(delay) = &feed.line_delay {
        let unit = look.app.unit;
        let text = format!(
            "   the other line comes later by: p50 {}  p99 {}  max {}",
            unit.latency(delay.p50_ns),
            unit.latency(delay.p99_ns),
            unit.latency(delay.max_ns)
        );
        lines.push(Line::styled(text, styles.faint));
    }
    lines
}

/// How often a line was first, as a bar.
fn race(look: &Look<'_>, feed: &Feed, line: &FeedLine) -> Line<'static> {
    let all: u64 = feed.lines.iter().map(|line| line.first).sum();
    let tenths = (u128::from(line.first) * 200 / u128::from(all.max(1))).div_ceil(10);
    let bar = "█".repeat(usize::try_from(tenths).unwrap_or(0));
    let percent = u128::from(line.first) * 1000 / u128::from(all.max(1));
    Line::from(vec![
        Span::styled(format!("   {:2} {:22} ", line.line, line.address), look.styles.text),
        Span::styled(
            format!("first {:>12} ({:>3}.{} %) ", grouped(line.first), percent / 10, percent % 10),
            look.styles.faint,
        ),
        Span::styled(format!("{bar:<20} "), look.styles.market),
        Span::styled(format!("of {}", grouped(line.messages)), look.styles.faint),
    ])
}
