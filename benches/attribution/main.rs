//! What `tickscope analyze` makes of every shipped scenario, and how well it tells causes: one command prints all of it,
//! in Markdown, which `sim/README.md` keeps. `cargo bench --bench attribution [-- [--seeds FROM-TO] [SCENARIO...]]`.
//!
//! First the scenarios for everybody: external latencies must be exact, no request missed or invented, causes found. Then
//! those that judge attribution: precision and recall beside the bound (see `bound.rs`), by method. Of both, whether
//! confidence is calibrated. It ends with 1 where something is below its target.

mod bound;
mod judged;
mod run;
mod shipped;
mod tally;

use std::ops::RangeInclusive;
use std::process::ExitCode;

/// Seeds that judge. Tuning used 1 to 5, 101 to 105 and 301 to 305, and looked at some from 401 to 1305.
const JUDGES: RangeInclusive<u64> = 1401..=1405;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to its user")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut wanted, mut seeds) = (Vec::new(), JUDGES);
    while let Some(argument) = arguments.next() {
        if argument != "--seeds" {
            wanted.push(argument);
        } else if let Some(range) = arguments.next().as_deref().and_then(range) {
            seeds = range;
        } else {
            eprintln!("--seeds FROM-TO");
            return ExitCode::FAILURE;
        }
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    match shipped::all(is_wanted, *seeds.start()).and_then(|is_exact| Ok(is_exact & judged::all(is_wanted, &seeds)?)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// `301-305`.
fn range(text: &str) -> Option<RangeInclusive<u64>> {
    let (from, to) = text.split_once('-')?;
    Some(from.parse().ok()?..=to.parse().ok()?)
}
