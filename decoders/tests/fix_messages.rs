//! Messages made by hand from the FIX specifications, and what the decoder says of them: several orders in one message,
//! groups within groups, data fields, copies, damage, and the names in `fields`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fix_support;

use fix_support::{Memory, Told, feed, message, message_of, read};
use serde_json::{Value, json};
use tickscope_decoders::{Guess, orders};
use tickscope_model::{Loss, OrderKind};

fn one(begin: &str, body: &str) -> Told {
    let mut memory = read(&message(begin, body));
    assert_eq!((memory.told.len(), memory.losses.nonzero().count()), (1, 0), "{body}");
    memory.told.remove(0)
}

fn fields(begin: &str, body: &str) -> Value {
    let mut memory = read(&message(begin, body));
    Value::Object(memory.described.remove(0).1.fields)
}

/// `kind clordid orig symbol side quantity price` of each event.
fn lines(begin: &str, body: &str) -> Vec<String> {
    let stream = message(begin, body);
    let memory = read(&stream);
    assert!(memory.told.iter().all(|told| (told.start, told.end) == (0, stream.len())));
    let line = |told: &Told| {
        let Told { kind, clordid, orig_clordid, symbol, side, quantity, price, .. } = told;
        format!("{kind:?} {clordid} {orig_clordid} {symbol} {side} {quantity} {price}")
    };
    memory.told.iter().map(line).collect()
}

#[test]
fn a_new_order() {
    let told =
        one("FIX.4.2", "35=D|49=A|56=B|34=7|43=N|11=c1|55=IBM|48=id|54=5|38=100|44=1.250|60=20261122-03:35:23.5|");
    assert_eq!((told.kind, told.side, told.is_copy, told.is_damaged), (OrderKind::New, "SS", false, false));
    assert_eq!((told.price.as_str(), told.quantity.as_str()), ("1.250", "100"));
    assert!(told.text.contains("sequence: 7") && told.text.contains("transact_ns: 1795318523500000000"));
    for (side, expected) in [("1", "B"), ("2", "S"), ("6", "SSE"), ("3", ""), ("7", ""), ("8", ""), ("12", "")] {
        assert_eq!(one("FIX.4.4", &format!("35=D|11=x|54={side}|")).side, expected);
    }
}

#[test]
fn the_first_of_two_counts() {
    let told = one("FIX.4.4", "35=D|11=c1|55=IBM|11=c2|55=MSFT|");
    assert_eq!((told.clordid.as_str(), told.symbol.as_str()), ("c1", "IBM"));
    assert_eq!(fields("FIX.4.4", "35=D|11=c1|58=a|58=b|58=c|")["Text"], json!(["a", "b", "c"]));
}

#[test]
fn copies() {
    assert!(one("FIX.4.4", "35=D|43=Y|11=c1|").is_copy);
    assert!(one("FIX.4.4", "35=D|97=Y|11=c1|").is_copy);
    assert!(!one("FIX.4.4", "35=D|97=N|43=N|11=c1|").is_copy);
}

#[test]
fn logons() {
    for (body, reset) in [("35=A|98=0|108=30|141=Y|", true), ("35=A|98=0|108=30|", false), ("35=0|141=Y|", false)] {
        assert_eq!(one("FIX.4.4", body).text.contains("reset: true"), reset, "{body}");
    }
}

#[test]
fn a_list_is_one_event_an_order() {
    let body = "35=E|49=A|56=B|34=5|66=L1|394=3|68=2|73=2|\
        11=x1|67=1|453=2|448=P|447=D|452=1|802=1|523=sub|803=4|448=Q|447=D|452=3|78=1|79=acct|80=5|55=IBM|54=1|38=5|44=10.5|\
        11=x2|67=2|55=MSFT|9001=private|54=6|38=7|58=note|";
    assert_eq!(lines("FIX.4.4", body), ["New x1  IBM B 5 10.5", "New x2  MSFT SSE 7 "]);
    let all = fields("FIX.4.4", body);
    assert_eq!(
        all["NoOrders"][0]["NoPartyIDs"][0]["NoPartySubIDs"],
        json!([{"PartySubID": "sub", "PartySubIDType": "4"}])
    );
    assert_eq!(all["NoOrders"][0]["NoPartyIDs"][1], json!({"PartyID": "Q", "PartyIDSource": "D", "PartyRole": "3"}));
    assert_eq!(all["NoOrders"][0]["NoAllocs"], json!([{"AllocAccount": "acct", "AllocQty": "5"}]));
    assert_eq!(all["NoOrders"][1]["9001"], "private");
    assert_eq!(all["NoOrders"][1]["Text"], "note");
    assert_eq!(all["ListID"], "L1");
    // FIX 4.0 sent one message an order.
    assert_eq!(lines("FIX.4.0", "35=E|66=L1|67=1|68=2|11=x1|55=IBM|54=1|38=5|40=1|"), ["New x1  IBM B 5 "]);
}

