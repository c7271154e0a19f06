//! `tickscope analyze`: captures to a report, with tables and histogram files beside it.

use std::path::Path;
use std::{fs, mem, thread};

use anyhow::Context;
use tickscope_model::TapId;
use tracing::warn;

use super::args::{AnalyzeArgs, ClockArgs, SelectionArgs};
use super::clocks::Clocks;
use super::collect::{Collected, Collector, Tables};
use super::config::Settings;
use super::decode::is_lossy;
use super::open::{self, Prepared};
use super::{Outcome, facts, rules, unmatched};
use crate::capture::{BLOCK_BYTES, Tap};
use crate::pair::attribution::Learning;
use crate::pair::{Pairer, Rules, TriggerRule};
use crate::pipeline::correlator::Correlator;
use crate::stats::{self, Summary};

pub fn run(arguments: &AnalyzeArgs, settings: &Settings) -> anyhow::Result<Outcome> {
    let threads = arguments.threads.map_or_else(threads, usize::from);
    let (selection, clock) = (&arguments.selection, &arguments.clock);
    let task = Task { settings, selection, clock, threads, keeps_cases: false };
    let mut prepared = open::prepare(settings, selection, clock)?;
    let tables = Tables::create(&arguments.output)?;
    let (mut correlator, clocks) = task.stages(&mut prepared)?;
    let mut collector = Collector::start(task.summary(), tables, None, threads > 0)?;
    let stopped = open::run(&mut prepared, &arguments.display, &mut correlator, |correlator, now| {
        correlator.advance(now);
        collector.collect(correlator).context("writing rows")
    })?;
    let Collected { mut summary, tables, .. } = collector.finish(&mut correlator).context("writing rows")?;
    task.complete(&mut summary, &prepared, &correlator, (clocks, stopped))?;
    let was_cut = open::say_cuts(&prepared, &arguments.display);
    let names: Vec<String> = prepared.captures.taps().iter().map(|tap| tap.name.clone()).collect();
    write(arguments, &summary, tables, &names)?;
    let outcome = if was_cut || is_lossy(&summary.losses) { Outcome::DataLost } else { Outcome::Done };
    // The process ends; to give back every single piece of memory before that takes time and helps nobody.
    mem::forget((summary, correlator));
    Ok(outcome)
}

/// More threads than these only wait for the stages.
const MOST_THREADS: usize = 4;

/// Threads that read ahead, where the user says nothing: one a processor but for that of the stages, which read ahead
/// themselves where they would have to wait. (Measured: another thread on two processors costs a fifth of the time.)
pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(0, |all| all.get() - 1).min(MOST_THREADS)
}

/// What decides on the result of an analysis, whoever shows it.
pub(super) struct Task<'a> {
    pub settings: &'a Settings,
    pub selection: &'a SelectionArgs,
    pub clock: &'a ClockArgs,
    /// That read ahead.
    pub threads: usize,
    /// Somebody will ask what could have caused a request.
    pub keeps_cases: bool,
}

impl Task<'_> {
    /// What the rows go into.
    pub(super) fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        summary.attribution.threshold = self.settings.trigger.confidence;
        summary
    }

    /// Everything right of the flows, and how the taps' clocks are related. Captures are read ahead from now on, as far as they
    /// can be.
    pub(super) fn stages(&self, prepared: &mut Prepared) -> anyhow::Result<(Correlator, Clocks)> {
        let settings = self.settings;
        let clocks = Clocks::relate(settings, prepared)?;
        prepared.pipeline.relate_taps(&clocks.between);
        let mut correlator = correlator(self, prepared, &clocks)?;
        if !correlator.pairer.rules().trigger.keeps_books {
            prepared.pipeline.read_ahead(&mut prepared.captures, self.threads, BLOCK_BYTES);
        } else if settings.trigger.learning == Learning::Causal {
            // Books need every message by itself, so nothing is read ahead; and from what came before only, as live: a book
            // begins with the first request in its symbol.
            rules::watch_instruments(settings, &mut correlator)?;
        } else {
            let looked = open::look_first(settings, prepared, self.threads)?;
            looked.iter().flatten().for_each(|name| correlator.watch(name));
        }
        Ok((correlator, clocks))
    }

    /// Everything that the rows do not say.
    pub(super) fn complete(
        &self,
        summary: &mut Summary,
        prepared: &Prepared,
        correlator: &Correlator,
        (clocks, stopped): (Clocks, bool),
    ) -> anyhow::Result<()> {
        let names: Vec<&str> = prepared.captures.taps().iter().map(|tap| tap.name.as_str()).collect();
        self.clock.check_taps(&names)?;
        taps(summary, self.settings, prepared, correlator);
        facts::facts(summary, self.settings, &prepared.pipeline, correlator);
        for (tap, label) in summary.taps.iter_mut().zip(clocks.labels) {
            tap.clock_name = label;
        }
        (summary.clocks, summary.tap_clocks) = (clocks.relations, clocks.between);
        summary.notes.extend(unmatched::notes(self.settings, self.selection, &names, correlator));
        if stopped {
            summary.notes.push("stopped before the end of the captures: this is the report so far".to_owned());
        }
        Ok(())
    }
}

fn correlator(task: &Task<'_>, prepared: &Prepared, clocks: &Clocks) -> anyhow::Result<Correlator> {
    let Task { settings, selection, keeps_cases, .. } = *task;
    let length = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map_or(0, |file| file.len());
    let bytes = settings.captures.iter().filter_map(|capture| capture.input.path().map(length)).sum();
    let trigger = rules::trigger(settings, rules::keeps_books(settings, bytes)?)?;
    let rules = Rules {
        trigger: TriggerRule { keeps_cases, ..trigger },
        from: prepared.window.0,
        to: prepared.window.1,
        symbols: selection.symbols.clone(),
        sessions: selection.sessions.clone(),
        clocks: clocks.by_point(|tap| prepared.point(tap)),
        tap_clocks: clocks.between.clone(),
        answer_timeout: None,
    };
    let names: Vec<(String, u16)> =
        prepared.captures.taps().iter().enumerate().map(|(at, tap)| (tap.name.clone(), prepared.point(at))).collect();
    let points = open::nearest(settings, &names);
    Ok(Correlator::new(open::symbols(settings)?, rules::feeds(settings), Pairer::new(rules), points))
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
        let (has_market, has_orders) = facts::carries(correlator, id, prepared.point(at));
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
            has_market,
            has_orders,
            resolution_ns: if is_own { tap.tick_ns } else { 1 },
            stamps,
            edge: setting.and_then(|tap| tap.edge),
            offset: tap.offset,
            clock_name: String::new(),
            exchange: correlator.exchange_clocks.ahead(id),
            clock: open::offset_text(tap.offset),
            cut: file.and_then(|file| file.cut()).map(ToString::to_string),
            live: None,
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

fn write(arguments: &AnalyzeArgs, summary: &Summary, tables: Tables, names: &[String]) -> anyhow::Result<()> {
    let mut left_empty = 0;
    if let Some(table) = tables.orders {
        left_empty += table.finish(names)?.left_empty;
    }
    if let Some(table) = tables.segments {
        left_empty += table.finish(names)?.left_empty;
    }
    if left_empty > 0 && !arguments.display.quiet {
        warn!("{left_empty} prices do not fit the table's decimal and were left empty");
    }
    facts::write(&arguments.output, &arguments.display, &arguments.clock, summary)
}
