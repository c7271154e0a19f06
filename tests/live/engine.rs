//! A real FIX engine, `QuickFIX`, trades over the link that is captured, both directions on one interface: its own log says what
//! was sent and what came back, and the rows must say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tickscope_sim::Scenario;
use tickscope_sim::live::{Live, MarketData, Options};

use super::daemon::{Folder, live, tcpdump};
use super::equal::{Row, rows};
use super::lab::{ARRIVES, Lab, SENT};
use super::net::ip;
use super::quickfix;

/// Where the exchange is, and where the engine.
const EXCHANGE: &str = "10.76.0.1";
const ENGINE: &str = "10.76.0.2";

/// What the engine's log has of one ClOrdID.
#[derive(Debug, Default)]
struct Logged {
    /// The request's message type, where it was not only sent again.
    request: Option<String>,
    /// Columns of answers that were received for the first time.
    answers: BTreeSet<&'static str>,
    /// The request was sent again after the connection had been cut, since the exchange had not seen it.
    is_sent_again: bool,
    /// An answer came that had been sent before: the connection was cut, and the engine has not seen the first one.
    has_copies: bool,
}

/// The field of a message, by its tag.
fn field<'a>(message: &'a str, tag: &str) -> Option<&'a str> {
    message.split('\x01').find_map(|field| field.strip_prefix(tag)?.strip_prefix('='))
}

/// All requests of the engine's log, by ClOrdID.
fn logged(folder: &Path) -> BTreeMap<String, Logged> {
    let files = std::fs::read_dir(folder.join("log")).unwrap().map(|file| file.unwrap().path());
    let log = files.into_iter().find(|path| path.to_string_lossy().ends_with("EXCHANGE.messages.current.log")).unwrap();
    let text = std::fs::read_to_string(log).unwrap();
    let mut all: BTreeMap<String, Logged> = BTreeMap::new();
    for message in text.lines().filter_map(|line| Some(&line[line.find("8=FIX")?..])) {
        let (kind, name) = (field(message, "35"), field(message, "11"));
        let (Some(kind), Some(name)) = (kind, name) else { continue };
        let is_copy = field(message, "43") == Some("Y");
        let entry = all.entry(name.to_owned()).or_default();
        match kind {
            "D" | "F" | "G" if !is_copy => entry.request = Some(kind.to_owned()),
            "D" | "F" | "G" => entry.is_sent_again = true,
            "8" | "9" if is_copy => entry.has_copies = true,
            "9" => _ = entry.answers.insert("reject_ns"),
            "8" => entry.answers.extend(column(field(message, "150").unwrap_or_default(), entry.request.as_deref())),
            _ => {}
        }
    }
    all
}

/// Requests that were on the wire for the first time, by ClOrdID, in what tcpdump recorded.
fn sent(dump: &Path) -> BTreeSet<String> {
    let bytes = std::fs::read(dump).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let messages = text.split("8=FIX").skip(1).map(|message| message.split("\x0110=").next().unwrap());
    let is_request = |message: &&str| matches!(field(message, "35"), Some("D" | "F" | "G"));
    let first = messages.filter(is_request).filter(|message| field(message, "43") != Some("Y"));
    first.filter_map(|message| Some(field(message, "11")?.to_owned())).collect()
}

/// Takes out what the engine has logged and never sent: it writes a message into its log before it hands it to the system, and where the
/// exchange has just hung up, that is the end of it. Such a request is on the wire as a copy alone (PossDupFlag), when the
/// engine has logged on again; nobody knows when it would have been sent, so it is no request (docs/INTERFACE.md), and has no row.
fn take_out_unsent(logged: &mut BTreeMap<String, Logged>, sent: &BTreeSet<String>, rows: &BTreeMap<String, &Row>) {
    let is_unsent = |name: &String| !sent.contains(name) && !rows.contains_key(name);
    for (name, entry) in logged.iter_mut().filter(|(name, entry)| entry.request.is_some() && is_unsent(name)) {
        assert!(entry.is_sent_again, "{name} is neither on the wire nor sent again: {entry:?}");
        eprintln!("{name} came as a copy alone: {entry:?}");
        entry.request = None;
    }
}

/// The columns of a kind of execution report that can be told from it alone.
const ANSWERS: [&str; 5] = ["ack_ns", "reject_ns", "first_fill_ns", "replace_ack_ns", "cancel_ack_ns"];

