//! Which side slowed is told while it goes on, and at the end as `analyze` tells it.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::daemon::{Folder, live, program};
use super::lab::Lab;
use super::readers::{ask, is_done, reader};
use super::send::replay;

#[test]
fn readers_are_told_which_side_slowed_and_what_became_of_each_queue() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("verdict");
    let socket = folder.file("live.sock");
    let running = live(&lab, "afpacket", &["--json", "--socket", &socket]);
    let done = reader(&socket, |snapshot| is_done(snapshot) && snapshot["slowed"]["side"] == "external");
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/exchange-slows.pcap");
    lab.in_sender(|| replay(&capture));
    let told = done.join().unwrap().pop().unwrap();
    assert_eq!(told["slowed"]["side"], "external", "{:#}", told["verdict"]);
    assert_eq!(told["verdict"]["slow"][0]["culprit"], "exchange");
    assert!(told["verdict_as_of"]["t_ns"].as_u64() <= told["t_ns"].as_u64());
    let clordid = &told["newest"][0]["clordid"];
    let answers = ask(&socket, &json!({ "query": "packets", "clordid": clordid }).to_string());
    assert!(answers[0]["error"].as_str().unwrap().contains("--flight"), "there is no recorder: {answers:#?}");
    let last = reader(&socket, |_| false);
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let last = last.join().unwrap().pop().unwrap();
    assert_eq!((&last["slowed"], &last["verdict"]), (&report["slowed"], &report["verdict"]));
    for tap in report["taps"].as_array().unwrap() {
        let live = &tap["live"];
        let queues = live["queues"].as_array().unwrap();
        for key in ["seen", "used"] {
            let sum: u64 = queues.iter().map(|queue| queue[key].as_u64().unwrap()).sum();
            assert_eq!(Some(sum), live[key].as_u64(), "{key}: {live:#}");
        }
    }
    let offline =
        Command::new(program()).args(["analyze", "--json", "--no-progress", "--quiet"]).arg(&capture).output().unwrap();
    let offline: Value = serde_json::from_slice(&offline.stdout).unwrap();
    assert_eq!(report["slowed"]["side"], offline["slowed"]["side"]);
}
