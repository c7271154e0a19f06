//! Times that are not those of NIC and kernel, live: stamps of a device in the frames, and times moved to the start of the frame.
//! Rows, and what the report says of the stamps, equal those of `analyze` on what tcpdump recorded of the same frames.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use serde_json::Value;

use super::daemon::{Folder, live, tcpdump};
use super::equal::{Rows, await_frames, rows, run};
use super::lab::{ARRIVES, Lab};
use super::net::skip;
use super::send::{replay, replay_with};

/// The device's clock is ahead of this host's.
const AHEAD_NS: u64 = 3_000_000_000;
/// It saw each frame so long before it was sent.
const BEFORE_NS: u64 = 700;
/// One frame in so many has no stamp.
const WITHOUT: usize = 50;

fn is_order(bytes: &[u8]) -> bool {
    // IPv4: TCP.
    bytes.get(23) == Some(&6)
}

/// What the device's clock shows, as it writes it: seconds and nanoseconds.
fn stamp(ahead_ns: u64) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ns = u64::try_from(now.as_nanos()).unwrap() + ahead_ns - BEFORE_NS;
    [ns / 1_000_000_000, ns % 1_000_000_000].map(|part| u32::try_from(part).unwrap().to_be_bytes()).concat()
}

/// The frame as a `MetaWatch` forwards it, its check sequences left out: no checksum helps to find the stamp.
fn with_trailer(bytes: &[u8], ahead_ns: u64) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    frame.resize(bytes.len().max(60), 0);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&stamp(ahead_ns));
    frame.extend_from_slice(&[0, 0, 1, 2]);
    frame
}

/// What was made of one run.
struct Both {
    live: Value,
    said: Vec<String>,
    live_rows: Rows,
    offline: Value,
    offline_rows: Rows,
}

/// Runs live while frames are sent, and then analyze on what tcpdump saw, both with this configuration of their taps.
fn both(name: &str, config: &str, send: impl FnOnce(&Path) -> [u64; 2] + Send) -> Option<Both> {
    let lab = Lab::new()?;
    let folder = Folder::new(name);
    let file = |name: &str| folder.file(name);
    run(&["sim", "calm", "--write", &file("sim")]);
    fs::write(file("both.toml"), format!("[trigger]\nmodel = \"causal\"\n{config}")).unwrap();
    let dumps = ARRIVES.map(|interface| (interface, folder.0.join(format!("{interface}.pcap"))));
    let dumping = dumps.each_ref().map(|(interface, path)| tcpdump(&lab.receiver, interface, path));
    let (config, online, offline) = (file("both.toml"), file("live.csv"), file("offline.csv"));
    let running = live(&lab, "afpacket", &["--config", &config, "--orders", &online, "--json"]);
    let capture = folder.0.join("sim/tap.pcap");
    let sent = lab.in_sender(|| send(&capture));
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.code() == Some(0) || status.code() == Some(3), "{status} {said:#?}");
    for ((_, path), sent) in dumps.iter().zip(sent) {
        await_frames(path, sent);
    }
    for dump in dumping {
        dump.end(libc::SIGINT);
    }
    let taps = [format!("md={}", dumps[0].1.display()), format!("ord={}", dumps[1].1.display())];
    let analyzed = run(&["analyze", &taps[0], &taps[1], "--config", &config, "--orders", &offline, "--json"]);
    let live: Value = serde_json::from_str(&report).unwrap();
    for (tap, sent) in sent.iter().enumerate() {
        let tap = &live["taps"][tap]["live"];
        assert_eq!((&tap["used"], &tap["late"]), (&(*sent).into(), &0.into()), "{tap:#} {said:#?}");
        assert_eq!(tap["violations"], serde_json::json!([]));
    }
    let offline_json = serde_json::from_str(&analyzed).unwrap();
    let (live_rows, offline_rows) = (rows(Path::new(&online)), rows(Path::new(&offline)));
    Some(Both { live, said, live_rows, offline: offline_json, offline_rows })
}

impl Both {
    fn rows_are_equal(&self) {
        assert!(self.offline_rows.len() > 300, "{}", self.offline_rows.len());
        assert_eq!(self.live_rows.len(), self.offline_rows.len());
        for (key, row) in &self.live_rows {
            assert_eq!(row, &self.offline_rows[key], "{key:?}");
        }
    }

    fn stamps_are_equal(&self) {
        for tap in [0, 1] {
            assert_eq!(self.live["taps"][tap]["stamps"], self.offline["taps"][tap]["stamps"], "{:#?}", self.said);
        }
    }

    fn stamps(&self, tap: usize) -> &Value {
        &self.live["taps"][tap]["stamps"]
    }

    fn says(&self, part: &str) -> bool {
        self.said.iter().any(|line| line.contains(part))
    }

    /// Requests with a trigger, and those of them with the time since it.
    fn triggers(&self) -> (usize, usize) {
        let has = |column: &str| self.live_rows.values().filter(|row| !row[column].is_empty()).count();
        (has("trigger_seq"), has("t2t_ns"))
    }
}

