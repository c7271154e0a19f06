//! `tickscope analyze`: replaced at merge.

use super::Outcome;
use super::args::AnalyzeArgs;
use super::config::Settings;

pub fn run(_arguments: &AnalyzeArgs, _settings: &Settings) -> anyhow::Result<Outcome> {
    anyhow::bail!("analyze is not built in this branch")
}
