//! The last block of the report: what the numbers rest on. Captures, feeds with their gaps, sessions, and for each level
//! the sum *in = used + lost* with the reason of every loss.

use std::fmt::Write as _;

use tickscope_model::{Level, Loss, Nanos, TapId};

use super::across::drift_bounds;
use super::interfaces;
use super::screen::{
    Columns, Style, duration, grouped, latency, plural, printable, share, shortened, signed_latency, tail_of, wrapped,
};
use super::text::WIDTH;
use crate::capture::stamp::{Edge, Stamps};
use crate::stats::{ExchangeAhead, Feed, Piece, Quantile, Relation, Summary, Tap};

/// Sessions listed; `--json` has all.
const SESSIONS: usize = 10;
/// Gaps listed of a feed.
const GAPS: usize = 3;

pub(super) fn quality(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    if !summary.taps.is_empty() {
        lines.push(String::new());
        lines.push(style.heading("WHAT THIS RESTS ON"));
    }
    captures(summary, style, lines);
    feeds(summary, style, lines);
    sessions(summary, lines);
    rule(summary, lines);
    lines.push(String::new());
    lines.push(style.heading("ACCOUNT OF EVERYTHING THAT WENT IN"));
    account(summary, lines);
    for found in summary.accounting() {
        let text = format!(
            "! accounting does not add up: {}: {} against {}. This is a mistake in tickscope; please report it.",
            found.what,
            grouped(found.left),
            grouped(found.right)
        );
        lines.push(style.warning(&text));
    }
}

fn captures(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    let mut columns = Columns::new(&[0, 1, 4]);
    for tap in &summary.taps {
        let frames = plural(tap.frames, "frame", "frames");
        let bytes = plural(tap.bytes, "byte", "bytes");
        let time = match (tap.first, tap.last) {
            (Some(first), Some(last)) => format!("{} long", duration(last.0.saturating_sub(first.0))),
            _ => "no times".into(),
        };
        let kind = if tap.live.is_some() { "tap" } else { "capture" };
        columns.push(vec![format!("{kind} {}", tap.name), tail_of(&tap.file, 48), frames, bytes, time]);
    }
    for (tap, line) in summary.taps.iter().zip(columns.lines()) {
        lines.push(line);
        lines.extend(about_tap(tap));
        match &tap.live {
            Some(live) => {
                if tap.stamps.is_some() || tap.edge.is_some() {
                    about_stamps(tap, style, lines);
                }
                interfaces::about(live, style, lines);
            }
            None => about_stamps(tap, style, lines),
        }
        lines.extend(tap.exchange.filter(ExchangeAhead::is_tai).map(|ahead| style.warning(&about_tai(tap, ahead))));
    }
    clocks(summary, style, lines);
    hops(summary, lines);
    for note in &summary.notes {
        lines.push(format!("  note: {}", printable(note)));
    }
    for tap in summary.taps.iter().filter(|tap| tap.resolution_ns > 1) {
        let text =
            format!("  ! {} stamps in steps of {}: no latency is known better", tap.name, latency(tap.resolution_ns));
        lines.push(style.warning(&text));
    }
}

fn about_tap(tap: &Tap) -> Option<String> {
    let point = tap.point.map(|letter| format!("point {letter}"));
    let offset = (!tap.clock.is_empty()).then(|| printable(&tap.clock));
    // Of captures it is said where there are several clocks.
    let clock = (tap.live.is_some() && !tap.clock_name.is_empty()).then(|| printable(&tap.clock_name));
    let words: Vec<String> = point.into_iter().chain(clock).chain(offset).collect();
    (!words.is_empty()).then(|| format!("    {}", words.join(", ")))
}

