//! `tickscope score`: an `--orders` file against a truth.

use std::io::{self, Write};

use anyhow::anyhow;
use tickscope_sim::score::{Thresholds, score};

use super::args::ScoreArgs;
use super::{Outcome, complain};

pub(super) fn run(arguments: &ScoreArgs) -> anyhow::Result<Outcome> {
    let result = score(&arguments.truth, &arguments.orders).map_err(|error| anyhow!(error))?;
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &result)?;
        writeln!(out)?;
    } else {
        write!(out, "{result}")?;
    }
    let failures = result.failures(&Thresholds {
        external: arguments.external,
        missed: arguments.missed,
        extra: arguments.extra,
        precision: arguments.precision,
        recall: arguments.recall,
    });
    for failure in &failures {
        complain("failed", failure);
    }
    Ok(if failures.is_empty() { Outcome::Done } else { Outcome::CheckFailed })
}
