//! The packets of one request, asked for on the socket: what comes is a capture of its own that gives the same latencies.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::daemon::{Folder, live, program};
use super::lab::Lab;
use super::readers::{ask, is_done, play, reader};

/// The columns of one request of a table, by name.
fn row(table: &str, clordid: &str) -> Vec<(String, String)> {
    let mut lines = table.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<String>>());
    let names = lines.next().unwrap();
    let at = names.iter().position(|name| name == "clordid").unwrap();
    let row = lines.find(|row| row[at] == clordid).unwrap();
    names.into_iter().zip(row).collect()
}

#[test]
fn the_packets_of_a_request_are_a_capture_that_gives_its_row() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("packets");
    let (socket, orders) = (folder.file("live.sock"), folder.file("o.csv"));
    let running = live(&lab, "afpacket", &["--json", "--orders", &orders, "--socket", &socket, "--flight", "300s"]);
    let done = reader(&socket, is_done);
    play(&lab, &folder);
    done.join().unwrap();
    let questions = [
        json!({ "query": "packets", "clordid": "T01-000017" }),
        json!({ "query": "packets", "clordid": "nobody" }),
        json!({ "query": "packets", "clordid": "T01-000018" }),
    ];
    let answers = ask(&socket, &questions.map(|question| question.to_string()).join("\n"));
    let [nobody, found, other] = &answers[..] else { panic!("{answers:#?}") };
    assert!(nobody["error"].as_str().unwrap().starts_with("no such row"), "{nobody:#}");
    assert_eq!((&found["clordid"], &other["clordid"]), (&"T01-000017".into(), &"T01-000018".into()));
    assert_eq!((&found["error"], &found["missing"]), (&Value::Null, &json!([])), "{found:#}");
    let packets = folder.0.join("packets.pcapng");
    std::fs::write(&packets, BASE64_STANDARD.decode(found["pcapng"].as_str().unwrap()).unwrap()).unwrap();
    let counted = Command::new("tcpdump").arg("-r").arg(&packets).args(["-n", "--number"]).output().unwrap();
    let lines = String::from_utf8(counted.stdout).unwrap();
    assert_eq!(Some(lines.lines().count() as u64), found["frames"].as_u64(), "{lines}");

    let (status, _, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let mut analyze = Command::new(program());
    analyze.args(["analyze", "--no-progress", "--quiet", "--orders", "-"]).arg(&packets);
    let alone = analyze.args(["--instruments", &folder.file("sim/instruments.csv")]).output().unwrap();
    let alone = row(&String::from_utf8(alone.stdout).unwrap(), "T01-000017");
    let whole = row(&std::fs::read_to_string(orders).unwrap(), "T01-000017");
    for ((name, alone), (_, whole)) in alone.iter().zip(&whole) {
        // Taps are called after the file, frames are counted anew, and few messages make an unsure model.
        if !["tap", "flags", "trigger_confidence", "t2t_min_ns", "t2t_max_ns"].contains(&name.as_str()) {
            assert_eq!(alone, whole, "{name}");
        }
    }
}