/// How the clocks are related, and how well that is known.
fn clocks(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    for relation in &summary.clocks {
        let [first, second] = relation.names.each_ref().map(|name| printable(name));
        let error = relation.error.map_or("±?".to_owned(), |error| format!("±{}", latency(error.0.unsigned_abs())));
        match &relation.how {
            Relation::Given => {
                lines.push(format!("  clock {second}: related to {first} by the offset that was given, {error}"));
            }
            Relation::Unknown => {
                let text = format!(
                    "  ! clock {second}: its difference to {first} is not known, and nothing in the captures bounds it on both \
                     sides (or what does contradicts itself): no figures between them (give offset in [[tap]], or --offset)"
                );
                lines.push(style.warning(&text));
            }
            Relation::Bounded(pieces) => {
                for piece in pieces {
                    let text = wrapped(&bounded(&first, &second, piece), WIDTH - 2, 2);
                    lines.extend(text.iter().map(|line| format!("  {line}")));
                    lines.push(format!(
                        "    from {}; the middle was taken off; figures between the clocks: {error}",
                        sources(piece)
                    ));
                }
                let set = pieces.iter().filter(|piece| piece.is_set).count() as u64;
                if set > 0 {
                    let text =
                        format!("  ! clock {second} was set {} during the capture", plural(set, "time", "times"));
                    lines.push(style.warning(&text));
                }
                let blind = relation.blind.iter().map(|&(from, to)| {
                    let (from, to) = (style.clock(from), style.clock(to));
                    format!("  ! clock {second}: nobody knows its difference from {from} to {to}: no figures between the clocks")
                });
                lines.extend(blind.map(|text| style.warning(&text)));
            }
        }
    }
}

/// What bounds it.
fn sources(piece: &Piece) -> String {
    if piece.least + piece.most == 0 {
        return "what bounds both and other clocks".to_owned();
    }
    format!("{} causes and {} effects", grouped(piece.most), grouped(piece.least))
}

fn bounded(first: &str, second: &str, piece: &Piece) -> String {
    let range = |(least, most): (Nanos, Nanos)| format!("{} to {}", signed_latency(least.0), signed_latency(most.0));
    let possible = drift_bounds(piece).map_or(String::new(), |(least, most)| {
        format!(", possible {} to {}", signed_latency(least), signed_latency(most))
    });
    format!(
        "clock {second}: ahead of {first} by {} at the start, {} at the end (width {}); drift a second, estimated: {}{possible}",
        range(piece.at_start),
        range(piece.at_end),
        latency(piece.width().0.unsigned_abs()),
        signed_latency(piece.drift())
    )
}

/// A clock that counts TAI where the other counts UTC.
fn about_tai(tap: &Tap, ahead: ExchangeAhead) -> String {
    let name = printable(&tap.name);
    let (direction, who) = if ahead.median.0 > 0 { ("ahead of", "this tap") } else { ("behind", "the exchange") };
    let apart = latency(ahead.median.0.unsigned_abs());
    let offset = if ahead.median.0 > 0 { '-' } else { '+' };
    let seconds = (ahead.median.0.unsigned_abs() + 500_000_000) / 1_000_000_000;
    format!(
        "    ! {name} is {apart} {direction} the exchange's stamps ({} compared): {who} seems to count TAI, the other UTC \
         (--offset {name}={offset}{seconds}s)",
        ahead.n
    )
}

/// Packets from tap to tap.
fn hops(summary: &Summary, lines: &mut Vec<String>) {
    let hops = &summary.hops;
    if hops.pairs.is_empty() && hops.unrelated == 0 {
        return;
    }
    let mut columns = Columns::new(&[0]);
    let titles = ["  packets at two taps", "n", "min", "p50", "p99", "max", "±"];
    columns.push(titles.map(str::to_owned).to_vec());
    let name = |tap: TapId| summary.tap_name(tap).map_or("?".to_owned(), printable);
    for (from, to, all) in &hops.pairs {
        let values = [all.min(), all.median(), all.percentile(Quantile::P99), all.max()];
        let mut cells = vec![format!("  hop {} → {}", name(*from), name(*to)), grouped(all.n())];
        cells.extend(values.map(latency));
        let error = summary.error_between(*from, *to);
        cells.push(error.map_or("?".into(), |error| latency(error.0.unsigned_abs())));
        columns.push(cells);
    }
    if !hops.pairs.is_empty() {
        lines.extend(columns.titled(&[0]));
    }
    if hops.unrelated > 0 {
        lines.push(format!("    left out: {} at taps whose clocks were not related then", grouped(hops.unrelated)));
    }
    if hops.overlooked > 0 {
        lines.push(format!(
            "    overlooked: at most {} before it was known that taps share their flows",
            grouped(hops.overlooked)
        ));
    }
    if hops.ambiguous + hops.evicted + hops.beyond > 0 {
        lines.push(format!(
            "    not joined: {} seen twice by a tap, {} given up early, {} beyond {} conversations or 6 taps",
            grouped(hops.ambiguous),
            grouped(hops.evicted),
            grouped(hops.beyond),
            256
        ));
    }
}

