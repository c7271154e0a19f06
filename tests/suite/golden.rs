//! The captures that ship, and what must come out of them: `NAME.orders.csv`, `NAME.report.json` and, for the small
//! ones, `NAME.events.jsonl`, each beside its capture. `BLESS=1 cargo test golden` rewrites them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::{assert_sound, check_file, root, tickscope_in};

/// Of larger captures the events and the course over time are left out: nobody reads megabytes of difference.
const SMALL_BYTES: u64 = 200_000;

fn captures(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            captures(&path, found);
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().contains(".pcap")) {
            found.insert(path);
        }
    }
}

fn run(capture: &Path, arguments: &[&str]) -> String {
    // From its own folder, so that no path of this machine is in the output.
    let folder = capture.parent().expect("in a folder");
    let name = capture.file_name().expect("a name").to_str().expect("UTF-8");
    let ran = tickscope_in(folder, arguments.iter().copied().chain([name]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{name} {arguments:?}");
    ran.stdout
}

fn beside(capture: &Path, what: &str) -> PathBuf {
    let name = capture.file_name().expect("a name").to_string_lossy();
    let stem = name.split(".pcap").next().expect("a name");
    capture.with_file_name(format!("{stem}.{what}"))
}

#[test]
fn golden_captures_give_what_stands_beside_them() {
    let folder = root().join("captures");
    let mut found = BTreeSet::new();
    captures(&folder, &mut found);
    assert!(found.len() >= 6, "captures are missing in {}: {found:?}", folder.display());
    for capture in &found {
        let is_small = capture.metadata().expect("it is there").len() <= SMALL_BYTES;
        check_file(&beside(capture, "orders.csv"), &run(capture, &["analyze", "-q", "--orders", "-"]));
        let mut report: Value = serde_json::from_str(&run(capture, &["analyze", "-q", "--json"])).expect("JSON");
        assert_sound(&report, &capture.display().to_string());
        let object = report.as_object_mut().expect("an object");
        object.remove("version");
        if !is_small {
            object.remove("over_time");
        }
        let text = serde_json::to_string_pretty(&report).expect("JSON") + "\n";
        check_file(&beside(capture, "report.json"), &text);
        if is_small {
            check_file(&beside(capture, "events.jsonl"), &run(capture, &["decode", "-q"]));
        }
    }
}

/// A golden file whose capture has gone, or been renamed, would never fail again.
#[test]
fn golden_files_have_a_capture() {
    let mut found = BTreeSet::new();
    captures(&root().join("captures"), &mut found);
    let mut expected = BTreeSet::new();
    for capture in &found {
        expected.extend(["orders.csv", "report.json", "events.jsonl"].map(|what| beside(capture, what)));
    }
    let mut folders = vec![root().join("captures")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".orders.csv") || name.ends_with(".report.json") || name.ends_with(".jsonl") {
                assert!(expected.contains(&path), "{} has no capture", path.display());
            }
        }
    }
}

/// Each protocol that is built is in some golden capture.
#[test]
fn golden_captures_hold_every_protocol() {
    let mut found = BTreeSet::new();
    captures(&root().join("captures"), &mut found);
    let mut missing: BTreeSet<&str> = tickscope_decoders::PROTOCOLS.iter().map(|protocol| protocol.name).collect();
    for capture in found.iter().map(|capture| beside(capture, "events.jsonl")).filter(|file| file.exists()) {
        let text = std::fs::read_to_string(capture).expect("it is there");
        missing.retain(|name| !text.contains(&format!("\"protocol\":\"{name}\"")));
    }
    assert!(missing.is_empty(), "no golden capture of {missing:?}");
}
