//! `tickscope analyze`: captures to a report, with tables and histogram files beside it.

use std::path::Path;
use std::{fs, io, mem, thread};

use anyhow::{Context, anyhow, bail};
use regex_lite::Regex;
use tickscope_model::{Loss, MarketKind, TapId};

use super::args::AnalyzeArgs;
use super::clocks::Clocks;
use super::collect::{Collector, Tables};
use super::config::Settings;
use super::config::settings::{Books, OrderTag};
use super::decode::is_lossy;
use super::open::{self, Prepared};
use super::{Outcome, complain, unmatched};
use crate::capture::{BLOCK_BYTES, Tap};
use crate::flow::Endpoint;
use crate::merge::{Feeds, Lag, Line};
use crate::pair::attribution::Learning;
use crate::pair::{IdRule, LinkRule, Named, Pairer, Rules, TriggerRule};
use crate::pipeline::correlator::Correlator;
use crate::stats::{self, Summary};
use crate::write::{Output, Style, write_hgrm, write_hlog, write_json, write_text};

/// Gaps of a feed that the report lists one by one.
const GAPS_LISTED: usize = 20;

pub fn run(arguments: &AnalyzeArgs, settings: &Settings) -> anyhow::Result<Outcome> {
    let mut prepared = open::prepare(settings, &arguments.selection, &arguments.clock)?;
    let tables = Tables::create(&arguments.output)?;
    let clocks = Clocks::relate(settings, &mut prepared)?;
    if let Some(hops) = &mut prepared.pipeline.hops {
        hops.clocks = clocks.between.clone();
    }
    let mut correlator = correlator(arguments, settings, &prepared, &clocks)?;
    let threads = threads(arguments);
    let mut summary = Summary::default();
    summary.attribution.threshold = settings.trigger.confidence;
    let mut collector = Collector::start(summary, tables, threads > 0)?;
    if correlator.pairer.rules().trigger.keeps_books {
        // Books need every message by itself, so nothing is read ahead.
        let looked = open::look_first(settings, &prepared, threads)?;
        looked.iter().flatten().for_each(|name| correlator.watch(name));
    } else {
        prepared.pipeline.read_ahead(&mut prepared.captures, threads, BLOCK_BYTES);
    }
    let stopped = open::run(&mut prepared, &arguments.display, &mut correlator, |correlator, now| {
        correlator.advance(now);
        collector.collect(correlator).context("writing rows")
    })?;
    let mut is_open = true;
    while is_open {
        is_open = correlator.finish_some();
        collector.collect(&mut correlator).context("writing rows")?;
    }
    let (mut summary, tables) = collector.finish(&mut correlator).context("writing rows")?;
    let names: Vec<&str> = prepared.captures.taps().iter().map(|tap| tap.name.as_str()).collect();
    arguments.clock.check_taps(&names)?;
    facts(&mut summary, settings, &prepared, &correlator);
    for (tap, label) in summary.taps.iter_mut().zip(clocks.labels) {
        tap.clock_name = label;
    }
    (summary.clocks, summary.tap_clocks) = (clocks.relations, clocks.between);
    summary.notes.extend(unmatched::notes(settings, &arguments.selection, &names, &correlator));
    if stopped {
        summary.notes.push("stopped before the end of the captures: this is the report so far".to_owned());
    }
    let was_cut = open::say_cuts(&prepared, &arguments.display);
    write(arguments, &summary, tables, &names)?;
    let outcome = if was_cut || is_lossy(&summary.losses) { Outcome::DataLost } else { Outcome::Done };
    // The process ends; to give back every single piece of memory before that takes time and helps nobody.
    mem::forget((summary, correlator));
    Ok(outcome)
}

/// More threads than these only wait for the stages.
const MOST_THREADS: usize = 4;

