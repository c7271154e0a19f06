//! What others read while `live` runs: snapshots and answers on the Unix socket, metrics over HTTP.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::{Folder, live, program};
use super::lab::Lab;
use super::net::inside;
use super::open_metrics;
use super::send::replay;

/// So long a reader goes on at most: a daemon that never says what is waited for is a failure, with the last that it said.
const LONGEST: Duration = Duration::from_secs(240);

/// Tells of each snapshot, to the end of the stream; returns all of them.
pub(crate) fn reader(path: &str, until: impl Fn(&Value) -> bool + Send + 'static) -> JoinHandle<Vec<Value>> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    thread::spawn(move || {
        let (mut all, start): (Vec<Value>, _) = (Vec::new(), Instant::now());
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            all.push(serde_json::from_str(&line).unwrap());
            let last = all.last().unwrap();
            if until(last) {
                break;
            }
            let (quality, verdict) = (&last["quality"], &last["verdict"]);
            assert!(start.elapsed() < LONGEST, "it never came to that: {quality:#} {verdict:#} {:#}", last["readers"]);
        }
        all
    })
}

/// Takes what it is sent, but less in a second than is sent, until it is dropped; how many bytes it got.
fn slow_reader(path: &str) -> JoinHandle<usize> {
    let mut stream = UnixStream::connect(path).unwrap();
    thread::spawn(move || {
        let (mut taken, mut some) = (0, [0; 2048]);
        loop {
            match stream.read(&mut some) {
                Ok(0) | Err(_) => return taken,
                Ok(bytes) => taken += bytes,
            }
            thread::sleep(Duration::from_millis(50));
        }
    })
}

/// Asks, closes this side, and reads all answers.
pub(crate) fn ask(path: &str, lines: &str) -> Vec<Value> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(lines.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    // A snapshot may have been sent before the question came.
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|value| value["tickscope_answer"] == 1 || lines.contains("snapshot")).collect()
}

fn scrape(lab: &Lab, address: &str) -> String {
    let address = address.to_owned();
    inside(&lab.receiver, || {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: tickscope\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
        body.to_owned()
    })
}

pub(crate) fn play(lab: &Lab, folder: &Folder) {
    let made = Command::new(program()).args(["sim", "calm", "--write", &folder.file("sim")]).output().unwrap();
    assert!(made.status.success());
    let capture = folder.0.join("sim/tap.pcap");
    lab.in_sender(|| replay(&capture));
}

/// Whether every request has become a row.
pub(crate) fn is_done(snapshot: &Value) -> bool {
    let requests = &snapshot["quality"]["requests"];
    requests["in"].as_u64() > Some(300) && requests["in"] == requests["reported"]
}

fn without(value: &Value, key: &str) -> Value {
    let mut value = value.clone();
    match &mut value {
        Value::Object(object) => {
            object.remove(key);
            object.values_mut().for_each(|inner| *inner = without(inner, key));
        }
        Value::Array(array) => array.iter_mut().for_each(|inner| *inner = without(inner, key)),
        _ => {}
    }
    value
}

#[test]
fn readers_see_what_the_report_says_and_slow_ones_are_dropped() {
    let Some(lab) = Lab::new() else { return };
    lab.ip("link set lo up");
    let folder = Folder::new("readers");
    let socket = folder.file("live.sock");
    let running =
        live(&lab, "afpacket", &["--json", "--orders", &folder.file("o.csv"), "--socket", &socket, "--metrics", "0"]);
    let said = running.said.iter().find_map(|line| line.split("http://").nth(1)).unwrap();
    let address = said.trim_end_matches("/metrics").to_owned();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let never = UnixStream::connect(&socket).unwrap();
    let slow = slow_reader(&socket);
    drop(UnixStream::connect(&socket).unwrap());
    let gone = reader(&socket, |snapshot| snapshot["number"].as_u64() > Some(0));
    let readers = [reader(&socket, |_| false), reader(&socket, |_| false)];
    assert_eq!(gone.join().unwrap().len(), 1);

    play(&lab, &folder);
    let dropped = reader(&socket, |snapshot| snapshot["readers"]["dropped"] == 2 && is_done(snapshot));
    let dropped = dropped.join().unwrap().pop().unwrap();
    assert_eq!(dropped["readers"]["dropped"], 2, "{:#}", dropped["readers"]);
    // Its stream ends although the daemon goes on.
    assert!(slow.join().unwrap() > 0);
    let pages = [scrape(&lab, &address), scrape(&lab, &address)];
    questions(&socket, &folder.0.join("o.csv"));
    let (status, report, said) = running.end(libc::SIGTERM);
    drop(never);
    assert!(status.success(), "{said:#?}");
    assert_eq!(said.iter().filter(|line| line.contains("a reader of the socket was dropped")).count(), 2, "{said:#?}");
    assert!(!Path::new(&socket).exists(), "it is taken away at the end");
    let report: Value = serde_json::from_str(&report).unwrap();
    for snapshots in readers.map(|reader| reader.join().unwrap()) {
        compare(&snapshots, &report);
    }
    metrics(&pages, &report);
}