#[test]
fn a_list_that_is_cut_short_is_counted() {
    let memory = read(&message("FIX.4.4", "35=E|66=L1|73=3|11=x1|54=1|11=x2|54=2|"));
    assert_eq!((memory.told.len(), memory.losses.count(Loss::Malformed)), (2, 1));
    assert_eq!(memory.described[0].1.fields["73"], "3");
    assert_eq!(memory.described[0].1.fields["NoOrders"].as_array().map(Vec::len), Some(2));
}

#[test]
fn crosses_are_one_event_a_side() {
    let body = "548=X1|549=1|550=0|552=2|54=1|11=b1|41=ob|38=10|54=2|11=s1|41=os|38=20|55=IBM|44=9.5|";
    assert_eq!(lines("FIX.4.4", &format!("35=s|{body}")), ["New b1 ob IBM B 10 9.5", "New s1 os IBM S 20 9.5"]);
    assert_eq!(
        lines("FIX.4.4", &format!("35=t|551=X0|{body}")),
        ["Replace b1 ob IBM B 10 9.5", "Replace s1 os IBM S 20 9.5"]
    );
    assert_eq!(
        lines("FIX.4.4", &format!("35=u|551=X0|{body}")),
        ["Cancel b1 ob IBM B 10 9.5", "Cancel s1 os IBM S 20 9.5"]
    );
    assert_eq!(lines("FIX.4.4", "35=u|548=X1|551=X0|55=IBM|"), ["Cancel X1 X0 IBM   "]);
}

#[test]
fn legs_do_not_overwrite_the_order() {
    let body =
        "35=AB|11=c1|54=1|55=SPREAD|555=2|600=LEG1|624=1|654=l1|566=4.5|687=3|600=LEG2|624=2|654=l2|38=10|44=0.25|";
    assert_eq!(lines("FIX.4.4", body), ["New c1  SPREAD B 10 0.25"]);
    assert_eq!(fields("FIX.4.4", body)["NoLegs"][1], json!({"LegSymbol": "LEG2", "LegSide": "2", "LegRefID": "l2"}));
}

#[test]
fn quotes() {
    assert_eq!(lines("FIX.4.4", "35=S|117=Q1|131=R|55=IBM|132=1|133=2|"), ["Quote Q1  IBM   "]);
    let entry = |id: u32, symbol: &str| format!("299={id}|55={symbol}|132=1.5|133=2|");
    let mass = |entries: &[(u32, &str)]| {
        let count = entries.len();
        let text: String = entries.iter().map(|(id, symbol)| entry(*id, symbol)).collect();
        format!("35=i|117=Q2|296=1|302=S|304={count}|295={count}|{text}")
    };
    assert_eq!(lines("FIX.4.4", &mass(&[(1, "A")])), ["MassQuote Q2  A   "]);
    assert_eq!(lines("FIX.4.4", &mass(&[(1, "A"), (2, "B")])), ["MassQuote Q2     "]);
    assert_eq!(lines("FIX.4.4", &mass(&[(1, "A"), (2, "A")])), ["MassQuote Q2     "]);
    assert_eq!(fields("FIX.4.4", &mass(&[(1, "A"), (2, "B")]))["NoQuoteSets"][0]["NoQuoteEntries"][1]["Symbol"], "B");
    assert_eq!(lines("FIX.4.4", "35=Z|117=Q2|298=1|295=1|55=IBM|"), ["Cancel Q2  IBM   "]);
    assert_eq!(lines("FIX.4.4", "35=b|117=Q2|297=5|300=1|"), ["Reject Q2     "]);
    assert_eq!(lines("FIX.4.4", "35=AI|117=Q2|297=0|55=IBM|"), ["Ack Q2  IBM   "]);
}

