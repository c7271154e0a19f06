//! What the stages tell the report at the end of a run, or, live, while it goes on; and the outputs that are made of the report.

use std::io;

use tickscope_model::{Loss, TapId};

use super::args::{ClockArgs, DisplayArgs, OutputArgs};
use super::config::Settings;
use crate::merge::{Feeds, Lag, Line};
use crate::pipeline::Pipeline;
use crate::pipeline::correlator::Correlator;
use crate::stats::{self, Summary};
use crate::write::{Output, Style, write_hgrm, write_hlog, write_json, write_text};

/// Gaps of a feed that the report lists one by one.
const GAPS_LISTED: usize = 20;

/// Whether market data, and whether requests, were seen at a tap.
pub(super) fn carries(correlator: &Correlator, tap: TapId, point: u16) -> (bool, bool) {
    let has_market = correlator.feeds.lines.iter().any(|line| line.tap == tap && line.messages > 0);
    let mut sessions = correlator.pairer.sessions();
    (has_market, sessions.any(|session| session.point == point && session.requests > 0))
}

/// Everything about the run that the rows do not say. The taps are there already.
pub(super) fn facts(summary: &mut Summary, settings: &Settings, pipeline: &Pipeline, correlator: &Correlator) {
    counts(summary, pipeline, correlator, usize::MAX);
    for (at, feed) in summary.feeds.iter_mut().enumerate() {
        feed.lags = lags(&correlator.feeds, at);
    }
    found(summary, settings, correlator);
}

/// What went in and what became of it, the first feeds and the newest conversations up to so many: what can be had at any time.
pub(super) fn counts(summary: &mut Summary, pipeline: &Pipeline, correlator: &Correlator, most: usize) {
    summary.losses.merge(&correlator.losses);
    summary.losses.merge(correlator.pairer.losses());
    let missing: u64 = correlator.feeds.feeds.iter().map(crate::merge::Feed::lost).sum();
    summary.losses.add_many(Loss::FeedGap, missing);
    let bytes = pipeline.stream_bytes();
    // A decoder passes over bytes that it has taken; those in front of a hole it never took.
    let passed_over = correlator.losses.count(Loss::StreamSkipped) - bytes.discarded;
    let (messages, pairer) = (correlator.messages, &correlator.pairer);
    summary.totals = stats::Totals {
        frames_read: pipeline.frames_read(),
        frames_used: pipeline.frames_used(),
        stream_bytes: bytes.spanned,
        stream_bytes_used: bytes.consumed.saturating_sub(passed_over),
        messages: messages.market + messages.order + messages.stray + missing,
        messages_used: messages.market_used + messages.order_used,
        requests: pairer.requests_seen - pairer.hops,
        answers: pairer.answers,
        answers_matched: pairer.answers_matched,
    };
    hops(summary, pipeline);
    summary.feeds = (0..correlator.feeds.feeds.len().min(most)).map(|at| feed(&correlator.feeds, at)).collect();
    sessions(summary, correlator, most);
}

/// What is found out from all of it.
fn found(summary: &mut Summary, settings: &Settings, correlator: &Correlator) {
    let rule = &correlator.pairer.rules().trigger;
    let (links, are_cut) = correlator.pairer.suggestions(&correlator.symbols, &correlator.recent);
    summary.attribution.suggested_links = links;
    if are_cut {
        let text =
            "links between instruments were looked for among some of the symbols and requests only: there are too many";
        summary.notes.push(text.to_owned());
    }
    summary.attribution.aggregate = correlator.pairer.aggregate();
    summary.trigger = stats::TriggerRule {
        text: rule.text(),
        model: rule.learning.name(),
        window_ns: u64::try_from(rule.window.0).unwrap_or(0),
        min_ns: u64::try_from(rule.min.0).unwrap_or(0),
        messages: settings.trigger.messages.clone(),
    };
    let is_one = summary.clocks.is_empty() && settings.taps.iter().all(|tap| tap.clock.is_none());
    if summary.taps.len() > 1 && is_one {
        summary.notes.push("all taps are taken to share one clock; [[tap]] clock says otherwise".to_owned());
    }
}

/// Packets from tap to tap, all conversations of a pair together, by which tap saw them first.
fn hops(summary: &mut Summary, pipeline: &Pipeline) {
    let Some(hops) = &pipeline.hops else { return };
    summary.hops.ambiguous = hops.ambiguous;
    summary.hops.evicted = hops.evicted;
    summary.hops.beyond = hops.beyond;
    summary.hops.overlooked = hops.overlooked();
    summary.hops.unrelated = hops.unrelated;
    for (way, crossing) in hops.ways() {
        for (from, to, latencies) in
            [(way.taps.0, way.taps.1, &crossing.after), (way.taps.1, way.taps.0, &crossing.before)]
        {
            if !latencies.is_empty() {
                summary.hops.between(from, to).merge(latencies);
            }
        }
    }
}

