//! The block of the report about an interface: who captured, who stamped, and what became of every frame.

use super::screen::{Style, grouped, latency, plural, printable, wrapped};
use crate::stats::LiveTap;

/// Events listed; `--json` has some more.
const EVENTS: usize = 5;

pub(super) fn about(live: &LiveTap, style: &Style, lines: &mut Vec<String>) {
    lines.extend(wrapped(&printable(&live.driver), 108, 2).iter().map(|line| format!("    {line}")));
    for source in &live.stamps {
        let frames = plural(source.frames, "frame", "frames");
        lines.push(format!("    times of {frames} ({}): {}, {}", source.direction, source.name, source.about));
    }
    if let Some(error) = live.clock_error {
        lines.push(format!("    the NIC's clock was compared with UTC: ±{}", latency(error.0.unsigned_abs())));
    }
    let losses: Vec<String> = live
        .losses
        .iter()
        .filter(|(_, frames)| *frames > 0)
        .map(|(name, frames)| format!("{name} {}", grouped(*frames)))
        .collect();
    let lost = if losses.is_empty() { "none lost".to_owned() } else { format!("lost: {}", losses.join(", ")) };
    let waiting = if live.waiting > 0 { format!(", {} on their way", grouped(live.waiting)) } else { String::new() };
    let text = format!("    frames seen {}, used {}{waiting}, {lost}", grouped(live.seen), grouped(live.used));
    lines.push(if losses.is_empty() { text } else { style.warning(&text) });
    for (count, what) in [
        (live.late, "came later than they were waited for: look-ups made before may have missed them"),
        (live.cut, "were cut by the ring"),
        (live.super_frames, "were larger than the MTU: put together by NIC or kernel, never on the wire"),
        (live.dropped, "of all traffic were dropped by the interface"),
        (live.missed, "of all traffic were missed by the NIC"),
        (live.damaged, "of all traffic were damaged"),
    ] {
        if count > 0 {
            lines.push(style.warning(&format!("    ! {} {what}", grouped(count))));
        }
    }
    if live.event_count > 0 {
        let newest: Vec<String> = live.events.iter().rev().take(EVENTS).map(|event| printable(event)).collect();
        let events = plural(live.event_count, "event", "events");
        lines.push(format!("    {events} of link and clocks; newest first: {}", newest.join("; ")));
    }
    for violation in &live.violations {
        let text = format!("    ! the account does not add up: {}. Please report this.", printable(violation));
        lines.push(style.warning(&text));
    }
}
