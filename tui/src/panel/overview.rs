//! The first screen: is it us, or is it them? The verdict, both sides beside each other, both over time, and whether the data can
//! be trusted.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget, Wrap};

use super::Look;
use super::parts::{boxed, clock, cut, figures_line, latencies, pair};
use crate::chart::{Axis, cells, heat, put, spark};
use crate::history::{Columns, percentile};
use crate::units::{grouped, rate, short};
use crate::wire::{LiveTap, Snapshot};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let histograms = (area.height * 2 / 5).clamp(8, 22);
    let [verdict_area, both, strip, rates, health] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(histograms),
        Constraint::Min(7),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    verdict(buffer, verdict_area, look);
    let [ours, theirs] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(both);
    let (internal, external) = (look.app.internal(), look.app.external());
    side(buffer, ours, look, ("ours", internal), look.styles.internal);
    side(buffer, theirs, look, ("exchange", external), look.styles.external);
    over_time(buffer, strip, look, (internal, external));
    activity(buffer, rates, look);
    trust(buffer, health, look);
}

/// Which side slowed, since when, and by how much.
fn verdict(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let Look { app, styles, .. } = look;
    let shown = app.snapshot();
    let (word, sentence, style) = match (app.stretch(), shown.and_then(|shown| shown.verdict.as_ref())) {
        (_, None) => ("…", "which side slowed is not found out yet".to_owned(), styles.faint),
        (Some((stretch, is_now)), _) => {
            let style = match stretch.culprit.as_str() {
                "us" => styles.internal,
                "exchange" => styles.external,
                "market data" => styles.market,
                _ => styles.warn,
            };
            let is_over = !is_now && !app.is_summary();
            let word = match stretch.culprit.as_str() {
                _ if is_over => "ALL NORMAL now",
                "us" => "IT IS US",
                "exchange" => "IT IS THE EXCHANGE",
                "network" => "IT IS THE NETWORK",
                "market data" => "IT IS THE MARKET DATA",
                _ => "BOTH SIDES ARE SLOW",
            };
            let place = stretch.session.as_ref().map_or(String::new(), |session| format!("{session}: "));
            let earlier = if is_over { "earlier: " } else { "" };
            let style = if is_over { styles.good } else { style };
            (word, format!("{earlier}{place}{}", stretch.sentence), style)
        }
        (None, Some(verdict)) if !verdict.is_testable => {
            ("TOO FEW REQUESTS", "to tell whether a side slowed".to_owned(), styles.faint)
        }
        (None, Some(_)) => ("ALL NORMAL", "no stretch of time was slower than the rest".to_owned(), styles.good),
    };
    let more = shown.and_then(|shown| shown.slowed.as_ref()).map_or(0, |slowed| slowed.more_intervals);
    let more = if more > 0 { format!("  (and {more} more: v)") } else { String::new() };
    let line = Line::from(vec![
        Span::styled(format!(" {word}  "), style.add_modifier(ratatui::style::Modifier::BOLD)),
        Span::styled(cut(&sentence, 600), styles.text),
        Span::styled(more, styles.faint),
    ]);
    Paragraph::new(line).wrap(Wrap { trim: false }).render(area, buffer);
}

fn side(buffer: &mut Buffer, area: Rect, look: &Look<'_>, (who, segment): (&str, &str), style: Style) {
    let Look { app, styles, .. } = look;
    let figures = app.figures(segment).unwrap_or_default();
    let title = Line::from(vec![
        Span::styled(format!(" {who}  {segment} "), style.add_modifier(ratatui::style::Modifier::BOLD)),
        Span::styled(format!("n {}  {} ", grouped(figures.n), figures.letters), styles.faint),
    ]);
    let inner = boxed(buffer, area, look, title);
    let [picture, line] = Layout::vertical([Constraint::Min(4), Constraint::Length(1)]).areas(inner);
    if figures.n == 0 {
        let text = if segment == "t2t" { "no request has a trigger in the market data" } else { "no answers yet" };
        Paragraph::new(text).style(styles.faint).centered().render(picture, buffer);
        return;
    }
    latencies(buffer, picture, look, (segment, &figures), style);
    figures_line(look, segment, &figures, line.width).render(line, buffer);
}

/// Both latencies as density over time, and the rates, with one axis.
fn over_time(buffer: &mut Buffer, area: Rect, look: &Look<'_>, (internal, external): (&str, &str)) {
    let Look { app, styles, .. } = look;
    let Some((from_ns, to_ns)) = app.time_range() else { return };
    let title = format!(" over time: {} to {} ", clock(look, from_ns, 0), clock(look, to_ns, 0));
    let inner = boxed(buffer, area, look, Line::styled(title, styles.faint));
    // Room for the names of what is shown, and for its values.
    let names = 11;
    let chart = Rect { x: inner.x + names, width: inner.width.saturating_sub(names), ..inner };
    let heats = inner.height.saturating_sub(2) / 2;
    let columns = Columns::new(&app.history, (from_ns, to_ns), usize::from(chart.width));
    let mut y = inner.y;
    for (segment, style) in [(internal, styles.internal), (external, styles.external)] {
        // A line that cannot be halved is the exchange's.
        let height = if segment == internal { heats } else { inner.bottom().saturating_sub(y + 2) };
        density(buffer, Rect { y, height, ..chart }, look, (segment, &columns, style), inner.x);
        y += height;
    }
    for (name, count) in [("market/s", market as fn(&Snapshot) -> u64), ("orders/s", requests)] {
        if y >= inner.bottom() {
            break;
        }
        let values: Vec<Option<u64>> = columns.each(|now, before| count(now).saturating_sub(before.map_or(0, count)));
        buffer.set_string(inner.x, y, name, styles.market);
        buffer.set_string(chart.x, y, spark(&values, &look.glyphs), styles.market);
        y += 1;
    }
    playhead(buffer, Rect { height: y - inner.y, ..chart }, look, (from_ns, to_ns));
}

