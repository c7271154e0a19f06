//! Real captures of IEX and Nasdaq against what independent programs read in them, message for message and field for
//! field. The captures and their oracles are foreign and lie outside the project; `captures/README.md` there says whose.

mod market_support;

use std::collections::HashMap;
use std::io::Read;
use std::ops::Index;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use market_support::{Collector, captures, datagrams};
use serde_json::Value;
use tickscope_decoders::{Described, Guess, PROTOCOLS, Protocol};
use tickscope_model::{Decimal, MarketKind, Side};

fn protocol(name: &str) -> &'static Protocol {
    PROTOCOLS.iter().find(|protocol| protocol.name == name).expect("a known protocol")
}

fn decode(protocol: &Protocol, file: &Path) -> Collector {
    let mut found = Collector { wants_fields: true, ..Collector::default() };
    found.decode_all(protocol, file);
    found
}

/// A line of a table, read by the names of its columns.
#[derive(Debug)]
struct Row {
    columns: Rc<Vec<String>>,
    line: String,
}

impl Row {
    fn get(&self, column: &str) -> Option<&str> {
        let position = self.columns.iter().position(|name| name == column)?;
        self.line.split('\t').nth(position)
    }
}

impl Index<&str> for Row {
    type Output = str;

    fn index(&self, column: &str) -> &str {
        self.get(column).unwrap_or_else(|| panic!("no column {column}"))
    }
}

/// A table with a header line, plain or gzip.
fn table(file: &Path) -> Vec<Row> {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut text = String::new();
    if file.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text).expect("gzip");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    let mut lines = text.lines();
    let columns = Rc::new(lines.next().expect("a header").split('\t').map(str::to_owned).collect());
    lines.map(|line| Row { columns: Rc::clone(&columns), line: line.to_owned() }).collect()
}

fn integer(field: &Value) -> u64 {
    field.as_u64().unwrap_or_else(|| panic!("{field} is no integer"))
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is no decimal"))
}

/// The dissector's name of a message, without its type, in our words.
fn name_of(theirs: &str) -> (&str, Option<Side>) {
    let name = theirs.rsplit_once(" (").map_or(theirs, |(name, _)| name);
    match name {
        "Price Level Buy Update Message" => ("Price Level Update Message", Some(Side::Buy)),
        "Price Level Sell Update Message" => ("Price Level Update Message", Some(Side::Sell)),
        "Iextp Header" => ("Heartbeat", None),
        "Add Order No Mpid Attribution Message" => ("Add Order - No MPID Attribution", None),
        "Add Order With Mpid Attribution Message" => ("Add Order with MPID Attribution", None),
        "Non Cross Trade Message" => ("Trade Message (Non-Cross)", None),
        "Net Order Imbalance Indicator Message" => ("Net Order Imbalance Indicator (NOII) Message", None),
        "Reg Sho Short Sale Price Test Restricted Indicator Message" => {
            ("Reg SHO Short Sale Price Test Restricted Indicator", None)
        }
        "Stock Trading Action Message" => ("Stock Trading Action", None),
        "Market Participant Position Message" => ("Market Participant Position", None),
        "Order Executed With Price Message" => ("Order Executed With Price Message", None),
        other => (other, None),
    }
}

/// Our messages in the order of the oracle's rows, each compared with the columns that mean the same.
fn check_messages(found: &Collector, rows: &[Row], is_itch: bool) {
    assert_eq!(found.described.len(), rows.len());
    for ((frame, _, ours), row) in found.described.iter().zip(rows) {
        let context = format!("{ours:?}\n{row:?}");
        let (name, side) = name_of(&row["msg_type"]);
        assert_eq!(frame.to_string(), &row["frame"], "{context}");
        assert_eq!(ours.msg, name, "{context}");
        if name == "Heartbeat" {
            assert_eq!(integer(&ours.fields["Send Time"]).to_string(), &row["exch_ts"], "{context}");
            assert_eq!(integer(&ours.fields["First Message Sequence Number"]).to_string(), &row["msg_seq"]);
            continue;
        }
        let packet: u64 = row["pkt_seq"].parse().expect("number");
        let position = row["msg_no"].parse::<u64>().expect("number") - 1;
        assert_eq!(ours.seq, (packet != 0).then_some(packet + position), "{context}");
        assert_eq!(integer(&ours.fields["Timestamp"]).to_string(), &row["exch_ts"], "{context}");
        if is_itch && !ours.fields.contains_key("Stock") {
            // Here the oracle puts the locate code where others have the symbol.
            let locate = &row["symbol"];
            assert!(locate.is_empty() || integer(&ours.fields["Stock Locate"]).to_string() == locate, "{context}");
        } else {
            assert_eq!(ours.symbol.as_deref().unwrap_or(""), &row["symbol"], "{context}");
        }
        check_price(ours, row, side, &context);
    }
}

