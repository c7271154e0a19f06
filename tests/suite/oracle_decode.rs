//! `decode` on real captures against what independent programs read in them, message for message. Which bytes mean
//! what is checked in `decoders/tests`; here it is that they arrive: each once, in order, with frame, time and flow.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tickscope_model::Decimal;

use super::support::{Row, captures, decoded, oracle};

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    (!text.is_empty()).then(|| Decimal::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is no decimal")))
}

/// `1499697138.433824000` as nanoseconds.
fn nanoseconds(text: &str) -> i128 {
    decimal(text).and_then(|time| time.at_scale(9)).expect("a time")
}

/// The dissector's name of a message, and the side that it says by way of the name.
fn name_of(theirs: &str) -> (&str, &str) {
    let name = theirs.rsplit_once(" (").map_or(theirs, |(name, _)| name);
    match name {
        "Price Level Buy Update Message" => ("Price Level Update Message", "B"),
        "Price Level Sell Update Message" => ("Price Level Update Message", "S"),
        "Iextp Header" => ("Heartbeat", ""),
        "Add Order No Mpid Attribution Message" => ("Add Order - No MPID Attribution", ""),
        "Add Order With Mpid Attribution Message" => ("Add Order with MPID Attribution", ""),
        "Non Cross Trade Message" => ("Trade Message (Non-Cross)", ""),
        "Net Order Imbalance Indicator Message" => ("Net Order Imbalance Indicator (NOII) Message", ""),
        "Reg Sho Short Sale Price Test Restricted Indicator Message" => {
            ("Reg SHO Short Sale Price Test Restricted Indicator", "")
        }
        "Stock Trading Action Message" => ("Stock Trading Action", ""),
        "Market Participant Position Message" => ("Market Participant Position", ""),
        other => (other, ""),
    }
}

/// Lines against the table of the public dissectors.
fn check_market(lines: &[Value], rows: &[Row], protocol: &str) {
    assert_eq!(lines.len(), rows.len(), "{protocol}");
    for (line, row) in lines.iter().zip(rows) {
        let context = format!("{line}\n{row:?}");
        let (name, side) = name_of(&row["msg_type"]);
        assert_eq!(line["protocol"], protocol, "{context}");
        assert_eq!(line["frame"].to_string(), row["frame"], "{context}");
        assert_eq!(line["t_ns"].to_string(), nanoseconds(&row["time_epoch"]).to_string(), "{context}");
        assert_eq!(line["t"], row["time_epoch"], "{context}");
        assert_eq!(cell(&line["flow"]), format!("{}>{}", &row["src"], &row["dst"]), "{context}");
        assert_eq!(line["msg"], name, "{context}");
        let fields = &line["fields"];
        if name == "Heartbeat" {
            assert_eq!(fields["Send Time"].to_string(), row["exch_ts"], "{context}");
            continue;
        }
        let packet = row.number("pkt_seq");
        let seq = if packet > 0 { (packet + row.number("msg_no") - 1).to_string() } else { String::new() };
        assert_eq!(cell(&line["seq"]), seq, "{context}");
        assert_eq!(fields["Timestamp"].to_string(), row["exch_ts"], "{context}");
        if protocol == "itch50" {
            // Where a message has no symbol this oracle shows its locate code in that column.
            let symbol = fields.get("Stock").map_or_else(|| cell(&fields["Stock Locate"]), cell);
            assert!(row["symbol"].is_empty() || symbol.trim() == &row["symbol"], "{context}");
        } else {
            assert_eq!(cell(&line["exch_t_ns"]), row["exch_ts"], "{context}");
            assert_eq!(cell(&line["symbol"]), row["symbol"], "{context}");
        }
        let side = match &row["side"] {
            "N" => "", // An auction without an imbalance.
            "" => side,
            theirs => theirs,
        };
        assert_eq!(cell(&line["side"]), side, "{context}");
        let order_id = if &row["order_id"] == "0" { "" } else { &row["order_id"] };
        assert!(cell(&line["order_id"]) == order_id || cell(&line["order_id"]) == "0", "{context}");
        // Of a message with several prices the oracle shows the first one in its order; `fields` has them all.
        if line.get("price").is_some() || !matches!(fields["Message Type"].as_str(), Some("Q" | "D" | "A" | "I")) {
            assert_eq!(decimal(&cell(&line["price"])), decimal(&row["price"]), "{context}");
            assert_eq!(decimal(&cell(&line["qty"])), decimal(&row["qty"]), "{context}");
        }
    }
}

