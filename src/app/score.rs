//! `tickscope score`: an `--orders` file against a truth.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueHint};
use tickscope_sim::score::{Thresholds, score};
use tracing::error;

use super::{Outcome, values};

/// Compare an --orders file with a truth
///
/// Prints how many requests were found, missed and extra; for each latency how many are exact, within 1 microsecond,
/// wrong or missing; and precision and recall of the triggers by method. Exits with 4 where a given threshold is not
/// reached.
#[derive(Args, Debug, Default)]
#[command(after_help = values::EXAMPLES_SCORE)]
pub struct ScoreArgs {
    /// truth.csv, as `tickscope sim --write` makes it
    #[arg(value_name = "TRUTH", value_hint = ValueHint::FilePath)]
    pub truth: PathBuf,

    /// The CSV file of `tickscope analyze --orders`
    #[arg(value_name = "ORDERS", value_hint = ValueHint::FilePath)]
    pub orders: PathBuf,

    /// Print the comparison as one JSON document
    #[arg(long)]
    pub json: bool,

    /// Share of external latencies that must be exact; 1 also forbids values where nothing could be seen
    #[arg(long, value_name = "SHARE", help_heading = "Thresholds", value_parser = values::share)]
    pub external: Option<f64>,

    /// Requests that may be missed
    #[arg(long, value_name = "N", help_heading = "Thresholds")]
    pub missed: Option<u64>,

    /// Rows that may be there for no request
    #[arg(long, value_name = "N", help_heading = "Thresholds")]
    pub extra: Option<u64>,

    /// Least share of the given triggers that must be right
    #[arg(long, value_name = "SHARE", help_heading = "Thresholds", value_parser = values::share)]
    pub precision: Option<f64>,

    /// Least share of the triggers in the truth that must be found
    #[arg(long, value_name = "SHARE", help_heading = "Thresholds", value_parser = values::share)]
    pub recall: Option<f64>,
}

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
        error!(word = "failed", "{failure}");
    }
    Ok(if failures.is_empty() { Outcome::Done } else { Outcome::CheckFailed })
}