fn check_price(ours: &Described, row: &Row, side: Option<Side>, context: &str) {
    let side = match &row["side"] {
        "B" => Some(Side::Buy),
        "S" => Some(Side::Sell),
        _ => side,
    };
    assert_eq!(ours.side, side, "{context}");
    let order_id = Some(&row["order_id"]).filter(|id| !id.is_empty()).unwrap_or("0");
    assert_eq!(ours.order_id.as_deref().unwrap_or("0"), order_id, "{context}");
    // Of several prices the oracle takes the first one; we take none. The other oracle, and `fields`, have them all.
    if matches!(ours.fields["Message Type"].as_str(), Some("Q" | "D" | "A" | "I")) && ours.price.is_none() {
        return;
    }
    assert_eq!(ours.price, Some(&row["price"]).filter(|price| !price.is_empty()).map(decimal), "{context}");
    assert_eq!(ours.qty, Some(&row["qty"]).filter(|qty| !qty.is_empty()).map(decimal), "{context}");
}

/// Microseconds, rounded, of `2017-07-10 14:32:35.788781+00:00`.
fn microseconds(text: &str) -> i128 {
    let (date, time) = text.trim_end_matches("+00:00").split_once(' ').expect("date and time");
    let date: Vec<i128> = date.split('-').map(|part| part.parse().expect("number")).collect();
    let (year, month) = if date[1] > 2 { (date[0], date[1] - 3) } else { (date[0] - 1, date[1] + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date[2] - 1 - 719_468;
    let time: Vec<Decimal> = time.split(':').map(decimal).collect();
    let micros = |part: Decimal, unit: i128| part.at_scale(6).expect("six digits") * unit;
    days * 86_400_000_000 + micros(time[0], 3600) + micros(time[1], 60) + micros(time[2], 1)
}

/// The second oracle has each price and flag, and its stamps in rounded microseconds.
fn check_iexparser(found: &Collector, rows: &[Row]) {
    let messages: Vec<_> = found.described.iter().filter(|(_, _, ours)| ours.msg != "Heartbeat").collect();
    assert_eq!(messages.len(), rows.len());
    for ((_, _, ours), row) in messages.iter().zip(rows) {
        let context = format!("{ours:?}\n{row:?}");
        let fields = &ours.fields;
        let rest: HashMap<&str, String> = rest_of(&row["rest"]);
        let their = |column: &str| match row.get(column) {
            Some(text) => text.to_owned(),
            None => rest.get(column).cloned().unwrap_or_default(),
        };
        let pairs: &[(&str, &str)] = match &row["type"] {
            "quote_update" => &[
                ("bid_price", "Bid Price"),
                ("bid_size", "Bid Size"),
                ("ask_price", "Ask Price"),
                ("ask_size", "Ask Size"),
                ("flags", "Flags"),
            ],
            "trade_report" => {
                &[("price", "Price"), ("size", "Size"), ("trade_id", "Trade ID"), ("flags", "Sale Condition Flags")]
            }
            "trade_break" => &[("price", "Price"), ("size", "Size"), ("trade_id", "Trade ID")],
            "price_level_update" => &[("price", "Price"), ("size", "Size"), ("flags", "Event Flags")],
            "trading_status" => &[("status", "Trading Status"), ("reason", "Reason")],
            "short_sale_price_test_status" => &[("status", "Short Sale Price Test Status"), ("detail", "Detail")],
            "operational_halt" => &[("halt_status", "Operational Halt Status")],
            "security_event" => &[("security_event", "Security Event")],
            "system_event" => &[("event", "System Event")],
            "security_directive" => {
                &[("flags", "Flags"), ("round_lot_size", "Round Lot Size"), ("luld_tier", "LULD Tier")]
            }
            "auction_information" => AUCTION,
            other => panic!("{other}: no comparison"),
        };
        for (column, title) in pairs {
            check_field(&their(column), &fields[*title], &format!("{title}\n{context}"));
        }
        if &row["type"] == "auction_information" {
            let scheduled = i128::from(integer(&fields["Scheduled Auction Time"])) * 1_000_000;
            assert_eq!(scheduled, microseconds(&their("scheduled_auction_time")), "{context}");
        }
        if &row["type"] == "security_directive" {
            let price = decimal(fields["Adjusted POC Price"].as_str().expect("text"));
            assert_eq!(price.at_scale(4).expect("four digits").to_string(), their("adjusted_poc_close"), "{context}");
        }
        assert_eq!(ours.symbol.as_deref().unwrap_or(""), &row["symbol"], "{context}");
        assert_eq!(ours.side.map_or("", Side::text), row["side"].to_owned() + &imbalance(&rest), "{context}");
        // Rounded by way of binary floating point; the other oracle has the nanoseconds.
        let stamp = i128::from(integer(&fields["Timestamp"]));
        assert!((stamp - microseconds(&row["timestamp"]) * 1000).abs() < 1000, "{context}");
    }
}

const AUCTION: &[(&str, &str)] = &[
    ("auction_type", "Auction Type"),
    ("paired_shares", "Paired Shares"),
    ("reference_price", "Reference Price"),
    ("indicative_clearing_price", "Indicative Clearing Price"),
    ("imbalance_shares", "Imbalance Shares"),
    ("imbalance_side", "Imbalance Side"),
    ("extension_number", "Extension Number"),
    ("auction_book_clearing_price", "Auction Book Clearing Price"),
    ("collar_reference_price", "Collar Reference Price"),
    ("lower_auction_collar_price", "Lower Auction Collar"),
    ("upper_auction_collar_price", "Upper Auction Collar"),
];

/// `a=1 b=2017-07-10 19:30:00+00:00 c=3`: a value may have spaces.
fn rest_of(text: &str) -> HashMap<&str, String> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for word in text.split(' ') {
        match word.split_once('=') {
            Some((key, value)) => pairs.push((key, value.to_owned())),
            None => pairs.last_mut().into_iter().for_each(|(_, value)| value.extend([" ", word])),
        }
    }
    pairs.into_iter().collect()
}

fn imbalance(rest: &HashMap<&str, String>) -> String {
    rest.get("imbalance_side").filter(|side| *side != "N").cloned().unwrap_or_default()
}

/// A field of ours against the text of an oracle: flags as 0 and 1, numbers by value, text without padding.
fn check_field(theirs: &str, ours: &Value, context: &str) {
    match ours {
        Value::Bool(flag) => assert_eq!(theirs, if *flag { "1" } else { "0" }, "{context}"),
        Value::Number(number) => assert_eq!(theirs, number.to_string(), "{context}"),
        Value::String(text) if text.trim() == theirs.trim() => {}
        Value::String(text) => assert_eq!(decimal(text), decimal(theirs), "{context}"),
        other => panic!("{other}\n{context}"),
    }
}

#[test]
fn iex_agrees_with_two_independent_decoders() {
    let Some(folder) = captures() else { return };
    for (name, protocol_name, messages, trades) in
        [("TOPS16_20170710", "iex_tops", 57_674, 6_393), ("DEEP10_20170425_a", "iex_deep", 110_644, 7_300)]
    {
        let found = decode(protocol(protocol_name), &folder.join(format!("iex/{name}.pcap")));
        let expected = folder.join("expected/iex");
        check_messages(&found, &table(&expected.join(format!("{name}.msgs.tsv.gz"))), false);
        check_iexparser(&found, &table(&expected.join(format!("{name}.iexparser.tsv.gz"))));
        assert_eq!(found.losses.nonzero().count(), 0, "{:?}", found.losses);
        assert_eq!(found.events.len() as u64 + found.others, messages);
        assert_eq!(found.events.iter().filter(|event| event.kind == MarketKind::Trade).count(), trades);
        check_events(&found);
    }
}

/// The event of a message says the same as its description.
fn check_events(found: &Collector) {
    let described = found.described.iter().map(|(_, _, ours)| ours).filter(|ours| ours.symbol.is_some());
    for (event, ours) in found.events.iter().zip(described) {
        let context = format!("{event:?} {ours:?}");
        assert_eq!(Some(found.symbol_of(event)), ours.symbol.as_deref(), "{context}");
        assert_eq!(event.sequence, ours.seq.unwrap_or(0), "{context}");
        assert_eq!(event.price, ours.price, "{context}");
        assert_eq!(event.exchange_ns, integer(&ours.fields["Timestamp"]), "{context}");
        assert_eq!(
            Decimal::new(i64::try_from(event.quantity).expect("small"), 0),
            ours.qty.unwrap_or_default(),
            "{context}"
        );
    }
}

/// The captures of single messages, with the titles that their oracles have: the path with `__` for each `/`.
fn packets(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<(PathBuf, String)> {
    let root = folder.join("omi-data-packets");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable folder") {
            let path = entry.expect("readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "pcap") {
                let title = path.strip_prefix(&root).expect("below it").with_extension("");
                found.push((path, title.to_string_lossy().replace('/', "__")));
            }
        }
    }
    found.retain(|(_, title)| wanted(title));
    found.sort();
    found
}

