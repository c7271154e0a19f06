//! The parts of external latency against the simulator's truth.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tickscope_sim::Scenario;

use super::support::{Row, loss, report, succeeds, table, text};
use super::tape::{ACK, End, Folder, Recorded, SYN, fix, tcp_frame};

/// An exchange that rejects, fills, cancels and replaces, and stamps finely; requests often share a segment.
const SCENARIO: &str = r#"
duration = "40s"
[market]
symbols = 6
rate = 150.0
[network]
coalesce = 0.3
[trader]
digits = 9
[exchange]
reject = 0.05
reject_session = 0.03
PUBLIC
[[strategy]]
kind = "react"
on = "trade"
style = "take"
share = 0.5
pause = "30ms"
[[strategy]]
kind = "react"
on = "best"
style = "join"
share = 0.05
orders = 2
cancel = 0.4
[[strategy]]
kind = "quote"
share = 0.05
pause = "40ms"
"#;

struct Played {
    folder: PathBuf,
    truth: Vec<Row>,
    /// By segment and ClOrdID.
    segments: HashMap<(String, String), i64>,
    report: serde_json::Value,
}

fn play(name: &str, exchange: &str) -> Played {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("split-{name}-{}", std::process::id()));
    let scenario = Scenario::parse(&SCENARIO.replace("PUBLIC", exchange), name).expect("a scenario");
    tickscope_sim::write(&scenario, 7, &folder).expect("the folder can be written to");
    let files: Vec<PathBuf> =
        scenario.tap.iter().map(|tap| folder.join(format!("{}.{}", tap.name, tap.format.extension()))).collect();
    let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
    let segments = segments(&succeeds("analyze", &["--segments", "-"], &files));
    let report = super::support::report(&files);
    let truth = table(&text(&folder.join("truth.csv")), ',');
    Played { folder, truth, segments, report }
}

fn segments(csv: &str) -> HashMap<(String, String), i64> {
    let key = |row: &Row| (row["segment"].to_owned(), row["clordid"].to_owned());
    table(csv, ',').iter().map(|row| (key(row), row.number("latency_ns"))).collect()
}

impl Played {
    fn of(&self, segment: &str, row: &Row) -> Option<i64> {
        self.segments.get(&(segment.to_owned(), row["clordid"].to_owned())).copied()
    }

    fn n(&self, part: &str) -> u64 {
        self.report["external_split"][part]["n"].as_u64().unwrap_or(0)
    }
}

fn number(row: &Row, column: &str) -> Option<i64> {
    (!row[column].is_empty()).then(|| row.number(column))
}

/// The first answer that is no fill.
fn answer(row: &Row) -> Option<i64> {
    ["ack_ns", "reject_ns", "cancel_ack_ns", "replace_ack_ns"]
        .into_iter()
        .filter_map(|column| number(row, column))
        .min()
}

#[test]
fn own_orders_in_market_data_are_found_by_their_number() {
    for (name, public) in [("after", "public_ids = true"), ("before", "public_ids = true\npublic = \"before\"")] {
        let played = play(name, public);
        let mut found = 0;
        for row in &played.truth {
            let public = number(row, "public_ns");
            assert_eq!(played.of("order_to_md", row), public, "{}", &row["clordid"]);
            let (Some(public), Some(answer)) = (public, answer(row)) else { continue };
            found += 1;
            let lead = public - answer;
            let (private, ahead) = if lead >= 0 { (Some(lead), None) } else { (None, Some(-lead)) };
            assert_eq!(
                (played.of("private_first", row), played.of("public_first", row)),
                (private, ahead),
                "{}",
                &row["clordid"]
            );
        }
        assert!(found > 100, "{found}");
        assert_eq!(played.n("order_to_md"), found);
        assert!(played.n(if name == "after" { "private_first" } else { "public_first" }) > 100);
        std::fs::remove_dir_all(played.folder).expect("the test's own folder can go");
    }
}

#[test]
fn without_numbers_they_are_inferred_and_nearly_always_right() {
    let played = play("inferred", "");
    let (mut given, mut right) = (0, 0);
    for row in played.truth.iter().filter(|row| &row["request"] == "new") {
        let (is, was) = (played.of("order_to_md", row), number(row, "public_ns"));
        given += u32::from(is.is_some());
        right += u32::from(is.is_some() && is == was);
    }
    assert!(right > 60 && right * 100 >= given * 95, "{right} of {given}");
    assert_eq!(played.report["external_split"]["order_to_md"]["inferred"], played.n("order_to_md"));
    std::fs::remove_dir_all(played.folder).expect("the test's own folder can go");
}

