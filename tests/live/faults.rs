//! What goes wrong while a daemon runs is told and counted, and it goes on.

use std::time::Duration;

use serde_json::Value;

use super::daemon::{Folder, live};
use super::lab::{Lab, SENT};
use super::net::Raw;

/// A datagram to a port, numbered.
fn datagram(number: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend_from_slice(&[0x45, 0, 0, 128, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend_from_slice(&[0x10, 0, 0x20, 0, 0, 108, 0, 0]);
    frame.extend_from_slice(&number.to_be_bytes());
    frame.resize(142, 0);
    frame
}

fn send(lab: &Lab, count: u32) -> u64 {
    lab.in_sender(|| {
        let socket = Raw::open(SENT[0]);
        (0..count).map(|number| u64::from(socket.send(&datagram(number)))).sum()
    })
}

fn parse(report: &str) -> Value {
    serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {report}"))
}

fn overloaded(driver: &str) {
    let Some(lab) = Lab::new() else { return };
    // The queue holds some two thousand of these frames.
    let running = live(&lab, driver, &["--json", "--buffer", "256"]);
    let sent = send(&lab, 300_000);
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let report = parse(&report);
    let tap = &report["taps"][0]["live"];
    let lost: u64 = tap["lost"].as_object().unwrap().values().map(|value| value.as_u64().unwrap()).sum();
    let number = |name: &str| tap[name].as_u64().unwrap();
    eprintln!("{driver}: sent {sent}, used {}, lost {}", number("used"), tap["lost"]);
    assert_eq!(number("seen"), sent);
    assert_eq!(number("seen"), number("used") + lost);
    assert_eq!((number("waiting"), &tap["violations"]), (0, &serde_json::json!([])));
    assert_eq!(report["taps"][0]["frames"].as_u64(), Some(number("used")));
}

#[test]
fn under_overload_every_frame_is_used_or_counted_by_af_packet() {
    overloaded("afpacket");
}

#[test]
fn under_overload_every_frame_is_used_or_counted_by_af_xdp() {
    overloaded("xdp");
}

#[test]
fn an_interface_goes_down_and_comes_back() {
    let Some(lab) = Lab::new() else { return };
    for driver in ["afpacket", "xdp"] {
        let mut running = live(&lab, driver, &["--json"]);
        assert_eq!(send(&lab, 100), 100);
        lab.ip("link set md1 down");
        running.await_line("tap md: the link is down");
        lab.ip("link set md1 up");
        running.await_line("tap md: the link is up");
        assert_eq!(send(&lab, 50), 50);
        let (status, report, said) = running.end(libc::SIGINT);
        assert!(status.success(), "{said:#?}");
        let tap = &parse(&report)["taps"][0]["live"];
        assert_eq!((&tap["used"], &tap["events"]), (&150.into(), &2.into()), "{driver}: {tap:#}");
    }
}

#[test]
fn an_interface_that_is_gone_is_opened_again_when_it_is_back() {
    let Some(lab) = Lab::new() else { return };
    let mut running = live(&lab, "afpacket", &["--json"]);
    assert_eq!(send(&lab, 100), 100);
    std::thread::sleep(Duration::from_millis(500));
    lab.ip("link del md1");
    running.await_line("tap md: the interface is gone");
    lab.ip(&format!("link add md1 type veth peer name md0 netns {}", lab.sender));
    lab.ip("link set md1 up");
    lab.in_sender(|| {
        let up = std::process::Command::new("ip").args(["link", "set", "md0", "up"]).status();
        assert!(up.is_ok_and(|status| status.success()));
    });
    running.await_line("tap md: md1 is back");
    assert_eq!(send(&lab, 50), 50);
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let tap = &parse(&report)["taps"][0]["live"];
    assert_eq!((&tap["used"], &tap["violations"]), (&150.into(), &serde_json::json!([])), "{tap:#}");
}

#[test]
fn a_killed_daemon_leaves_nothing_behind_and_a_report_so_far_is_printed_on_request() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("kill");
    let first = live(&lab, "xdp", &["--orders", &folder.file("a.csv")]);
    let (status, _, _) = first.end(libc::SIGKILL);
    assert!(!status.success());
    // The XDP program is gone with the process that had loaded it.
    let running = live(&lab, "xdp", &["--json"]);
    assert_eq!(send(&lab, 100), 100);
    std::thread::sleep(Duration::from_millis(500));
    running.signal(libc::SIGUSR1);
    std::thread::sleep(Duration::from_millis(1500));
    let (status, reports, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let reports: Vec<Value> =
        serde_json::Deserializer::from_str(&reports).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(reports.len(), 2, "one on request, one at the end");
    for report in reports {
        assert_eq!(report["taps"][0]["live"]["used"], 100);
        assert_eq!(report["taps"][0]["live"]["stamps"][0]["source"], "kernel-xdp-tai");
    }
}