#[allow(clippy::cast_precision_loss, reason = "a rate for a limit and for people")]
fn compare(snapshots: &[Value], report: &Value) {
    let numbers: Vec<u64> = snapshots.iter().map(|it| it["number"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|two| two[0] < two[1]));
    let (first, last) = (&snapshots[0], snapshots.last().unwrap());
    let time = |it: &Value| it["t_ns"].as_u64().unwrap();
    let a_second = snapshots.len() as f64 / ((time(last) - time(first)) as f64 / 1e9);
    let running = &snapshots[snapshots.len() - 2];
    let cost = running["spent_ns"].as_f64().unwrap() / running["made"].as_f64().unwrap() / 1e3;
    let bytes = running.to_string().len();
    eprintln!("{a_second:.2} snapshots a second of {bytes} bytes; one costs the engine {cost:.0} µs");
    assert!((8.5..=11.0).contains(&a_second), "{a_second}");
    assert_eq!((&last["is_last"], &running["is_last"]), (&true.into(), &false.into()));
    assert_eq!(without(&last["segments"], "buckets"), report["segments"]);
    for key in ["requests", "requests_by_kind", "triggered", "sessions", "taps", "feeds", "order_sessions", "quality"] {
        assert_eq!(last[key], report[key], "{key}");
    }
    assert_eq!(last["slowest"], without(&report["slowest"], "explanations"));
    for (name, figures) in last["segments"].as_object().unwrap() {
        let buckets = figures["buckets"].as_array().unwrap();
        let sum: u64 = buckets.iter().map(|pair| pair[1].as_u64().unwrap()).sum();
        assert_eq!(Some(sum), figures["n"].as_u64(), "{name}");
    }
    assert_eq!(last["newest"].as_array().unwrap().len(), 20);
    let live = &report["taps"][1]["live"];
    assert_eq!((&live["seen"], &live["violations"]), (&live["used"], &json!([])), "nothing was lost meanwhile");
    // While the market was played, frames came.
    assert!(snapshots.iter().any(|it| it["rates"]["frames_per_s"].as_u64() > Some(0)));
}

/// The row that was written is the row that is answered.
fn questions(socket: &str, orders: &Path) {
    let table = std::fs::read_to_string(orders).unwrap();
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let with_trigger = |row: &Vec<&str>| !row[names.iter().position(|name| *name == "trigger_seq").unwrap()].is_empty();
    let row: Vec<&str> = lines.map(|line| line.split(',').collect()).rfind(with_trigger).unwrap();
    let cell = |name: &str| row[names.iter().position(|known| *known == name).unwrap()];
    let order = json!({ "query": "order", "session": cell("session"), "clordid": cell("clordid") });
    let session = json!({ "query": "session", "session": cell("session") });
    let asked =
        format!("{order}\n{{\"query\":\"order\",\"clordid\":\"nobody\"}}\n{session}\nnonsense\n{{\"query\":\"x\"}}");
    let answers = ask(socket, &asked);
    let [found, nobody, session, nonsense, unknown] = &answers[..] else { panic!("{answers:#?}") };
    for name in ["session", "clordid", "symbol", "flags"] {
        assert_eq!(found["order"][name].as_str().unwrap_or_default(), cell(name), "{found:#}");
    }
    assert_eq!(found["order"]["t_out_ns"].to_string(), cell("t_out_ns"));
    let is_trigger =
        |it: &&Value| it["seq"].as_u64() == cell("trigger_seq").parse().ok() && it["feed"] == cell("trigger_feed");
    let trigger = found["candidates"].as_array().unwrap().iter().find(is_trigger).unwrap();
    assert_eq!(trigger["age_ns"].to_string(), cell("t2t_ns"));
    let probability = trigger["probability"].as_f64().unwrap() - cell("trigger_confidence").parse::<f64>().unwrap();
    assert!(probability.abs() < 0.002, "{trigger:#}");
    assert!(nobody["error"].as_str().unwrap().starts_with("no such row"));
    assert!(session["session"]["segments"]["ack"]["buckets"].is_array(), "{session:#}");
    assert!(nonsense["error"].as_str().unwrap().contains("no JSON"));
    assert!(unknown["error"].as_str().unwrap().contains("no query \"x\""));
    rows(socket, table.lines().count() as u64 - 1, cell("clordid"));
    let groups = ["session", "symbol", "venue", "outcome", "method"];
    let asked = groups.map(|by| format!("{}\n", json!({ "query": "groups", "by": by }))).concat();
    let answers = ask(socket, &asked);
    assert_eq!(answers.len(), groups.len());
    for answer in answers {
        let all = answer["groups"].as_array().unwrap();
        let requests: u64 = all.iter().map(|group| group["requests"].as_u64().unwrap()).sum();
        assert!(requests > 300 && answer["left_out"] == 0, "{answer:#}");
        assert!(all.iter().any(|group| group["segments"]["ack"]["buckets"].is_array()), "{answer:#}");
    }
    let single = ask(socket, "{\"query\":\"snapshot\"}\n");
    assert!(single.iter().all(|it| it["tickscope_snapshot"] == 1) && !single.is_empty());
}