/// Threads that read ahead: the user's, else one a processor but for that of the stages, which read ahead themselves where
/// they would have to wait. (Measured: another thread on two processors costs a fifth of the time.)
fn threads(arguments: &AnalyzeArgs) -> usize {
    let others = || thread::available_parallelism().map_or(0, |all| all.get() - 1).min(MOST_THREADS);
    arguments.threads.map_or_else(others, usize::from)
}

fn correlator(
    arguments: &AnalyzeArgs,
    settings: &Settings,
    prepared: &Prepared,
    clocks: &Clocks,
) -> anyhow::Result<Correlator> {
    let lines = settings.feeds.iter().filter_map(|feed| {
        let (group, letter) = (feed.group?, feed.line.as_deref()?.chars().next()?);
        Some((Endpoint { address: group.ip(), port: group.port() }, letter))
    });
    let rules = Rules {
        trigger: TriggerRule {
            window: settings.trigger.window,
            min: settings.trigger.min,
            kinds: kinds(&settings.trigger.messages),
            learning: settings.trigger.learning,
            ids: ids(settings)?,
            links: links(settings)?,
            keeps_books: keeps_books(settings)?,
            keeps_cases: false,
        },
        from: prepared.window.0,
        to: prepared.window.1,
        symbols: arguments.selection.symbols.clone(),
        sessions: arguments.selection.sessions.clone(),
        clocks: by_point(clocks, prepared),
        tap_clocks: clocks.between.clone(),
    };
    let names: Vec<(String, u16)> =
        prepared.captures.taps().iter().enumerate().map(|(at, tap)| (tap.name.clone(), prepared.point(at))).collect();
    let points = open::nearest(settings, &names);
    Ok(Correlator::new(open::symbols(settings)?, Feeds::new(lines.collect()), Pairer::new(rules), points))
}

/// Books are kept of captures that have at most so many bytes, unless the user says otherwise.
const BOOKS_BYTES: u64 = 256 << 20;

/// Whether the symbols of requests have books.
fn keeps_books(settings: &Settings) -> anyhow::Result<bool> {
    let trigger = &settings.trigger;
    let needs_books = !trigger.ids.is_empty() || !trigger.links.is_empty();
    let length = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map_or(0, |file| file.len());
    let lengths = settings.captures.iter().filter_map(|capture| capture.input.path().map(length));
    match trigger.books {
        _ if trigger.learning == Learning::None => Ok(false),
        Books::Never if needs_books => {
            bail!("[[trigger.id]] and [[trigger.link]] need books; [trigger] books is \"never\"")
        }
        Books::Never => Ok(false),
        Books::Always => Ok(true),
        Books::Auto => Ok(needs_books || lengths.sum::<u64>() <= BOOKS_BYTES),
    }
}

/// The kinds of messages behind the names of `[trigger] messages`. Without a book every change of an order book may
/// have moved the best price, so `bbo` means those too.
fn kinds(names: &[String]) -> Vec<MarketKind> {
    let kinds = |name: &str| match name {
        "trade" => vec![MarketKind::Trade],
        "quote" => vec![MarketKind::Quote],
        "book" => vec![MarketKind::Book],
        "auction" => vec![MarketKind::Auction],
        "status" => vec![MarketKind::Status],
        _ => vec![MarketKind::Quote, MarketKind::Book],
    };
    let mut all: Vec<MarketKind> = names.iter().flat_map(|name| kinds(name)).collect();
    all.dedup();
    all
}

/// `[[trigger.id]]`, which the configuration has checked.
fn ids(settings: &Settings) -> anyhow::Result<Vec<IdRule>> {
    let mut rules = Vec::new();
    for id in &settings.trigger.ids {
        let named = Named::NAMES.iter().find(|(name, _)| Some(*name) == id.market_data);
        if let (Some(OrderTag { tag, regex, base }), Some((_, names))) = (&id.order, named) {
            let regex = regex.as_deref().map(Regex::new).transpose()?;
            rules.push(IdRule { tag: *tag, regex, base: *base, names: *names });
        }
    }
    Ok(rules)
}

