//! The rules of the market-data protocols, one message or packet at a time: bytes laid out as the tables of the public
//! specifications say, and what must come out of them. The first column of a row is what a reader looks for.

mod market_support;

use market_support::Collector;
use serde_json::{Value, json};
use tickscope_decoders::{Decoder, Described, Fresh, Guess, PROTOCOLS, Protocol, UnitKind};
use tickscope_model::{Loss, MarketEvent, MarketKind, Timestamp};

const HEAD_OF_2023: &[u8] = b"\0\x05\0\x02\x1f\x1a\xce\xda\xef\xe2"; // locate 5, tracking 2, 34199.999 s … of a real one
const STAMP: u64 = 0x1f1a_ceda_efe2;
const NAME: &[u8; 8] = b"AAPL    ";

/// Price, quantity and reference of an event.
type Values<'a> = (Option<&'a str>, u64, u64);
/// Message type, what follows the header, kind of the event, its values.
type ItchRow<'a> = (u8, &'a [&'a [u8]], MarketKind, Values<'a>);
/// Feed, message type, what follows the symbol, kind of the event, its values, name of the message.
type IexRow<'a> = (&'a str, u8, &'a [&'a [u8]], MarketKind, Values<'a>, &'a str);
/// Name of the first message, packet, what is announced, malformed messages, probe.
type MoldRow = (&'static str, Vec<u8>, Option<(UnitKind, u64, u64)>, u64, Guess);
/// What it is, packet, events, malformed messages, unknown ones, probe.
type TransportRow = (&'static str, Vec<u8>, usize, u64, u64, Guess);

fn protocol(name: &str) -> &'static Protocol {
    PROTOCOLS.iter().find(|protocol| protocol.name == name).expect("a known protocol")
}

fn itch(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(HEAD_OF_2023);
    message.extend(body.concat());
    message
}

fn mold(sequence: u64, count: u16, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = b"000010059B".to_vec();
    packet.extend(sequence.to_be_bytes());
    packet.extend(count.to_be_bytes());
    for message in messages {
        packet.extend(u16::try_from(message.len()).expect("short").to_be_bytes());
        packet.extend(message);
    }
    packet
}

fn data(sequence: u64, messages: &[Vec<u8>]) -> Vec<u8> {
    mold(sequence, u16::try_from(messages.len()).expect("few"), messages)
}

fn iex(protocol_id: u16, first: u64, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for message in messages {
        payload.extend(u16::try_from(message.len()).expect("short").to_le_bytes());
        payload.extend(message);
    }
    let mut packet = vec![1, 0];
    packet.extend(protocol_id.to_le_bytes());
    packet.extend([1, 0, 0, 0, 0, 0, 0x96, 0x44]);
    packet.extend(u16::try_from(payload.len()).expect("short").to_le_bytes());
    packet.extend(u16::try_from(messages.len()).expect("few").to_le_bytes());
    packet.extend(7_i64.to_le_bytes());
    packet.extend(first.to_le_bytes());
    packet.extend(1_499_697_226_594_200_000_i64.to_le_bytes());
    packet.extend(payload);
    packet
}

const IEX_STAMP: i64 = 1_499_697_226_594_103_034;

/// Type, flags, time and symbol, as nearly every message of IEX begins.
fn iex_message(kind: u8, flags: u8, body: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![kind, flags];
    message.extend(IEX_STAMP.to_le_bytes());
    message.extend(NAME);
    message.extend(body.concat());
    message
}

fn open(name: &str) -> (Box<dyn Decoder>, Collector) {
    (
        (protocol(name).open)(),
        Collector { wants_fields: true, now: Timestamp(1_692_711_000_000_059_094), ..Collector::default() },
    )
}

fn one(name: &str, packet: &[u8]) -> (Option<MarketEvent>, Described, Collector) {
    let (mut decoder, mut out) = open(name);
    decoder.decode(packet, &mut out);
    assert_eq!(out.losses.total(tickscope_model::Level::Message), 0, "{:?}", out.losses);
    let (_, span, described) = out.described.pop().expect("one message");
    assert_eq!(span.end, packet.len());
    (out.events.pop(), described, out)
}

#[test]
fn every_itch_message_has_its_kind_and_its_values() {
    use MarketKind::{Auction, Book, Status, Trade};
    let order = 77_u64.to_be_bytes();
    let other = 78_u64.to_be_bytes();
    let matched = 99_u64.to_be_bytes();
    let shares = 300_u32.to_be_bytes();
    let wide = 300_u64.to_be_bytes();
    let price = 1_234_500_u32.to_be_bytes(); // 123.45
    let no = (None, 0, 0);
    let rows: &[ItchRow<'_>] = &[
        (b'A', &[&order, b"S", &shares, NAME, &price], Book, (Some("123.45"), 300, 77)),
        (b'F', &[&order, b"S", &shares, NAME, &price, b"NSDQ"], Book, (Some("123.45"), 300, 77)),
        (b'X', &[&order, &shares], Book, (None, 300, 77)),
        (b'D', &[&order], Book, (None, 0, 77)),
        (b'U', &[&order, &other, &shares, &price], Book, (Some("123.45"), 300, 78)),
        (b'E', &[&order, &shares, &matched], Trade, (None, 300, 99)),
        (b'C', &[&order, &shares, &matched, b"Y", &price], Trade, (Some("123.45"), 300, 99)),
        (b'C', &[&order, &shares, &matched, b"N", &price], Book, (Some("123.45"), 300, 99)),
        (b'P', &[&[0; 8], b"B", &shares, NAME, &price, &matched], Trade, (Some("123.45"), 300, 99)),
        (b'Q', &[&wide, NAME, &price, &matched, b"O"], Trade, (Some("123.45"), 300, 99)),
        (b'B', &[&matched], Trade, (None, 0, 99)),
        (b'I', &[&wide, &wide, b"B", NAME, &price, &price, &price, b"OL"], Auction, no),
        (b'R', &[NAME, b"QN", &[0, 0, 0, 100], b"NCZ PNN1N", &[0; 4], b"N"], Status, no),
        (b'H', &[NAME, b"T     "], Status, no),
        (b'Y', &[NAME, b"0"], Status, no),
        (b'L', &[b"NSDQ", NAME, b"YNA"], Status, no),
        (b'K', &[NAME, &[0, 0, 0x86, 0xC4], b"A", &price], Status, no),
        (b'J', &[NAME, &price, &price, &price, &[0, 0, 0, 1]], Status, no),
        (b'h', &[NAME, b"QH"], Status, no),
        (b'N', &[NAME, b"A"], Status, no),
        (b'O', &[NAME, b"Y", &price, &price, &price, &[0; 8], &price, &price], Status, no),
    ];
    for (code, body, kind, (price, quantity, reference)) in rows {
        // The symbol of messages without a stock comes from what was seen before.
        let packet = data(5, &[itch(b'Y', &[NAME, b"0"]), itch(*code, body)]);
        let (event, described, out) = one("itch50", &packet);
        let event = event.expect("an event");
        let context = format!("{} {event:?} {described:?}", char::from(*code));
        assert_eq!(out.symbol_of(&event), "AAPL", "{context}");
        assert_eq!(out.symbols.len(), 1, "{context}");
        assert_eq!((event.kind, event.code, event.sequence), (*kind, *code, 6), "{context}");
        assert_eq!(event.price.map(|price| price.trimmed().to_string()).as_deref(), *price, "{context}");
        assert_eq!((event.quantity, event.reference, event.exchange_ns), (*quantity, *reference, STAMP), "{context}");
        assert_eq!(described.symbol.as_deref(), Some("AAPL"), "{context}");
        assert_eq!(described.seq, Some(6));
        assert_eq!(described.msg, (protocol("itch50").message_name)(*code));
        assert!(described.msg.len() > 5, "{context}");
        // 22 August 2023 was in daylight saving time: midnight in New York was 04:00 UTC.
        assert_eq!(described.exch_t_ns, Some(1_692_676_800_000_000_000 + STAMP), "{context}");
        assert_eq!((protocol("itch50").probe)(&packet), Guess::Yes, "{context}");
    }
}

#[test]
fn itch_messages_about_the_market_are_about_no_symbol() {
    for (code, body) in
        [(b'S', b"Q".to_vec()), (b'W', b"1".to_vec()), (b'V', 426_892_800_000_u64.to_be_bytes().repeat(3))]
    {
        let mut message = itch(code, &[&body]);
        message[1..3].fill(0);
        let (event, described, out) = one("itch50", &data(1, &[message]));
        assert!(event.is_none() && out.others == 1);
        if code == b'V' {
            assert_eq!(described.fields["Level 3"], json!("4268.928"), "8 digits behind the point");
        }
    }
}

#[test]
fn a_whole_itch_message_is_described_in_the_words_of_its_table() {
    let message =
        itch(b'F', &[&77_u64.to_be_bytes(), b"S", &300_u32.to_be_bytes(), NAME, &1_234_500_u32.to_be_bytes(), b"UBSS"]);
    let (_, described, _) = one("itch50", &data(9, &[message]));
    let expected = json!({
        "Message Type": "F", "Stock Locate": 5, "Tracking Number": 2, "Timestamp": STAMP,
        "Order Reference Number": 77, "Buy/Sell Indicator": "S", "Shares": 300, "Stock": "AAPL", "Price": "123.45",
        "Attribution": "UBSS",
    });
    assert_eq!(Value::Object(described.fields), expected);
    assert_eq!(described.order_id.as_deref(), Some("77"));
    assert_eq!(described.qty.map(|qty| qty.to_string()).as_deref(), Some("300"));
    assert_eq!(described.price.map(|price| price.to_string()).as_deref(), Some("123.45"));
}

#[test]
fn names_are_learned_once_and_from_duplicates_too() {
    let delete = itch(b'D', &[&77_u64.to_be_bytes()]);
    let named = |name: &[u8]| itch(b'Y', &[name, b"0"]);
    let (mut decoder, mut out) = open("itch50");

    decoder.decode(&data(1, std::slice::from_ref(&delete)), &mut out);
    assert_eq!((out.losses.count(Loss::NoSymbol), out.events.len()), (1, 0), "the locate is not known yet");
    assert_eq!(out.described[0].2.order_id.as_deref(), Some("77"), "and still it is described");

    out.fresh = Some(Fresh::None);
    decoder.decode(&data(2, &[named(NAME)]), &mut out);
    assert_eq!((out.events.len(), out.symbols.len()), (0, 1), "another line had it, but this line learns the name");

    out.fresh = None;
    decoder
        .decode(&data(3, &[delete.clone(), named(NAME), delete.clone(), named(b"MSFT    "), delete.clone()]), &mut out);
    let symbols: Vec<&str> = out.events.iter().map(|event| out.symbol_of(event)).collect();
    assert_eq!(symbols, ["AAPL", "AAPL", "AAPL", "MSFT", "MSFT"]);

    // Whatever type of message has the name.
    let (order, stamp, price) = (77_u64.to_be_bytes(), 9_u64.to_be_bytes(), 1_234_500_u32.to_be_bytes());
    let shares = 300_u32.to_be_bytes();
    let types = [
        itch(b'A', &[&order, b"S", &shares, NAME, &price]),
        itch(b'F', &[&order, b"S", &shares, NAME, &price, b"UBSS"]),
        itch(b'P', &[&order, b"S", &shares, NAME, &price, &stamp]),
        itch(b'Q', &[&order, NAME, &price, &stamp, b"O"]),
        itch(b'I', &[&order, &order, b"B", NAME, &price, &price, &price, b"O", b"L"]),
        named(NAME),
    ];
    for message in types {
        let (mut decoder, mut out) = open("itch50");
        out.fresh = Some(Fresh::None);
        decoder.decode(&data(1, std::slice::from_ref(&message)), &mut out);
        out.fresh = None;
        decoder.decode(&data(2, std::slice::from_ref(&delete)), &mut out);
        let symbols: Vec<&str> = out.events.iter().map(|event| out.symbol_of(event)).collect();
        assert_eq!(symbols, ["AAPL"], "{}", char::from(message[0]));
    }

    // Locate 0 is nobody's: the IPO message has it beside its stock, and nothing is learned from that.
    let mut ipo = itch(b'K', &[NAME, &[0; 4], b"C", &[0; 4]]);
    let mut orphan = itch(b'D', &[&77_u64.to_be_bytes()]);
    ipo[1..3].fill(0);
    orphan[1..3].fill(0);
    let (mut decoder, mut out) = open("itch50");
    decoder.decode(&data(1, &[ipo, orphan, itch(b'Y', &[b"        ", b"0"])]), &mut out);
    assert_eq!((out.events.len(), out.losses.count(Loss::NoSymbol)), (1, 2));
}

#[test]
fn packets_of_moldudp64_are_told_apart() {
    use UnitKind::{Data, End, Heartbeat, Request};
    let event = itch(b'D', &[&77_u64.to_be_bytes()]);
    let longer = { [&data(7, std::slice::from_ref(&event))[..], b"\0"].concat() };
    let rows: &[MoldRow] = &[
        ("Heartbeat", mold(7, 0, &[]), Some((Heartbeat, 7, 0)), 0, Guess::Maybe),
        ("End of Session", mold(7, 0xFFFF, &[]), Some((End, 7, 0)), 0, Guess::Maybe),
        ("Retransmission Request", mold(7, 3, &[]), Some((Request, 7, 3)), 0, Guess::Maybe),
        ("", mold(7, 3, &[])[..19].to_vec(), None, 1, Guess::No),
        ("", Vec::new(), None, 1, Guess::No),
        ("", mold(7, 1, &[vec![]]), Some((Data, 7, 1)), 1, Guess::No),
        ("", mold(7, 1, &[b"?".to_vec()]), Some((Data, 7, 1)), 0, Guess::No),
        ("", mold(7, 1, &[event[..18].to_vec()]), Some((Data, 7, 1)), 1, Guess::No),
        ("", mold(7, 1, &[[&event[..], b"x"].concat()]), Some((Data, 7, 1)), 1, Guess::No),
        ("Order Delete Message", longer, Some((Data, 7, 1)), 1, Guess::No),
        ("Order Delete Message", mold(7, 4, std::slice::from_ref(&event)), Some((Data, 7, 4)), 3, Guess::Yes),
        ("Order Delete Message", data(0, std::slice::from_ref(&event)), Some((Data, 0, 1)), 0, Guess::Yes),
    ];
    for (msg, packet, unit, malformed, guess) in rows {
        let (mut decoder, mut out) = open("itch50");
        assert_eq!(decoder.decode(packet, &mut out), packet.len());
        let context = format!("{packet:02x?} {:?}", out.losses);
        assert_eq!(out.units.first(), unit.as_ref(), "{context}");
        assert_eq!(out.described.first().map_or("", |(_, _, described)| &described.msg), *msg, "{context}");
        assert_eq!(out.losses.count(Loss::Malformed), *malformed, "{context}");
        assert_eq!((protocol("itch50").probe)(packet), *guess, "{context}");
    }
}

#[test]
fn only_fresh_messages_are_decoded_and_only_fresh_ones_are_lost() {
    let named = itch(b'Y', &[NAME, b"0"]);
    let packet = mold(10, 6, &[named.clone(), named.clone(), named.clone(), named]);
    let (mut decoder, mut out) = open("itch50");
    out.fresh = Some(Fresh::Some(vec![1..2, 3..5]));
    decoder.decode(&packet, &mut out);
    let sequences: Vec<u64> = out.events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [11, 13]);
    assert_eq!(out.losses.count(Loss::Malformed), 1, "of the two that were cut away, one had been seen before");
}