#[test]
fn fills_stamps_and_outcomes_are_what_happened() {
    let played = play("parts", "public_ids = true");
    let (mut at_once, mut rested) = (0, 0);
    for row in &played.truth {
        let id = &row["clordid"];
        if let (Some(fill), Some(ack)) = (number(row, "first_fill_ns"), number(row, "ack_ns")) {
            if let Some(latency) = played.of("order_to_fill", row) {
                assert_eq!((latency, played.of("ack_to_fill", row)), (fill, Some(fill - ack)), "{id}");
                assert!(fill - ack < 1_000_000, "{id}");
                at_once += 1;
            } else {
                assert_eq!(played.of("ack_to_fill", row), None, "{id}");
                rested += 1;
            }
        }
        // Both stamps are the exchange's, so what is left is the wire: two ways of 5 us and the frames on them.
        if let (Some(inside), Some(residual)) = (played.of("in_exchange", row), played.of("wire_residual", row)) {
            assert_eq!(Some(inside + residual), answer(row), "{id}");
            assert!(inside >= 0 && residual > 0, "{id}: {inside} {residual}");
        }
    }
    assert!(at_once > 100 && rested > 5, "{at_once} {rested}");
    assert_eq!(played.n("order_to_fill"), at_once);
    assert!(played.n("wire_residual") > 300, "{}", played.report["external_split"]);
    let outcomes: u64 = ["new", "replaced", "cancelled", "rejected", "session_rejected", "retransmitted"]
        .map(|outcome| played.n(&format!("order_to_ack_{outcome}")))
        .iter()
        .sum();
    assert_eq!(outcomes, played.truth.iter().filter(|row| answer(row).is_some()).count() as u64);
    assert!(played.n("order_to_ack_session_rejected") > 5 && played.n("order_to_ack_rejected") > 5);
    assert_eq!(played.n("cancel_to_out"), played.n("order_to_ack_cancelled") + played.n("order_to_ack_replaced"));
    assert!(played.n("batch_1") > 10 && played.n("batch_2") > 10, "{}", played.report["external_split"]);
    std::fs::remove_dir_all(played.folder).expect("the test's own folder can go");
}

#[test]
fn one_way_latencies_hold_the_truth_between_them() {
    let played = play("oneway", "");
    let part = |name: &str, key: &str| played.report["external_split"][name][key].as_i64().expect("a number");
    // One clock for all: 5 us each way and the frames, for the least of them; the exchange stamps when it is done.
    for way in ["out", "back"] {
        let (least, most) =
            (part(&format!("oneway_{way}_min"), "min_ns"), part(&format!("oneway_{way}_max"), "max_ns"));
        assert!(least <= 6_000 && 5_000 <= most, "{way}: {least} {most}");
        assert!(played.n(&format!("oneway_{way}_min")) > 300, "{way}");
    }
    std::fs::remove_dir_all(played.folder).expect("the test's own folder can go");
}

