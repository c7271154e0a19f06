//! From arguments to [`Settings`], before a command that reads captures begins: the configuration is found and read,
//! the command line put on top, captures get their names, and what has no effect is said.

use std::fs;
use std::path::Path;

use tracing::info;

use super::args::{
    AnalyzeArgs, ClockArgs, DecodeArgs, DisplayArgs, FileArgs, InputArgs, LiveArgs, OutputArgs, SelectionArgs,
};
use super::config::settings::{Capture, Input, Settings};
use super::config::{Overrides, command, load};
use super::tui::args::TuiArgs;
use super::values::{CaptureArg, TimeArg};
use super::{WrongUsage, watch_signals};

pub(super) fn analyze(arguments: &AnalyzeArgs) -> anyhow::Result<Settings> {
    one_writer_of_stdout(&arguments.output)?;
    let overrides = Overrides {
        offsets: &arguments.clock.offsets,
        trailers: &arguments.clock.trailers,
        window: arguments.pairing.window,
        instruments: arguments.pairing.instruments.as_deref(),
        ..Overrides::default()
    };
    prepare(&arguments.input, &arguments.selection, &arguments.clock, &arguments.display, &overrides)
}

pub(super) fn decode(arguments: &DecodeArgs) -> anyhow::Result<Settings> {
    let (offsets, trailers) = (&arguments.clock.offsets, &arguments.clock.trailers);
    let overrides = Overrides { offsets, trailers, ..Overrides::default() };
    prepare(&arguments.input, &arguments.selection, &arguments.clock, &arguments.display, &overrides)
}

pub(super) fn live(arguments: &LiveArgs) -> anyhow::Result<Settings> {
    one_writer_of_stdout(&arguments.output)?;
    given_once(&arguments.clock)?;
    let search = command::find(arguments.file.config.as_deref());
    let mut settings = load(&search)?;
    for tap in settings.taps.iter_mut().filter(|tap| tap.name.is_empty()) {
        tap.name = tap.interface.clone().unwrap_or_default();
    }
    for tap in &arguments.taps {
        settings.put_tap(tap).map_err(|text| wrong(format!("--tap {tap}: {text}")))?;
    }
    settings.apply(&Overrides {
        offsets: &arguments.clock.offsets,
        trailers: &arguments.clock.trailers,
        window: arguments.pairing.window,
        instruments: arguments.pairing.instruments.as_deref(),
        socket: arguments.socket.as_deref(),
        metrics: arguments.metrics,
    });
    arguments.record.apply(&mut settings);
    say(&settings, &search, &arguments.display);
    watch_signals()?;
    Ok(settings)
}

/// Captures where there are any, else what a daemon's screen needs to know.
pub(super) fn tui(arguments: &TuiArgs) -> anyhow::Result<Settings> {
    let TuiArgs { selection, clock, display, pairing, .. } = arguments;
    let overrides = Overrides {
        offsets: &clock.offsets,
        trailers: &clock.trailers,
        window: pairing.window,
        instruments: pairing.instruments.as_deref(),
        ..Overrides::default()
    };
    // Signals are left as they are: the screen restores the terminal, and nothing is lost.
    let mut settings = read((&arguments.captures, &arguments.file), selection, clock, display, &overrides)?;
    if arguments.captures.is_empty() {
        // Files that the configuration names are not meant.
        settings.captures.clear();
    }
    Ok(settings)
}

/// One tap has one offset and one trailer.
fn given_once(clock: &ClockArgs) -> anyhow::Result<()> {
    for (index, offset) in clock.offsets.iter().enumerate() {
        if clock.offsets.iter().take(index).any(|other| other.tap == offset.tap) {
            return Err(wrong(format!("--offset is given twice for the tap \"{}\"", offset.tap)));
        }
    }
    for (index, trailer) in clock.trailers.iter().enumerate() {
        if clock.trailers.iter().take(index).any(|other| other.tap == trailer.tap) {
            let tap = trailer.tap.as_ref().map_or(String::new(), |tap| format!(" for the tap \"{tap}\""));
            return Err(wrong(format!("--trailer is given twice{tap}")));
        }
    }
    Ok(())
}

