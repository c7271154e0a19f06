//! How receivers run, and how what happens is told.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::daemon::{Running, live, program};
use super::lab::Lab;
use super::send::replay;

/// Name, policy and real-time priority of every thread (proc(5): fields 41 and 40 of `stat`).
fn threads(process: u32) -> Vec<(String, u32, u32)> {
    let tasks = std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("task")).unwrap();
    let of = |path: &Path| {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let (start, end) = (stat.find('(')?, stat.rfind(')')?);
        let fields: Vec<&str> = stat[end + 2..].split(' ').collect();
        // The first of these is field 3.
        Some((stat[start + 1..end].to_owned(), fields[41 - 3].parse().ok()?, fields[40 - 3].parse().ok()?))
    };
    tasks.filter_map(|task| of(&task.ok()?.path())).collect()
}

#[test]
fn receivers_run_first_where_that_is_asked_for_and_the_log_is_json() {
    let Some(lab) = Lab::new() else { return };
    let mut command = Lab::command(&lab.receiver, "sh");
    // Replaced by the program, so that its number is the one that is known here.
    command.args(["-c", "exec \"$0\" \"$@\"", program(), "live", "--headless", "--socket", "none", "--log", "json"]);
    command.args(["--tap", "md=md1,driver=afpacket,fifo=7", "--tap", "ord=or1,driver=afpacket"]);
    let running = Running::start(command, "capturing");
    // A thread has its name only once it runs.
    let named = |all: &Vec<(String, u32, u32)>| ["md/0", "ord/0"].iter().all(|name| all.iter().any(|it| it.0 == *name));
    let until = Instant::now() + Duration::from_secs(60);
    let threads = std::iter::repeat_with(|| threads(running.id())).find(|all| named(all) || Instant::now() > until);
    let threads = threads.unwrap();
    let policy = |name: &str| threads.iter().find(|thread| thread.0 == name).map(|thread| (thread.1, thread.2));
    let (fifo, other) = (u32::try_from(libc::SCHED_FIFO).unwrap(), u32::try_from(libc::SCHED_OTHER).unwrap());
    assert_eq!(policy("md/0"), Some((fifo, 7)), "{threads:?}");
    assert_eq!(policy("ord/0"), Some((other, 0)), "{threads:?}");
    let (status, _, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    for line in &said {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["t_ns"].as_u64() > Some(0) && line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(["note", "warning"].contains(&line["level"].as_str().unwrap()), "{line}");
    }
    assert!(said.iter().any(|line| line.contains("\"capturing\"")), "{said:#?}");
}

#[test]
fn receivers_that_poll_busily_bring_the_same_frames() {
    let Some(lab) = Lab::new() else { return };
    let running = live(&lab, "xdp,busy_poll=20us", &["--json"]);
    let calm = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/calm.pcap");
    let sent = lab.in_sender(|| replay(&calm));
    std::thread::sleep(Duration::from_secs(1));
    let (status, output, said) = running.end(libc::SIGINT);
    assert!(status.success(), "{said:#?}");
    let report: Value = serde_json::from_str(&output).unwrap();
    for (tap, sent) in report["taps"].as_array().unwrap().iter().zip(sent) {
        let live = &tap["live"];
        assert_eq!((live["seen"].as_u64(), live["used"].as_u64()), (Some(sent), Some(sent)), "{live}");
        assert!(live["driver"].as_str().unwrap().contains("polled busily"), "{live}");
    }
}

#[test]
fn busy_polling_by_af_packet_is_refused_where_it_is_asked_for_and_warned_of_where_it_was_chosen() {
    let Some(lab) = Lab::new() else { return };
    let mut command = Lab::command(&lab.receiver, program());
    let output =
        command.args(["live", "--headless", "--tap", "md=md1,driver=afpacket,busy_poll=20us"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("tap md: busy_poll is for AF_XDP"), "{said}");
    // The interface has an address now, so that AF_PACKET is chosen.
    lab.ip("addr add 192.0.2.7/24 dev md1");
    let running = live(&lab, "auto,busy_poll=20us", &[]);
    let (status, _, said) = running.end(libc::SIGINT);
    assert!(status.success(), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("busy_poll does nothing here")), "{said:#?}");
}