/// Both taps behind one device, some frames without a stamp.
fn stamped(capture: &Path) -> [u64; 2] {
    let mut count = 0;
    replay_with(capture, |bytes| {
        count += 1;
        let frame = if count % WITHOUT == 0 { bytes.to_vec() } else { with_trailer(bytes, AHEAD_NS) };
        (usize::from(is_order(bytes)), frame)
    })
}

fn both_taps(keys: &str) -> String {
    format!("[[tap]]\nname = \"md\"\n{keys}\n[[tap]]\nname = \"ord\"\n{keys}\n")
}

fn is_one_device(both: &Both) {
    both.rows_are_equal();
    both.stamps_are_equal();
    for tap in [0, 1] {
        let stamps = both.stamps(tap);
        assert_eq!(stamps["source"], "metamako");
        assert!(stamps["stamped"].as_u64() > Some(500) && stamps["without"]["none"].as_u64() > Some(10), "{stamps:#}");
        assert!(stamps["ahead_of_capture_ns"].as_i64().unwrap().abs_diff(3_000_000_000) < 50_000_000, "{stamps:#}");
        assert_eq!(both.live["taps"][tap]["clock"], "the clock of md");
    }
    assert_eq!(both.live["clocks"], serde_json::json!([]), "one clock");
    let (triggers, latencies) = both.triggers();
    assert!(triggers > 100 && latencies * 100 >= triggers * 95, "{latencies} of {triggers}");
    assert!(both.says("tap md: the stamps of metamako count"), "{:#?}", both.said);
}

#[test]
fn stamps_of_a_device_in_the_frames_are_the_times_of_both_taps() {
    if let Some(both) = both("trailer", &both_taps("trailer = \"metamako\""), stamped) {
        is_one_device(&both);
    }
}

#[test]
fn stamps_are_found_by_the_vote_of_the_first_frames() {
    if let Some(both) = both("auto", &both_taps("trailer = \"auto\""), stamped) {
        is_one_device(&both);
    }
}

#[test]
fn where_nobody_asks_for_stamps_or_there_are_none_the_kernels_times_count() {
    if let Some(both) = both("own", "", stamped) {
        assert_eq!(
            (both.stamps(0)["source"].clone(), both.stamps(0)["stamped"].clone()),
            ("capture".into(), Value::Null)
        );
        assert_eq!(both.live["taps"][0]["clock"], Value::Null);
    }
    if let Some(both) = both("none", &both_taps("trailer = \"auto\""), replay) {
        both.rows_are_equal();
        both.stamps_are_equal();
        assert!(both.says("tap ord: no format won the vote"), "{:#?}", both.said);
    }
}

/// Both taps behind a device that is switched on after a third of the frames, when a later vote may find it.
fn switched_on(capture: &Path) -> [u64; 2] {
    let mut count = [0, 0];
    replay_with(capture, |bytes| {
        let tap = usize::from(is_order(bytes));
        count[tap] += 1;
        if count[1] < ON_FROM {
            return (tap, bytes.to_vec());
        }
        if count[1] == ON_FROM && tap == 1 {
            thread::sleep(std::time::Duration::from_secs(12));
        }
        (tap, with_trailer(bytes, AHEAD_NS))
    })
}

/// The frame of the order tap that is the first one with a stamp: behind those of the first vote.
const ON_FROM: u64 = 400;

#[test]
fn a_device_that_is_switched_on_later_is_found_and_no_latency_lies_between_the_clocks() {
    let config = both_taps("trailer = \"auto\"");
    let Some(both) = both("later", &config, switched_on) else { return };
    for tap in [0, 1] {
        let stamps = both.stamps(tap);
        assert_eq!(stamps["source"], "metamako", "{:#?}", both.said);
        assert!(stamps["since_ns"].as_u64().is_some() && stamps["stamped"].as_u64() > Some(100), "{stamps:#}");
        assert_eq!(both.live["taps"][tap]["clock"], "the clock of md");
    }
    assert!(
        both.says("tap ord: no format won the vote") && both.says("tap ord: the stamps of metamako count from now on")
    );
    assert_eq!(both.live["clocks"], serde_json::json!([]), "one clock again");
    // A latency between the clocks would be longer than what the device is ahead.
    let longest = |column: &str| both.live_rows.values().filter_map(|row| row[column].parse::<i64>().ok()).max();
    for column in ["t2t_ns", "ack_ns", "first_fill_ns", "tcp_ack_ns"] {
        let longest = longest(column).expect("some");
        assert!(longest < i64::try_from(AHEAD_NS).unwrap() / 2, "{column} {longest}");
    }
    let since = both.stamps(1)["since_ns"].as_u64().unwrap();
    let is_late = |row: &&std::collections::BTreeMap<String, String>| {
        row["t_out_ns"].parse::<u64>().unwrap() > since + AHEAD_NS / 2
    };
    assert!(both.live_rows.values().filter(is_late).count() > 50, "rows behind the change have the device's times");
    let flagged = both.live_rows.values().filter(|row| row["flags"].contains("cross_clock")).count();
    assert!((1..both.live_rows.len() / 2).contains(&flagged), "{flagged}");
}

