//! What `tickscope analyze` makes of every shipped scenario: runs sim, analyze and score with several seeds and prints a
//! table in Markdown, which `sim/README.md` keeps. `cargo bench --bench attribution [-- SCENARIO...]`. It ends with 1
//! where an external latency is not exact, or a request is missed or invented; attribution is reported, not judged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use tickscope_sim::score::{Method, Score, score};
use tickscope_sim::{Scenario, attribution_scenarios, scenarios, write};

const SEEDS: [u64; 3] = [1, 2, 77];

/// The rules in the order of the manual; a row of the table has a column for each that some scenario needed.
const METHODS: [&str; 5] = ["id", "price", "latest", "link", "fill"];

#[derive(Default)]
struct Sum {
    scores: Vec<Score>,
    methods: BTreeMap<String, Method>,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to its user")]
fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!(
        "| scenario | requests | external exact | missed | extra | triggers seen | precision | recall | by method |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    let mut is_exact = true;
    for (name, text) in scenarios().iter().chain(attribution_scenarios()) {
        if !wanted.is_empty() && !wanted.iter().any(|one| one == name) {
            continue;
        }
        match summed(name, text) {
            Ok(sum) => {
                is_exact &= sum.is_exact();
                println!("{}", sum.line(name));
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let seeds: Vec<String> = SEEDS.iter().map(u64::to_string).collect();
    println!("\nSeeds {}, summed.", seeds.join(", "));
    if is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
