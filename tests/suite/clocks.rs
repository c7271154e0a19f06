//! Taps on different clocks: the bounds that causes and effects set hold the truth, whatever the seed; figures between the
//! clocks are right within their ±; where nothing bounds the clocks there are no such figures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tickscope_sim::Scenario;

use super::support::{Row, table, text, tickscope};
use super::tape::{self, Form};

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

/// Adds to the last `[[tap]]` of a scenario's settings.
fn add_settings(folder: &Path, more: &str) {
    let file = folder.join("tickscope.toml");
    std::fs::write(&file, text(&file) + more).expect("the folder can be written to");
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
    add_settings(&folder, "error = \"250ns\"\n");
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

/// Four taps: market data and orders, each once more behind a hop that took 3 us and 9 us, on one more clock.
#[test]
fn every_pair_of_clocks_is_as_tight_as_its_best_way() {
    let mut scenario = Scenario::shipped("two-taps-offset").expect("a shipped scenario");
    let folder = written(&scenario, 1, "ways");
    for (from, to, later) in [("md", "m2", 3_000), ("orders", "o2", 9_000)] {
        let file = |name: &str| folder.join(format!("{name}.pcap"));
        let mut frames = tape::read(&std::fs::read(file(from)).expect("it was just written"));
        for frame in &mut frames {
            frame.time_ns += later;
        }
        std::fs::write(file(to), tape::write(&frames, Form::PcapNano)).expect("the folder can be written to");
        let (first, mut tap) = (from == "md", scenario.tap[usize::from(from != "md")].clone());
        to.clone_into(&mut tap.name);
        scenario.tap.push(tap);
        let letter = if first { 'E' } else { 'J' };
        add_settings(&folder, &format!("[[tap]]\nname = \"{to}\"\nclock = \"other\"\npoint = \"{letter}\"\n"));
    }
    let points =
        text(&folder.join("tickscope.toml")).replace("\"orders-clock\"\n", "\"orders-clock\"\npoint = \"K\"\n");
    std::fs::write(folder.join("tickscope.toml"), points).expect("the folder can be written to");
    let hop = |report: &Value| {
        let pairs = report["hops"]["pairs"].as_array().expect("an array");
        let is_orders =
            |pair: &&Value| [&pair["from"], &pair["to"]].iter().all(|name| **name == "orders" || **name == "o2");
        let pair = pairs.iter().find(is_orders).expect("orders were seen twice");
        (number(&pair["error_ns"]), number(&pair["p50_ns"]))
    };
    // Whatever is named first, and so is the reference of the others.
    for order in [[0, 1, 2, 3], [3, 0, 1, 2], [1, 3, 2, 0]] {
        let ordered = Scenario { tap: order.map(|at| scenario.tap[at].clone()).to_vec(), ..scenario.clone() };
        let (report, rows) = analyzed(&ordered, &folder, &[]);
        for clock in report["clocks"].as_array().expect("an array") {
            assert!(
                clock["relation"] == "bounded" && clock["unknown"].as_array().is_some_and(Vec::is_empty),
                "{clock}"
            );
        }
        assert!(rows.iter().all(|row| !row["flags"].contains("cross_clock")));
        let (error, median) = hop(&report);
        assert!(error < 100 && median <= error, "order {order:?}: {median} ns ± {error} ns");
    }
    std::fs::remove_dir_all(folder).expect("the test's own folder can go");
}

/// Requests on a gateway's two sides, each with a clock of its own.
#[test]
fn wall_to_wall_between_two_clocks_carries_its_error() {
    let mut scenario = Scenario::shipped("gateway-w2w").expect("a shipped scenario");
    scenario.duration.0 = 5_000_000_000;
    scenario.tap[1].offset.0 = 25_000;
    let folder = written(&scenario, 2, "w2w");
    add_settings(&folder, "offset = \"-25us\"\nerror = \"250ns\"\n");
    let segments = folder.join("segments.csv");
    let (report, rows) = analyzed(&scenario, &folder, &["--segments", &segments.display().to_string()]);
    let w2w = &report["segments"]["w2w"];
    assert!(w2w["n"].as_u64() > Some(100) && w2w["error_ns"] == 250, "{w2w}");
    assert!(report["segments"]["ack"]["error_ns"].is_null(), "request and answer have one clock");
    let shown = table(&text(&folder.join("truth.csv")), ',');
    let mut compared = 0;
    for row in rows.iter().filter(|row| !row["w2w_ns"].is_empty()) {
        assert_eq!(row["error_ns"], *"250");
        let truly = shown.iter().find(|truly| truly["clordid"] == row["clordid"] && truly["session"] == row["session"]);
        let truly = truly.expect("the request is in the truth");
        // The truth is as the clocks showed it, so without the offset that was taken off.
        assert_eq!(row.number("w2w_ns"), truly.number("w2w_ns") - 25_000, "{}", &row["clordid"]);
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
    for row in table(&text(&segments), ',') {
        // Market data stands on the client's clock, and so do the requests that it caused.
        let is_across = row["segment"] == *"w2w" || (row["tap"] == *"exchange" && row["segment"] == *"t2t");
        let part = ["order_to_md", "private_first", "public_first"].contains(&&row["segment"]);
        assert!(
            part || (row["error_ns"] == *"250") == is_across,
            "{} of {}: {}",
            &row["segment"],
            &row["tap"],
            &row["error_ns"]
        );
    }
    // Nobody says how the clocks are related, nor can it be found: no figure between them.
    let unrelated = text(&folder.join("tickscope.toml")).replace("offset = \"-25us\"\nerror = \"250ns\"\n", "");
    scenario.tap[0].sees = vec!["client".to_owned()];
    std::fs::remove_dir_all(&folder).expect("the test's own folder can go");
    let folder = written(&scenario, 2, "w2w-unrelated");
    std::fs::write(folder.join("tickscope.toml"), unrelated).expect("the folder can be written to");
    let (report, rows) = analyzed(&scenario, &folder, &[]);
    assert_eq!(report["clocks"][0]["relation"], "unknown");
    assert!(report["segments"]["w2w"].is_null() && report["segments"]["ack"]["n"].as_u64() > Some(100));
    assert!(rows.iter().filter(|row| row["flags"].contains("cross_clock")).count() > 100);
    std::fs::remove_dir_all(folder).expect("the test's own folder can go");
}

/// One of two taps counts TAI: nothing in 5 ms around it relates the clocks, but the exchange's stamps show it.
#[test]
fn a_tap_that_counts_tai_is_warned_about() {
    for (offset, whose) in [(37_000_000_000_i64, "orders"), (-37_000_000_000, "orders"), (0, "")] {
        let mut scenario = Scenario::shipped("two-taps-offset").expect("a shipped scenario");
        scenario.duration.0 = 5_000_000_000;
        scenario.tap[1].offset.0 = offset;
        let folder = written(&scenario, 4, &format!("tai-{offset}"));
        let (report, _) = analyzed(&scenario, &folder, &[]);
        for tap in report["taps"].as_array().expect("an array") {
            assert_eq!(tap["looks_like_tai"], tap["name"] == whose, "{tap}");
            let ahead = number(&tap["ahead_of_exchange_ns"]);
            let truth = if tap["name"] == whose { offset } else { 0 };
            assert!((ahead - truth).abs() < 1_000_000, "{tap}");
        }
        let files = ["md", "orders"].map(|name| format!("{name}={}", folder.join(format!("{name}.pcap")).display()));
        let screen = tickscope(["analyze", "-q", files[0].as_str(), files[1].as_str()]).stdout;
        let warned = screen.contains("seems to count TAI");
        assert_eq!(warned, offset != 0, "{screen}");
        if offset > 0 {
            assert!(
                screen.contains("! orders is 37.000 s ahead of the exchange's stamps (60 compared): this tap"),
                "{screen}"
            );
            assert!(screen.contains("(--offset orders=-37s)"), "{screen}");
        }
        std::fs::remove_dir_all(folder).expect("the test's own folder can go");
    }
}

/// A clock that is set in the middle of a capture: the bounds are divided there, each piece holds its truth, and it is said.
#[test]
fn a_clock_that_is_set_is_noticed() {
    let mut scenario = Scenario::shipped("two-taps-offset").expect("a shipped scenario");
    scenario.tap[1].drift = 0;
    let folder = written(&scenario, 6, "step");
    let file = folder.join("orders.pcap");
    // From second 15 on the second clock is another 400 us ahead.
    let half = scenario.start.0 + 15_000_000_000;
    let mut frames = tape::read(&std::fs::read(&file).expect("it was just written"));
    frames.iter_mut().filter(|frame| half <= frame.time_ns).for_each(|frame| frame.time_ns += 400_000);
    std::fs::write(&file, tape::write(&frames, Form::PcapNano)).expect("the folder can be written to");
    let (report, rows) = analyzed(&scenario, &folder, &[]);
    let clock = &report["clocks"][0];
    let pieces = clock["pieces"].as_array().expect("an array");
    assert_eq!(pieces.len(), 2, "{clock}");
    for (piece, truth) in pieces.iter().zip([37_000, 437_000]) {
        for bounds in ["at_start", "at_end"] {
            let (least, most) = (number(&piece[bounds]["least_ns"]), number(&piece[bounds]["most_ns"]));
            assert!(least <= truth && truth <= most, "{truth} is not in {least} to {most}");
        }
    }
    // Between the last that tells of the one side and the first of the other there are no figures; all others are right.
    let unknown = clock["unknown"].as_array().expect("an array");
    assert_eq!(unknown.len(), 1, "{clock}");
    let [from, to] = ["from", "to"].map(|end| u64::try_from(number(&unknown[0][end]["t_ns"])).expect("a time"));
    assert!(from < half && half < to && to - from < 3_000_000_000, "{from} {half} {to}");
    assert_eq!(number(&pieces[0]["to"]["t_ns"]), number(&unknown[0]["from"]["t_ns"]));
    let shown = table(&text(&folder.join("truth.csv")), ',');
    let (mut compared, mut blind) = (0, 0);
    for row in &rows {
        if row["t2t_ns"].is_empty() {
            assert!(row["flags"].contains("cross_clock") && row["t2t_max_ns"].is_empty(), "{}", &row["clordid"]);
            blind += 1;
            continue;
        }
        let truly = shown.iter().find(|truly| truly["clordid"] == row["clordid"]).expect("the request is in the truth");
        if row["trigger_seq"] == truly["trigger_seq"] {
            let expected = truly.number("t2t_ns") - 37_000;
            let error = (row.number("t2t_ns") - expected).abs();
            assert!(error <= row.number("error_ns"), "{} is {error} ns off", &row["clordid"]);
            compared += 1;
        }
    }
    assert!(compared > 100 && (1..=20).contains(&blind), "{compared} {blind}");
    let files = ["md", "orders"].map(|name| format!("{name}={}", folder.join(format!("{name}.pcap")).display()));
    let settings = folder.join("tickscope.toml").display().to_string();
    let screen =
        tickscope(["analyze", "-q", "--config", settings.as_str(), files[0].as_str(), files[1].as_str()]).stdout;
    assert!(screen.contains("! clock orders-clock was set 1 time during the capture"), "{screen}");
    assert!(screen.contains("! clock orders-clock: nobody knows its difference from 14:30:1"), "{screen}");
    std::fs::remove_dir_all(folder).expect("the test's own folder can go");
}