#[test]
fn a_pipe_gives_the_same_parts_as_a_file_that_is_read_ahead() {
    let played = play("pipe", "public_ids = true");
    let files: Vec<PathBuf> = std::fs::read_dir(&played.folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng"))
        .collect();
    let [file] = files.as_slice() else { panic!("one tap: {files:?}") };
    // A pipe's books are partial ones, so its triggers may be others.
    let external = |segments: HashMap<(String, String), i64>| -> HashMap<(String, String), i64> {
        segments.into_iter().filter(|((segment, _), _)| segment != "t2t" && segment != "fill_to_request").collect()
    };
    let config = played.folder.join("no_books.toml");
    std::fs::write(&config, "[trigger]\nbooks = \"never\"\n").expect("the folder can be written to");
    let config = config.to_str().expect("UTF-8");
    let ahead = segments(&succeeds("analyze", &["--config", config, "--segments", "-"], &[file]));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tickscope"));
    command.env_clear().args(["analyze", "-q", "--segments", "-", "-"]);
    let input = std::fs::File::open(file).expect("it was just written");
    let output = command.stdin(input).output().expect("it runs");
    assert!(output.status.success());
    let piped = external(segments(&String::from_utf8(output.stdout).expect("UTF-8")));
    assert_eq!(piped, external(ahead));
    assert_eq!(piped, external(played.segments));
    std::fs::remove_dir_all(&played.folder).expect("the test's own folder can go");
}

/// A conversation by hand: who sends (the client, or not), microseconds after the start, messages, and whether TCP sends the
/// segment once more 50 us later.
fn conversation(segments: &[(bool, u64, &[String], bool)]) -> Vec<Recorded> {
    let (client, server) = (End { host: 1, port: 40_001 }, End { host: 2, port: 9_001 });
    let mut next = [1_000_u32, 5_000];
    let frame = |time_ns: u64, bytes: Vec<u8>| {
        let wire_len = u32::try_from(bytes.len()).expect("small");
        Recorded { time_ns: START + time_ns, wire_len, bytes }
    };
    let mut frames = vec![
        frame(0, tcp_frame(client, server, 1, (999, 0), SYN, b"")),
        frame(1, tcp_frame(server, client, 1, (4_999, 1_000), SYN | ACK, b"")),
    ];
    for (number, (is_client, micros, messages, is_again)) in (2..).zip(segments) {
        let payload: Vec<u8> = messages.iter().flat_map(|body| fix(body)).collect();
        let (own, other) = (usize::from(!is_client), usize::from(*is_client));
        let (from, to) = if *is_client { (client, server) } else { (server, client) };
        let numbers = (next[own], next[other]);
        frames.push(frame(micros * 1_000, tcp_frame(from, to, number, numbers, ACK, &payload)));
        if *is_again {
            // Another IP packet: the same one twice would be a mirror port's copy.
            frames.push(frame(micros * 1_000 + 50_000, tcp_frame(from, to, 1_000 + number, numbers, ACK, &payload)));
        }
        next[own] += u32::try_from(payload.len()).expect("small");
    }
    frames.sort_by_key(|frame| frame.time_ns);
    frames
}

/// 2026-01-21 12:53:20 UTC.
const START: u64 = 1_769_000_000_000_000_000;

/// A stamp so many nanoseconds behind [`START`].
fn stamp(ns: u64) -> String {
    format!("20260121-12:53:20.{ns:09}")
}

/// Orders that each show one thing. The exchange's clock is 300 us behind; what takes 100 us is 60 us inside: 5, 40 and 15.
fn singular_orders() -> Vec<Recorded> {
    let head = |kind: &str, number: u32, (from, to): (&str, &str), sent: u64| {
        format!("35={kind}|34={number}|49={from}|56={to}|52={}|", stamp(sent))
    };
    let order = |number: u32, name: &str, fields: &str| {
        head("D", number, ("US", "EX"), 1) + &format!("11={name}|55=ABC|54=1|38=100|{fields}|60={}|", stamp(1))
    };
    let answer = |number: u32, name: &str, sent: u64, transact: u64, fields: &str| {
        head("8", number, ("EX", "US"), sent)
            + &format!("37=e{name}|17=x{number}|11={name}|55=ABC|54=1|38=100|14=0|6=0|60={}|{fields}", stamp(transact))
    };
    let stations = |at: [u64; 3]| {
        let [request, into, out] = at;
        format!("768=2|769={}|770=2|769={}|770=3|5979={}|", stamp(into), stamp(out), START + request)
    };
    let new = "150=0|39=0|151=100|";
    let fill = "150=F|39=2|151=0|32=100|31=10|";
    let cancel = head("F", 7, ("US", "EX"), 1) + &format!("11=f|41=b|55=ABC|54=1|60={}|", stamp(1));
    let rejected = head("9", 9, ("EX", "US"), 2) + "37=eb|11=f|41=b|39=0|434=1|102=0|";
    let ms = 1_000_000;
    conversation(&[
        (true, 100, &[head("A", 1, ("US", "EX"), 1) + "98=0|108=30|"], false),
        (false, 200, &[head("A", 1, ("EX", "US"), 1) + "98=0|108=30|"], false),
        // A market order, filled a millisecond later: nothing but the order says that it was marketable.
        (true, 1_000, &[order(2, "a", "40=1")], false),
        (false, 1_100, &[answer(2, "a", 780_000, 720_000, new) + &stations([720_000, 725_000, 765_000])], false),
        (false, 2_000, &[answer(3, "a", 1_700_000, 1_690_000, fill)], false),
        // A limit order that is sent again, and its answer.
        (true, 3 * 1_000, &[order(3, "b", "40=2|44=10")], true),
        (
            false,
            3_100,
            &[answer(4, "b", 2_780_000, 2_720_000, new) + &stations([2_720_000, 2_725_000, 2_765_000])],
            false,
        ),
        // Two in a segment; the second one's stations are in disorder.
        (true, 4_000, &[order(4, "c", "40=2|44=10"), order(5, "d", "40=2|44=10")], false),
        (false, 4_100, &[answer(5, "c", 3_780_000, 3_720_000, new)], false),
        (
            false,
            4_120,
            &[answer(6, "d", 3_800_000, 3_720_000, new) + &stations([3_730_000, 3_725_000, 3_765_000])],
            false,
        ),
        (false, 4_120, &[answer(7, "d", 3_800_000, 3_720_000, fill)], false),
        // A stop order that traded later, an order without an answer, and a cancel that came too late.
        (true, 5_000, &[order(6, "e", "40=3|99=9")], false),
        (false, 5_100, &[answer(8, "e", 4_780_000, 4_720_000, new)], false),
        (false, 8_000, &[answer(10, "e", 7_780_000, 7 * ms, fill)], false),
        (true, 9_000, &[cancel, order(8, "g", "40=2|44=9")], false),
        (false, 9_100, &[rejected], false),
    ])
}

#[test]
fn stations_marketable_orders_and_requests_that_were_sent_again() {
    let folder = Folder::new();
    let file = folder.capture("stations.pcap", &singular_orders());
    let report = report(&[&file]);
    let split = &report["external_split"];
    let n = |part: &str| split[part]["n"].as_u64().unwrap_or(0);
    // Percentiles have three digits; the least is exact.
    let least = |part: &str| split[part]["min_ns"].as_u64();
    let without = |part: &str, reason: &str| split[part]["without"][reason].as_u64().unwrap_or(0);
    for (part, count, least_ns) in [
        ("gateway_in", 2, Some(5_000)),
        ("matching", 2, Some(40_000)),
        ("gateway_out", 2, Some(15_000)),
        ("in_exchange", 5, Some(60_000)),
        // Of b nobody knows which copy was answered; it stands in one line.
        ("wire_residual", 4, Some(40_000)),
        ("order_to_ack_new", 4, Some(100_000)),
        ("order_to_ack_retransmitted", 1, Some(100_000)),
        ("order_to_ack_rejected", 1, Some(100_000)),
        ("batch_1", 2, Some(100_000)),
        ("batch_2", 1, Some(120_000)),
        ("order_to_fill", 2, None),
        ("cancel_to_out", 0, None),
    ] {
        assert_eq!(n(part), count, "{part}: {split:#}");
        assert!(least_ns.is_none() || least(part) == least_ns, "{part}: {}", split[part]);
    }
    for (part, reason, count) in [
        ("gateway_in", "a later station has an earlier stamp", 1),
        ("matching", "no stamps of both stations", 3),
        ("wire_residual", "sent again", 1),
        ("oneway_out_min", "sent again", 1),
        ("order_to_ack_new", "no answer captured", 1),
        ("order_to_fill", "rested first", 1),
        ("cancel_to_out", "rejected", 1),
    ] {
        assert_eq!(without(part, reason), count, "{part} {reason}: {split:#}");
    }
    assert_eq!(split["order_to_fill"]["marketable_by"], serde_json::json!({ "order": 1, "transact_time": 1 }));
    let screen = succeeds("analyze", &[], &[&file]);
    let said = "order_to_fill: marketable: 1 by the order (market, immediate-or-cancel, fill-or-kill)";
    assert!(screen.contains(said), "{screen}");
}

/// An engine that was cut off logs requests that it could not send, and sends them again after its next logon, as copies.
#[test]
fn a_request_that_only_comes_as_a_copy_has_no_row() {
    let head = |kind: &str, number: u32, (from, to): (&str, &str), copy: &str| {
        format!("35={kind}|{copy}34={number}|49={from}|56={to}|52={}|", stamp(1))
    };
    let order = |number: u32, name: &str, copy: &str| {
        head("D", number, ("US", "EX"), copy) + &format!("11={name}|55=ABC|54=1|38=100|40=2|44=10|60={}|", stamp(1))
    };
    let new = |number: u32, name: &str| {
        head("8", number, ("EX", "US"), "")
            + &format!("37=e{name}|17=x{number}|11={name}|150=0|39=0|55=ABC|54=1|38=100|151=100|14=0|6=0|")
    };
    let copy = format!("43=Y|122={}|", stamp(1));
    let frames = conversation(&[
        (true, 100, &[head("A", 1, ("US", "EX"), "") + "98=0|108=30|"], false),
        (false, 200, &[head("A", 1, ("EX", "US"), "") + "98=0|108=30|"], false),
        (true, 1_000, &[order(2, "a", "")], false),
        (false, 1_100, &[new(2, "a")], false),
        (true, 2_000, &[order(3, "b", &copy)], false),
        (false, 2_100, &[new(3, "b")], false),
    ]);
    let folder = Folder::new();
    let file = folder.capture("copies.pcap", &frames);
    let rows = super::support::orders(&[&file]);
    let rows: Vec<(&str, &str)> = rows.iter().map(|row| (&row["clordid"], &row["ack_ns"])).collect();
    assert_eq!(rows, [("a", "100000")]);
    let report = report(&[&file]);
    assert_eq!((loss(&report, "poss_dup"), loss(&report, "orphan")), (1, 1), "{:#}", report["quality"]);
}