#[test]
fn every_iex_message_has_its_kind_and_its_values() {
    use MarketKind::{Auction, Book, Quote, Status, Trade};
    let size = 283_u32.to_le_bytes();
    let price = 1_489_100_i64.to_le_bytes(); // 148.91
    let id = 128_140_i64.to_le_bytes();
    let one = [1_u8];
    let no = (None, 0, 0);
    let auction: &[&[u8]] =
        &[&size, &price, &price, &size, b"B", &one, &0x5963_CA00_u32.to_le_bytes(), &price, &price, &price, &price];
    let rows: &[IexRow<'_>] = &[
        ("iex_tops", b'Q', &[&size, &price, &price, &size], Quote, no, "Quote Update Message"),
        ("iex_tops", b'T', &[&size, &price, &id], Trade, (Some("148.91"), 283, 128_140), "Trade Report Message"),
        ("iex_deep", b'T', &[&size, &price, &id], Trade, (Some("148.91"), 283, 128_140), "Trade Report Message"),
        ("iex_deep", b'B', &[&size, &price, &id], Trade, (Some("148.91"), 283, 128_140), "Trade Break Message"),
        ("iex_deep", b'8', &[&size, &price], Book, (Some("148.91"), 283, 0), "Price Level Update Message"),
        ("iex_deep", b'5', &[&size, &price], Book, (Some("148.91"), 283, 0), "Price Level Update Message"),
        ("iex_deep", b'E', &[], Status, no, "Security Event Message"),
        ("iex_tops", b'A', auction, Auction, no, "Auction Information Message"),
        ("iex_tops", b'X', &[&price], Status, (Some("148.91"), 0, 0), "Official Price Message"),
        ("iex_tops", b'D', &[&size, &price, &one], Status, no, "Security Directory Message"),
        ("iex_deep", b'H', &[b"T1  "], Status, no, "Trading Status Message"),
        ("iex_deep", b'I', &[], Status, no, "Retail Liquidity Indicator Message"),
        ("iex_deep", b'O', &[], Status, no, "Operational Halt Status Message"),
        ("iex_tops", b'P', &[b"N"], Status, no, "Short Sale Price Test Status Message"),
        // A message that has grown at its end since the table was written.
        ("iex_tops", b'P', &[b"N", b"more"], Status, no, "Short Sale Price Test Status Message"),
    ];
    for (feed, code, body, kind, (price, quantity, reference), msg) in rows {
        let id = if *feed == "iex_tops" { 0x8003 } else { 0x8004 };
        let packet = iex(id, 31_217, &[iex_message(*code, 0xC0, body)]);
        let (event, described, out) = self::one(feed, &packet);
        let event = event.expect("an event");
        let context = format!("{event:?} {described:?}");
        assert_eq!(out.symbol_of(&event), "AAPL", "{context}");
        assert_eq!((event.kind, event.code, event.sequence), (*kind, *code, 31_217), "{context}");
        assert_eq!(event.price.map(|price| price.trimmed().to_string()).as_deref(), *price, "{context}");
        assert_eq!((event.quantity, event.reference), (*quantity, *reference), "{context}");
        assert_eq!(Some(event.exchange_ns), u64::try_from(IEX_STAMP).ok(), "{context}");
        assert_eq!((described.msg.as_str(), described.exch_t_ns), (*msg, Some(event.exchange_ns)), "{context}");
        assert_eq!((protocol(feed).probe)(&packet), Guess::Yes, "{context}");
        let shorter = iex(id, 1, &[iex_message(*code, 0, body)[..17].to_vec()]);
        assert_eq!((protocol(feed).probe)(&shorter), Guess::No, "{context}");
    }
}

