//! What `analyze` and `decode` have in common: captures opened, points found, flows configured, progress shown.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tickscope_decoders::{PROTOCOLS, Protocol};
use tickscope_model::{Nanos, Timestamp};
use tracing::warn;

use super::args::{ClockArgs, DisplayArgs, SelectionArgs};
use super::config::settings;
use super::config::{Settings, instruments};
use super::{WrongUsage, stop};
use crate::capture::stamp::{Lead, TapTime, Trailer};
use crate::capture::{Input, Merged};
use crate::dissect::Filter;
use crate::flow::{Endpoint, Lane, NamedEnd, NamedSession};
use crate::merge::Symbols;
use crate::pipeline::first_look;
use crate::pipeline::hops::Hops;
use crate::pipeline::points::{self, Found, TapGroup};
use crate::pipeline::{Configured, Pipeline};

/// Frames, or runs of packets, between two looks at Ctrl-C and the progress bar.
const CHECK_EVERY: u64 = 1 << 10;

/// Captures and everything the stages need, ready to run.
pub(super) struct Prepared {
    pub captures: Merged,
    pub points: Vec<u16>,
    pub pipeline: Pipeline,
    /// Half-open range of `--from` and `--to`.
    pub window: (Timestamp, Timestamp),
}

impl Prepared {
    /// The observation point of a tap by its number; a tap that appeared late is a point of its own.
    pub(super) fn point(&self, tap: usize) -> u16 {
        self.points.get(tap).copied().unwrap_or(u16::try_from(tap).unwrap_or(u16::MAX))
    }
}

pub(super) fn prepare(settings: &Settings, selection: &SelectionArgs, clock: &ClockArgs) -> anyhow::Result<Prepared> {
    let captures = open_all(settings, &[])?;
    let filter = selection.filter.as_deref().map(Filter::parse).transpose();
    let filter = filter.map_err(|error| WrongUsage(format!("--filter: {error}")))?;
    let needs_points = settings.captures.len() > 1 || settings.taps.iter().any(|tap| tap.group.is_some());
    // Standard input cannot be read twice, and a single capture of one interface is one point anyway.
    let readable_twice = settings.captures.iter().all(|capture| capture.input != settings::Input::Stdin);
    let Found { points, is_shared } = if needs_points && readable_twice {
        let groups: Vec<TapGroup> =
            settings.taps.iter().map(|tap| TapGroup { name: tap.name.clone(), group: tap.group.clone() }).collect();
        points::find(open_all(settings, &[])?, &groups)
    } else {
        Found::default()
    };
    let window = window(settings, selection, clock)?;
    let mut pipeline = Pipeline::new(configured(settings)?, filter, points.clone());
    pipeline.hops = is_shared.then(Hops::default);
    Ok(Prepared { captures, points, pipeline, window })
}

/// The names of symbols in the order flow; `None` where the captures cannot be read twice.
pub(super) fn look_first(
    settings: &Settings,
    prepared: &Prepared,
    threads: usize,
) -> anyhow::Result<Option<BTreeSet<Box<[u8]>>>> {
    if let Some(spans) = prepared.captures.spans() {
        return Ok(Some(first_look::quick(&spans, threads)));
    }
    if settings.captures.iter().any(|capture| !capture.input.is_readable_twice()) {
        return Ok(None);
    }
    Ok(Some(first_look::symbols(open_all(settings, &[])?, configured(settings)?, prepared.points.clone())))
}

/// Opens all captures. `leads`: taps whose clock is ahead of the one that counts.
pub(super) fn open_all(settings: &Settings, leads: &[(String, Vec<Lead>)]) -> anyhow::Result<Merged> {
    let input = |capture: &settings::Capture| Input {
        name: Some(capture.name.clone()),
        path: capture.input.path().unwrap_or(Path::new("-")).to_owned(),
    };
    let inputs: Vec<Input> = settings.captures.iter().map(input).collect();
    let trailer = settings.trailer.unwrap_or_default();
    let rest = TapTime { trailer, ..TapTime::default() };
    let mut rules: Vec<TapTime> =
        settings.taps.iter().map(|tap| tap_time(tap, tap.trailer.unwrap_or(trailer))).chain([rest]).collect();
    for (name, leads) in leads {
        let at = rules.iter().position(|rule| rule.name == *name).unwrap_or_else(|| {
            rules.insert(0, TapTime { name: name.clone(), trailer, ..TapTime::default() });
            0
        });
        rules[at].leads.clone_from(leads);
    }
    Ok(Merged::open(&inputs, &rules)?)
}

/// What is said of a tap's times.
pub(super) fn tap_time(tap: &settings::TapSetting, trailer: Trailer) -> TapTime {
    TapTime { name: tap.name.clone(), offset: tap.offset, trailer, edge: tap.edge, speed: tap.speed, leads: Vec::new() }
}

/// The range of time that counts. A time of day means the day of the first frame, which is looked at only then.
fn window(settings: &Settings, selection: &SelectionArgs, clock: &ClockArgs) -> anyhow::Result<(Timestamp, Timestamp)> {
    if selection.from.is_none() && selection.to.is_none() {
        return Ok((Timestamp::MIN, Timestamp::MAX));
    }
    let mut first = Timestamp::MIN;
    if settings.captures.iter().all(|capture| capture.input != settings::Input::Stdin) {
        let mut captures = open_all(settings, &[])?;
        while let Some(captured) = captures.next() {
            if captured.has_time {
                first = captured.frame.time;
                break;
            }
        }
    }
    selection.window(first, &clock.tz)
}