#[test]
fn answers_that_name_their_request_otherwise() {
    assert_eq!(lines("FIX.4.4", "35=9|37=o|11=c2|41=c1|39=0|434=1|"), ["Reject c2 c1    "]);
    let told = one("FIX.4.4", "35=j|45=77|372=D|379=c9|380=3|");
    assert_eq!((told.kind, told.clordid.as_str()), (OrderKind::Reject, "c9"));
    assert!(told.text.contains("ref_sequence: 77"));
    assert!(one("FIX.4.4", "35=3|45=78|58=x|").text.contains("ref_sequence: 78"));
    assert_eq!(lines("FIX.4.4", "35=K|66=L1|"), ["Cancel L1     "]);
    assert_eq!(lines("FIX.4.4", "35=r|11=m|37=o|530=7|531=7|534=2|41=a|535=1|41=b|535=2|"), ["Canceled m     "]);
    assert_eq!(lines("FIX.4.4", "35=q|11=m|530=7|"), ["MassCancel m     "]);
}

#[test]
fn orders_of_others_are_not_told_as_ones_own() {
    assert_eq!(lines("FIX.4.4", "35=N|66=L|73=2|11=a|39=0|11=b|39=0|"), ["Other      "]);
}

#[test]
fn data_fields_hold_anything() {
    let body = b"35=D\x0111=c1\x01354=13\x01355=\x0155=no\x0110=000\x0155=IBM\x0195=3\x0196=\xff\x01\xfe\x0154=1\x01";
    let memory = read(&message_of("FIX.4.4", body));
    let (told, fields) = (&memory.told[0], &memory.described[0].1.fields);
    assert_eq!((told.symbol.as_str(), told.side, memory.told.len()), ("IBM", "B", 1));
    assert_eq!(fields["EncodedText"], "\u{1}55=no\u{1}10=000");
    assert_eq!(fields["RawData"], "ff01fe");
}

#[test]
fn names_are_those_of_the_version() {
    let body = "35=8|32=5|76=x|9717=tick|";
    assert_eq!(fields("FIX.4.2", body)["LastShares"], "5");
    assert_eq!(fields("FIX.4.2", body)["ExecBroker"], "x");
    assert_eq!(fields("FIX.4.4", body)["LastQty"], "5");
    assert_eq!(fields("FIX.4.4", body)["9717"], "tick");
    assert_eq!(fields("FIXT.1.1", body)["LastQty"], "5");
    // A session over FIXT says in its logon which version it speaks, a message may say its own.
    let mut stream = message("FIXT.1.1", "35=A|98=0|108=30|1137=4|");
    stream.extend(message("FIXT.1.1", body));
    stream.extend(message("FIXT.1.1", &format!("{body}1128=9|")));
    let memory = read(&stream);
    assert_eq!(memory.described[0].1.msg, "Logon");
    assert_eq!(memory.described[1].1.fields["LastShares"], "5");
    assert_eq!(memory.described[2].1.fields["LastQty"], "5");
    // Groups that a venue took from a later version.
    assert_eq!(fields("FIX.4.2", "35=D|453=1|448=P|452=1|11=c|")["NoPartyIDs"][0]["PartyID"], "P");
}