/// `[[trigger.link]]`, likewise.
fn links(settings: &Settings) -> anyhow::Result<Vec<LinkRule>> {
    let rules = settings.trigger.links.iter().map(|link| LinkRule::parse(&link.orders, &link.when));
    rules.collect::<Result<_, String>>().map_err(|text| anyhow!(text))
}

/// The clock of each point.
fn by_point(clocks: &Clocks, prepared: &Prepared) -> Vec<String> {
    let mut by_point: Vec<String> = Vec::new();
    for (at, clock) in clocks.of_tap.iter().enumerate() {
        let point = usize::from(prepared.point(at));
        if by_point.len() <= point {
            by_point.resize(point + 1, String::new());
        }
        by_point[point].clone_from(clock);
    }
    by_point
}

/// Everything about the run that the rows do not say.
fn facts(summary: &mut Summary, settings: &Settings, prepared: &Prepared, correlator: &Correlator) {
    summary.losses.merge(&correlator.losses);
    summary.losses.merge(correlator.pairer.losses());
    let missing: u64 = correlator.feeds.feeds.iter().map(crate::merge::Feed::lost).sum();
    summary.losses.add_many(Loss::FeedGap, missing);
    let bytes = prepared.pipeline.stream_bytes();
    // A decoder passes over bytes that it has taken; those in front of a hole it never took.
    let passed_over = correlator.losses.count(Loss::StreamSkipped) - bytes.discarded;
    let (messages, pairer) = (correlator.messages, &correlator.pairer);
    summary.totals = stats::Totals {
        frames_read: prepared.pipeline.frames_read(),
        frames_used: prepared.pipeline.frames_used(),
        stream_bytes: bytes.spanned,
        stream_bytes_used: bytes.consumed.saturating_sub(passed_over),
        messages: messages.market + messages.order + messages.stray + missing,
        messages_used: messages.market_used + messages.order_used,
        requests: pairer.requests_seen - pairer.hops,
        answers: pairer.answers,
        answers_matched: pairer.answers_matched,
    };
    taps(summary, settings, prepared, correlator);
    hops(summary, prepared);
    feeds(summary, &correlator.feeds);
    sessions(summary, correlator);
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
    if prepared.captures.taps().len() > 1 && settings.taps.iter().all(|tap| tap.clock.is_none()) {
        summary.notes.push("all taps are taken to share one clock; [[tap]] clock says otherwise".to_owned());
    }
}

fn taps(summary: &mut Summary, settings: &Settings, prepared: &Prepared, correlator: &Correlator) {
    let files: Vec<_> = prepared.captures.files().collect();
    for (at, tap) in prepared.captures.taps().iter().enumerate() {
        let counts = prepared.pipeline.taps.get(at).copied().unwrap_or_default();
        let id = TapId(u16::try_from(at).unwrap_or(u16::MAX));
        let file = files.get(tap.file);
        let setting = settings.tap(&tap.name);
        let stamps = prepared.captures.stamps(id);
        let is_own = stamps.as_ref().is_none_or(|stamps| stamps.format.is_none());
        if tap.is_coarser && is_own {
            summary.notes.push(coarse(tap));
        }
        summary.taps.push(stats::Tap {
            name: tap.name.clone(),
            file: file.map(|file| file.path().display().to_string()).unwrap_or_default(),
            frames: counts.frames,
            bytes: counts.bytes,
            first: counts.first,
            last: counts.last,
            point: setting.and_then(|tap| tap.point),
            has_market: correlator.feeds.lines.iter().any(|line| line.tap == id && line.messages > 0),
            has_orders: correlator
                .pairer
                .sessions()
                .any(|session| session.point == prepared.point(at) && session.requests > 0),
            resolution_ns: if is_own { tap.tick_ns } else { 1 },
            stamps,
            edge: setting.and_then(|tap| tap.edge),
            offset: tap.offset,
            clock_name: String::new(),
            exchange: correlator.exchange_clocks.ahead(id),
            clock: open::offset_text(tap.offset),
            cut: file.and_then(|file| file.cut()).map(ToString::to_string),
        });
    }
}

