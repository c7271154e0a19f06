//! What is recorded of the frames themselves: analysed it gives the figures of live, others read it, and neither a full disk nor
//! the end of the process costs more than what is not written yet.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use serde_json::Value;

use super::daemon::{Folder, live, live_after};
use super::equal::{Row, rows, run};
use super::lab::{Lab, SENT};
use super::net::Raw;
use super::send::replay;

/// Datagrams that cannot be packed, numbered from `first`.
fn send(lab: &Lab, count: u32) -> u64 {
    lab.in_sender(|| {
        let socket = Raw::open(SENT[0]);
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut one = |_| {
            let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
            frame.extend_from_slice(&[0x45, 0, 3, 232, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            frame.extend_from_slice(&[0x10, 0, 0x20, 0, 3, 212, 0, 0]);
            while frame.len() < 1014 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                frame.extend_from_slice(&random.to_le_bytes());
            }
            frame.truncate(1014);
            u64::from(socket.send(&frame))
        };
        (0..count).map(&mut one).sum()
    })
}

/// Files of a folder whose names begin so, as they sort.
pub(crate) fn files(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix)).collect();
    files.sort();
    files
}

/// A line of tshark's for each frame of a file that zstd unpacks, as far as it goes.
fn tshark(path: &Path, fields: &[&str]) -> Vec<String> {
    let fields: Vec<String> = fields.iter().map(|field| format!("-e {field}")).collect();
    let cat = if path.extension().is_some_and(|ending| ending == "zst") { "zstd -dcq" } else { "cat" };
    let script = format!("{cat} '{}' 2>/dev/null | tshark -n -r - -T fields {}", path.display(), fields.join(" "));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect()
}

fn parse(report: &str) -> Value {
    serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {report}"))
}

/// A recording of one file, whose interfaces are called by file and tap.
pub(crate) fn tap_alone(mut row: Row) -> Row {
    let tap = row["tap"].rsplit(':').next().unwrap().to_owned();
    row.insert("tap".to_owned(), tap);
    row
}

#[test]
fn analyze_on_a_recording_gives_the_figures_of_live() {
    let Some(lab) = Lab::new() else { return };
    // Of one tap, as one knows it of a longer cable: neither the recording nor the flight recorder's files have it in their times.
    let offset = ["--offset", "md=+5us"];
    for driver in ["afpacket", "xdp"] {
        let folder = Folder::new(&format!("record-{driver}"));
        let file = |name: &str| folder.file(name);
        run(&["sim", "calm", "--write", &file("sim")]);
        let (recorded, online) = (file("recorded"), file("live.csv"));
        let flight = ["--flight-over", "ack=1us", "--flight", "600s"];
        let arguments = [&["--record", &recorded, "--orders", &online, "--json"], flight.as_slice(), &offset].concat();
        let running = live(&lab, driver, &arguments);
        let capture = folder.0.join("sim/tap.pcap");
        let sent: u64 = lab.in_sender(|| replay(&capture)).iter().sum();
        let (status, report, said) = running.end(libc::SIGTERM);
        assert!(status.success(), "{said:#?}");
        let report = &parse(&report)["recording"];
        assert_eq!((&report["frames"], &report["files"]), (&sent.into(), &1.into()), "{report:#}");
        assert_eq!((&report["lost"]["not_kept_up"], &report["lost"]["not_written"]), (&0.into(), &0.into()));

        let recordings = files(Path::new(&recorded), "record-");
        let path = recordings[0].display().to_string();
        fs::write(file("causal.toml"), "[trigger]\nmodel = \"causal\"\n").unwrap();
        let (config, offline) = (file("causal.toml"), file("offline.csv"));
        let online = rows(Path::new(&online));
        // The last one holds everything.
        let flights = files(Path::new(&recorded), "flight-");
        for path in [path, flights.last().expect("slow orders").display().to_string()] {
            let capture = format!("kept={path}");
            run(&["analyze", &capture, "--offset", "kept:md=+5us", "--config", &config, "--orders", &offline]);
            let offline = rows(Path::new(&offline));
            assert!(online.len() > 300 && online.len() == offline.len(), "{} {}", online.len(), offline.len());
            for (key, row) in &online {
                assert_eq!(row, &tap_alone(offline[key].clone()), "{driver} {key:?} {path}");
            }
        }

        let frames = tshark(&recordings[0], &["frame.interface_name", "frame.packet_flags_direction"]);
        assert_eq!(frames.len() as u64, sent);
        assert!(frames.iter().all(|frame| frame.starts_with("md\t") || frame.starts_with("ord\t")));
        assert!(
            frames.iter().all(|frame| frame.ends_with("\t0x00000001") || frame.ends_with("\t1")),
            "{:?}",
            frames[0]
        );

        assert!(report["flights"] == flights.len(), "{report:#}");
        assert!(report["slow_orders"].as_u64() > Some(300), "{report:#}");
        let held = tshark(&flights[0], &["frame.interface_name", "frame.comment"]);
        assert!(held.iter().any(|frame| frame.contains("frame 1 of md")), "{:?}", held.first());
    }
}

