//! `tickscope tui`: the screen. It is an ordinary reader of the protocol of tickscope-socket(7): of a daemon's socket, of the
//! daemon that it runs inside (`live`), or of a thread that has analysed captures (`captures`). What it draws with is
//! `tickscope-tui`, which knows nothing of the engine; here the two are put together.

mod answers;
pub mod args;
mod captures;
mod dissect;
mod history;
pub(super) mod keep;
mod lines;
pub(super) mod live;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::anyhow;
use tickscope_model::{Nanos, SegmentKind, Timestamp};
use tickscope_tui::{Connection, Ended, Options, Theme};

use self::args::{ScreenArgs, TuiArgs};
use self::captures::{Captures, Running};
use super::args::{ClockArgs, DisplayArgs};
use super::config::Settings;
use super::log::Hold;
use super::{Outcome, WrongUsage, serve};
use crate::write::{Output, Style};

/// Where nobody says how large the terminal is.
const SIZE: (u16, u16) = (120, 40);

pub fn run(arguments: &TuiArgs, settings: &Settings) -> anyhow::Result<Outcome> {
    let has_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if !arguments.once && !has_terminal {
        let text = "the screen needs a terminal; --once prints it once as text, --once --json the snapshot";
        return Err(WrongUsage(text.to_owned()).into());
    }
    if settings.captures.is_empty() {
        of_captures_alone(arguments)?;
        let path = arguments.connect.clone().map_or_else(found_socket, Ok)?;
        let title = path.display().to_string();
        return show(arguments, settings, (Connection::Daemon(path), title)).map(|()| Outcome::Done);
    }
    let title = settings.captures.iter().map(|capture| capture.input.to_string()).collect::<Vec<_>>().join(", ");
    let (selection, clock) = (arguments.selection.clone(), arguments.clock.clone());
    let Running { stream, thread } = Captures { settings: settings.clone(), selection, clock }.start()?;
    let shown = show(arguments, settings, (Connection::Given(stream), title));
    // A thread that is still at work when the user has seen enough ends with the process.
    if thread.is_finished() || shown.is_err() {
        thread.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))?;
    }
    shown.map(|()| Outcome::Done)
}

fn show(arguments: &TuiArgs, settings: &Settings, (connection, title): (Connection, String)) -> anyhow::Result<()> {
    let TuiArgs { screen, clock, display, .. } = arguments;
    let options = options(screen, settings, (clock, display), title);
    let dissect = dissect::dissector(settings);
    if !arguments.once {
        let hold = Hold::new();
        let ended = tickscope_tui::run(connection, options, dissect)?;
        drop(hold);
        if let Ended::Signal(signal) = ended {
            // As it would have without a screen.
            signal_hook::low_level::emulate_default_handler(signal)?;
        }
        return Ok(());
    }
    let text = if arguments.json {
        tickscope_tui::once_json(connection)
    } else {
        let size = arguments.size.or_else(terminal_size).unwrap_or(SIZE);
        tickscope_tui::once(connection, options, dissect, size)
    };
    let text = text.map_err(|error| anyhow!(error))?;
    let mut out = Output::stdout();
    io::Write::write_all(&mut out, text.trim_end_matches('\n').as_bytes())?;
    io::Write::write_all(&mut out, b"\n")?;
    io::Write::flush(&mut out)?;
    Ok(())
}

/// What somebody said who thought of captures.
fn of_captures_alone(arguments: &TuiArgs) -> anyhow::Result<()> {
    let TuiArgs { selection, pairing, clock, .. } = arguments;
    let given = [
        ("--filter", selection.filter.is_some()),
        ("--from", selection.from.is_some()),
        ("--to", selection.to.is_some()),
        ("--symbol", !selection.symbols.is_empty()),
        ("--session", !selection.sessions.is_empty()),
        ("--offset", !clock.offsets.is_empty()),
        ("--trailer", !clock.trailers.is_empty()),
        ("--window", pairing.window.is_some()),
        ("--instruments", pairing.instruments.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(WrongUsage(format!("{option} is for captures, and no CAPTURE is given")).into()),
        None => Ok(()),
    }
}

/// The daemon's that nobody named.
fn found_socket() -> anyhow::Result<PathBuf> {
    let paths = serve::default_paths();
    let found = paths.iter().find(|path| path.exists());
    found.cloned().ok_or_else(|| {
        let places = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" nor at ");
        anyhow!(
            "no CAPTURE is given, and there is no running daemon: no socket at {places}; tickscope live makes one, --connect \
             PATH names another"
        )
    })
}

fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// What the screen is told.
fn options(
    screen: &ScreenArgs,
    settings: &Settings,
    (clock, display): (&ClockArgs, &DisplayArgs),
    title: String,
) -> Options {
    let style = Style { color: false, zone: clock.tz.0.clone() };
    let theme = screen.theme.unwrap_or(if display.is_colored(&io::stdout()) { Theme::Dark } else { Theme::None });
    let budgets = budgets(screen, settings);
    let first = tickscope_tui::Screen::ALL.iter().copied().next().expect("there are screens");
    Options {
        screen: screen.screen.unwrap_or(first),
        theme,
        is_ascii: screen.ascii,
        has_mouse: !screen.no_mouse,
        budgets: budgets
            .into_iter()
            .filter_map(|(kind, most)| Some((kind.name().to_owned(), u64::try_from(most.0).ok()?)))
            .collect(),
        zone: Box::new(move |time_ns| style.clock(Timestamp(time_ns))),
        version: env!("CARGO_PKG_VERSION"),
        title,
    }
}

/// The command line's, and of the configuration's those that it does not replace.
fn budgets(screen: &ScreenArgs, settings: &Settings) -> Vec<(SegmentKind, Nanos)> {
    let mut all = settings.budgets.clone();
    for (kind, most) in screen.budgets.iter().flatten() {
        all.retain(|(known, _)| known != kind);
        all.push((*kind, *most));
    }
    all.sort_unstable();
    all
}