/// Filed under MEMX, but it is a Stock Trading Action of TotalView-ITCH (SHYG) in `MoldUDP64`, sent to Nasdaq's own group
/// 233.54.12.111:26477. The dissector for MEMX made nothing of it, so it has no oracle.
const MISFILED: &str = "Memx__Equities.MemiorDepth.v1.3__StockTradingActionMessage";

fn expected_protocol(title: &str) -> Option<&'static str> {
    match title {
        _ if title.contains("Equities.TotalView.Itch.v5.0") => Some("itch50"),
        _ if title == MISFILED => Some("itch50"),
        _ if title.starts_with("Iex__Tops.") => Some("iex_tops"),
        _ if title.starts_with("Iex__Deep.") => Some("iex_deep"),
        _ => None,
    }
}

#[test]
fn single_packets_agree_field_for_field() {
    let Some(folder) = captures() else { return };
    let files = packets(&folder, |title| expected_protocol(title).is_some() && title != MISFILED);
    assert_eq!(files.len(), 39);
    for (file, title) in files {
        let name = expected_protocol(&title).expect("chosen above");
        let found = decode(protocol(name), &file);
        let expected = folder.join("expected/omi");
        check_messages(&found, &table(&expected.join(format!("{title}.msgs.tsv"))), name == "itch50");
        check_fields(&found, &table(&expected.join(format!("{title}.fields.tsv"))));
        let accounted = found.events.len() as u64 + found.others + found.losses.count(tickscope_model::Loss::NoSymbol);
        let described = found.described.iter().filter(|(_, _, ours)| ours.msg != "Heartbeat").count();
        assert_eq!(accounted, described as u64, "{title}");
    }
}