#[test]
fn a_description_has_the_keys_of_decode() {
    let memory = read(&message(
        "FIX.4.4",
        "35=8|49=A|56=B|34=9|52=20261122-03:35:23|37=o1|11=c1|55=IBM|48=US1|54=2|38=5|44=1.5|150=F|",
    ));
    let told = &memory.described[0].1;
    assert_eq!(
        (told.msg.as_str(), told.seq, told.exch_t_ns),
        ("ExecutionReport", Some(9), Some(1_795_318_523_000_000_000))
    );
    assert_eq!((told.order_id.as_deref(), told.clordid.as_deref()), (Some("o1"), Some("c1")));
    assert_eq!((told.symbol.as_deref(), told.security_id.as_deref()), (Some("IBM"), Some("US1")));
    assert_eq!(
        (told.price.map(|p| p.to_string()), told.qty.map(|q| q.to_string())),
        (Some("1.5".into()), Some("5".into()))
    );
    let keys: Vec<_> = told.fields.keys().take(4).map(String::as_str).collect();
    assert_eq!(keys, ["BeginString", "BodyLength", "MsgType", "SenderCompID"]);
    assert_eq!(told.fields.keys().next_back().map(String::as_str), Some("CheckSum"));
    assert_eq!(read(&message("FIX.4.4", "35=U7|1=x|")).described[0].1.msg, "U7");
}

#[test]
fn nothing_of_a_message_is_dropped() {
    let odd = message("FIX.4.4", "35=D|11=c1|garbage|=x|58=|453=2|447=D|448=P|");
    let fields = &read(&odd).described[0].1.fields;
    assert_eq!(fields["?"], json!(["garbage", "=x"]));
    assert_eq!(fields["Text"], "");
    assert_eq!(
        (&fields["453"], &fields["NoPartyIDs"]),
        (&json!("2"), &json!([{"PartyIDSource": "D", "PartyID": "P"}]))
    );
}

#[test]
fn damage_is_counted_and_told() {
    let good = message("FIX.4.4", "35=D|11=c1|55=IBM|");
    let text = String::from_utf8(good.clone()).unwrap();
    let wrong_sum = text.replace("c1", "c2");
    for (damaged, clordid) in [
        (wrong_sum.clone(), "c2"),
        (text.replace("9=18", "9=17"), "c1"),
        (text.replace("9=18", "9=24"), "c1"),
        (text.replace("9=18", "9=99999999999"), "c1"),
        (text.replace("9=18", "9=x"), "c1"),
    ] {
        assert_ne!(damaged.as_bytes(), good);
        let mut stream = damaged.clone().into_bytes();
        stream.extend_from_slice(&good);
        let memory = read(&stream);
        let told: Vec<_> = memory.told.iter().map(|told| (told.clordid.as_str(), told.is_damaged, told.end)).collect();
        assert_eq!(told, [(clordid, true, damaged.len()), ("c1", false, stream.len())], "{damaged}");
        assert_eq!(memory.losses.nonzero().collect::<Vec<_>>(), [(Loss::BadChecksum, 1)]);
    }
    // Without a type there is nothing to tell.
    let memory = read(&message("FIX.4.4", "11=c1|55=IBM|"));
    assert_eq!((memory.told.len(), memory.losses.count(Loss::Malformed)), (0, 1));
}

#[test]
fn a_message_cut_by_the_next_is_passed_over() {
    let good = message("FIX.4.4", "35=D|11=c1|55=IBM|");
    let mut stream = good[..30].to_vec();
    for _ in 0..3 {
        stream.extend_from_slice(&good);
    }
    let mut memory = Memory::default();
    assert_eq!(feed(&stream, [], &mut memory), stream.len());
    assert_eq!(memory.told.len(), 3);
    assert_eq!((memory.losses.count(Loss::BadChecksum), memory.losses.count(Loss::StreamSkipped)), (1, 30));
}

#[test]
fn probes() {
    let probe = orders::fix::PROTOCOL.probe;
    let rows: &[(&[u8], Guess)] = &[
        (b"8=FIX.4.2\x019=5\x01", Guess::Yes),
        (b"8=FIXT.1.1\x019=5\x01", Guess::Yes),
        (b"38=100\x0144=1.5\x0110=001\x018=FIX.4.4\x019=50\x01", Guess::Yes),
        (b"=IBM\x0154=1\x0138=100\x0140=2\x0144=", Guess::Maybe),
        (b"8=FI", Guess::Maybe),
        (b"", Guess::Maybe),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Guess::No),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaa", Guess::No),
        (b"\x00\x2fS\x00\x00", Guess::No),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", Guess::No),
    ];
    for (bytes, expected) in rows {
        assert_eq!(probe(bytes), *expected, "{}", String::from_utf8_lossy(bytes));
    }
}