/// All but its lags.
fn feed(feeds: &Feeds, at: usize) -> stats::Feed {
    let feed = &feeds.feeds[at];
    let lines = lines_of(feeds, at);
    let mut delay = stats::Histogram::default();
    for line in &lines {
        delay.merge(&line.delay);
    }
    let main = lines.iter().find(|line| line.letter != 'R').or(lines.first());
    let line = |line: &&Line| stats::Line {
        letter: line.letter.to_string(),
        address: line.endpoint.to_string(),
        messages: line.messages,
        first: line.first,
        heartbeats: line.heartbeats,
        last: (line.packets > 0).then_some(line.last),
    };
    let gap = |(time, sequence, missing)| stats::Gap { time, sequence, missing, recovered: 0 };
    stats::Feed {
        label: main.map(|line| line.endpoint.to_string()).unwrap_or_default(),
        protocol: feed.protocol.name.to_owned(),
        title: feed.protocol.title.to_owned(),
        lines: lines.iter().map(line).collect(),
        messages: feed.messages,
        duplicates: feed.duplicates,
        gap_count: feed.gaps,
        missing: feed.lost(),
        recovered: feed.recovered,
        gaps: feed.open_gaps().into_iter().take(GAPS_LISTED).map(gap).collect(),
        line_delay: delay,
        lags: Vec::new(),
    }
}

fn lines_of(feeds: &Feeds, feed: usize) -> Vec<&Line> {
    feeds.lines.iter().filter(|line| line.feed == feed).collect()
}

fn lags(feeds: &Feeds, feed: usize) -> Vec<stats::Lag> {
    let lines = lines_of(feeds, feed);
    feeds.feeds[feed].lags.iter().filter_map(|lag| self::lag(feeds, &lines, lag)).collect()
}

/// By the line's place among those of its feed.
fn lag(feeds: &Feeds, lines: &[&Line], lag: &Lag) -> Option<stats::Lag> {
    let of = feeds.lines.get(usize::from(lag.line))?;
    let line = lines.iter().position(|line| std::ptr::eq(*line, of))?;
    Some(stats::Lag { time: lag.time, line, delay_ns: lag.delay_ns })
}

fn sessions(summary: &mut Summary, correlator: &Correlator, most: usize) {
    let older = correlator.pairer.sessions().count().saturating_sub(most);
    for session in correlator.pairer.sessions().skip(older) {
        let state = match (session.logons, session.copies) {
            (0, 0) => "joined in mid-session".to_owned(),
            (0, copies) => format!("joined in mid-session, {copies} resent messages"),
            (logons, 0) => format!("{} logons", logons.div_ceil(2)),
            (logons, copies) => format!("{} logons, {copies} resent messages", logons.div_ceil(2)),
        };
        summary.sessions.push(stats::Session {
            name: session.name.to_owned(),
            title: session.protocol.to_owned(),
            client: session.client.to_owned(),
            server: session.server.to_owned(),
            requests: session.requests,
            answers: session.answers,
            state,
            logons: session.logons.div_ceil(2),
            heartbeats: session.heartbeats,
            retransmissions: session.retransmissions,
            gaps: session.gaps,
            last: Some(session.last),
            last_type: session.last_type.text(),
        });
    }
}

/// The report, and the files that are made of it.
pub(super) fn write(
    output: &OutputArgs,
    display: &DisplayArgs,
    clock: &ClockArgs,
    summary: &Summary,
) -> anyhow::Result<()> {
    if let Some(folder) = &output.hgrm {
        write_hgrm(summary, folder)?;
    }
    // That of `live` has grown all the time.
    let is_live = summary.taps.iter().any(|tap| tap.live.is_some());
    if let Some(file) = output.hlog.as_ref().filter(|_| !is_live) {
        write_hlog(summary, Output::create(file)?)?;
    }
    if output.prints_report() { print(output.json, display, clock, summary) } else { Ok(()) }
}

/// The report on standard output.
pub(super) fn print(json: bool, display: &DisplayArgs, clock: &ClockArgs, summary: &Summary) -> anyhow::Result<()> {
    if json {
        write_json(summary, Output::stdout())?;
    } else {
        let style = Style { color: display.is_colored(&io::stdout()), zone: clock.tz.0.clone() };
        write_text(summary, &style, Output::stdout())?;
    }
    Ok(())
}
