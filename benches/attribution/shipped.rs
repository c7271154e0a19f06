//! The scenarios for everybody, through the command as its users run it. Of each so many seeds are put together that
//! calibration can be judged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tickscope_sim::score::{Method, Score, score};
use tickscope_sim::{Scenario, scenarios, write};

use super::run;
use super::tally::{self, Tally};

/// The rules in the order of the manual.
const METHODS: [&str; 5] = ["id", "price", "latest", "link", "fill"];

/// Requests of a scenario at least, and seeds at most.
const ENOUGH: u64 = 3_000;
const MOST_SEEDS: u64 = 120;

/// What the causes of new orders have to reach; not in `burst`, where one symbol has 50,000 messages a second.
const PRECISION: f64 = 0.98;
const RECALL: f64 = 0.95;
const BUSY: &str = "burst";

#[derive(Default)]
struct Sum {
    scores: Vec<Score>,
    methods: BTreeMap<String, Method>,
    new: Tally,
    all: Tally,
}

/// Prints the tables, from this seed on; false where a target was missed.
#[allow(clippy::print_stdout, reason = "a benchmark talks to its user")]
pub(crate) fn all(is_wanted: impl Fn(&str) -> bool, first_seed: u64) -> Result<bool, String> {
    let wanted: Vec<_> = scenarios().iter().filter(|(name, _)| is_wanted(name)).collect();
    if wanted.is_empty() {
        return Ok(true);
    }
    println!(
        "Seeds from {first_seed} on, until {ENOUGH} requests are together; precision and recall are those of new orders.\n"
    );
    println!(
        "| scenario | seeds | requests | external exact | missed | extra | new orders | precision | recall | by method (all requests) |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    let (mut sums, mut missed) = (Vec::new(), Vec::new());
    for (name, text) in wanted {
        let sum = summed(name, text, first_seed).map_err(|error| format!("{name}: {error}"))?;
        println!("{}", sum.line(name));
        missed.extend(sum.missed(name));
        sums.push((*name, sum));
    }
    missed.extend(tally::calibration(sums.iter().map(|(name, sum)| (*name, &sum.all))));
    for text in &missed {
        println!("MISSED: {text}");
    }
    Ok(missed.is_empty())
}

fn summed(name: &str, text: &str, first_seed: u64) -> Result<Sum, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attribution");
    let scenario = Scenario::parse(text, name).map_err(|error| error.to_string())?;
    let mut sum = Sum::default();
    for seed in (first_seed..).take(usize::try_from(MOST_SEEDS).unwrap_or(usize::MAX)) {
        if sum.all.requests >= ENOUGH {
            break;
        }
        write(&scenario, seed, &folder).map_err(|error| error.to_string())?;
        let orders = analyzed(&scenario, &folder)?;
        sum.add(&folder, &orders).map_err(|error| format!("seed {seed}: {error}"))?;
        fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    }
    Ok(sum)
}

/// The rows of `tickscope analyze`, the taps in the scenario's order, with the configuration that the simulator wrote.
fn analyzed(scenario: &Scenario, folder: &Path) -> Result<PathBuf, String> {
    let orders = folder.join("orders.csv");
    let captures = scenario.tap.iter().map(|tap| {
        let file = folder.join(format!("{}.{}", tap.name, tap.format.extension()));
        format!("{}={}", tap.name, file.display())
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickscope"));
    command.args(["analyze", "-q", "--orders"]).arg(&orders).args(captures);
    let config = folder.join("tickscope.toml");
    if config.exists() {
        command.arg("--config").arg(config);
    }
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(orders)
}

impl Sum {
    /// What one seed gave.
    fn add(&mut self, folder: &Path, orders: &Path) -> Result<(), String> {
        let score = score(&folder.join("truth.csv"), orders)?;
        for (method, one) in &score.attribution {
            let all = self.methods.entry(method.clone()).or_default();
            all.given += one.given;
            all.right += one.right;
            all.same_time += one.same_time;
            all.untriggered += one.untriggered;
        }
        self.scores.push(score);
        let causes = run::truth(folder)?;
        for (request, given) in run::said(orders)? {
            let Some(cause) = causes.get(&request) else { continue };
            self.all.count(cause, given);
            if cause.is_new {
                self.new.count(cause, given);
            }
        }
        Ok(())
    }

    fn total(&self, of: impl Fn(&Score) -> u64) -> u64 {
        self.scores.iter().map(of).sum()
    }

    fn failures(&self) -> u64 {
        self.total(|score| score.external_total().failures())
    }

    fn missed(&self, name: &str) -> Vec<String> {
        let mut missed = Vec::new();
        let mut must = |holds: bool, text: String| {
            if !holds {
                missed.push(format!("{name}: {text}"));
            }
        };
        let lost = self.total(|score| score.missed + score.extra);
        must(self.failures() == 0, format!("{} external latencies are not exact", self.failures()));
        must(lost == 0, format!("{lost} requests missed or invented"));
        must(self.all.requests >= ENOUGH, format!("{} requests are too few to judge", self.all.requests));
        let (precision, recall) = (self.new.precision(), self.new.recall());
        must(name == BUSY || precision >= PRECISION, format!("precision {precision:.4}, wanted {PRECISION}"));
        must(name == BUSY || recall >= RECALL, format!("recall {recall:.4}, wanted {RECALL}"));
        missed
    }

    fn line(&self, name: &str) -> String {
        let exact = self.total(|score| score.external_total().exact);
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
            "| `{name}` | {} | {} | {} | {} | {} | {} | {:.4} | {:.4} | {} |",
            self.scores.len(),
            self.total(|score| score.expected),
            percent(exact, exact + self.failures()),
            self.total(|score| score.missed),
            self.total(|score| score.extra),
            self.new.requests,
            self.new.precision(),
            self.new.recall(),
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
