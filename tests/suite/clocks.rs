//! Taps on different clocks: the bounds that causes and effects set hold the truth, whatever the seed; figures between the
//! clocks are right within their ±; where nothing bounds the clocks there are no such figures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tickscope_sim::Scenario;

use super::support::{Row, table, text, tickscope};

/// What distinguishes a variant of the shipped scenario.
#[derive(Clone, Copy, Debug)]
struct Variant {
    offset: i64,
    drift: i64,
    resolution: u64,
    seconds: u64,
}

const SHIPPED: Variant = Variant { offset: 37_000, drift: 40, resolution: 8, seconds: 30 };

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clocks-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

/// Writes the captures of a scenario, and a configuration that says which clock each tap has.
fn written(scenario: &Scenario, seed: u64, name: &str) -> PathBuf {
    let folder = folder(name);
    tickscope_sim::write(scenario, seed, &folder).expect("the folder can be written to");
    let mut settings = String::new();
    for tap in &scenario.tap {
        let _ = writeln!(settings, "[[tap]]\nname = \"{}\"\nclock = \"{}-clock\"", tap.name, tap.name);
    }
    std::fs::write(folder.join("tickscope.toml"), settings).expect("the folder can be written to");
    folder
}

/// `analyze` on all taps: the report as JSON, and the rows.
fn analyzed(scenario: &Scenario, folder: &Path, more: &[&str]) -> (Value, Vec<Row>) {
    let at = |file: &str| folder.join(file).display().to_string();
    let mut arguments = vec!["analyze".to_owned(), "-q".into(), "--json".into()];
    arguments.extend(["--config".into(), at("tickscope.toml"), "--orders".into(), at("orders.csv")]);
    arguments.extend(more.iter().map(|&one| one.to_owned()));
    for tap in &scenario.tap {
        arguments.push(format!("{}={}", tap.name, at(&format!("{}.{}", tap.name, tap.format.extension()))));
    }
    let ran = tickscope(&arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    let report = serde_json::from_str(&ran.stdout).expect("JSON");
    (report, table(&text(&folder.join("orders.csv")), ','))
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Plays a variant; returns the width of the bounds and the ±.
fn check(variant: Variant, seed: u64, name: &str) -> (i64, i64) {
    let mut scenario = Scenario::shipped("two-taps-offset").expect("a shipped scenario");
    scenario.duration.0 = variant.seconds * 1_000_000_000;
    scenario.tap[1].offset.0 = variant.offset;
    scenario.tap[1].drift = variant.drift;
    scenario.tap[1].resolution.0 = variant.resolution;
    let folder = written(&scenario, seed, name);
    let (report, rows) = analyzed(&scenario, &folder, &[]);
    let start = i64::try_from(scenario.start.0).expect("a time");
    let truth = |time: i64| {
        let elapsed = i128::from(time - start);
        variant.offset + i64::try_from(elapsed * i128::from(variant.drift) / 1_000_000_000).expect("small")
    };
    let clock = &report["clocks"][0];
    assert_eq!(clock["relation"], "bounded", "{variant:?} seed {seed}: {clock}");
    let pieces = clock["pieces"].as_array().expect("an array");
    assert_eq!(pieces.len(), 1, "{variant:?} seed {seed}: {clock}");
    let piece = &pieces[0];
    for (end, bounds) in [("from", "at_start"), ("to", "at_end")] {
        let truth = truth(number(&piece[end]["t_ns"]));
        let (least, most) = (number(&piece[bounds]["least_ns"]), number(&piece[bounds]["most_ns"]));
        assert!(least <= truth && truth <= most, "{variant:?} seed {seed}: {truth} is not in {least} to {most}");
    }
    let error = number(&clock["error_ns"]);
    assert_eq!(number(&report["segments"]["t2t"]["error_ns"]), error);
    let shown = table(&text(&folder.join("truth.csv")), ',');
    let mut compared = 0;
    for row in &rows {
        let Some(truly) = shown.iter().find(|truly| truly["clordid"] == row["clordid"]) else {
            panic!("no such request")
        };
        if row["trigger_seq"].is_empty() || row["trigger_seq"] != truly["trigger_seq"] {
            continue;
        }
        // The simulator's truth is as the taps' clocks showed it.
        let expected = truly.number("t2t_ns") - truth(truly.number("t_out_ns"));
        let difference = (row.number("t2t_ns") - expected).abs();
        assert!(difference <= error, "{variant:?} seed {seed}: {} is {difference} ns off, ±{error}", &row["clordid"]);
        compared += 1;
    }
    assert!(compared > 50, "{compared} rows");
    std::fs::remove_dir_all(folder).expect("the test's own folder can go");
    (number(&piece["width_ns"]), error)
}

#[test]
#[expect(clippy::print_stdout, reason = "the width is what a person wants to see of this test")]
fn the_truth_lies_between_the_bounds_in_twenty_of_twenty_seeds() {
    for seed in 1..=20 {
        let (width, error) = check(SHIPPED, seed, &format!("shipped-{seed}"));
        println!("two-taps-offset, seed {seed}: width {width} ns, ±{error} ns");
    }
}

#[test]
fn whatever_the_offset_the_drift_and_the_resolution() {
    let variants = [
        Variant { offset: -90_000, drift: -500, ..SHIPPED },
        Variant { offset: 80_000, drift: 2_000, ..SHIPPED },
        Variant { resolution: 1, ..SHIPPED },
        Variant { offset: 0, drift: 0, ..SHIPPED },
        Variant { offset: 900_000, ..SHIPPED },
    ];
    for (at, variant) in variants.into_iter().enumerate() {
        check(variant, 31, &format!("variant-{at}"));
    }
}

#[test]
fn clocks_that_nothing_relates_give_no_figures_between_them() {
    let mut scenario = Scenario::shipped("two-taps-offset").expect("a shipped scenario");
    scenario.duration.0 = 2_000_000_000;
    // No fill of a cancel-only conversation, and so far apart that no cause is found near its effect.
    scenario.tap[1].offset.0 = 400_000_000;
    let folder = written(&scenario, 1, "unknown");
    let (report, rows) = analyzed(&scenario, &folder, &[]);
    assert_eq!(report["clocks"][0]["relation"], "unknown");
    assert!(report["segments"]["t2t"].is_null(), "{}", report["segments"]);
    assert!(rows.iter().all(|row| row["t2t_ns"].is_empty()));
    assert!(rows.iter().any(|row| row["flags"].contains("cross_clock")));
    // With the offset given, there are figures, and nobody knows how good they are until the user says.
    let (report, _) = analyzed(&scenario, &folder, &["--offset", "orders=-400ms"]);
    assert_eq!(report["clocks"][0]["relation"], "given");
    assert!(report["segments"]["t2t"]["n"].as_u64() > Some(5) && report["segments"]["t2t"]["error_ns"].is_null());
    let settings = text(&folder.join("tickscope.toml")) + "error = \"250ns\"\n";
    std::fs::write(folder.join("tickscope.toml"), settings).expect("the folder can be written to");
    let (report, _) = analyzed(&scenario, &folder, &["--offset", "orders=-400ms"]);
    assert_eq!(report["segments"]["t2t"]["error_ns"], 250);
    std::fs::remove_dir_all(folder).expect("the test's own folder can go");
}

#[test]
fn packets_that_both_taps_see_bound_their_clocks_and_give_hops() {
    let mut scenario = Scenario::shipped("calm").expect("a shipped scenario");
    scenario.duration.0 = 5_000_000_000;
    let tap = scenario.tap[0].clone();
    scenario.tap = vec![tap.clone(), tap];
    for (tap, (name, place, offset, vlan)) in
        scenario.tap.iter_mut().zip([("host", 0.9, 0, 0), ("exchange", 0.1, 20_000, 7)])
    {
        (tap.name, tap.place, tap.offset.0, tap.vlan) = (name.to_owned(), place, offset, vlan);
        tap.sees = vec!["md".to_owned(), "orders".to_owned()];
    }
    let folder = written(&scenario, 3, "hops");
    let (report, _) = analyzed(&scenario, &folder, &[]);
    let piece = &report["clocks"][0]["pieces"][0];
    for bounds in ["at_start", "at_end"] {
        let (least, most) = (number(&piece[bounds]["least_ns"]), number(&piece[bounds]["most_ns"]));
        assert!(least <= 20_000 && 20_000 <= most && most - least < 20_000, "{piece}");
    }
    let pairs = report["hops"]["pairs"].as_array().expect("an array");
    assert!(pairs.len() == 2 && pairs.iter().all(|pair| pair["n"].as_u64() > Some(10)), "{}", report["hops"]);
    assert_eq!(pairs[0]["error_ns"], report["clocks"][0]["error_ns"]);
    std::fs::remove_dir_all(folder).expect("the test's own folder can go");
}