pub(super) fn configured(settings: &Settings) -> anyhow::Result<Configured> {
    let mut configured = Configured::default();
    for feed in &settings.feeds {
        if let (Some(group), Some(name)) = (feed.group, &feed.protocol) {
            let endpoint = Endpoint { address: group.ip(), port: group.port() };
            configured.feeds.push((endpoint, protocol(name)?));
        }
    }
    for session in &settings.sessions {
        let protocol = session.protocol.as_deref().map(protocol).transpose()?;
        let end = |end: settings::Endpoint| NamedEnd { address: end.address, port: end.port };
        let (client, server) = (session.client.map(end), session.server.map(end));
        configured.sessions.push(NamedSession { client, server, protocol });
    }
    Ok(configured)
}

fn protocol(name: &str) -> anyhow::Result<&'static Protocol> {
    PROTOCOLS.iter().copied().find(|protocol| protocol.name == name).ok_or_else(|| anyhow!("unknown protocol {name}"))
}

/// The table of symbols, with the user's names for instruments.
pub(super) fn symbols(settings: &Settings) -> anyhow::Result<Symbols> {
    let mut symbols = Symbols::default();
    if let Some(path) = &settings.instruments {
        for instrument in instruments::read(path)? {
            symbols.declare(instrument.names());
        }
    }
    Ok(symbols)
}

/// Runs all frames through the stages. `each` is called before every frame with its time. Returns whether it was
/// stopped before the end.
pub(super) fn run<L: Lane>(
    prepared: &mut Prepared,
    display: &DisplayArgs,
    lane: &mut L,
    each: impl FnMut(&mut L, Timestamp) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let bar = progress(&prepared.captures, display);
    let show = |captures: &Merged, _: &Pipeline, _: &L| {
        bar.set_position(captures.position());
        Ok(())
    };
    let stopped = run_with(prepared, lane, each, (CHECK_EVERY, show));
    bar.finish_and_clear();
    stopped
}

/// The same for somebody else who wants to know how far it is: `look` is called every so many frames.
pub(super) fn run_with<L: Lane>(
    prepared: &mut Prepared,
    lane: &mut L,
    mut each: impl FnMut(&mut L, Timestamp) -> anyhow::Result<()>,
    (check_every, mut look): (u64, impl FnMut(&Merged, &Pipeline, &L) -> anyhow::Result<()>),
) -> anyhow::Result<bool> {
    let Prepared { captures, pipeline, .. } = prepared;
    let mut count = 0_u64;
    let mut stopped = false;
    while pipeline.step(captures, lane, &mut each)? {
        count += 1;
        if count.is_multiple_of(check_every) {
            look(captures, pipeline, lane)?;
            if stop().load(Ordering::Relaxed) {
                stopped = true;
                break;
            }
        }
    }
    captures.finish();
    pipeline.finish(captures, lane);
    Ok(stopped)
}

fn progress(captures: &Merged, display: &DisplayArgs) -> ProgressBar {
    if !display.shows_progress() {
        return ProgressBar::hidden();
    }
    let size = captures.size();
    let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let template = if size.is_some() {
        "{percent:>3}% {wide_bar} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left"
    } else {
        "{spinner} {bytes} read  {bytes_per_sec}"
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is ours"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Says on stderr where captures broke off. Returns whether any did.
pub(super) fn say_cuts(prepared: &Prepared, display: &DisplayArgs) -> bool {
    let mut any = false;
    for (path, cut) in prepared.captures.cuts() {
        any = true;
        if !display.quiet {
            warn!("{}: {cut}", path.display());
        }
    }
    any
}

/// The nearest points that a request's market data may come from: its own first, then market-data points by how far
/// their letters lie from the order's, then the others in the order in which they were named.
pub(super) fn nearest(settings: &Settings, names: &[(String, u16)]) -> Vec<Vec<u16>> {
    let count = names.iter().map(|(_, point)| usize::from(*point) + 1).max().unwrap_or(1);
    let letter = |point: u16| {
        let name = names.iter().find(|(_, other)| *other == point).map(|(name, _)| name.as_str());
        name.and_then(|name| settings.tap(name)).and_then(|tap| tap.point)
    };
    (0..count)
        .map(|own| {
            let own = u16::try_from(own).unwrap_or(u16::MAX);
            let mut others: Vec<u16> = (0..count).filter_map(|point| u16::try_from(point).ok()).collect();
            others.sort_by_key(|&point| (point != own, distance(letter(own), letter(point)), point));
            others
        })
        .collect()
}

fn distance(one: Option<char>, other: Option<char>) -> u32 {
    match (one, other) {
        (Some(one), Some(other)) => u32::from(one).abs_diff(u32::from(other)),
        _ => 3, // between neighbours and opposite ends
    }
}

/// Offsets as the report prints them.
pub(super) fn offset_text(offset: Nanos) -> String {
    if offset.0 == 0 { String::new() } else { format!("{:+} ns added", offset.0) }
}
