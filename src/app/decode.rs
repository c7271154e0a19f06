//! `tickscope decode`: replaced at merge.

use super::Outcome;
use super::args::DecodeArgs;
use super::config::Settings;

pub fn run(_arguments: &DecodeArgs, _settings: &Settings) -> anyhow::Result<Outcome> {
    anyhow::bail!("decode is not built in this branch")
}
