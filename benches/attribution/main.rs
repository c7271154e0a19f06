//! What `tickscope analyze` makes of every shipped scenario, and how well it tells causes: one command prints all of it,
//! in Markdown, which `sim/README.md` keeps. `cargo bench --bench attribution [-- [--seeds FROM-TO] [SCENARIO...]]`.
//!
//! First the scenarios for everybody: external latencies must be exact, no request missed or invented. Then those that
//! judge attribution: precision and recall beside the bound (see `bound.rs`), by method, and whether confidence is
//! calibrated. It ends with 1 where something is below its target.

mod bound;
mod judged;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use tickscope_sim::score::{Method, Score, score};
use tickscope_sim::{Scenario, scenarios, write};

const SEEDS: [u64; 3] = [1, 2, 77];

/// The rules in the order of the manual; a row of the table has a column for each that some scenario needed.
const METHODS: [&str; 5] = ["id", "price", "latest", "link", "fill"];

#[derive(Default)]
struct Sum {
    scores: Vec<Score>,
    methods: BTreeMap<String, Method>,
}

/// Seeds that judge; tuning used 1 to 5 and 101 to 105.
const JUDGES: std::ops::RangeInclusive<u64> = 301..=305;

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
    match shipped(is_wanted).and_then(|is_exact| Ok(is_exact & judged::all(is_wanted, &seeds)?)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// `301-305`.
fn range(text: &str) -> Option<std::ops::RangeInclusive<u64>> {
    let (from, to) = text.split_once('-')?;
    Some(from.parse().ok()?..=to.parse().ok()?)
}

/// The scenarios for everybody.
#[allow(clippy::print_stdout, reason = "a benchmark talks to its user")]
fn shipped(is_wanted: impl Fn(&str) -> bool) -> Result<bool, String> {
    let mut is_exact = true;
    let mut has_head = false;
    for (name, text) in scenarios().iter().filter(|(name, _)| is_wanted(name)) {
        let sum = summed(name, text).map_err(|error| format!("{name}: {error}"))?;
        if !std::mem::replace(&mut has_head, true) {
            println!(
                "| scenario | requests | external exact | missed | extra | triggers seen | precision | recall | by method |"
            );
            println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
        }
        is_exact &= sum.is_exact();
        println!("{}", sum.line(name));
    }
    if has_head {
        let seeds: Vec<String> = SEEDS.iter().map(u64::to_string).collect();
        println!("\nSeeds {}, summed.\n", seeds.join(", "));
    }
    Ok(is_exact)
}

/// All seeds of a scenario.
fn summed(name: &str, text: &str) -> Result<Sum, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attribution");
    let scenario = Scenario::parse(text, name).map_err(|error| error.to_string())?;
    let mut sum = Sum::default();
    for seed in SEEDS {
        write(&scenario, seed, &folder).map_err(|error| error.to_string())?;
        let orders = analyzed(&scenario, &folder)?;
        let score = score(&folder.join("truth.csv"), &orders)?;
        for (method, one) in &score.attribution {
            let all = sum.methods.entry(method.clone()).or_default();
            all.given += one.given;
            all.right += one.right;
            all.same_time += one.same_time;
            all.untriggered += one.untriggered;
        }
        sum.scores.push(score);
        fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    }
    Ok(sum)
}

/// The rows of `tickscope analyze`, the taps in the scenario's order.
fn analyzed(scenario: &Scenario, folder: &Path) -> Result<PathBuf, String> {
    let orders = folder.join("orders.csv");
    let captures = scenario.tap.iter().map(|tap| {
        let file = folder.join(format!("{}.{}", tap.name, tap.format.extension()));
        format!("{}={}", tap.name, file.display())
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickscope"));
    command.args(["analyze", "-q", "--orders"]).arg(&orders).args(captures);
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(orders)
}

impl Sum {
    fn total(&self, of: impl Fn(&Score) -> u64) -> u64 {
        self.scores.iter().map(of).sum()
    }

    fn failures(&self) -> u64 {
        self.total(|score| score.external_total().failures())
    }

    fn is_exact(&self) -> bool {
        self.failures() + self.total(|score| score.missed + score.extra) == 0
    }

    fn line(&self, name: &str) -> String {
        let exact = self.total(|score| score.external_total().exact);
        let triggered = self.total(|score| score.triggered);
        let given = self.methods.values().map(|method| method.given).sum();
        let right = self.methods.values().map(|method| method.right).sum();
        let known = METHODS.iter().copied().filter(|method| self.methods.contains_key(*method));
        let others = self.methods.keys().map(String::as_str).filter(|method| !METHODS.contains(method));
        let methods: Vec<String> = known
            .chain(others)
            .map(|method| {
                let one = &self.methods[method];
                let same = if one.same_time > 0 { format!(", {} same packet", one.same_time) } else { String::new() };
                let none =
                    if one.untriggered > 0 { format!(", {} untriggered", one.untriggered) } else { String::new() };
                format!("`{method}` {} of {}{same}{none}", one.right, one.given)
            })
            .collect();
        format!(
            "| `{name}` | {} | {} | {} | {} | {triggered} | {} | {} | {} |",
            self.total(|score| score.expected),
            percent(exact, exact + self.failures()),
            self.total(|score| score.missed),
            self.total(|score| score.extra),
            percent(right, given),
            percent(right, triggered),
            methods.join("; ")
        )
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn percent(part: u64, whole: u64) -> String {
    // 99.999 % must not be printed as 100.
    let hundredths = (part * 10_000).checked_div(whole);
    hundredths.map_or("–".to_owned(), |value| format!("{}.{:02} %", value / 100, value % 100))
}
