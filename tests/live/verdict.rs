//! Which side slowed is told while it goes on, and at the end as `analyze` tells it of the recording of the same frames.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Value, json};

use super::daemon::{Folder, live};
use super::equal::run;
use super::lab::Lab;
use super::readers::{ask, is_done, reader};
use super::record::files;
use super::send::replay;

/// The times are those of this machine: where it stood still for long, another side was slow too, and rightly so.
const TRIES: usize = 3;

#[test]
fn readers_are_told_which_side_slowed_and_what_became_of_each_queue() {
    let Some(lab) = Lab::new() else { return };
    let sides: Vec<Value> =
        (0..TRIES).map(|number| watch(&lab, number)).take_while(|side| side != "external").collect();
    assert!(sides.len() < TRIES, "the exchange slowed every time, but the sides were {sides:?}");
}

/// One run; which side slowed in it.
fn watch(lab: &Lab, number: usize) -> Value {
    let folder = Folder::new(&format!("verdict-{number}"));
    let (socket, recorded) = (folder.file("live.sock"), folder.file("recorded"));
    let running = live(lab, "afpacket", &["--json", "--socket", &socket, "--record", &recorded]);
    // One that was found out when everything was there.
    let done_ns = AtomicU64::new(u64::MAX);
    let done = reader(&socket, move |snapshot| {
        if is_done(snapshot) {
            done_ns.fetch_min(snapshot["t_ns"].as_u64().unwrap(), Relaxed);
        }
        snapshot["verdict_as_of"]["t_ns"].as_u64() > Some(done_ns.load(Relaxed))
    });
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/exchange-slows.pcap");
    lab.in_sender(|| replay(&capture));
    let told = done.join().unwrap().pop().unwrap();
    assert!(told["verdict_as_of"]["t_ns"].as_u64() <= told["t_ns"].as_u64());
    let clordid = &told["newest"][0]["clordid"];
    let answers = ask(&socket, &json!({ "query": "packets", "clordid": clordid }).to_string());
    assert!(answers[0]["error"].as_str().unwrap().contains("--flight"), "there is no recorder: {answers:#?}");
    let last = reader(&socket, |_| false);
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let last = last.join().unwrap().pop().unwrap();
    for key in ["slowed", "verdict"] {
        assert_eq!(last[key], report[key]);
        assert_eq!(told[key], report[key], "it was found out with all that there was");
    }
    for tap in report["taps"].as_array().unwrap() {
        let live = &tap["live"];
        let queues = live["queues"].as_array().unwrap();
        for key in ["seen", "used"] {
            let sum: u64 = queues.iter().map(|queue| queue[key].as_u64().unwrap()).sum();
            assert_eq!(Some(sum), live[key].as_u64(), "{key}: {live:#}");
        }
    }
    let (recording, config) = (files(Path::new(&recorded), "record-"), folder.file("causal.toml"));
    fs::write(&config, "[trigger]\nmodel = \"causal\"\n").unwrap();
    let offline = run(&["analyze", &recording[0].display().to_string(), "--json", "--quiet", "--config", &config]);
    let offline: Value = serde_json::from_str(&offline).unwrap();
    assert_eq!((&report["slowed"], &report["verdict"]), (&offline["slowed"], &offline["verdict"]));
    if report["slowed"]["side"] == "external" {
        assert_eq!(report["verdict"]["slow"][0]["culprit"], "exchange", "{:#}", report["verdict"]);
    } else {
        eprintln!("the machine was slow as well: {:#}", report["verdict"]);
    }
    report["slowed"]["side"].clone()
}