/// Whose times they are, which edge of the frame they mean, and which frames have none.
fn about_stamps(tap: &Tap, style: &Style, lines: &mut Vec<String>) {
    let is_own = |stamps: &&Stamps| stamps.format.is_none() && stamps.edge == Edge::Unknown;
    if let Some(undecided) = tap.stamps.as_ref().and_then(|stamps| stamps.undecided.as_ref()) {
        let (name, format) = (printable(&tap.name), undecided.format);
        let text = format!(
            "! {name}: no format won the vote on stamps; nearest was {format}, in {} of {} frames, but {}: the capture's times \
             count (--trailer {name}={format} takes these)",
            undecided.frames, undecided.of, undecided.why
        );
        lines.extend(wrapped(&text, 108, 2).iter().map(|line| style.warning(&format!("    {line}"))));
    }
    let Some(stamps) = tap.stamps.as_ref().filter(|stamps| !is_own(stamps)) else {
        let edge = match tap.edge {
            Some(edge) => format!("{}, as [[tap]] edge says", edge.text()),
            None => "edge unknown, taken for the start of frame".into(),
        };
        let whose = if tap.live.is_some() { "NIC and kernel" } else { "the capture file" };
        lines.push(format!("    times: those of {whose}, {edge}"));
        return;
    };
    let is_live = tap.live.is_some() && stamps.format.is_none();
    let mut words = vec![if is_live { "those of NIC and kernel".to_owned() } else { stamps.title.to_owned() }];
    words.extend((!stamps.is_proven).then(|| "unproven".to_owned()));
    words.push(edge_text(stamps));
    words.extend(
        stamps.since.map(|since| format!("since {}; before that, those of NIC and kernel", style.clock(since))),
    );
    lines.push(format!("    times: {}", words.join(", ")));
    if stamps.format.is_none() {
        return;
    }
    let counts = &stamps.counts;
    let mut text = format!("    stamps: {}", plural(counts.stamped, "frame", "frames"));
    if counts.keyframes > 0 {
        let _ = write!(text, ", explained by {}", plural(counts.keyframes, "keyframe", "keyframes"));
    }
    let _ = write!(text, "; {} without", grouped(counts.without()));
    let reasons = [
        (counts.nothing, "carry none"),
        (counts.cut, "are cut"),
        (counts.doubtful, "cannot be"),
        (counts.no_keyframe, "lack a keyframe"),
    ];
    let reasons: Vec<String> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{} {reason}", grouped(*count)))
        .collect();
    if !reasons.is_empty() {
        let reasons = reasons.join(", ");
        let _ = write!(text, " ({reasons}): their time is the capture's plus the difference of the clocks");
    }
    lines.push(text);
    for warning in &stamps.warnings {
        lines.push(style.warning(&format!("    ! {}: {}", printable(&tap.name), printable(warning))));
    }
}

/// Which edge of the frame the times mean.
fn edge_text(stamps: &Stamps) -> String {
    let speed = stamps.speed.map_or(String::new(), |speed| format!(" at {} Mb/s", grouped(speed / 1_000_000)));
    match (stamps.is_moved, stamps.edge) {
        (true, edge) => format!("moved from the {} to the start of frame{speed}", edge.text()),
        (false, Edge::Unknown) => format!("{}, taken for the start of frame", Edge::Unknown.text()),
        (false, Edge::Start) => Edge::Start.text().to_owned(),
        (false, edge) => format!("{}, not moved since the link's speed is not known", edge.text()),
    }
}

fn feeds(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    for feed in &summary.feeds {
        let messages = plural(feed.messages, "message", "messages");
        let copies = match feed.duplicates {
            0 => String::new(),
            copies => format!(", {} left out", plural(copies, "copy", "copies")),
        };
        lines.push(format!("  feed {}  {}: {messages}{copies}", feed.label, feed.title));
        lines.extend(lines_of(feed));
        if feed.gap_count > 0 {
            let missing = plural(feed.missing, "message is missing", "messages are missing");
            let gaps = plural(feed.gap_count, "gap", "gaps");
            let recovered = grouped(feed.recovered);
            let text = format!("    ! {gaps}: {missing} on every line, {recovered} came late");
            lines.push(style.warning(&text));
            for gap in feed.gaps.iter().take(GAPS) {
                let at = style.clock(gap.time);
                let count = plural(gap.missing, "message", "messages");
                lines.push(format!("      at {at}: {count} from seq {}, {} came late", gap.sequence, gap.recovered));
            }
        }
    }
}