/// The dissector's name of a field in the specification's words, both without spaces and in small letters.
fn title_of(theirs: &str) -> &str {
    match theirs {
        "locatecode" => "stocklocate",
        "canceledshares" => "cancelledshares",
        "quoteupdateflags" | "securitydirectoryflags" => "flags",
        other => other,
    }
}

fn check_fields(found: &Collector, rows: &[Row]) {
    let small = |title: &str| title.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let mut number_in_frame = HashMap::new();
    for (frame, span, ours) in &found.described {
        let number: &mut u32 = number_in_frame.entry(frame).or_default();
        *number += 1;
        let theirs = rows.iter().filter(|row| row["frame"] == frame.to_string() && row["msg_no"] == number.to_string());
        let mut titles: Vec<String> = ours.fields.keys().map(|title| small(title)).collect();
        for row in theirs {
            let context = format!("{row:?}\n{ours:?}");
            let field = title_of(&row["field"]);
            if field == "messagelength" {
                assert_eq!((span.len() - 2).to_string(), &row["show"], "{context}");
                continue;
            }
            if field == "messageindex" || field.starts_with("unused") {
                continue;
            }
            let (_, value) = ours.fields.iter().find(|(title, _)| small(title) == field).expect(&context);
            titles.retain(|title| title != field);
            // The dissector shows these as words or as characters; the bytes are certain.
            if field.ends_with("flags") || (field == "reserved" && ours.msg == "Heartbeat") {
                assert_eq!(format!("{:02x}", integer(value)), &row["hex"], "{context}");
            } else {
                check_field(&row["show"], value, &context);
            }
        }
        // These flags are in newer tables than the dissector's, or it has no names for the bits.
        titles.retain(|title| !matches!(title.as_str(), "singlepricecross" | "eventprocessingcomplete"));
        if ours.fields.get("Flags").is_some_and(|flags| integer(flags) == 0) {
            titles.retain(|title| title != "flags"); // It leaves out a set of flags of which none is set.
        }
        assert!(titles.is_empty(), "the oracle does not have {titles:?} of {ours:?}");
    }
}

#[test]
fn probes_know_their_own_and_nothing_else() {
    let Some(folder) = captures() else { return };
    let (mut own, mut foreign) = (0, 0);
    for (file, title) in packets(&folder, |_| true) {
        for datagram in datagrams(&file) {
            for protocol in PROTOCOLS.iter().filter(|protocol| protocol.role == tickscope_decoders::Role::MarketData) {
                let guess = (protocol.probe)(&datagram.payload);
                if expected_protocol(&title) == Some(protocol.name) {
                    own += 1;
                    assert_eq!(guess, Guess::Yes, "{title} frame {} as {}", datagram.frame, protocol.name);
                } else {
                    foreign += 1;
                    let is_bare_envelope = datagram.payload.len() == 20 && protocol.name == "itch50";
                    let allowed = if is_bare_envelope && guess == Guess::Maybe { Guess::Maybe } else { Guess::No };
                    assert_eq!(guess, allowed, "{title} frame {} as {}", datagram.frame, protocol.name);
                }
            }
        }
    }
    assert!(own == 136 && foreign > 900, "{own} own, {foreign} foreign");
    for (name, file) in [("iex_tops", "TOPS16_20170710"), ("iex_deep", "DEEP10_20170425_a")] {
        for datagram in datagrams(&folder.join(format!("iex/{file}.pcap"))) {
            assert_eq!((protocol(name).probe)(&datagram.payload), Guess::Yes, "{file} frame {}", datagram.frame);
        }
    }
}
