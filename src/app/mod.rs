//! The commands, and what all of them share: arguments, configuration, exit codes, Ctrl-C.
//! Exit codes are those of INTERFACE.md: 0 done, 1 could not, 2 wrong usage, 3 data lost under `--strict`, 4 a check failed.

pub mod analyze;
mod apart;
pub mod args;
mod clocks;
mod collect;
mod completions;
pub mod config;
pub mod decode;
pub mod doctor;
mod facts;
mod grow;
pub mod interval_log;
mod live;
pub mod log;
pub mod man;
mod open;
mod prepare;
pub mod recording;
mod reload;
mod rules;
pub mod score;
mod serve;
mod sim;
pub mod tui;
mod unmatched;
pub mod values;
mod watch;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tracing::error;

use self::args::{Cli, Command, DisplayArgs, When};

/// How a command ended that did what it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Done, but data was lost, cut or could not be decoded: an exit code of its own only under `--strict`.
    DataLost,
    /// A check or a given threshold failed.
    CheckFailed,
}

/// An error that is the command line's: it exits with 2, and points to the help.
#[derive(Debug)]
pub struct WrongUsage(pub String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

const COULD_NOT: u8 = 1;
const WRONG_USAGE: u8 = 2;
const DATA_LOST: u8 = 3;
const CHECK_FAILED: u8 = 4;

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// True once somebody pressed Ctrl-C (or sent SIGTERM): finish with what there is. Read it with `Ordering::Relaxed`.
pub fn stop() -> &'static AtomicBool {
    &STOP
}

/// The whole program.
pub fn main() -> ExitCode {
    log::start();
    match Cli::try_parse() {
        Ok(cli) => {
            let (result, is_strict) = run(&cli.command);
            exit_code(&cli.command, result, is_strict)
        }
        Err(error) => usage(&error),
    }
}

/// Runs a command; the flag says whether lost data is a failure.
fn run(command: &Command) -> (anyhow::Result<Outcome>, bool) {
    match command {
        Command::Analyze(arguments) => (
            prepare::analyze(arguments).and_then(|settings| analyze::run(arguments, &settings)),
            arguments.input.strict,
        ),
        Command::Decode(arguments) => {
            (prepare::decode(arguments).and_then(|settings| decode::run(arguments, &settings)), arguments.input.strict)
        }
        Command::Live(arguments) => {
            log::write_as(arguments.log);
            (prepare::live(arguments).and_then(|settings| live::run(arguments, settings)), arguments.strict)
        }
        Command::Tui(arguments) => (prepare::tui(arguments).and_then(|settings| tui::run(arguments, &settings)), false),
        Command::Sim(arguments) => (sim::run(arguments), false),
        Command::Score(arguments) => (score::run(arguments), false),
        Command::Doctor(arguments) => (doctor::run(arguments), false),
        Command::Config(arguments) => (config::command::run(arguments), false),
        Command::Completions(arguments) => (completions::run(arguments), false),
    }
}

fn exit_code(command: &Command, result: anyhow::Result<Outcome>, strict: bool) -> ExitCode {
    let result = result.and_then(|outcome| {
        io::stdout().flush()?;
        Ok(outcome)
    });
    match result {
        Ok(Outcome::CheckFailed) => ExitCode::from(CHECK_FAILED),
        // A run that was stopped has not seen the rest of its input.
        Ok(Outcome::DataLost) if strict => ExitCode::from(DATA_LOST),
        Ok(Outcome::Done) if strict && !matches!(command, Command::Live(_)) && stop().load(Ordering::Relaxed) => {
            ExitCode::from(DATA_LOST)
        }
        Ok(Outcome::Done | Outcome::DataLost) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(wrong) = error.downcast_ref::<WrongUsage>() {
                return usage(&wrong_usage(command, wrong));
            }
            error!("{error:#}");
            ExitCode::from(COULD_NOT)
        }
    }
}

/// The error as clap words its own, with the usage of the command at hand.
fn wrong_usage(command: &Command, wrong: &WrongUsage) -> clap::Error {
    let mut root = Cli::command();
    root.build();
    let name = match command {
        Command::Analyze(_) => "analyze",
        Command::Decode(_) => "decode",
        Command::Live(_) => "live",
        Command::Tui(_) => "tui",
        Command::Sim(_) => "sim",
        Command::Score(_) => "score",
        Command::Doctor(_) => "doctor",
        Command::Config(_) => "config",
        Command::Completions(_) => "completions",
    };
    root.find_subcommand_mut(name).expect("every command is clap's").error(ErrorKind::ValueValidation, wrong)
}

/// Help and version are asked for and go to stdout; everything else of clap's is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to be told where this fails.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS }
}

/// Whoever read our output has had enough, as `head` does: that is success.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// The first Ctrl-C or SIGTERM asks for the report so far, the second ends the process as it would without us.
fn watch_signals() -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first registered action sees the flag as it was before this signal.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&STOP))?;
        signal_hook::flag::register(signal, Arc::clone(&STOP))?;
    }
    Ok(())
}

impl DisplayArgs {
    /// Whether text on this stream is coloured: `--color` first, then `NO_COLOR` (no-color.org), then the terminal.
    pub fn is_colored(&self, stream: &impl IsTerminal) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                stream.is_terminal()
                    && !is_set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }

    /// Whether progress is shown.
    pub fn shows_progress(&self) -> bool {
        !self.no_progress && !self.quiet && io::stderr().is_terminal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a process of its own: whoever shares it would stop, too.
    #[test]
    fn the_first_ctrl_c_asks_for_the_report_so_far() {
        const ALONE: &str = "TICKSCOPE_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let program = std::env::current_exe().expect("this test's own program");
            let name = "app::tests::the_first_ctrl_c_asks_for_the_report_so_far";
            let output = std::process::Command::new(program).args(["--exact", name]).env(ALONE, "1").output();
            let output = output.expect("it runs");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        watch_signals().expect("signals can be watched");
        assert!(!stop().load(Ordering::Relaxed));
        signal_hook::low_level::raise(signal_hook::consts::SIGINT).expect("a process can signal itself");
        assert!(stop().load(Ordering::Relaxed));
    }

    #[test]
    fn a_closed_pipe_is_recognised_below_other_errors() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::new(pipe()).context("writing the report")));
        assert!(is_closed_pipe(&anyhow::Error::new(serde_json::Error::io(pipe())).context("writing JSON")));
        assert!(!is_closed_pipe(&anyhow::Error::new(io::Error::from(io::ErrorKind::NotFound))));
    }
}