/// A file that could hold finer stamps than it does.
fn coarse(tap: &Tap) -> String {
    let step = if tap.tick_ns < 1_000_000 { "microseconds" } else { "milliseconds" };
    format!(
        "{}: its stamps are whole {step}, though the file counts in {}: they are taken for that",
        tap.name, tap.resolution
    )
}

/// Packets from tap to tap, all conversations of a pair together, by which tap saw them first.
fn hops(summary: &mut Summary, prepared: &Prepared) {
    let Some(hops) = &prepared.pipeline.hops else { return };
    summary.hops.ambiguous = hops.ambiguous;
    summary.hops.evicted = hops.evicted;
    summary.hops.beyond = hops.beyond;
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

fn feeds(summary: &mut Summary, feeds: &Feeds) {
    for (at, feed) in feeds.feeds.iter().enumerate() {
        let lines: Vec<&Line> = feeds.lines.iter().filter(|line| line.feed == at).collect();
        let mut delay = stats::Histogram::default();
        for line in &lines {
            delay.merge(&line.delay);
        }
        let main = lines.iter().find(|line| line.letter != 'R').or(lines.first());
        summary.feeds.push(stats::Feed {
            label: main.map(|line| line.endpoint.to_string()).unwrap_or_default(),
            protocol: feed.protocol.name.to_owned(),
            title: feed.protocol.title.to_owned(),
            lines: lines
                .iter()
                .map(|line| stats::Line {
                    letter: line.letter.to_string(),
                    address: line.endpoint.to_string(),
                    messages: line.messages,
                    first: line.first,
                })
                .collect(),
            messages: feed.messages,
            duplicates: feed.duplicates,
            gap_count: feed.gaps,
            missing: feed.lost(),
            recovered: feed.recovered,
            gaps: feed
                .open_gaps()
                .into_iter()
                .take(GAPS_LISTED)
                .map(|(time, sequence, missing)| stats::Gap { time, sequence, missing, recovered: 0 })
                .collect(),
            line_delay: delay,
            lags: feed.lags.iter().filter_map(|lag| self::lag(feeds, &lines, lag)).collect(),
        });
    }
}

/// By the line's place among those of its feed.
fn lag(feeds: &Feeds, lines: &[&Line], lag: &Lag) -> Option<stats::Lag> {
    let of = feeds.lines.get(usize::from(lag.line))?;
    let line = lines.iter().position(|line| std::ptr::eq(*line, of))?;
    Some(stats::Lag { time: lag.time, line, delay_ns: lag.delay_ns })
}

fn sessions(summary: &mut Summary, correlator: &Correlator) {
    for session in correlator.pairer.sessions() {
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
        });
    }
}

fn write(arguments: &AnalyzeArgs, summary: &Summary, tables: Tables, names: &[&str]) -> anyhow::Result<()> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut left_empty = 0;
    if let Some(table) = tables.orders {
        left_empty += table.finish(&names)?.left_empty;
    }
    if let Some(table) = tables.segments {
        left_empty += table.finish(&names)?.left_empty;
    }
    if left_empty > 0 && !arguments.display.quiet {
        complain("warning", &format!("{left_empty} prices do not fit the table's decimal and were left empty"));
    }
    if let Some(folder) = &arguments.output.hgrm {
        write_hgrm(summary, folder)?;
    }
    if let Some(file) = &arguments.output.hlog {
        write_hlog(summary, Output::create(file)?)?;
    }
    if arguments.output.prints_report() {
        if arguments.output.json {
            write_json(summary, Output::stdout())?;
        } else {
            let style =
                Style { color: arguments.display.is_colored(&io::stdout()), zone: arguments.clock.tz.0.clone() };
            write_text(summary, &style, Output::stdout())?;
        }
    }
    Ok(())
}