/// Lines against the second decoder, which knows both sides of a quote.
fn check_second(lines: &[Value], rows: &[Row]) {
    let messages: Vec<&Value> = lines.iter().filter(|line| line["msg"] != "Heartbeat").collect();
    assert_eq!(messages.len(), rows.len());
    for (number, (line, row)) in messages.iter().zip(rows).enumerate() {
        let context = format!("{line}\n{row:?}");
        assert_eq!(row["n"].parse(), Ok(number + 1));
        assert_eq!(cell(&line["symbol"]), row["symbol"], "{context}");
        let same = |column: &str, field: &str| {
            assert_eq!(decimal(&cell(&line["fields"][field])), decimal(&row[column]), "{field}: {context}");
        };
        match &row["type"] {
            "quote_update" => {
                same("bid_price", "Bid Price");
                same("bid_size", "Bid Size");
                same("ask_price", "Ask Price");
                same("ask_size", "Ask Size");
            }
            "trade_report" | "trade_break" | "price_level_update" => {
                assert_eq!(decimal(&cell(&line["price"])), decimal(&row["price"]), "{context}");
                assert_eq!(decimal(&cell(&line["qty"])), decimal(&row["size"]), "{context}");
                if !row["trade_id"].is_empty() {
                    same("trade_id", "Trade ID");
                }
            }
            _ => {}
        }
    }
}

#[test]
fn iex_gives_the_messages_of_two_oracles_one_for_one() {
    let Some(folder) = captures() else { return };
    for (name, extension, protocol) in [
        ("TOPS16_20170710", "pcap", "iex_tops"),
        ("TOPS16_20170710", "pcap.gz", "iex_tops"),
        ("DEEP10_20170425_a", "pcap", "iex_deep"),
    ] {
        let lines = decoded(&[], &folder.join(format!("iex/{name}.{extension}")));
        check_market(&lines, &oracle(&folder.join(format!("expected/iex/{name}.msgs.tsv"))), protocol);
        check_second(&lines, &oracle(&folder.join(format!("expected/iex/{name}.iexparser.tsv"))));
    }
}

/// The oracle's columns under the names that the fields have in the dictionaries.
const COLUMNS: &[(&str, &[&str])] = &[
    ("begin", &["BeginString"]),
    ("type", &["MsgType"]),
    ("seq", &["MsgSeqNum"]),
    ("sender", &["SenderCompID"]),
    ("target", &["TargetCompID"]),
    ("possdup", &["PossDupFlag"]),
    ("sending_time", &["SendingTime"]),
    ("ClOrdID", &["ClOrdID"]),
    ("OrigClOrdID", &["OrigClOrdID"]),
    ("OrderID", &["OrderID"]),
    ("ExecID", &["ExecID"]),
    ("ExecType", &["ExecType"]),
    ("OrdStatus", &["OrdStatus"]),
    ("Symbol", &["Symbol"]),
    ("Side", &["Side"]),
    ("OrderQty", &["OrderQty"]),
    ("Price", &["Price"]),
    ("LastQty", &["LastQty", "LastShares"]),
    ("LastPx", &["LastPx"]),
    ("CumQty", &["CumQty"]),
    ("LeavesQty", &["LeavesQty"]),
    ("RefSeqNum", &["RefSeqNum"]),
    ("NewSeqNo", &["NewSeqNo"]),
    ("GapFill", &["GapFillFlag"]),
    ("BeginSeqNo", &["BeginSeqNo"]),
    ("EndSeqNo", &["EndSeqNo"]),
    ("TestReqID", &["TestReqID"]),
];

