//! Whether the figures can be trusted: what became of every frame, by tap and queue; whose clock it was; what the program itself
//! could not keep up with.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::Look;
use super::parts::{boxed, cut, pair, scrolled};
use crate::units::{grouped, short};
use crate::wire::{Hops, LiveTap, Named, Snapshot, Tap};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let Some(shown) = look.app.snapshot() else { return };
    let inner = boxed(buffer, area, look, Line::styled(" health ", look.styles.title));
    let mut lines = Vec::new();
    shown.taps.iter().for_each(|tap| lines.extend(tap_lines(look, tap)));
    lines.extend(hops(look, &shown.hops));
    lines.push(Line::raw(""));
    lines.extend(account(look, shown));
    lines.push(Line::raw(""));
    lines.extend(own(look, shown));
    scrolled(buffer, inner, look, &lines, look.app.selected());
}

fn tap_lines(look: &Look<'_>, tap: &Tap) -> Vec<Line<'static>> {
    let styles = look.styles;
    let carries = match (tap.has_market_data, tap.has_orders) {
        (true, true) => "market data and orders",
        (true, false) => "market data",
        (false, true) => "orders",
        (false, false) => "nothing that is decoded",
    };
    let point = tap.point.as_ref().map_or(String::new(), |point| format!(" point {point}"));
    let mut lines = vec![Line::from(vec![
        Span::styled(format!(" {}{point}  ", tap.name), styles.title),
        Span::styled(format!("{}  {carries}  ", cut(&tap.file, 60)), styles.faint),
        Span::styled(format!("{} frames, {} bytes", grouped(tap.frames), grouped(tap.bytes)), styles.text),
    ])];
    let mut clock = vec![Span::raw("   ")];
    let source = tap.stamps.title.clone().unwrap_or_else(|| tap.stamps.source.clone());
    clock.extend(pair(look, "stamps", format!("{source}, edge {}", tap.stamps.edge)));
    clock.extend(pair(look, "resolution", short(tap.resolution_ns)));
    if let Some(name) = &tap.clock {
        clock.extend(pair(look, "clock", name.clone()));
    }
    if tap.offset_ns != 0 {
        clock.extend(pair(look, "offset", look.app.unit.signed(tap.offset_ns)));
    }
    if tap.looks_like_tai {
        clock.push(Span::styled("! may show TAI instead of UTC  ", styles.bad));
    }
    lines.push(Line::from(clock));
    lines.extend(tap.stamps.warnings.iter().map(|warning| Line::styled(format!("   ! {warning}"), styles.warn)));
    if tap.cut.is_some() {
        lines.push(Line::styled("   ! the file ends early", styles.bad));
    }
    if let Some(live) = &tap.live {
        lines.extend(live_lines(look, live));
    }
    lines
}

fn live_lines(look: &Look<'_>, live: &LiveTap) -> Vec<Line<'static>> {
    let styles = look.styles;
    let mut lines = vec![Line::styled(format!("   {}: {}", live.interface, cut(&live.driver, 160)), styles.faint)];
    let mut counts = vec![Span::raw("   ")];
    for (name, count) in [("seen", live.seen), ("used", live.used), ("waiting", live.waiting)] {
        counts.extend(pair(look, name, grouped(count)));
    }
    counts.push(full(look, live.queue_fill));
    counts.extend(losses(look, &live.lost));
    for (name, count) in [("late", live.late), ("cut", live.cut)] {
        if count > 0 {
            counts.push(Span::styled(format!("! {name} {}  ", grouped(count)), styles.warn));
        }
    }
    if let Some(error) = live.clock_error_ns {
        counts.extend(pair(look, "clock", format!("±{}", short(error))));
    }
    lines.push(Line::from(counts));
    for stamp in &live.stamps {
        let text = format!(
            "   {} {}: {} frames; {}",
            stamp.source,
            stamp.direction,
            grouped(stamp.frames),
            cut(&stamp.about, 120)
        );
        lines.push(Line::styled(text, styles.faint));
    }
    if live.queues.len() > 1 {
        for queue in &live.queues {
            let mut spans = vec![Span::styled(format!("   queue {:<3} ", queue.queue), styles.text)];
            spans.extend(pair(look, "seen", grouped(queue.seen)));
            spans.extend(pair(look, "used", grouped(queue.used)));
            spans.extend(losses(look, &queue.lost));
            lines.push(Line::from(spans));
        }
    }
    lines.extend(live.violations.iter().map(|text| Line::styled(format!("   ! {text}"), styles.bad)));
    lines.extend(live.last_events.iter().map(|text| Line::styled(format!("   {text}"), styles.warn)));
    lines
}

/// Packets that passed two taps: how long they took, and which could not be joined.
fn hops(look: &Look<'_>, hops: &Hops) -> Vec<Line<'static>> {
    let unit = look.app.unit;
    let mut lines = Vec::new();
    if hops.pairs.is_empty() && hops.unrelated == 0 {
        return lines;
    }
    lines.extend([Line::raw(""), Line::styled(" packets at two taps", look.styles.title)]);
    for hop in &hops.pairs {
        let mut spans = vec![Span::styled(format!("   {} → {}  ", hop.from, hop.to), look.styles.text)];
        spans.extend(pair(look, "n", grouped(hop.n)));
        for (name, value_ns) in [("min", hop.min_ns), ("p50", hop.p50_ns), ("p99", hop.p99_ns), ("max", hop.max_ns)] {
            spans.extend(pair(look, name, unit.latency(value_ns)));
        }
        let error = hop.error_ns.map_or("unknown".to_owned(), short);
        spans.extend(pair(look, "±", error));
        lines.push(Line::from(spans));
    }
    let left_out = [
        ("seen twice by a tap", hops.ambiguous),
        ("clocks not related", hops.unrelated),
        ("given up early", hops.evicted),
        ("beyond the limits", hops.beyond),
        ("overlooked at most", hops.overlooked),
    ];
    let some: Vec<_> = left_out.iter().filter(|(_, count)| *count > 0).collect();
    if !some.is_empty() {
        let mut spans = vec![Span::styled("   ! not joined: ", look.styles.warn)];
        spans.extend(some.into_iter().flat_map(|(name, count)| pair(look, name, grouped(*count))));
        lines.push(Line::from(spans));
    }
    lines
}

/// How full the fullest queue of a tap is.
fn full(look: &Look<'_>, fill: f64) -> Span<'static> {
    let style = if fill >= 0.5 { look.styles.bad } else { look.styles.text };
    let mark = if fill >= 0.5 { "! " } else { "" };
    Span::styled(format!("{mark}queue {:.1} % full  ", fill * 100.0), style)
}

/// By reason, in red; or that there were none.
fn losses(look: &Look<'_>, lost: &Named<u64>) -> Vec<Span<'static>> {
    let some: Vec<_> = lost.0.iter().filter(|(_, count)| *count > 0).collect();
    if some.is_empty() {
        return vec![Span::styled("lost 0  ", look.styles.good)];
    }
    some.iter()
        .map(|(reason, count)| Span::styled(format!("! {reason} {}  ", grouped(*count)), look.styles.bad))
        .collect()
}

/// What came in and became no latency.
fn account(look: &Look<'_>, shown: &Snapshot) -> Vec<Line<'static>> {
    let (styles, quality) = (look.styles, &shown.quality);
    let mut lines = vec![Line::styled(" the account", styles.title)];
    for (name, account) in
        [("frames", &quality.frames), ("TCP bytes", &quality.stream_bytes), ("messages", &quality.messages)]
    {
        let lost = if account.lost > 0 { styles.bad } else { styles.good };
        lines.push(Line::from(vec![
            Span::styled(
                format!("   {name:10} in {:>15}  used {:>15}  ", grouped(account.r#in), grouped(account.used)),
                styles.text,
            ),
            Span::styled(format!("lost {:>12}", grouped(account.lost)), lost),
        ]));
    }
    let (requests, answers) = (&quality.requests, &quality.answers);
    lines.push(Line::styled(
        format!(
            "   {:10} in {:>15}  done {:>15}  unanswered {}",
            "requests",
            grouped(requests.r#in),
            grouped(requests.reported),
            grouped(requests.unanswered)
        ),
        styles.text,
    ));
    lines.push(Line::styled(
        format!("   {:10} in {:>15}  matched {:>12}", "answers", grouped(answers.r#in), grouped(answers.matched)),
        styles.text,
    ));
    for loss in &quality.losses {
        // Of requests nothing is lost: the reason says what is not known of them.
        let (mark, style) = if loss.level == "order" { ("", styles.text) } else { ("! ", styles.bad) };
        lines.push(Line::from(vec![
            Span::styled(format!("   {mark}{} {} ", grouped(loss.count), loss.reason), style),
            Span::styled(format!("({}): {}", loss.level, cut(&loss.text, 140)), styles.faint),
        ]));
    }
    lines
}

/// What the capturing process has taken of a core over the last second or so.
fn processor(look: &Look<'_>, shown: &Snapshot) -> Option<f64> {
    let before = look.app.history.until(shown.t_ns.saturating_sub(1_000_000_000))?;
    let (used, passed) = (shown.processor_ns?.checked_sub(before.processor_ns?)?, shown.t_ns.checked_sub(before.t_ns)?);
    #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
    let share = (passed > 0).then(|| used as f64 * 100.0 / passed as f64);
    share
}

/// What this program and the one that captures cannot keep up with.
fn own(look: &Look<'_>, shown: &Snapshot) -> Vec<Line<'static>> {
    let (styles, app) = (look.styles, look.app);
    let mut lines = vec![Line::styled(" snapshots", styles.title)];
    let mut spans = vec![Span::raw("   ")];
    spans.extend(pair(
        look,
        "kept here",
        format!("{} moments, {} requests", grouped(app.history.len() as u64), grouped(app.rows.len() as u64)),
    ));
    spans.extend(pair(
        look,
        "forgotten",
        format!("{} and {}", grouped(app.history.forgotten), grouped(app.rows.missed)),
    ));
    lines.push(Line::from(spans));
    if let Some(cost) = shown.spent_ns.checked_div(shown.made) {
        let mut spans = vec![Span::raw("   ")];
        if let Some(share) = processor(look, shown) {
            spans.extend(pair(look, "processor", format!("{share:.1} % of a core")));
        }
        spans.extend(pair(look, "one costs the engine", short(cost)));
        spans.extend(pair(look, "not made in time", grouped(shown.snapshots_skipped)));
        spans.extend(pair(look, "rows not kept in time", grouped(shown.rows_skipped)));
        let readers = &shown.readers;
        let text = format!("{} now, {} dropped, {} refused", readers.connected, readers.dropped, readers.refused);
        spans.extend(pair(look, "readers", text));
        lines.push(Line::from(spans));
    }
    lines
}
