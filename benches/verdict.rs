//! The verdict of `tickscope analyze` on the shipped scenarios, over many seeds, as a table: what was named, how far the
//! interval and the factor are from the truth at worst. `cargo bench --bench verdict [-- SEEDS]`, 20 by default; scenarios in
//! which something slows get three times as many, they are small. It ends with 1 where a verdict is wrong, a factor or a
//! length too far off, or a calm scenario gets a verdict. The true factor is that of the requests which were really sent:
//! of few requests in a slow time that has several levels, the middle one may be of another level than the middle of the time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value;
use tickscope_sim::{Scenario, scenarios, write};

/// What is slow from second 20 to second 40 of a scenario, and where the truth has its latencies.
#[allow(clippy::type_complexity, reason = "a table, read once")]
const SLOW: [(&str, &str, &[(&str, &str)]); 3] = [
    ("exchange-slows", "exchange", &[("external", "ack_ns")]),
    ("trader-slows", "us", &[("internal", "t2t_ns")]),
    ("both-slow", "both", &[("internal", "t2t_ns"), ("external", "ack_ns")]),
];
/// When they are, in nanoseconds since the epoch: all scenarios begin at 2026-01-05 14:30 UTC.
const SLOW_NS: std::ops::Range<u64> = 1_767_623_420_000_000_000..1_767_623_440_000_000_000;
/// Scenarios in which something slows get so many times as many seeds.
const MORE: u64 = 3;

#[derive(Default)]
struct Row {
    culprits: BTreeMap<String, u32>,
    seeds: u64,
    wrong: u32,
    length: f64,
    edge: f64,
    factor: f64,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to its user")]
fn main() -> ExitCode {
    let seeds = std::env::args().find_map(|argument| argument.parse::<u64>().ok()).unwrap_or(20);
    println!("| scenario | seeds | verdicts | wrong | length off by at most | an end | factor off by at most |");
    println!("| --- | ---: | --- | ---: | ---: | ---: | ---: |");
    let mut is_good = true;
    for (name, text) in scenarios() {
        let is_slow = SLOW.iter().any(|(known, ..)| known == name);
        let mut row = Row { seeds: if is_slow { seeds * MORE } else { seeds }, ..Row::default() };
        for seed in 1..=row.seeds {
            match verdicts(name, text, seed) {
                Ok((found, truth)) => row.judge(name, &found, &truth),
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

/// What was found, and the simulator's truth.
fn verdicts(name: &str, text: &str, seed: u64) -> Result<(Vec<Value>, String), String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verdict");
    let scenario = Scenario::parse(text, name).map_err(|error| error.to_string())?;
    write(&scenario, seed, &folder).map_err(|error| error.to_string())?;
    let captures = scenario.tap.iter().map(|tap| folder.join(format!("{}.{}", tap.name, tap.format.extension())));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickscope"));
    let output =
        command.args(["analyze", "-q", "--json"]).args(captures).output().map_err(|error| error.to_string())?;
    let truth = std::fs::read_to_string(folder.join("truth.csv")).map_err(|error| error.to_string())?;
    std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let slow = report["verdict"]["slow"].as_array().ok_or("no verdict in the report")?;
    Ok((slow.clone(), truth))
}

/// How many times slower the median of a column of the truth is in the slow time than else.
#[allow(clippy::cast_precision_loss, reason = "nanoseconds of a latency")]
fn true_factor(truth: &str, column: &str) -> Option<f64> {
    let mut lines = truth.lines().map(|line| line.split(',').collect::<Vec<&str>>());
    let head = lines.next()?;
    let place = |name: &str| head.iter().position(|column| *column == name);
    let (sent, latency) = (place("t_out_ns")?, place(column)?);
    let number = |line: &Vec<&str>, at: usize| line.get(at)?.parse::<u64>().ok();
    let rows = lines.filter_map(|line| Some((number(&line, sent)?, number(&line, latency)?)));
    let (inside, outside): (Vec<_>, Vec<_>) = rows.partition(|(sent, _)| SLOW_NS.contains(sent));
    let middle = |rows: Vec<(u64, u64)>| {
        let mut values: Vec<u64> = rows.into_iter().map(|(_, latency)| latency).collect();
        values.sort_unstable();
        values.get(values.len().checked_sub(1)? / 2).map(|value| *value as f64)
    };
    Some(middle(inside)? / middle(outside)?)
}

impl Row {
    #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a minute")]
    fn judge(&mut self, name: &str, found: &[Value], truth: &str) {
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
        let late =
            |key: &str, wanted: u64| only[key]["t_ns"].as_u64().map_or(f64::NAN, |found| found as f64 - wanted as f64);
        let (from, to) = (late("from", SLOW_NS.start), late("to", SLOW_NS.end));
        let whole = (SLOW_NS.end - SLOW_NS.start) as f64;
        let length = (to - from).abs() / whole;
        let off = |(side, column): &(&str, &str)| {
            let wanted = true_factor(truth, column).unwrap_or(f64::NAN);
            (only[*side]["factor"].as_f64().unwrap_or(0.0) / wanted - 1.0).abs()
        };
        let factor = factors.iter().map(off).fold(0.0, f64::max);
        let is_right = only["culprit"] == *culprit && length <= 0.05 && factor <= 0.1;
        self.wrong += u32::from(!is_right);
        self.length = self.length.max(length);
        self.edge = self.edge.max(from.abs().max(to.abs()) / whole);
        self.factor = self.factor.max(factor);
    }

    fn line(&self, name: &str) -> String {
        let culprits: Vec<String> = self.culprits.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let culprits = if culprits.is_empty() { "none".to_owned() } else { culprits.join(", ") };
        let off = |value: f64| if value > 0.0 { format!("{:.1} %", value * 100.0) } else { "–".into() };
        let (length, edge, factor) = (off(self.length), off(self.edge), off(self.factor));
        format!("| `{name}` | {} | {culprits} | {} | {length} | {edge} | {factor} |", self.seeds, self.wrong)
    }
}