fn check_fix(line: &Value, row: &Row) {
    let context = format!("{line}\n{row:?}");
    assert_eq!(line["protocol"], "fix", "{context}");
    assert_eq!(line["frame"].to_string(), row["frame_last"], "{context}");
    assert_eq!(line["t_ns"].to_string(), row["t_last"], "{context}");
    assert_eq!(cell(&line["seq"]), row["seq"], "{context}");
    assert_eq!(cell(&line["symbol"]), row["Symbol"], "{context}");
    assert_eq!(cell(&line["clordid"]), row["ClOrdID"], "{context}");
    assert_eq!(cell(&line["order_id"]), row["OrderID"], "{context}");
    assert_eq!(decimal(&cell(&line["price"])), decimal(&row["Price"]), "{context}");
    assert_eq!(decimal(&cell(&line["qty"])), decimal(&row["OrderQty"]), "{context}");
    let side = match &row["Side"] {
        "1" => "B",
        "2" => "S",
        "5" => "SS",
        "6" => "SSE",
        other => other,
    };
    assert_eq!(cell(&line["side"]), side, "{context}");
    for (column, names) in COLUMNS {
        let found = names.iter().find_map(|name| line["fields"].get(name)).map(cell).unwrap_or_default();
        assert_eq!(found, row[column], "{column}: {context}");
    }
}

#[test]
fn fix_sessions_give_every_message_once_at_its_time() {
    let Some(folder) = captures() else { return };
    for (capture, messages) in [
        ("quickfix_session_cli.pcap", 21_331),
        ("quickfix_lossy_cli.pcap", 2_562),
        ("tinyfix_fix-session1.pcap", 46),
        ("ttt_iex_fix_cli.pcap", 1_211),
        ("ttt_iex_fix_exch.pcap.gz", 1_211),
    ] {
        let name = capture.split('.').next().expect("a name");
        let lines = decoded(&["--protocol", "fix"], &folder.join("fix").join(capture));
        let rows = oracle(&folder.join(format!("expected/fix/{name}.msgs.tsv")));
        assert_eq!((lines.len(), rows.len()), (messages, messages), "{capture}");
        let mut ours: HashMap<String, Vec<&Value>> = HashMap::new();
        for line in &lines {
            ours.entry(cell(&line["flow"])).or_default().push(line);
        }
        let mut theirs: HashMap<String, Vec<&Row>> = HashMap::new();
        for row in &rows {
            theirs.entry(format!("{}>{}", &row["src"], &row["dst"])).or_default().push(row);
        }
        for (flow, mut rows) in theirs {
            rows.sort_by_key(|row| (row.number("stream"), row.number("off")));
            let lines = ours.remove(&flow).unwrap_or_else(|| panic!("{capture}: nothing of {flow}"));
            assert_eq!(lines.len(), rows.len(), "{capture} {flow}");
            lines.iter().zip(rows).for_each(|(line, row)| check_fix(line, row));
        }
        assert!(ours.is_empty(), "{capture}: flows that the oracle does not have: {:?}", ours.keys());
    }
}

/// Single messages of the venues whose protocols are built: through the whole program to the oracle's rows.
#[test]
fn single_packets_arrive_as_the_oracle_reads_them() {
    let Some(folder) = captures() else { return };
    let mut compared = 0;
    for (file, title) in single_packets(&folder) {
        let Some(protocol) = built(&title) else { continue };
        if title == MISFILED {
            continue; // The dissector for MEMX made nothing of it.
        }
        let expected = folder.join(format!("expected/omi/{title}.msgs.tsv"));
        check_market(&decoded(&[], &file), &oracle(&expected), protocol);
        compared += 1;
    }
    assert_eq!(compared, 39);
}

/// Captures of single messages, with the titles that their oracles have: the path with `__` for each `/`.
pub(crate) fn single_packets(folder: &Path) -> Vec<(PathBuf, String)> {
    let root = folder.join("omi-data-packets");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "pcap") {
                let title = path.strip_prefix(&root).expect("below it").with_extension("");
                found.push((path, title.to_string_lossy().replace('/', "__")));
            }
        }
    }
    found.sort();
    found
}

/// Filed under MEMX, but it is a Stock Trading Action of TotalView-ITCH, sent to Nasdaq's own group 233.54.12.111:26477.
const MISFILED: &str = "Memx__Equities.MemiorDepth.v1.3__StockTradingActionMessage";

/// The protocol of a single packet, where it is one that tickscope reads.
pub(crate) fn built(title: &str) -> Option<&'static str> {
    match title {
        _ if title == MISFILED || title.contains("Equities.TotalView.Itch.v5.0") => Some("itch50"),
        _ if title.starts_with("Iex__Tops.") => Some("iex_tops"),
        _ if title.starts_with("Iex__Deep.") => Some("iex_deep"),
        _ => None,
    }
}
