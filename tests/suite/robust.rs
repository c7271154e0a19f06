//! Every foreign capture, also those of protocols that are not built and those that are broken on purpose: a report or
//! one clear line of error, never a panic, and an account that adds up. (What is in each frame: `tests/capture_oracle.rs`.)

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::oracle_decode::{built, single_packets};
use super::support::{Ran, assert_sound, captures, loss, tickscope};

/// Files that are no capture, or of a format that is not read.
const NO_CAPTURES: &[&str] = &["made_fix_session.erf", "rusticata_err-eof.bin", "rusticata_modified-format.pcap"];

/// 0 with a report, or 1 with one line on stderr that names the file.
fn check_end(ran: &Ran, file: &Path) {
    let shown = file.display().to_string();
    match ran.code {
        Some(0) => {}
        Some(1) => {
            assert_eq!((ran.stdout.as_str(), ran.stderr.lines().count()), ("", 1), "{shown}: {}", ran.stderr);
            assert!(ran.stderr.starts_with("tickscope: error: ") && ran.stderr.contains(&shown), "{}", ran.stderr);
        }
        other => panic!("{shown}: exit code {other:?}\n{}", ran.stderr),
    }
    assert!(!ran.stderr.contains("panicked"), "{shown}: {}", ran.stderr);
}

/// The report of a file, unless it cannot be read at all.
fn examine(file: &Path) -> Option<(Value, Vec<Value>)> {
    let path = file.to_str().expect("these paths are UTF-8");
    let analyzed = tickscope(["analyze", "--json", path]);
    let decoded = tickscope(["decode", path]);
    check_end(&analyzed, file);
    check_end(&decoded, file);
    assert_eq!(analyzed.code, decoded.code, "{path}");
    if analyzed.code != Some(0) {
        return None;
    }
    let report: Value = serde_json::from_str(&analyzed.stdout).expect("JSON");
    assert_sound(&report, path);
    let lines = decoded.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    Some((report, lines))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn broken_and_odd_captures_give_a_report_or_one_line() {
    let Some(folder) = captures() else { return };
    let mut unread = Vec::new();
    let all = files(&folder.join("robust"));
    assert!(all.len() > 50, "{}", all.len());
    for file in all {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let Some((report, lines)) = examine(&file) else {
            unread.push(name);
            continue;
        };
        let used = report["quality"]["frames"]["used"].as_u64().expect("a number");
        // Those made from our FIX session hold FIX; no other file here holds anything that is built.
        assert_eq!(used > 0, name.starts_with("made_"), "{name}: {used} frames used");
        // With 96 bytes a frame no FIX message is whole.
        let is_whole = used > 0 && name != "made_snaplen96.pcap";
        assert_eq!(lines.is_empty(), !is_whole, "{name}: {} lines", lines.len());
    }
    unread.retain(|name| !NO_CAPTURES.contains(&name.as_str()));
    assert!(unread.is_empty(), "these should have been read: {unread:?}");
}

#[test]
fn protocols_that_are_not_built_are_counted_as_unknown() {
    let Some(folder) = captures() else { return };
    let mut foreign = 0;
    let packets = single_packets(&folder);
    let others = ["soup", "hwts"].iter().flat_map(|name| files(&folder.join(name)));
    let others: Vec<(PathBuf, String)> = others.map(|file| (file, String::new())).collect();
    for (file, title) in packets.iter().chain(&others) {
        let (report, lines) = examine(file).unwrap_or_else(|| panic!("{} is a capture", file.display()));
        if built(title).is_some() {
            assert!(!lines.is_empty(), "{title}");
            continue;
        }
        foreign += 1;
        let quality = &report["quality"];
        assert!(lines.is_empty(), "{}: {}", file.display(), lines[0]);
        assert_eq!((&quality["frames"]["used"], &quality["messages"]["in"]), (&0.into(), &0.into()), "{file:?}");
        assert_eq!(report["requests"], 0, "{file:?}");
        let mut reasons = vec!["unknown_udp", "unknown_tcp", "not_udp_tcp", "not_ip"];
        if file.ends_with("exa.mode.append.pcap") || file.ends_with("exa.mode.fcs.pcap") {
            // Three test frames say IPv4 and hold zeros; the others explain stamps.
            reasons.extend(["frame_malformed", "keyframe"]);
        }
        let carried = reasons.iter().map(|reason| loss(&report, reason));
        assert_eq!(Some(carried.sum()), quality["frames"]["in"].as_u64(), "{file:?}: {}", quality["losses"]);
    }
    assert!(foreign > 200, "{foreign}");
}
