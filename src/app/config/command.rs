//! `tickscope config check` and `tickscope config show`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::bail;

use super::{Overrides, Search, Surroundings, instruments, load, read, search, show};
use crate::app::Outcome;
use crate::app::args::{ConfigAction, ConfigArgs, ShowArgs};

pub fn run(arguments: &ConfigArgs) -> anyhow::Result<Outcome> {
    match &arguments.action {
        ConfigAction::Check { file } => check(file.as_deref()),
        ConfigAction::Show(arguments) => show(arguments),
    }
}

/// The search of a run: `option` is what the command line names.
pub fn find(option: Option<&Path>) -> Search {
    search(option, &Surroundings::of_process(), Path::exists)
}

fn check(file: Option<&Path>) -> anyhow::Result<Outcome> {
    let search = find(file);
    let mut out = io::stdout().lock();
    let Some(found) = &search.found else {
        writeln!(out, "no configuration file found; the defaults are in force")?;
        return Ok(Outcome::Done);
    };
    let path = found.path.display();
    let (settings, problems) = read(&found.path)?;
    let mut problems: Vec<String> = problems.iter().map(|problem| format!("{path}:{problem}")).collect();
    if let Some(Err(error)) = settings.instruments.as_deref().map(instruments::read) {
        problems.push(format!("{error:#}"));
    }
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    out.flush()?;
    match problems.len() {
        0 => writeln!(out, "{path}: OK")?,
        1 => bail!("{path}: 1 problem"),
        several => bail!("{path}: {several} problems"),
    }
    Ok(Outcome::Done)
}

fn show(arguments: &ShowArgs) -> anyhow::Result<Outcome> {
    let search = find(arguments.file.as_deref());
    let mut settings = load(&search)?;
    settings.apply(&Overrides {
        offsets: &arguments.offsets,
        trailers: &arguments.trailers,
        window: arguments.window,
        instruments: arguments.instruments.as_deref(),
        ..Overrides::default()
    });
    io::stdout().lock().write_all(show::text(&settings, &search).as_bytes())?;
    Ok(Outcome::Done)
}
