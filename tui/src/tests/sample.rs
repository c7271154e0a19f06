//! A run of a minute, made up: two sessions, a feed with two lines, three requests a second. From its 30th to its 45th second the
//! exchange takes five times as long.

use serde_json::{Value, json};

use crate::FrameView;

pub(super) const START_NS: u64 = 1_767_623_400_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
pub(super) const MOMENTS: u64 = 60;
const REQUESTS_A_SECOND: u64 = 3;

pub(super) fn time_of_day(t_ns: u64) -> String {
    let (seconds, rest) = (t_ns / SECOND_NS, t_ns % SECOND_NS);
    format!("{:02}:{:02}:{:02}.{rest:09}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Between 0 and 999, the same for the same number.
fn chance(number: u64) -> u64 {
    let mut value = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    value ^= value >> 29;
    value = value.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (value ^ (value >> 32)) % 1000
}

struct Request {
    number: u64,
    t_out_ns: u64,
    t2t_ns: u64,
    ack_ns: u64,
}

fn request(number: u64) -> Request {
    let t_out_ns = START_NS + number * SECOND_NS / REQUESTS_A_SECOND + chance(number) * 100_000;
    let second = (t_out_ns - START_NS) / SECOND_NS;
    let tail = if number.is_multiple_of(41) { 45_000 } else { 0 };
    let slow = if (30..45).contains(&second) { 5 } else { 1 };
    let t2t_ns = 14_000 + chance(number + 1) * 12 + tail;
    Request { number, t_out_ns, t2t_ns, ack_ns: (52_000 + chance(number + 2) * 16) * slow }
}

fn requests(second: u64) -> Vec<Request> {
    (0..second * REQUESTS_A_SECOND).map(request).collect()
}

fn drawn(value: u64) -> u64 {
    let rest = (u64::BITS - value.leading_zeros()).saturating_sub(5);
    value | ((1 << rest) - 1)
}

fn figures(mut values: Vec<u64>) -> Value {
    values.sort_unstable();
    let n = values.len();
    if n == 0 {
        return json!({ "n": 0, "buckets": [], "letters": "K→K'" });
    }
    let at = |thousandths: usize| values[((n * thousandths).div_ceil(100_000)).max(1) - 1];
    let mut buckets: Vec<(u64, u64)> = Vec::new();
    for value in values.iter().map(|value| drawn(*value)) {
        match buckets.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => buckets.push((value, 1)),
        }
    }
    let sum: u64 = values.iter().sum();
    json!({
        "n": n, "min_ns": values[0], "p50_ns": at(50_000), "p90_ns": at(90_000), "p99_ns": at(99_000),
        "p99_9_ns": at(99_900), "p99_99_ns": at(99_990), "max_ns": values[n - 1], "mean_ns": sum / n as u64,
        "p99_over_p50": f64::from(u32::try_from(at(99_000) * 100 / at(50_000)).unwrap()) / 100.0,
        "few": ["p99", "p99_9", "p99_99"], "letters": "K→K'", "negative": 0, "buckets": buckets,
    })
}

fn segments(all: &[Request]) -> Value {
    let of = |value: fn(&Request) -> u64| all.iter().map(value).collect::<Vec<u64>>();
    json!({
        "t2t": figures(of(|it| it.t2t_ns)),
        "tcp_ack": figures(of(|it| 17_000 + chance(it.number + 3))),
        "ack": figures(of(|it| it.ack_ns)),
        "reject": figures(Vec::new()),
    })
}

/// What there is besides figures.
#[derive(Clone, Copy, Default)]
pub(super) struct Kind {
    pub(super) of_capture: bool,
    pub(super) has_loss: bool,
}

/// The snapshot at a second.
pub(super) fn snapshot(second: u64, kind: Kind) -> String {
    let all = requests(second);
    let slow = json!({
        "culprit": "exchange", "session": null, "from": { "t_ns": START_NS + 30 * SECOND_NS },
        "to": { "t_ns": START_NS + 45 * SECOND_NS }, "to_the_end": false,
        "sentence": "From 14:30:30.083 to 14:30:44.919: ack p50 60.416 µs → 300.544 µs (×4.97), t2t unchanged (20.224 µs → 20.096 µs): exchange",
    });
    let is_known = kind.of_capture || second > 45;
    let slowed = json!({
        "side": "external", "from": slow["from"], "to": slow["to"], "more_intervals": 0, "sentence": slow["sentence"],
    });
    let n = all.len();
    json!({
        "tickscope_snapshot": 1, "version": "0.1.0", "number": second, "t_ns": START_NS + second * SECOND_NS,
        "of_capture": kind.of_capture, "is_last": kind.of_capture && second == MOMENTS,
        "first": { "t_ns": START_NS }, "last": { "t_ns": START_NS + second * SECOND_NS },
        "rates": { "over_ns": SECOND_NS, "frames_per_s": 400, "market_messages_per_s": 350, "requests_per_s": 3 },
        "market_messages": second * 350, "requests": n, "triggered": n,
        "causes": { "exact": 0, "likely": n, "ambiguous": 0, "untriggered": 0 },
        "segments": segments(&all),
        "sessions": [{ "name": "TRADER->EXCHANGE", "requests": n, "segments": segments(&all) }],
        "slowed": if is_known { slowed } else { Value::Null },
        "verdict": { "is_testable": second > 10, "slow": if is_known { vec![slow] } else { vec![] } },
        "slowest": {
            "t2t": [{ "session": "TRADER->EXCHANGE", "clordid": "T01-000123", "t_out_ns": request(123).t_out_ns, "value_ns": 60_000 }],
            "answer": [{ "session": "TRADER->EXCHANGE", "clordid": "T01-000100", "t_out_ns": request(100).t_out_ns, "value_ns": 300_000 }],
        },
        "taps": [tap(second, kind)],
        "feeds": [{
            "feed": "233.54.12.111:26477", "protocol": "itch50", "title": "Nasdaq TotalView-ITCH 5.0 over MoldUDP64",
            "messages": second * 350, "duplicates": second * 340,
            "lines": [
                { "line": "A", "address": "233.54.12.111:26477", "messages": second * 350, "first": second * 290,
                  "heartbeats": second / 10, "last": { "t_ns": START_NS + second * SECOND_NS - 1_000_000 } },
                { "line": "B", "address": "233.49.196.111:26477", "messages": second * 340, "first": second * 60,
                  "heartbeats": second / 10, "last": { "t_ns": START_NS + second * SECOND_NS - 2_100_000_000 } },
            ],
            "line_delay": { "n": second * 340, "p50_ns": 3_100, "p99_ns": 9_000, "max_ns": 41_000 },
            "gaps": if kind.has_loss { json!({ "count": 2, "missing": 7, "recovered": 1 }) } else { json!({}) },
        }],
        "order_sessions": [{
            "session": "TRADER->EXCHANGE", "protocol": "fix", "client": "10.0.0.10:41000", "server": "10.0.1.20:9876",
            "requests": n, "answers": n * 2, "state": "1 logons",
            "logons": 1, "heartbeats": second / 30 * 2, "retransmitted": if kind.has_loss { 4 } else { 0 }, "gaps": 0,
            "last": { "t_ns": START_NS + second * SECOND_NS - 200_000_000 }, "last_msg": "ExecutionReport",
        }],
        "hops": if kind.has_loss {
            json!({ "pairs": [{ "from": "md", "to": "gw", "n": 1234, "min_ns": 310, "p50_ns": 402, "p99_ns": 655, "max_ns": 9_120,
                "error_ns": 30 }], "ambiguous": 2, "overlooked": 11 })
        } else {
            json!({ "pairs": [] })
        },
        "quality": {
            "frames": { "in": second * 400, "used": second * 400, "lost": 0 },
            "messages": { "in": second * 360, "used": second * 360 - if kind.has_loss { 3 } else { 0 }, "lost": if kind.has_loss { 3 } else { 0 } },
            "requests": { "in": n, "reported": n, "unanswered": 0 }, "answers": { "in": n * 2, "matched": n * 2 },
            "losses": if kind.has_loss {
                json!([{ "reason": "malformed", "level": "message", "count": 3, "text": "a message that contradicts its specification" }])
            } else {
                json!([])
            },
            "adds_up": true,
        },
        "readers": { "connected": 1 }, "made": second * 10, "spent_ns": second * 900_000, "processor_ns": second * 42_000_000,
    })
    .to_string()
}

fn tap(second: u64, kind: Kind) -> Value {
    let frames = second * 400;
    let lost = if kind.has_loss { json!({ "ring_full": 12 }) } else { json!({ "ring_full": 0 }) };
    let live = json!({
        "interface": "eth2", "driver": "AF_PACKET (TPACKET_V3): chosen since the interface is in use", "seen": frames + 12,
        "used": frames, "waiting": 0, "queue_fill": 0.031, "lost": lost, "clock_error_ns": 120,
        "stamps": [{ "source": "kernel-software", "direction": "in", "frames": frames, "about": "behind the NIC, so late by some µs" }],
        "queues": [
            { "queue": 0, "seen": frames / 2, "used": frames / 2, "lost": {} },
            { "queue": 1, "seen": frames / 2 + 12, "used": frames / 2, "lost": lost },
        ],
    });
    json!({
        "name": "md", "file": "eth2", "frames": frames, "bytes": frames * 120, "has_market_data": true, "has_orders": true,
        "resolution_ns": 1, "offset_ns": 0, "stamps": { "source": "capture", "edge": "unknown", "warnings": [] },
        "live": if kind.of_capture { Value::Null } else { live },
    })
}

/// All snapshots of the run.
pub(super) fn run(kind: Kind) -> Vec<String> {
    (1..=MOMENTS).map(|second| snapshot(second, kind)).collect()
}

/// A run in which nothing is done yet.
pub(super) fn empty() -> String {
    snapshot(0, Kind::default())
}

/// What the socket answers.
pub(super) fn answer(question: &str) -> Vec<String> {
    let asked: Value = serde_json::from_str(question).unwrap();
    let answer = match asked["query"].as_str().unwrap() {
        "rows" => rows(asked["after"].as_u64().unwrap()),
        "groups" => groups(asked["by"].as_str().unwrap()),
        "order" => order(asked["clordid"].as_str().unwrap()),
        "packets" => json!({
            "query": "packets", "error": null, "session": asked["session"], "clordid": asked["clordid"], "frames": 2, "pcapng": "cGNhcG5n",
        }),
        _ => return Vec::new(),
    };
    let mut answer = answer;
    answer["tickscope_answer"] = json!(1);
    vec![answer.to_string()]
}

fn rows(after: u64) -> Value {
    let all = requests(MOMENTS);
    let last = all.len() as u64;
    let rows: Vec<Value> = all.iter().skip(usize::try_from(after).unwrap()).map(row).collect();
    json!({
        "query": "rows", "error": null,
        "columns": ["tap", "session", "clordid", "request", "symbol", "side", "price", "qty", "t_out_ns", "trigger_method",
            "trigger_confidence", "t2t_ns", "tcp_ack_ns", "ack_ns", "reject_ns", "flags", "outcome"],
        "first": if rows.is_empty() { Value::Null } else { json!(after + 1) }, "rows": rows, "last": last, "missed": 0,
    })
}

fn row(it: &Request) -> Value {
    let symbol = ["MSFT", "AAPL", "INTC"][usize::try_from(it.number % 3).unwrap()];
    let is_reject = it.number.is_multiple_of(17);
    let (ack, reject) = if is_reject { (Value::Null, json!(it.ack_ns)) } else { (json!(it.ack_ns), Value::Null) };
    json!([
        "md",
        "TRADER->EXCHANGE",
        name(it.number),
        "new",
        symbol,
        "B",
        "215.45",
        "100",
        it.t_out_ns,
        "latest",
        0.98,
        it.t2t_ns,
        17_500,
        ack,
        reject,
        if it.number.is_multiple_of(50) { "retransmitted" } else { "" },
        if is_reject { "rejected" } else { "filled" },
    ])
}

fn name(number: u64) -> String {
    format!("T01-{number:06}")
}

fn groups(by: &str) -> Value {
    let all = requests(MOMENTS);
    let group = |name: &str, part: u64| {
        let some: Vec<Request> = all.iter().filter(|it| it.number % 3 == part).map(|it| request(it.number)).collect();
        json!({ "name": name, "requests": some.len(), "segments": segments(&some) })
    };
    json!({ "query": "groups", "by": by, "error": null, "left_out": 0,
        "groups": [group("MSFT", 0), group("AAPL", 1), group("INTC", 2)] })
}

fn order(clordid: &str) -> Value {
    let number: u64 = clordid.trim_start_matches("T01-").parse().unwrap();
    let it = request(number);
    let trigger = it.t_out_ns - it.t2t_ns;
    let step = |what: &str, after: u64, frame: u64, detail: &str| json!({ "t_ns": it.t_out_ns + after, "what": what, "tap": "md", "frame": frame, "detail": detail });
    json!({
        "query": "order", "error": null,
        "order": {
            "session": "TRADER->EXCHANGE", "clordid": clordid, "request": "new", "symbol": "MSFT", "side": "B", "price": "215.45",
            "qty": "100", "t_out_ns": it.t_out_ns, "trigger_t_ns": trigger, "trigger_feed": "233.54.12.111:26477 A",
            "trigger_seq": 2506, "trigger_msg": "Order Executed Message", "trigger_method": "latest", "trigger_confidence": 0.979,
            "bbo": { "bid": "215.44", "bid_qty": 300, "ask": "215.46", "ask_qty": 1200 }, "t2t_ns": it.t2t_ns, "trigger_tap": "md", "trigger_frame": 3393, "outcome": "filled",
            "timeline": [step("request", 0, 3395, "D"), step("tcp_ack", 16_105, 3396, ""), step("ack", it.ack_ns, 3400, "8 150=0 39=0"),
                step("first_fill", it.ack_ns + 9_000, 3402, "8 150=F 39=2")],
        },
        "candidates": [
            { "tap": "md", "frame": 3393, "t_ns": trigger, "age_ns": it.t2t_ns, "feed": "233.54.12.111:26477 A", "seq": 2506,
              "msg": "Order Executed Message", "symbol": "MSFT", "method": "latest", "probability": 0.979 },
            { "tap": "md", "frame": 3380, "t_ns": trigger - 90_000, "age_ns": it.t2t_ns + 90_000, "feed": "233.54.12.111:26477 A",
              "seq": 2499, "msg": "Add Order - No MPID Attribution Message", "symbol": "MSFT", "method": "latest", "probability": 0.019 },
        ],
    })
}

#[allow(clippy::unnecessary_wraps, reason = "the screen calls it so")]
pub(super) fn dissect(bytes: &[u8]) -> Result<Vec<FrameView>, String> {
    assert_eq!(bytes, b"pcapng");
    let frame = |title: &str, bytes: &[u8], fields: &[(&str, &str)]| FrameView {
        title: title.to_owned(),
        t_ns: START_NS,
        tap: "md".to_owned(),
        bytes: bytes.to_vec(),
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    Ok(vec![
        frame(
            "UDP 10.1.0.1:31001 > 233.54.12.111:26477",
            &[1, 0, 94, 54, 12, 111],
            &[("itch50", "Order Executed Message"), ("  seq", "2506")],
        ),
        frame(
            "TCP 10.0.0.10:41000 > 10.0.1.20:9876",
            b"8=FIX.4.4\x0135=D\x0111=T01-000100\x01",
            &[("fix", "NewOrderSingle"), ("  ClOrdID", "T01-000100")],
        ),
    ])
}
