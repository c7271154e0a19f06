//! `tickscope completions SHELL`: the script that `clap_complete` makes from the command line's definition.

use std::io::{self, Write};

use clap::CommandFactory;

use super::Outcome;
use super::args::{Cli, CompletionsArgs};

pub(super) fn run(arguments: &CompletionsArgs) -> anyhow::Result<Outcome> {
    // clap_complete panics where it cannot write, so it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "tickscope", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Outcome::Done)
}