/// Who of A and B was first, and by how much.
fn lines_of(feed: &Feed) -> Vec<String> {
    if feed.lines.len() < 2 {
        return Vec::new();
    }
    let compared: u64 = feed.line_delay.n();
    let mut texts: Vec<String> = feed
        .lines
        .iter()
        .map(|line| {
            let first = share(line.first, feed.messages, "messages");
            format!(
                "    line {} ({}): {}, first in {first}",
                line.letter,
                line.address,
                plural(line.messages, "message", "messages")
            )
        })
        .collect();
    if compared > 0 {
        let delay = &feed.line_delay;
        let (p50, p99) = (latency(delay.median()), latency(delay.percentile(Quantile::P99)));
        let max = latency(delay.max());
        texts
            .push(format!("    the later line is behind by p50 {p50}, p99 {p99}, max {max} (n {})", grouped(compared)));
    }
    texts
}

fn sessions(summary: &Summary, lines: &mut Vec<String>) {
    let mut columns = Columns::new(&[0, 1, 2, 5]);
    for session in summary.sessions.iter().take(SESSIONS) {
        columns.push(vec![
            format!("session {}", shortened(&printable(&session.name), 32)),
            session.title.clone(),
            format!("{} → {}", session.client, session.server),
            plural(session.requests, "request", "requests"),
            plural(session.answers, "answer", "answers"),
            printable(&session.state),
        ]);
    }
    lines.extend(columns.lines());
    let hidden = summary.sessions.len().saturating_sub(SESSIONS);
    if hidden > 0 {
        lines.push(format!("  … and {hidden} more, see --json"));
    }
}

fn rule(summary: &Summary, lines: &mut Vec<String>) {
    let trigger = &summary.trigger;
    if trigger.text.is_empty() {
        return;
    }
    let min = if trigger.min_ns > 0 { format!(", at least {}", latency(trigger.min_ns)) } else { String::new() };
    let found = share(summary.triggered(), summary.requests(), "requests");
    let window = latency(trigger.window_ns);
    let text = format!("trigger: {}, at most {window}{min} old; found for {found}", trigger.text);
    lines.extend(wrapped(&text, WIDTH - 2, 2).iter().map(|line| format!("  {line}")));
}

fn account(summary: &Summary, lines: &mut Vec<String>) {
    let totals = &summary.totals;
    let sum = |used: u64, of: Level| format!("= {} used + {} not", grouped(used), grouped(summary.losses.total(of)));
    let orphans = summary.losses.count(Loss::Orphan);
    let outside = match summary.losses.count(Loss::OutsideWindow) {
        0 => String::new(),
        outside => format!(" + {} outside the selection", grouped(outside)),
    };
    let (answered, unanswered) = (summary.requests() - summary.unanswered(), summary.unanswered());
    let at = |level: Level| move |loss: Loss| loss.level() == level;
    let mut columns = Columns::new(&[0, 2]);
    let mut level = |name: &str, count: u64, text: String, of: &dyn Fn(Loss) -> bool| {
        columns.push(vec![name.into(), grouped(count), text]);
        for (loss, count) in summary.losses.nonzero().filter(|(loss, _)| of(*loss)) {
            columns.push(vec![format!("  {}", loss.name()), grouped(count), loss.text().into()]);
        }
    };
    level("frames", totals.frames_read, sum(totals.frames_used, Level::Frame), &at(Level::Frame));
    level("TCP bytes", totals.stream_bytes, sum(totals.stream_bytes_used, Level::Stream), &at(Level::Stream));
    level("messages", totals.messages, sum(totals.messages_used, Level::Message), &at(Level::Message));
    let text = format!("= {} matched + {} orphans", grouped(totals.answers_matched), grouped(orphans));
    level("answers", totals.answers, text, &|loss| loss == Loss::Orphan);
    let text = format!("= {} answered + {} unanswered{outside}", grouped(answered), grouped(unanswered));
    level("requests", totals.requests, text, &|loss| loss.level() == Level::Order && loss != Loss::Orphan);
    lines.extend(columns.lines());
}