/// Everybody gets each row once, by its number.
fn rows(socket: &str, count: u64, last: &str) {
    let (mut after, mut newest) = (0, Value::Null);
    while after < count {
        let answer = ask(socket, &json!({ "query": "rows", "after": after, "most": 100 }).to_string()).remove(0);
        assert_eq!((&answer["first"], &answer["missed"]), (&(after + 1).into(), &0.into()), "{answer:#}");
        let rows = answer["rows"].as_array().unwrap();
        let place = answer["columns"].as_array().unwrap().iter().position(|name| name == "clordid").unwrap();
        newest = rows.iter().find(|row| row[place] == last).map_or(newest, |row| row[place].clone());
        after += rows.len() as u64;
    }
    // The table is flushed once a second, so it may not have the newest yet.
    assert!(after >= count && newest == last, "{after} of {count}, {newest}");
}

fn metrics(pages: &[String; 2], report: &Value) {
    let [first, second] = pages.each_ref().map(|page| open_metrics::check(page));
    open_metrics::check_monotone(&first, &second);
    let mut counts: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for sample in &second.samples {
        let entry = counts.entry(sample.labels.get("segment").cloned().unwrap_or_default()).or_default();
        match sample.name.as_str() {
            "tickscope_latency_seconds_count" => entry.0 += sample.value,
            "tickscope_latency_seconds_sum" => entry.1 += sample.value,
            _ => {}
        }
    }
    counts.remove("");
    let segments = report["segments"].as_object().unwrap();
    assert_eq!(counts.len(), segments.values().filter(|it| it["n"].as_u64() > Some(0)).count());
    for (segment, (n, sum)) in counts {
        assert_eq!(segments[&segment]["n"].as_f64(), Some(n), "{segment}");
        let mean = segments[&segment]["mean_ns"].as_f64().unwrap();
        assert!((sum * 1e9 / n - mean).abs() <= 1.0, "{segment}: {sum} / {n} is not {mean}");
    }
    for tap in report["taps"].as_array().unwrap() {
        for (name, key) in [("tickscope_frames_seen_total", "seen"), ("tickscope_frames_used_total", "used")] {
            let of_tap =
                |it: &&open_metrics::Sample| it.name == name && Some(it.labels["tap"].as_str()) == tap["name"].as_str();
            let value = second.samples.iter().find(of_tap).map(|it| it.value);
            assert_eq!(value, tap["live"][key].as_f64(), "{name}");
        }
    }
    assert!(second.exemplars > 0);
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_replaced_and_one_in_use_is_not() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("stale");
    let socket = folder.file("live.sock");
    let first = live(&lab, "afpacket", &["--json", "--socket", &socket]);
    let tap = ["live", "--headless", "--tap", "md=md1", "--socket", &socket];
    let second = Lab::command(&lab.receiver, program()).args(tap).output().unwrap();
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("{socket}: this socket is in use by another process")), "{error}");
    let (status, _, _) = first.end(libc::SIGKILL);
    assert!(!status.success() && Path::new(&socket).exists());
    let again = live(&lab, "afpacket", &["--json", "--socket", &socket]);
    let snapshots = reader(&socket, |_| true).join().unwrap();
    assert_eq!(snapshots[0]["tickscope_snapshot"], 1);
    let (status, _, said) = again.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    std::fs::write(&socket, "a file").unwrap();
    let third = Lab::command(&lab.receiver, program()).args(tap).output().unwrap();
    assert_eq!(third.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "a file", "what is no socket is left alone");
}