#[test]
fn a_recording_is_rotated_by_size_and_the_oldest_files_are_deleted() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("rotate");
    let recorded = folder.file("recorded");
    let limits = ["--record-size", "4MB", "--json"];
    let running = live(&lab, "afpacket", &[["--record", &recorded].as_slice(), &limits].concat());
    let sent = send(&lab, 20_000);
    let (_, report, said) = running.end(libc::SIGTERM);
    let report = parse(&report);
    assert_eq!(report["recording"]["frames"], sent, "{said:#?} {:#}", report["recording"]);
    let all = files(Path::new(&recorded), "record-");
    assert!(all.len() >= 4 && report["recording"]["files"] == all.len(), "{all:?}");
    let numbers: Vec<usize> = all.iter().map(|path| tshark(path, &["frame.number"]).len()).collect();
    assert_eq!(numbers.iter().sum::<usize>() as u64, sent, "{numbers:?}");
    let first = |path: &PathBuf| tshark(path, &["frame.time_epoch"])[0].clone();
    let times: Vec<String> = all.iter().map(first).collect();
    assert!(times.is_sorted(), "{times:?}");

    let limits = ["--record-size", "4MB", "--record-total", "10MB"];
    let running = live(&lab, "afpacket", &[["--record", &recorded].as_slice(), &limits].concat());
    send(&lab, 20_000);
    running.end(libc::SIGTERM);
    let left = files(Path::new(&recorded), "record-");
    let bytes: u64 = left.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= 10_000_000 && !left.contains(&all[0]), "{bytes} {left:?}");
}

#[test]
fn a_killed_recording_is_readable_up_to_the_last_second() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("cut");
    let recorded = folder.file("recorded");
    let running = live(&lab, "afpacket", &["--record", &recorded]);
    for _ in 0..2 {
        assert_eq!(send(&lab, 500), 500);
        thread::sleep(Duration::from_secs(3));
    }
    running.end(libc::SIGKILL);
    let path = &files(Path::new(&recorded), "record-")[0];
    assert_eq!(tshark(path, &["frame.number"]).len(), 1000);
    let bytes = fs::read(path).unwrap();
    let cut = folder.0.join("cut.pcapng.zst");
    fs::write(&cut, &bytes[..bytes.len() - 10]).unwrap();
    assert!(tshark(&cut, &["frame.number"]).len() >= 500);
    let report = parse(&run(&["analyze", "--json", &cut.display().to_string()]));
    assert!(report["taps"][0]["frames"].as_u64() >= Some(500), "{:#}", report["taps"]);
    let report = parse(&run(&["analyze", "--json", &path.display().to_string()]));
    assert_eq!(report["taps"][0]["frames"], 1000);
}