fn prepare(
    input: &InputArgs,
    selection: &SelectionArgs,
    clock: &ClockArgs,
    display: &DisplayArgs,
    overrides: &Overrides<'_>,
) -> anyhow::Result<Settings> {
    let settings = read((&input.captures, &input.file), selection, clock, display, overrides)?;
    if settings.captures.is_empty() {
        return Err(wrong("no CAPTURE is given, and no [[tap]] of the configuration names a file".into()));
    }
    watch_signals()?;
    Ok(settings)
}

fn read(
    (given, file): (&[CaptureArg], &FileArgs),
    selection: &SelectionArgs,
    clock: &ClockArgs,
    display: &DisplayArgs,
    overrides: &Overrides<'_>,
) -> anyhow::Result<Settings> {
    given_once(clock)?;
    if let (Some(TimeArg::Absolute(from)), Some(TimeArg::Absolute(to))) = (selection.from, selection.to)
        && to <= from
    {
        return Err(wrong(format!("--from ({from}) is not before --to ({to})")));
    }
    let search = command::find(file.config.as_deref());
    let mut settings = load(&search)?;
    settings.apply(overrides);
    settings.captures = captures(given, &mut settings)?;
    say(&settings, &search, display);
    Ok(settings)
}

/// What a person should know before the first frame.
fn say(settings: &Settings, search: &super::config::Search, display: &DisplayArgs) {
    if display.quiet {
        return;
    }
    if search.is_local_refused {
        info!("./tickscope.toml is not read as root; name it with --config");
    }
    if display.verbose > 0 {
        if let Some(found) = &search.found {
            info!("configuration: {} ({})", found.path.display(), found.because);
        } else {
            info!("configuration: no file, defaults");
        }
        for capture in &settings.captures {
            info!(tap = capture.name, "{}", capture.input);
        }
    }
}

/// The captures to read, each with a name: its own, that of the `[[tap]]` with its file, or its file's.
fn captures(arguments: &[CaptureArg], settings: &mut Settings) -> anyhow::Result<Vec<Capture>> {
    for tap in settings.taps.iter_mut().filter(|tap| tap.name.is_empty()) {
        if let Some(file) = &tap.file {
            tap.name = Capture::default_name(&Input::File(file.clone()));
        }
    }
    let configured: Vec<CaptureArg> = settings
        .taps
        .iter()
        .filter_map(|tap| {
            let input = Input::File(tap.file.clone()?);
            Some(CaptureArg { name: Some(tap.name.clone()), input })
        })
        .collect();
    let given = if arguments.is_empty() { configured.as_slice() } else { arguments };
    if given.iter().filter(|capture| capture.input == Input::Stdin).count() > 1 {
        return Err(wrong("standard input can be read only once".into()));
    }
    let mut captures: Vec<Capture> = Vec::new();
    for argument in given {
        let known = || settings.taps.iter().find(|tap| is_same_file(tap.file.as_deref(), &argument.input));
        let chosen = argument.name.clone().or_else(|| known().map(|tap| tap.name.clone()));
        if let Some(name) = chosen.as_ref().filter(|name| captures.iter().any(|other| other.name == **name)) {
            return Err(wrong(format!("two captures have the name \"{name}\"")));
        }
        let name = chosen.clone().unwrap_or_else(|| free_name(&Capture::default_name(&argument.input), &captures));
        captures.push(Capture { name, is_named: chosen.is_some(), input: argument.input.clone() });
    }
    Ok(captures)
}

/// The name, or with a number behind it where it is taken.
fn free_name(name: &str, taken: &[Capture]) -> String {
    let is_free = |name: &String| taken.iter().all(|capture| capture.name != *name);
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(is_free).expect("numbers do not end before captures do")
}

fn is_same_file(one: Option<&Path>, other: &Input) -> bool {
    let (Some(one), Some(other)) = (one, other.path()) else { return false };
    one == other || matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(a), Ok(b)) if a == b)
}

fn one_writer_of_stdout(output: &OutputArgs) -> anyhow::Result<()> {
    let mut writers: Vec<&str> = output.tables().filter(|(_, table)| table.path.is_none()).map(|(o, _)| o).collect();
    writers.extend(output.json.then_some("--json"));
    match writers.as_slice() {
        [one, other, ..] => Err(wrong(format!("{one} and {other} would both write to standard output"))),
        _ => Ok(()),
    }
}

fn wrong(text: String) -> anyhow::Error {
    WrongUsage(text).into()
}
