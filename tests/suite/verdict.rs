//! The verdict on the simulator's scenarios: the right name, the interval within 5 % of its length, the factor within 10 %,
//! and none where nothing slowed. `cargo bench --bench verdict` prints the same for every seed.

use std::path::Path;

use serde_json::Value;
use tickscope_sim::{Scenario, scenarios};

use super::support::succeeds;

const SECOND: f64 = 1e9;

/// The report's verdict on a scenario: each slow stretch.
fn slow(name: &str, seed: u64) -> Vec<Value> {
    let (_, text) = scenarios().iter().find(|(known, _)| *known == name).expect("a shipped scenario");
    slow_in(text, name, seed)
}

/// The same of a scenario by its text.
fn slow_in(text: &str, name: &str, seed: u64) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("verdict-{name}-{seed}-{}", std::process::id()));
    let scenario = Scenario::parse(text, name).expect("it is one");
    tickscope_sim::write(&scenario, seed, &folder).expect("the folder can be written to");
    let files: Vec<_> =
        scenario.tap.iter().map(|tap| folder.join(format!("{}.{}", tap.name, tap.format.extension()))).collect();
    let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
    let report: Value = serde_json::from_str(&succeeds("analyze", &["--json"], &files)).expect("JSON");
    std::fs::remove_dir_all(folder).expect("the test's own folder can go");
    assert_eq!(report["verdict"]["is_testable"], true, "{name} {seed}");
    report["verdict"]["slow"].as_array().expect("an array").clone()
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
fn check(name: &str, culprit: &str, factors: &[(&str, f64)]) {
    for seed in 1..=4 {
        let found = slow(name, seed);
        let [only] = found.as_slice() else { panic!("{name} {seed}: {found:#?}") };
        assert_eq!(only["culprit"], culprit, "{name} {seed}");
        let time = |key: &str| only[key]["t_ns"].as_u64().expect("a number");
        // All three are slow from second 20 to second 40.
        let length = (time("to") - time("from")) as f64 / SECOND;
        assert!((19.0..=21.0).contains(&length), "{name} {seed}: {length}");
        let from = (time("from") % 60_000_000_000) as f64 / SECOND;
        assert!((19.0..=21.0).contains(&from), "{name} {seed}: {from}");
        for (side, wanted) in factors {
            let factor = only[side]["factor"].as_f64().expect("a number");
            assert!((0.9 * wanted..=1.1 * wanted).contains(&factor), "{name} {seed} {side}: {factor}");
        }
    }
}

// What the medians of the drawn latencies are, with the network's 5 us each way where they count.

#[test]
fn exchange_slows() {
    check("exchange-slows", "exchange", &[("external", 4.75), ("internal", 1.0)]);
}

#[test]
fn trader_slows() {
    check("trader-slows", "us", &[("internal", 10.0), ("external", 1.0)]);
}

#[test]
fn both_slow() {
    check("both-slow", "both", &[("internal", 6.0), ("external", 3.5)]);
}

#[test]
fn calm_scenarios_give_no_verdict() {
    for seed in 1..=20 {
        let found = slow("calm", seed);
        assert!(found.is_empty(), "{seed}: {found:#?}");
    }
}

/// The trader listens to line A, which is late from second 20 to second 40; B brings everything 9 us after A usually does.
const LATE_LINE: &str = r#"
duration = "60s"
[market]
symbols = 10
rate = 42.0
branching = 0.3
[[line]]
name = "A"
group = "233.54.12.111:26477"
late = [{ from = "20s", to = "40s", add = "150us" }]
[[line]]
name = "B"
group = "233.49.196.111:26477"
delay = "14us"
[trader]
HEARD
[[strategy]]
kind = "react"
on = "trade"
style = "take"
share = 0.75
pause = "50ms"
"#;

#[test]
fn a_late_line_is_market_datas_fault_and_nobodys_where_the_other_one_is_heard() {
    for seed in 1..=4 {
        let found = slow_in(&LATE_LINE.replace("HEARD", "line = \"A\""), "late-line", seed);
        let [only] = found.as_slice() else { panic!("{seed}: {found:#?}") };
        assert_eq!(only["culprit"], "market data", "{seed}");
        let line = &only["late_line"];
        // Line A was first by 9 us, and is then 141 us behind B, which tick-to-trade begins with.
        assert_eq!((&line["line"], &line["usual_p50_ns"]), (&Value::from("A"), &Value::from(0)), "{seed}");
        let during = line["during_p50_ns"].as_u64().expect("a number");
        assert!((140_900..=141_100).contains(&during), "{seed}: {during}");
        assert!(
            only["sentence"].as_str().is_some_and(|text| text.contains("line A (233.54.12.111:26477) behind")),
            "{only}"
        );
        let found = slow_in(&LATE_LINE.replace("HEARD", ""), "other-line", seed);
        assert!(found.is_empty(), "{seed}: {found:#?}");
    }
}