fn market(snapshot: &Snapshot) -> u64 {
    snapshot.market_messages
}

fn requests(snapshot: &Snapshot) -> u64 {
    snapshot.requests
}

fn density(
    buffer: &mut Buffer,
    area: Rect,
    look: &Look<'_>,
    (segment, columns, style): (&str, &Columns<'_>, Style),
    names: u16,
) {
    let lanes: Vec<Vec<(u64, u64)>> = columns.added(segment).into_iter().map(Option::unwrap_or_default).collect();
    let whole = look.app.history.last().map_or(&[][..], |last| last.buckets(segment));
    buffer.set_string(names, area.y, cut(segment, 10), style);
    let Some(axis) = Axis::over(whole, None, 1) else { return };
    heat(buffer, area, &lanes, &axis, &look.styles, &look.glyphs);
    if area.height > 2 {
        // The middle of what there is, at its place.
        let median = percentile(whole, 500_000);
        let lines = Axis::over(whole, None, usize::from(area.height)).map_or(0, |axis| axis.column(median));
        let y = area.bottom() - 1 - cells(lines);
        if y > area.y {
            buffer.set_string(names, y, short(median), look.styles.faint);
        }
    }
    if area.height > 1 && whole.last().is_some() {
        let top = short(whole.last().map_or(0, |(value, _)| *value));
        let y = if area.height > 3 { area.y + 1 } else { area.y };
        let x = if area.height > 3 { names } else { names + cells(segment.len()) + 1 };
        if x + cells(top.chars().count()) < area.x {
            buffer.set_string(x, y, top, look.styles.faint);
        }
    }
}

/// Where in the shown time the shown moment is, unless that is its end.
fn playhead(buffer: &mut Buffer, area: Rect, look: &Look<'_>, (from_ns, to_ns): (u64, u64)) {
    let Some(t_ns) = look.app.moment.time().filter(|t_ns| (from_ns..to_ns).contains(t_ns)) else { return };
    let at = u128::from(t_ns - from_ns) * u128::from(area.width) / u128::from(to_ns - from_ns);
    let x = area.x + u16::try_from(at).unwrap_or(0);
    (area.top()..area.bottom()).for_each(|y| put(buffer, x, y, look.glyphs.mark, look.styles.key));
}

fn activity(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let Some(shown) = look.app.snapshot() else { return };
    let mut spans = vec![Span::raw(" ")];
    spans.extend(pair(look, "market data", format!("{}/s", rate(shown.rates.market_messages_per_s))));
    spans.extend(pair(
        look,
        "requests",
        format!("{}/s, {} in all", rate(shown.rates.requests_per_s), grouped(shown.requests)),
    ));
    let triggered = shown.triggered;
    spans.extend(pair(look, "with a trigger", grouped(triggered)));
    for (name, count) in &shown.causes.0 {
        spans.extend(pair(look, name, grouped(*count)));
    }
    Line::from(spans).render(area, buffer);
}

/// Whether the figures can be trusted: losses, gaps, clocks. Red only where it matters.
fn trust(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let styles = look.styles;
    let Some(shown) = look.app.snapshot() else { return };
    let missing: u64 = shown.feeds.iter().map(|feed| feed.gaps.missing).sum();
    let said = |text: String, is_bad: bool| {
        let (mark, style) = if is_bad { ("! ", styles.bad) } else { ("", styles.good) };
        Span::styled(format!(" {mark}{text} "), style)
    };
    let counts = [
        ("lost frames", shown.lost_frames()),
        ("lost messages", shown.lost_of("message")),
        ("missing TCP bytes", shown.lost_of("stream")),
        ("missing market data", missing),
    ];
    // What there is none of is worth no place on a narrow screen.
    let is_worth = |(name, count): &(&str, u64)| *count > 0 || *name == "lost frames" || area.width >= 110;
    let mut spans: Vec<Span<'_>> = counts
        .into_iter()
        .filter(is_worth)
        .map(|(name, count)| said(format!("{name} {}", grouped(count)), count > 0))
        .collect();
    spans.extend([Span::styled(format!(" unanswered {} ", grouped(shown.quality.requests.unanswered)), styles.text)]);
    let is_live = shown.taps.iter().any(|tap| tap.live.is_some());
    if !is_live && shown.is_last {
        let text = if shown.quality.adds_up { "every packet is accounted for" } else { "the account does not add up" };
        spans.push(said(text.to_owned(), !shown.quality.adds_up));
    }
    for tap in &shown.taps {
        if let Some(live) = &tap.live {
            spans.push(if live.violations.is_empty() {
                Span::styled(format!(" {} {} ", tap.name, stamped_by(live)), styles.faint)
            } else {
                said(format!("{}: the account does not add up", tap.name), true)
            });
        }
        if tap.looks_like_tai {
            spans.push(said(format!("{} may show TAI", tap.name), true));
        }
        spans.extend(
            tap.stamps.warnings.iter().map(|warning| Span::styled(format!(" ! {}: {warning} ", tap.name), styles.warn)),
        );
    }
    Line::from(spans).render(area, buffer);
}

/// `kernel-software ±120 ns`
fn stamped_by(live: &LiveTap) -> String {
    let mut sources: Vec<&str> = live.stamps.iter().map(|stamp| stamp.source.as_str()).collect();
    sources.dedup();
    let error = live.clock_error_ns.map_or(String::new(), |error| format!(" ±{}", short(error)));
    format!("{}{error}", sources.join("+"))
}