#[test]
fn iex_flags_are_raw_and_by_name() {
    let body: &[&[u8]] = &[&283_u32.to_le_bytes(), &1_489_100_i64.to_le_bytes(), &128_140_i64.to_le_bytes()];
    let (_, described, _) = one("iex_tops", &iex(0x8003, 1, &[iex_message(b'T', 0xA8, body)]));
    let expected = json!({
        "Message Type": "T", "Sale Condition Flags": 0xA8, "Intermarket Sweep": true, "Extended Hours": false,
        "Odd Lot": true, "Trade Through Exempt": false, "Single-price Cross": true, "Timestamp": IEX_STAMP,
        "Symbol": "AAPL", "Size": 283, "Price": "148.91", "Trade ID": 128_140,
    });
    assert_eq!(Value::Object(described.fields), expected);
}

#[test]
fn packets_of_iextp_are_told_apart() {
    let event = iex_message(b'E', b'O', &[]);
    let whole = iex(0x8004, 24_636, &[event.clone(), event]);
    let changed = |at: usize, value: u8| {
        let mut packet = whole.clone();
        packet[at] = value;
        packet
    };
    let rows: &[TransportRow] = &[
        ("whole", whole.clone(), 2, 0, 0, Guess::Yes),
        ("heartbeat", iex(0x8004, 1, &[]), 0, 0, 0, Guess::Yes),
        ("cut in the second message", whole[..whole.len() - 1].to_vec(), 1, 1, 0, Guess::Yes),
        ("cut in the header", whole[..39].to_vec(), 0, 1, 0, Guess::No),
        ("bytes after the payload", [&whole[..], b"x"].concat(), 2, 1, 0, Guess::No),
        ("payload ends in the second message", changed(12, 39), 1, 2, 0, Guess::No),
        ("fewer messages announced than there are", changed(14, 1), 1, 1, 0, Guess::No),
        ("more messages announced than there are", changed(14, 3), 2, 1, 0, Guess::No),
        ("another version", changed(0, 2), 0, 1, 0, Guess::No),
        ("DEEP+", changed(2, 5), 0, 0, 2, Guess::No),
        ("a type that is new", changed(42, b'z'), 1, 0, 1, Guess::Yes),
    ];
    for (what, packet, events, malformed, unknown, guess) in rows {
        let (mut decoder, mut out) = open("iex_deep");
        assert_eq!(decoder.decode(packet, &mut out), packet.len());
        assert_eq!(out.events.len(), *events, "{what}");
        assert_eq!(out.losses.count(Loss::Malformed), *malformed, "{what}");
        assert_eq!(out.losses.count(Loss::UnknownMessage), *unknown, "{what}");
        assert_eq!((protocol("iex_deep").probe)(packet), *guess, "{what}");
        assert_eq!((protocol("iex_tops").probe)(packet), Guess::No, "{what}");
    }
    let (_, heartbeat, _) = one("iex_deep", &iex(0x8004, 31, &[]));
    assert_eq!(heartbeat.msg, "Heartbeat");
    assert_eq!(heartbeat.fields["First Message Sequence Number"], json!(31));
    assert_eq!(heartbeat.exch_t_ns, Some(1_499_697_226_594_200_000));
}