/// Market data behind a device, orders stamped by this host.
fn stamped_market(capture: &Path, ahead_ns: u64) -> [u64; 2] {
    replay_with(capture, |bytes| {
        let is_order = is_order(bytes);
        (usize::from(is_order), if is_order { bytes.to_vec() } else { with_trailer(bytes, ahead_ns) })
    })
}

#[test]
fn between_a_device_and_this_host_there_is_no_latency_unless_their_clocks_are_said_to_agree() {
    let config = "[[tap]]\nname = \"md\"\ntrailer = \"metamako\"\n";
    if let Some(both) = both("apart", config, |capture| stamped_market(capture, AHEAD_NS)) {
        let (triggers, latencies) = both.triggers();
        assert!(triggers > 10 && latencies == 0, "{latencies} of {triggers}");
        let acks = both.live_rows.values().filter(|row| !row["ack_ns"].is_empty()).count();
        assert!(acks > 100, "{acks}");
        let clock = &both.live["clocks"][0];
        assert_eq!((&clock["clock"], &clock["relation"]), (&"UTC of this host".into(), &"unknown".into()), "{clock:#}");
    }
    let config =
        "[[tap]]\nname = \"md\"\ntrailer = \"metamako\"\nclock = \"ptp\"\n[[tap]]\nname = \"ord\"\nclock = \"ptp\"\n";
    if let Some(both) = both("agree", config, |capture| stamped_market(capture, 0)) {
        both.rows_are_equal();
        let (triggers, latencies) = both.triggers();
        assert!(triggers > 100 && latencies * 100 >= triggers * 95, "{latencies} of {triggers}");
    }
}

#[test]
fn times_of_the_end_of_a_frame_are_moved_to_its_start() {
    let config = "[[tap]]\nname = \"md\"\nedge = \"eof\"\nspeed = \"1G\"\n[[tap]]\nname = \"ord\"\nedge = \"eof\"\n";
    let Some(both) = both("edge", config, replay) else { return };
    both.rows_are_equal();
    both.stamps_are_equal();
    let (md, ord) = (both.stamps(0), both.stamps(1));
    assert_eq!(
        (&md["edge"], &md["moved_to_start"], &md["speed_bps"]),
        (&"eof".into(), &true.into(), &1_000_000_000.into())
    );
    assert_eq!((&ord["edge"], &ord["moved_to_start"]), (&"eof".into(), &false.into()));
}

/// Frames of a real `MetaWatch`, with its own trailers, of which the stamps are set to this day: those are years old.
#[test]
fn stamps_of_a_real_device_are_read_as_analyze_reads_them() {
    let folder = std::env::var_os("TICKSCOPE_CAPTURES").map_or_else(|| "/work/shared/captures".into(), PathBuf::from);
    let path = folder.join("hwts/metamako_trailer.pcap");
    if !path.exists() {
        skip(&format!("{} is not there", path.display()));
        return;
    }
    let renewed = |bytes: &[u8]| {
        let at = bytes.len() - 16;
        [&bytes[..at], &stamp(AHEAD_NS), &bytes[at + 8..]].concat()
    };
    let send = |_: &Path| replay_with(&path, |bytes| (0, renewed(bytes)));
    let Some(both) = both("real", "[[tap]]\nname = \"md\"\ntrailer = \"metamako\"\n", send) else { return };
    both.stamps_are_equal();
    assert_eq!(both.stamps(0)["stamped"], 111, "{:#}", both.stamps(0));
    assert_eq!(both.live["taps"][0]["first"], both.offline["taps"][0]["first"]);
    assert_eq!(both.live["taps"][0]["last"], both.offline["taps"][0]["last"]);
}

#[test]
fn directions_that_come_at_two_taps_are_told_of_once() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("directions");
    run(&["sim", "calm", "--write", &folder.file("sim")]);
    let running = live(&lab, "afpacket", &["--json"]);
    let capture = folder.0.join("sim/tap.pcap");
    // By ports, of TCP in IPv4: each direction on an interface of its own.
    let way = |bytes: &[u8]| usize::from(is_order(bytes) && bytes[34..36] < bytes[36..38]);
    lab.in_sender(|| replay_with(&capture, |bytes| (way(bytes), bytes.to_vec())));
    thread::sleep(std::time::Duration::from_secs(11));
    let (_, report, said) = running.end(libc::SIGTERM);
    let is_about = |line: &&String| line.contains("group = \"md\"");
    assert_eq!(said.iter().filter(is_about).count(), 1, "{said:#?}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(
        report["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("one direction each"))
    );
}
