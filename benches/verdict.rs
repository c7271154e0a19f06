//! The verdict of `tickscope analyze` on the shipped scenarios, over many seeds, as a table: what was named, how far the
//! interval's length and the factor are from the truth at worst. `cargo bench --bench verdict [-- SEEDS]`, 20 by default. It
//! ends with 1 where a verdict is wrong, a factor or a length too far off, or a calm scenario gets a verdict.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value;
use tickscope_sim::{Scenario, scenarios, write};

/// What is slow from second 20 to second 40 of a scenario, and by how much.
#[allow(clippy::type_complexity, reason = "a table, read once")]
const SLOW: [(&str, &str, &[(&str, f64)]); 3] = [
    ("exchange-slows", "exchange", &[("external", 4.75)]),
    ("trader-slows", "us", &[("internal", 10.0)]),
    ("both-slow", "both", &[("internal", 6.0), ("external", 3.5)]),
];
/// Length of the slow interval.
const LENGTH_NS: f64 = 20e9;

#[derive(Default)]
struct Row {
    culprits: BTreeMap<String, u32>,
    wrong: u32,
    length: f64,
    factor: f64,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to its user")]
fn main() -> ExitCode {
    let seeds = std::env::args().find_map(|argument| argument.parse::<u64>().ok()).unwrap_or(20);
    println!("| scenario | verdicts in {seeds} seeds | wrong | length off by at most | factor off by at most |");
    println!("| --- | --- | ---: | ---: | ---: |");
    let mut is_good = true;
    for (name, text) in scenarios() {
        let mut row = Row::default();
        for seed in 1..=seeds {
            match verdicts(name, text, seed) {
                Ok(found) => row.judge(name, &found),
                Err(error) => {
                    eprintln!("{name} {seed}: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
        is_good &= row.wrong == 0;
        println!("{}", row.line(name));
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdicts(name: &str, text: &str, seed: u64) -> Result<Vec<Value>, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verdict");
    let scenario = Scenario::parse(text, name).map_err(|error| error.to_string())?;
    write(&scenario, seed, &folder).map_err(|error| error.to_string())?;
    let captures = scenario.tap.iter().map(|tap| folder.join(format!("{}.{}", tap.name, tap.format.extension())));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickscope"));
    let output =
        command.args(["analyze", "-q", "--json"]).args(captures).output().map_err(|error| error.to_string())?;
    std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    report["verdict"]["slow"].as_array().cloned().ok_or_else(|| "no verdict in the report".to_owned())
}

impl Row {
    #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a minute")]
    fn judge(&mut self, name: &str, found: &[Value]) {
        for slow in found {
            *self.culprits.entry(slow["culprit"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        }
        let Some((_, culprit, factors)) = SLOW.iter().find(|(known, ..)| *known == name) else {
            self.wrong += u32::from(!found.is_empty());
            return;
        };
        let [only] = found else {
            self.wrong += 1;
            return;
        };
        let time = |key: &str| only[key]["t_ns"].as_u64().unwrap_or(0) as f64;
        let length = ((time("to") - time("from")) / LENGTH_NS - 1.0).abs();
        let off = |(side, wanted): &(&str, f64)| (only[*side]["factor"].as_f64().unwrap_or(0.0) / wanted - 1.0).abs();
        let factor = factors.iter().map(off).fold(0.0, f64::max);
        self.wrong += u32::from(only["culprit"] != *culprit || length > 0.05 || factor > 0.1);
        self.length = self.length.max(length);
        self.factor = self.factor.max(factor);
    }

    fn line(&self, name: &str) -> String {
        let culprits: Vec<String> = self.culprits.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let culprits = if culprits.is_empty() { "none".to_owned() } else { culprits.join(", ") };
        let off = |value: f64| if value > 0.0 { format!("{:.1} %", value * 100.0) } else { "–".into() };
        format!("| `{name}` | {culprits} | {} | {} | {} |", self.wrong, off(self.length), off(self.factor))
    }
}