fn column(kind: &str, request: Option<&str>) -> Option<&'static str> {
    match (kind, request) {
        ("0", Some("D")) => Some("ack_ns"),
        ("8", Some("D")) => Some("reject_ns"),
        ("F" | "1" | "2", _) => Some("first_fill_ns"),
        ("5", Some("G")) => Some("replace_ack_ns"),
        // The exchange cancels some orders by itself, which answers no request to cancel.
        ("4", Some("F")) => Some("cancel_ack_ns"),
        _ => None,
    }
}

fn trade(lab: &Lab, engine: &[String], folder: &Path) {
    lab.in_sender(|| {
        let scenario = Scenario::parse(quickfix::SCENARIO, "quickfix").unwrap();
        // Market data go out on the other link.
        let options =
            Options::new(scenario, MarketData::parse("10.75.0.2:36477"), format!("{EXCHANGE}:0").parse().unwrap());
        let exchange = Live::bind(options).unwrap();
        let address = exchange.fix_address().unwrap();
        let mut client = Lab::command(&lab.receiver, &engine[0]);
        client.args(&engine[1..]).args(quickfix::arguments("4.4", address, folder));
        let (seen, summary) = quickfix::trade(exchange, client);
        eprintln!("the engine: {seen}\nthe exchange: {summary:?}");
    });
}

fn addresses(lab: &Lab) {
    for (interface, address) in SENT.into_iter().zip(["10.75.0.1", EXCHANGE]) {
        ip(&format!("-n {} address add {address}/24 dev {interface}", lab.sender)).unwrap();
    }
    for (interface, address) in ARRIVES.into_iter().zip(["10.75.0.2", ENGINE]) {
        lab.ip(&format!("address add {address}/24 dev {interface}"));
    }
}

#[test]
fn a_real_engine_trades_while_it_is_captured() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("sim/tests");
    let Some(engine) = quickfix::engine(&tests) else { return };
    let Some(lab) = Lab::new() else { return };
    addresses(&lab);
    let folder = Folder::new("engine");
    let online = folder.file("live.csv");
    let running = live(&lab, "afpacket", &["--json", "--orders", &online]);
    let dump = folder.0.join("wire.pcap");
    let dumping = tcpdump(&lab.receiver, ARRIVES[1], &dump);
    trade(&lab, engine, &folder.0);
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    dumping.end(libc::SIGINT);
    let report: Value = serde_json::from_str(&report).unwrap();
    let live = &report["taps"][1]["live"];
    assert_eq!((&live["seen"], &live["violations"]), (&live["used"], &json!([])), "{live:#}");
    assert_eq!(report["quality"]["adds_up"], true);
    let rows = rows(Path::new(&online));
    let by_name: BTreeMap<String, &Row> = rows.iter().map(|((_, name), row)| (name.clone(), row)).collect();
    let mut logged = logged(&folder.0);
    take_out_unsent(&mut logged, &sent(&dump), &by_name);
    for (name, kind) in [("new", "D"), ("cancel", "F"), ("replace", "G")] {
        let count = logged.values().filter(|entry| entry.request.as_deref() == Some(kind)).count();
        assert_eq!(
            report["requests_by_kind"][name].as_u64(),
            Some(count as u64),
            "{:#}\n{:#}",
            report["requests_by_kind"],
            report["quality"]
        );
    }
    assert!(rows.keys().all(|(session, _)| session == "QUICKFIX->EXCHANGE"));
    compare(&logged, &by_name);
}

/// The same requests, and the same answers.
fn compare(logged: &BTreeMap<String, Logged>, rows: &BTreeMap<String, &Row>) {
    let requests: BTreeSet<&String> =
        logged.iter().filter(|(_, entry)| entry.request.is_some()).map(|(name, _)| name).collect();
    assert_eq!(requests, rows.keys().collect());
    let mut answers = 0;
    for name in requests {
        let (entry, row) = (&logged[name], rows[name]);
        for column in ANSWERS {
            let is_logged = entry.answers.contains(column);
            assert!(
                is_logged != row[column].is_empty() || (entry.has_copies && !is_logged),
                "{name} {column}: the log says {entry:?}, the row {row:#?}"
            );
            answers += usize::from(is_logged);
        }
    }
    eprintln!("{} requests and {answers} answers are those of the engine's log", rows.len());
    assert!(answers > 100, "{answers}");
}