#[test]
fn a_full_disk_stops_the_recording_alone_until_there_is_room() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("full");
    let small = folder.file("small");
    fs::create_dir(&small).unwrap();
    let mount = format!("mount -t tmpfs -o size=4m tmpfs '{small}'");
    let mut running = live_after(&mount, &lab, "afpacket", &["--record", &small, "--json"]);
    let mut sent = send(&lab, 8000);
    running.await_line("recording stops");
    let inside = PathBuf::from(format!("/proc/{}/root{small}", running.id()));
    let written = files(&inside, "record-");
    let whole = folder.0.join("whole.pcapng.zst");
    fs::copy(&written[0], &whole).unwrap();
    let kept = tshark(&whole, &["frame.number"]).len();
    assert!(kept > 1000, "{kept}");
    for path in written {
        fs::remove_file(path).unwrap();
    }
    thread::sleep(Duration::from_secs(11));
    sent += send(&lab, 100);
    running.await_line("recording goes on");
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    assert_eq!(said.iter().filter(|line| line.contains("recording stops")).count(), 1, "{said:#?}");
    let report = parse(&report);
    assert_eq!(report["taps"][0]["live"]["used"], sent);
    let (recording, number) = (&report["recording"], |value: &Value| value.as_u64().unwrap());
    assert!(number(&recording["frames"]) >= kept as u64 + 100);
    assert_eq!(number(&recording["frames"]) + number(&recording["lost"]["not_written"]), sent, "{recording:#}");
}

/// Samples of a latency in all lines of a log, which the hdrhistogram crate reads; lines that it cannot read fail.
fn logged(path: &Path, segment: &str) -> u64 {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    let text = fs::read(path).unwrap();
    let lines = IntervalLogIterator::new(&text).filter_map(|entry| match entry.unwrap() {
        LogEntry::Interval(line) if line.tag().map(|tag| tag.as_str()) == Some(segment) => {
            Some(line.encoded_histogram().to_owned())
        }
        _ => None,
    });
    lines.map(|line| samples(&line)).sum()
}

fn samples(encoded: &str) -> u64 {
    let output = Command::new("sh").args(["-c", "printf %s \"$0\" | base64 -d", encoded]).output().unwrap();
    let mut reader = hdrhistogram::serialization::Deserializer::new();
    reader.deserialize::<u64, _>(&mut output.stdout.as_slice()).unwrap().len()
}

#[test]
fn a_killed_daemon_leaves_its_histogram_log_and_the_next_one_begins_another() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("hlog");
    let file = |name: &str| folder.file(name);
    run(&["sim", "calm", "--write", &file("sim")]);
    fs::write(file("live.toml"), "[pairing]\nanswer_timeout = \"2s\"\n[live]\nhlog_interval = \"1s\"\n").unwrap();
    let (config, log, orders) = (file("live.toml"), file("latency.hlog"), file("orders.csv"));
    let arguments = ["--config", &config, "--hlog", &log, "--orders", &orders];
    let running = live(&lab, "afpacket", &arguments);
    lab.in_sender(|| replay(&folder.0.join("sim/tap.pcap")));
    thread::sleep(Duration::from_secs(6));
    running.end(libc::SIGKILL);
    let acks = rows(Path::new(&orders)).values().filter(|row| !row["ack_ns"].is_empty()).count() as u64;
    assert!(acks > 100, "{acks}");
    assert_eq!(logged(Path::new(&log), "ack"), acks);

    let running = live(&lab, "afpacket", &arguments);
    let (status, _, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let logs = files(&folder.0, "latency");
    assert_eq!(logs.len(), 2, "{logs:?}");
    assert_eq!((logged(&logs[0], "ack"), logged(&logs[1], "ack")), (acks, 0), "{logs:?}");
}

#[test]
fn the_configuration_is_read_again_on_request() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("reload");
    let (config, recorded) = (folder.file("live.toml"), folder.file("recorded"));
    let write = |text: &str| fs::write(&config, text).unwrap();
    write("[live]\nrecord_size = \"1GiB\"\n");
    let mut running = live(&lab, "afpacket", &["--config", &config, "--record", &recorded, "--json"]);
    write("[live]\nrecord_size = \"4MB\"\n[trigger]\nwindow = \"2s\"\n");
    running.signal(libc::SIGHUP);
    running.await_line("SIGHUP: [live] record_size = \"4MB\"");
    running.await_line("SIGHUP: [trigger] window cannot change");
    let sent = send(&lab, 20_000);
    write("[live]\nrecord_sise = \"1MB\"\n");
    running.signal(libc::SIGHUP);
    running.await_line("what was in force stays");
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let report = &parse(&report)["recording"];
    assert!(report["files"].as_u64() >= Some(4) && report["frames"] == sent, "{report:#}");
}
