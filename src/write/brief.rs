//! The figures so far on one screen, while a run goes on: taps with what they lost, and each latency.

use super::overall::latencies;
use super::screen::{Style, grouped, plural, printable};
use crate::stats::{LiveTap, Summary, Tap};

/// Lines of text; the taps are given beside the figures, since they are not part of them before the end.
pub fn brief(summary: &Summary, taps: &[Tap], style: &Style) -> Vec<String> {
    let requests = plural(summary.requests(), "request", "requests");
    let last = taps.iter().filter_map(|tap| tap.last).max();
    let time = last.map_or("nothing was captured yet".to_owned(), |last| style.full_time(last));
    let name = style.heading(concat!("tickscope ", env!("CARGO_PKG_VERSION")));
    let mut lines = vec![format!("{name}  {requests}, {time}"), String::new()];
    for tap in taps {
        let live = tap.live.as_ref();
        let lost = live.map_or(0, LiveTap::lost);
        let (frames, name) = (plural(tap.frames, "frame", "frames"), printable(&tap.name));
        let text = format!("  {name}: {frames}, {} lost; {}", grouped(lost), live.map_or("", |live| &live.driver));
        lines.push(if lost > 0 { style.warning(&text) } else { text });
        if let Some(event) = live.and_then(|live| live.events.last()) {
            lines.push(format!("    last: {}", printable(event)));
        }
        for violation in live.iter().flat_map(|live| &live.violations) {
            lines.push(style.warning(&format!("    ! the account does not add up: {}", printable(violation))));
        }
    }
    lines.push(String::new());
    latencies(summary, style, &mut lines);
    lines
}
