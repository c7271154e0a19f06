//! A real FIX engine, `QuickFIX`, trades over the link that is captured, both directions on one interface: its own log says what
//! was sent and what came back, and the rows must say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tickscope_sim::Scenario;
use tickscope_sim::live::{Live, MarketData, Options};

use super::daemon::{Folder, live};
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
    /// Whether the request was sent for the first time in a message that says so.
    is_sent: bool,
    /// It was sent again.
    is_copied: bool,
    /// Columns of answers that were received, but for those that had been sent before.
    answers: BTreeSet<&'static str>,
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
            "D" | "F" | "G" if is_copy => entry.is_copied = true,
            "D" | "F" | "G" => entry.is_sent = true,
            "9" if !is_copy => drop(entry.answers.insert("reject_ns")),
            "8" if !is_copy => entry.answers.extend(column(field(message, "150").unwrap_or_default())),
            _ => {}
        }
    }
    all
}

/// The column of a kind of execution report.
fn column(kind: &str) -> Option<&'static str> {
    match kind {
        "0" => Some("ack_ns"),
        "8" => Some("reject_ns"),
        "F" | "1" | "2" => Some("first_fill_ns"),
        "5" => Some("replace_ack_ns"),
        _ => None,
    }
}

fn trade(lab: &Lab, engine: &[String], folder: &Path) -> Value {
    lab.in_sender(|| {
        let scenario = Scenario::parse(quickfix::SCENARIO, "quickfix").unwrap();
        // Market data go out on the other link.
        let options = Options::new(scenario, MarketData::parse("10.75.0.2:36477"), format!("{EXCHANGE}:0").parse().unwrap());
        let exchange = Live::bind(options).unwrap();
        let address = exchange.fix_address().unwrap();
        let mut client = Lab::command(&lab.receiver, &engine[0]);
        client.args(&engine[1..]).args(quickfix::arguments("4.4", address, folder));
        let (seen, summary) = quickfix::trade(exchange, client);
        eprintln!("the engine: {seen}\nthe exchange: {summary:?}");
        seen
    })
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
    let seen = trade(&lab, engine, &folder.0);
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    let report: Value = serde_json::from_str(&report).unwrap();
    eprintln!("{:#}\n{:#}", report["quality"], report["requests_by_kind"]);
    let live = &report["taps"][1]["live"];
    assert_eq!((&live["seen"], &live["violations"]), (&live["used"], &json!([])), "{live:#}");
    assert_eq!(report["quality"]["adds_up"], true);
    let logged = logged(&folder.0);
    let rows = rows(Path::new(&online));
    eprintln!("{} requests logged, {} rows", logged.len(), rows.len());
    compare(&logged, &rows.iter().map(|((_, name), row)| (name.clone(), row)).collect());
    let _ = seen;
}

fn compare(logged: &BTreeMap<String, Logged>, rows: &BTreeMap<String, &Row>) {
    for (name, entry) in logged {
        let Some(row) = rows.get(name) else { eprintln!("no row: {name} {entry:?}"); continue };
        for column in &entry.answers {
            if row[*column].is_empty() { eprintln!("{name} {entry:?} has no {column}: {row:?}"); }
        }
    }
    for name in rows.keys() { assert!(logged.contains_key(name), "{name}"); }
}
