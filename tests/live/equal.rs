//! Live equals offline: `live` while a simulated market is played over two links, and `analyze` on what tcpdump recorded of the
//! same, give the same requests, answers and triggers; and none is missed or extra against what the simulator says.
//!
//! By AF_PACKET both read the very same stamps, so everything is equal. AF_XDP takes frames away before tcpdump could see them, so
//! that listens where they are sent: stamps differ by microseconds, and so do latencies; a trigger, which is weighed by them,
//! may differ where two messages are as likely.
#![allow(clippy::doc_markdown, reason = "names of the kernel are words here: AF_XDP, AF_PACKET")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tickscope::capture::{Input, Merged};

use super::daemon::{Folder, live, program, tcpdump};
use super::lab::{ARRIVES, Lab, SENT};
use super::send::replay;

/// A row by its columns' names.
pub(crate) type Row = BTreeMap<String, String>;

pub(crate) type Rows = BTreeMap<(String, String), Row>;

/// Columns that hold no time, and how a request was answered.
const SAME: [&str; 7] = ["tap", "orig_clordid", "chain", "request", "symbol", "side", "price"];
const TRIGGER: [&str; 4] = ["trigger_feed", "trigger_seq", "trigger_msg", "trigger_symbol"];
const ANSWERS: [&str; 7] =
    ["tcp_ack_ns", "ack_ns", "reject_ns", "first_fill_ns", "full_fill_ns", "cancel_ack_ns", "replace_ack_ns"];

pub(crate) fn run(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{error}");
    out.into_owned()
}

/// Rows by session and ClOrdID.
pub(crate) fn rows(path: &Path) -> Rows {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| -> Row {
        names.iter().zip(line.split(',')).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect()
    };
    let rows = lines.map(row).map(|row| ((row["session"].clone(), row["clordid"].clone()), row));
    rows.collect()
}

/// Waits until a capture that is being written has so many frames.
pub(crate) fn await_frames(path: &Path, frames: u64) {
    for _ in 0..600 {
        let mut capture = Merged::open(&[Input { name: None, path: path.to_owned() }], &[]).unwrap();
        let mut found = 0;
        while capture.next().is_some() {
            found += 1;
        }
        if found == frames {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{}: not {frames} frames", path.display());
}

fn number(row: &Row, column: &str) -> Option<i64> {
    row[column].parse().ok()
}

/// How far stamps and latencies are apart.
fn quantiles(name: &str, mut values: Vec<i64>) {
    values.sort_unstable();
    let at = |percent: usize| values[(values.len() - 1) * percent / 100];
    eprintln!("{name}: n {}, p50 {} ns, p99 {} ns, most {} ns", values.len(), at(50), at(99), at(100));
}

/// Of a hundred requests, at least so many have the same trigger where stamps differ.
const SAME_TRIGGERS_PERCENT: usize = 95;

fn live_equals_offline(driver: &str) {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new(driver);
    let file = |name: &str| folder.file(name);
    run(&["sim", "calm", "--write", &file("sim")]);
    let is_same_stamp = driver == "afpacket";
    let (namespace, interfaces) = if is_same_stamp { (&lab.receiver, ARRIVES) } else { (&lab.sender, SENT) };
    let dumps = interfaces.map(|interface| (interface, folder.0.join(format!("{interface}.pcap"))));
    let dumping = dumps.each_ref().map(|(interface, path)| tcpdump(namespace, interface, path));
    let running = live(&lab, driver, &["--orders", &file("live.csv"), "--segments", &file("segments.csv"), "--json"]);
    let capture = folder.0.join("sim/tap.pcap");
    let sent = lab.in_sender(|| replay(&capture));
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    // What tcpdump has not read yet when it is ended it throws away.
    for ((_, path), sent) in dumps.iter().zip(sent) {
        await_frames(path, sent);
    }
    for dump in dumping {
        let (_, _, said) = dump.end(libc::SIGINT);
        assert!(said.iter().any(|line| line.starts_with("0 packets dropped by kernel")), "{said:#?}");
    }
    std::fs::write(file("causal.toml"), "[trigger]\nmodel = \"causal\"\n").unwrap();
    let taps = [format!("md={}", dumps[0].1.display()), format!("ord={}", dumps[1].1.display())];
    let (config, offline) = (file("causal.toml"), file("offline.csv"));
    let analyze = ["analyze", &taps[0], &taps[1], "--config", &config, "--orders", &offline];
    run(&analyze);

    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    for (tap, sent) in sent.iter().enumerate() {
        let live = &report["taps"][tap]["live"];
        assert_eq!(
            (&live["seen"], &live["used"], &live["late"]),
            (&(*sent).into(), &(*sent).into(), &0.into()),
            "{live:#}"
        );
        assert_eq!(live["violations"], serde_json::json!([]));
    }
    let (live, offline) = (rows(&folder.0.join("live.csv")), rows(&folder.0.join("offline.csv")));
    assert!(offline.len() > 300, "{}", offline.len());
    if is_same_stamp {
        assert_eq!(live.len(), offline.len());
        for (key, row) in &live {
            assert_eq!(row, &offline[key], "{key:?}");
        }
    } else {
        compare(&live, &offline);
    }
    let score = run(&["score", &file("sim/truth.csv"), &file("live.csv"), "--missed", "0", "--extra", "0"]);
    eprintln!("{driver}: {score}");
}

fn compare(live: &Rows, offline: &Rows) {
    assert!(live.keys().eq(offline.keys()), "{} requests live, {} offline", live.len(), offline.len());
    let (mut stamps, mut latencies, mut same) = (Vec::new(), Vec::new(), 0);
    for (key, row) in live {
        let other = &offline[key];
        for column in SAME {
            assert_eq!(row[column], other[column], "{key:?} {column}:\nlive {row:#?}\noffline {other:#?}");
        }
        let later = |column| Some(number(row, column)? - number(other, column)?);
        stamps.push(later("t_out_ns").unwrap());
        for column in ANSWERS {
            assert_eq!(row[column].is_empty(), other[column].is_empty(), "{key:?} {column}");
            latencies.extend(later(column).map(i64::abs));
        }
        if TRIGGER.iter().all(|column| row[*column] == other[*column]) {
            same += 1;
            latencies.extend(later("t2t_ns").map(i64::abs));
        }
    }
    eprintln!("{same} of {} triggers are the same", live.len());
    assert!(same * 100 >= live.len() * SAME_TRIGGERS_PERCENT);
    quantiles("stamps of requests behind those of tcpdump", stamps);
    quantiles("latencies apart", latencies);
}

#[test]
fn live_equals_offline_by_af_packet() {
    live_equals_offline("afpacket");
}

#[test]
fn live_equals_offline_by_af_xdp() {
    live_equals_offline("xdp");
}
