//! A recording that was rotated while orders were open: its files, put behind each other or given to `analyze` as one observation
//! point, are the market that live saw.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::daemon::{Folder, live};
use super::equal::{Rows, rows, run};
use super::lab::Lab;
use super::record::{files, tap_alone};
use super::send::replay;

const CAUSAL: &str = "[trigger]\nmodel = \"causal\"\n";

#[test]
fn the_files_of_a_rotated_recording_give_the_orders_of_live() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("rotated");
    let file = |name: &str| folder.file(name);
    run(&["sim", "calm", "--write", &file("sim")]);
    let (recorded, online) = (file("recorded"), file("live.csv"));
    let running =
        live(&lab, "afpacket", &["--json", "--record", &recorded, "--record-time", "1s", "--orders", &online]);
    let sent: u64 = lab.in_sender(|| replay(&folder.0.join("sim/tap.pcap"))).iter().sum();
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let recording = &report["recording"];
    assert_eq!((&recording["frames"], &recording["lost"]["not_kept_up"]), (&sent.into(), &0.into()), "{recording:#}");
    let parts = files(Path::new(&recorded), "record-");
    assert!(parts.len() >= 2 && recording["files"] == parts.len(), "{recording:#}");

    let online = rows(Path::new(&online));
    assert!(online.len() > 300, "{}", online.len());
    behind_each_other(&folder, &parts, &online);
    as_a_folder(&folder, &recorded, &online);
    as_one_point(&folder, &parts, &online);
}

/// Both pcapng and zstd allow it: `cat`.
fn behind_each_other(folder: &Folder, parts: &[PathBuf], online: &Rows) {
    let all: Vec<u8> = parts.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    fs::write(folder.file("all.pcapng.zst"), all).unwrap();
    fs::write(folder.file("causal.toml"), CAUSAL).unwrap();
    let (all, config, offline) = (folder.file("all.pcapng.zst"), folder.file("causal.toml"), folder.file("all.csv"));
    let report: Value =
        serde_json::from_str(&run(&["analyze", "--json", &all, "--config", &config, "--orders", &offline])).unwrap();
    assert_eq!(report["taps"].as_array().unwrap().len(), 2, "an interface stays the same tap: {:#}", report["taps"]);
    same(online, &rows(Path::new(&offline)));
}

/// The folder itself: also by two looks at it, the first of which finds the symbols that need books.
fn as_a_folder(folder: &Folder, recorded: &str, online: &Rows) {
    let (config, offline) = (folder.file("causal.toml"), folder.file("folder.csv"));
    let report: Value =
        serde_json::from_str(&run(&["analyze", "--json", recorded, "--config", &config, "--orders", &offline]))
            .unwrap();
    assert_eq!(report["taps"].as_array().unwrap().len(), 2, "an interface stays the same tap: {:#}", report["taps"]);
    same(online, &rows(Path::new(&offline)));
    assert!(!run(&["decode", recorded]).is_empty());
}

/// Files have taps of their own, which the configuration makes one point.
fn as_one_point(folder: &Folder, parts: &[PathBuf], online: &Rows) {
    let (mut config, mut inputs) = (CAUSAL.to_owned(), Vec::new());
    for (number, path) in parts.iter().enumerate() {
        write!(config, "[[tap]]\nname = \"part{number}\"\ngroup = \"all\"\n").unwrap();
        inputs.push(format!("part{number}={}", path.display()));
    }
    fs::write(folder.file("point.toml"), config).unwrap();
    let (config, offline) = (folder.file("point.toml"), folder.file("point.csv"));
    let mut arguments = vec!["analyze", "--json", "--config", &config, "--orders", &offline];
    arguments.extend(inputs.iter().map(String::as_str));
    let report: Value = serde_json::from_str(&run(&arguments)).unwrap();
    let said = report["notes"].to_string();
    assert!(!said.contains("no such tap"), "the name of a file means its interfaces: {said}");
    same(online, &rows(Path::new(&offline)));
}

fn same(online: &Rows, offline: &Rows) {
    assert!(online.keys().eq(offline.keys()), "{} requests live, {} offline", online.len(), offline.len());
    for (key, row) in online {
        assert_eq!(row, &tap_alone(offline[key].clone()), "{key:?}");
    }
}
