//! Live equals offline: `live` while a simulated market is played over two links, and `analyze` on what tcpdump recorded of the
//! same, give the same requests, answers and triggers; and none is missed or extra against what the simulator says.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::daemon::{Folder, live, program, tcpdump};
use super::lab::{Lab, SENT};
use super::send::replay;

/// A row by its columns' names.
type Row = BTreeMap<String, String>;

/// Columns that hold no time.
const SAME: [&str; 13] = [
    "tap", "orig_clordid", "chain", "request", "symbol", "side", "price", "qty", "trigger_feed", "trigger_seq", "trigger_msg",
    "trigger_symbol", "trigger_method",
];
const LATENCIES: [&str; 8] = [
    "t2t_ns", "tcp_ack_ns", "ack_ns", "reject_ns", "first_fill_ns", "full_fill_ns", "cancel_ack_ns", "replace_ack_ns",
];

fn run(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{error}");
    out.into_owned()
}

/// Rows by session and ClOrdID.
fn rows(path: &Path) -> BTreeMap<(String, String), Row> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| -> Row {
        names.iter().zip(line.split(',')).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect()
    };
    let rows = lines.map(row).map(|row| ((row["session"].clone(), row["clordid"].clone()), row));
    rows.collect()
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

fn live_equals_offline(driver: &str) {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new(driver);
    let file = |name: &str| folder.file(name);
    run(&["sim", "calm", "--write", &file("sim")]);
    let instruments = file("sim/instruments.csv");
    let dumps = SENT.map(|interface| (interface, folder.0.join(format!("{interface}.pcap"))));
    let dumping = dumps.each_ref().map(|(interface, path)| tcpdump(&lab, interface, path));
    let running = live(
        &lab,
        driver,
        &["--orders", &file("live.csv"), "--segments", &file("segments.csv"), "--json", "--instruments", &instruments],
    );
    let capture = folder.0.join("sim/tap.pcap");
    let sent = lab.in_sender(|| replay(&capture));
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    for dump in dumping {
        let (_, _, said) = dump.end(libc::SIGINT);
        assert!(said.iter().any(|line| line.starts_with("0 packets dropped by kernel")), "{said:#?}");
    }
    std::fs::write(file("causal.toml"), "[trigger]\nmodel = \"causal\"\n").unwrap();
    let taps = [format!("md={}", dumps[0].1.display()), format!("ord={}", dumps[1].1.display())];
    let (config, offline) = (file("causal.toml"), file("offline.csv"));
    let analyze = ["analyze", &taps[0], &taps[1], "--config", &config, "--orders", &offline];
    run(&[&analyze[..], &["--instruments", &instruments]].concat());

    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    for (tap, sent) in sent.iter().enumerate() {
        let live = &report["taps"][tap]["live"];
        assert_eq!((&live["seen"], &live["used"], &live["late"]), (&(*sent).into(), &(*sent).into(), &0.into()), "{live:#}");
        assert_eq!(live["violations"], serde_json::json!([]));
    }
    compare(&rows(&folder.0.join("live.csv")), &rows(&folder.0.join("offline.csv")), driver);
    let score = run(&["score", &file("sim/truth.csv"), &file("live.csv"), "--missed", "0", "--extra", "0"]);
    eprintln!("{driver}: {score}");
}

fn compare(live: &BTreeMap<(String, String), Row>, offline: &BTreeMap<(String, String), Row>, driver: &str) {
    assert!(offline.len() > 300, "{}", offline.len());
    assert_eq!(live.keys().collect::<Vec<_>>(), offline.keys().collect::<Vec<_>>());
    let (mut stamps, mut latencies) = (Vec::new(), Vec::new());
    for (key, row) in live {
        let other = &offline[key];
        for column in SAME {
            assert_eq!(row[column], other[column], "{key:?} {column}:\nlive {row:#?}\noffline {other:#?}");
        }
        let later = |column| Some(number(row, column)? - number(other, column)?);
        let request = later("t_out_ns").unwrap();
        stamps.push(request);
        // The latency differs by as much as the stamps of its two frames do.
        if let Some(trigger) = later("trigger_t_ns") {
            assert_eq!(later("t2t_ns"), Some(request - trigger), "{key:?}");
        }
        for column in LATENCIES {
            assert_eq!(row[column].is_empty(), other[column].is_empty(), "{key:?} {column}");
            latencies.extend(later(column).map(i64::abs));
        }
    }
    quantiles(&format!("{driver}: stamps of requests behind those of tcpdump"), stamps);
    quantiles(&format!("{driver}: latencies apart"), latencies);
}

#[test]
fn live_equals_offline_by_af_packet() {
    live_equals_offline("afpacket");
}

#[test]
fn live_equals_offline_by_af_xdp() {
    live_equals_offline("xdp");
}