#[test]
fn tops_1_5_is_read_like_1_6() {
    let size = 1_u32.to_le_bytes();
    let price = 10_000_i64.to_le_bytes();
    let packet = iex(0x8002, 1, &[iex_message(b'Q', 0x40, &[&size, &price, &price, &size])]);
    assert_eq!((protocol("iex_tops").probe)(&packet), Guess::Yes);
    let (_, described, _) = one("iex_tops", &packet);
    assert_eq!(described.fields["Market Session"], json!(true));
    assert_eq!(described.fields["Bid Price"], json!("1"));
}

#[test]
fn more_symbols_than_the_limit_are_counted_and_the_others_stay_known() {
    let (mut decoder, mut out) = open("iex_deep");
    out.wants_fields = false;
    let event = |number: u32| {
        let mut message = iex_message(b'E', b'O', &[]);
        message[10..18].copy_from_slice(format!("{number:<8}").as_bytes());
        message
    };
    for first in (0..70_000).step_by(100) {
        let messages: Vec<_> = (first..first + 100).map(event).collect();
        decoder.decode(&iex(0x8004, 1, &messages), &mut out);
    }
    assert_eq!((out.symbols.len(), out.events.len()), (65_536, 65_536));
    assert_eq!(out.losses.count(Loss::NoSymbol), 70_000 - 65_536);
    decoder.decode(&iex(0x8004, 1, &[event(7), event(65_535)]), &mut out);
    let known: Vec<&str> = out.events.iter().skip(65_536).map(|event| out.symbol_of(event)).collect();
    assert_eq!(known, ["7", "65535"]);
}
