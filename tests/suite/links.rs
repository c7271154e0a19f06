//! Links between instruments that `analyze` suggests: found where they are, nowhere else, and without a change to any row.

use std::path::Path;

use serde_json::Value;
use tickscope_sim::{Scenario, scenarios};

use super::support::{assert_sound, captures, report, succeeds};

fn suggested(report: &Value) -> Vec<(String, String)> {
    let links = report["attribution"]["suggested_links"].as_array().expect("an array");
    let text = |link: &Value, key: &str| link[key].as_str().expect("a text").to_owned();
    links.iter().map(|link| (text(link, "orders"), text(link, "symbol"))).collect()
}

/// What is suggested of a scenario.
fn played(text: &str, name: &str, seed: u64) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("links-{name}-{seed}-{}", std::process::id()));
    let scenario = Scenario::parse(text, name).expect("it is one");
    tickscope_sim::write(&scenario, seed, &folder).expect("the folder can be written to");
    let links = suggested(&report(&[&folder.join("tap.pcap")]));
    std::fs::remove_dir_all(folder).expect("the test's own folder can go");
    links
}

/// The capture of [`super::oracle`], as it is: its trader acts on the symbol that it trades.
#[test]
fn a_real_capture_without_links_suggests_none() {
    let Some(folder) = captures() else { return };
    let files = [folder.join("fix/ttt_iex_fix_cli.pcap"), folder.join("fix/ttt_iex_fix_exch.pcap.gz")];
    assert_eq!(suggested(&report(&[&files[0], &files[1]])), []);
}

/// The same, but each symbol in the FIX messages is spelled backwards, which keeps lengths and sums: now orders in OLLE
/// follow messages about ELLO, and so on for 21 symbols with five orders or more.
#[test]
fn links_are_found_in_a_real_capture() {
    let Some(folder) = captures() else { return };
    let mut bytes = std::fs::read(folder.join("fix/ttt_iex_fix_cli.pcap")).expect("it can be read");
    let tag = b"\x0155=";
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(tag.len()).position(|window| window == tag) {
        at += found + tag.len();
        let end = bytes[at..].iter().position(|byte| *byte == 1).expect("a field ends");
        bytes[at..at + end].reverse();
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("backwards-{}.pcap", std::process::id()));
    std::fs::write(&file, bytes).expect("it can be written");
    let report = report(&[&file]);
    let links = suggested(&report);
    assert!(links.len() >= 18, "{links:#?}");
    for (orders, symbol) in &links {
        assert_eq!(*orders, symbol.chars().rev().collect::<String>());
    }
    let clearest = &report["attribution"]["suggested_links"][0];
    assert!(clearest["z"].as_f64().expect("a number") > 10.0, "{clearest}");
    let text = succeeds("analyze", &[], &[&file]);
    assert!(text.contains("orders in OLLE follow messages about ELLO: 18 of 18, 0.1 by chance"), "{text}");
    // They are not applied.
    assert_eq!(report["attribution"]["methods"].get("link"), None, "{}", report["attribution"]["methods"]);
    assert_sound(&report, "backwards");
    std::fs::remove_file(file).expect("the test's own file can go");
}

#[test]
fn a_calm_market_suggests_no_link() {
    let (name, text) = scenarios().iter().find(|(name, _)| *name == "calm").expect("a shipped scenario");
    for seed in 1..=5 {
        assert_eq!(played(text, name, seed), [], "{seed}");
    }
}

/// BRAVO is sold when ALPHA rises over where it began, which it does 53 times.
const CROSSING: &str = r#"
title = "Orders in another instrument than the one that causes them"
duration = "60s"

[market]
symbols = 8
names = ["ALPHA", "XRAY", "BRAVO"]
prices = [50.0, 50.0, 120.0]
rate = 600.0
branching = 0.4

[[strategy]]
kind = "conditional"
when = "ALPHA"
sell = "BRAVO"
style = "take"

[[strategy]]
kind = "react"
symbols = ["XRAY"]
on = "trade"
first = true
style = "take"
share = 0.3
pause = "200ms"
"#;

#[test]
fn a_condition_across_instruments_is_found() {
    assert_eq!(played(CROSSING, "crossing", 12), [("BRAVO".to_owned(), "ALPHA".to_owned())]);
}
