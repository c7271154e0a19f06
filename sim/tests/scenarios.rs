#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests, which say where they cannot run")]
//! Whole runs: the same seed gives the same bytes, the truth agrees with what tshark sees, tshark finds nothing
//! malformed, and no combination of parameters breaks the simulator or the accounting of its truth.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use tickscope_sim::score::{Thresholds, score};
use tickscope_sim::{COLUMNS, Scenario, Summary, generate, scenarios, write};

/// Scenarios without loss, damage or a late start: all but `lossy-tap` and `mid-session`. The last ones are cut short, for
/// tshark takes a minute for a million messages.
const CLEAN: [(&str, u64); 19] = [
    ("calm", 0),
    ("burst", 0),
    ("exchange-slows", 0),
    ("trader-slows", 0),
    ("both-slow", 0),
    ("conditional", 0),
    ("fan-out", 0),
    ("cancel-replace-storm", 0),
    ("rejects", 0),
    ("partial-fills", 0),
    ("two-taps-offset", 0),
    ("gateway-w2w", 0),
    ("opening-rush", 30_000),
    ("attribution-10", 5_000),
    ("attribution-100", 5_000),
    ("attribution-1000", 5_000),
    ("attribution-10000", 5_000),
    ("attribution-50000", 5_000),
    ("attribution-burst", 5_000),
];

fn scenario(name: &str) -> Scenario {
    Scenario::shipped(name).unwrap()
}

/// The captures and the truth of a run, in memory.
fn run(scenario: &Scenario, seed: u64) -> (Summary, HashMap<String, Vec<u8>>, String) {
    use std::cell::RefCell;
    use std::rc::Rc;
    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);
    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut captures: HashMap<String, Shared> = HashMap::new();
    let (summary, truth) =
        generate(scenario, seed, &mut |tap| Ok(captures.entry(tap.name.clone()).or_default().clone())).unwrap();
    let mut text = Vec::new();
    truth.write(&mut text).unwrap();
    let captures = captures.into_iter().map(|(name, bytes)| (name, bytes.0.take())).collect();
    (summary, captures, String::from_utf8(text).unwrap())
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tickscope-sim-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn has_tshark() -> bool {
    let found = Command::new("tshark").arg("--version").output().is_ok_and(|output| output.status.success());
    let required = std::env::var("TICKSCOPE_REQUIRE_CAPTURES").is_ok_and(|value| value == "1");
    assert!(found || !required, "tshark is required");
    if !found {
        eprintln!("SKIPPED: no tshark");
    }
    found
}

fn tshark(capture: &Path, arguments: &[&str]) -> String {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(capture)
        .args(["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"])
        .args(["-d", "udp.port==26477,moldudp64", "-d", "tcp.port==9876,fix", "-d", "tcp.port==9800,fix"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for name in ["calm", "lossy-tap", "gateway-w2w", "mid-session", "two-taps-offset"] {
        let (first, again, other) = (run(&scenario(name), 7), run(&scenario(name), 7), run(&scenario(name), 8));
        assert!(first == again, "{name}");
        assert!(first.1 != other.1, "{name}");
    }
}

#[test]
fn the_bytes_of_a_seed_do_not_change_with_the_program() {
    // FNV-1a over the capture. A change here changes every capture that was ever made from a seed: say so in the log.
    let (_, captures, _) = run(&scenario("calm"), 1);
    let hash = captures["tap"]
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    assert_eq!(format!("{hash:016x}"), include_str!("calm.fnv").trim());
}

#[test]
fn tshark_finds_nothing_malformed_and_counts_the_same() {
    if !has_tshark() {
        return;
    }
    let folder = folder("clean");
    for (name, messages) in CLEAN {
        let mut scenario = scenario(name);
        if messages > 0 {
            scenario.market.messages = messages;
        }
        let summary = write(&scenario, 3, &folder).unwrap();
        let mut requests = 0;
        for tap in &scenario.tap {
            let path = folder.join(format!("{}.pcap", tap.name));
            // One pass: what is bad about each frame, then what it carries.
            let fields = [
                "_ws.malformed",
                "ip.checksum.status",
                "tcp.checksum.status",
                "udp.checksum.status",
                "tcp.analysis.flags",
                "tcp.analysis.window_update",
                "fix.MsgType",
                "moldudp64.count",
            ];
            let mut arguments = vec!["-T", "fields", "-E", "separator=|"];
            arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
            let mut counted = 0;
            for line in tshark(&path, &arguments).lines() {
                let cells: Vec<&str> = line.split('|').collect();
                assert_eq!(cells.len(), fields.len(), "{line}");
                assert_eq!(cells[0], "", "{name}: malformed");
                assert!(cells[1..4].iter().all(|status| *status != "0"), "{name}: checksums {cells:?}");
                assert!(cells[1] == "1" && (cells[2] == "1" || cells[3] == "1"), "{name}: not validated: {cells:?}");
                assert!(cells[4].is_empty() || !cells[5].is_empty(), "{name}: {cells:?}");
                requests += cells[6].split(',').filter(|kind| ["D", "F", "G"].contains(kind)).count();
                counted += cells[7].parse::<u64>().ok().filter(|&count| count < 65_535).unwrap_or(0);
            }
            let lines = scenario.line.len() as u64;
            if counted > 0 {
                // The messages that end the day are counted by nobody but the feed.
                assert_eq!(counted, summary.messages * lines, "{name}");
            }
        }
        assert_eq!(requests as u64, summary.requests, "{name}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// tshark's own dissectors of timestamp trailers and headers: `--enable-heuristic` for those that are off by default.
const STAMPS: [(&str, &[&str], &[&str]); 3] = [
    (
        "metamako",
        &["--enable-heuristic", "metamako_eth"],
        &[
            "metamako.time",
            "metamako.srcdevice",
            "metamako.srcport",
            "metamako.flags.orig_fcs_vld",
            "metamako.orig_fcs",
        ],
    ),
    (
        "exablaze-hpt",
        &["--enable-heuristic", "exablaze_eth"],
        &["exablaze.timestamp", "exablaze.device", "exablaze.port", "exablaze.original_fcs"],
    ),
    ("arista-7280", &[], &["avsp.64sec", "avsp.64ns", "avsp.sub_type", "avsp.ver", "avsp.etype"]),
];

#[test]
fn tshark_reads_the_stamps_that_taps_add() {
    if !has_tshark() {
        return;
    }
    let folder = folder("stamps");
    let text = |trailer: &str, lag: &str| {
        format!("duration = \"3s\"\n[[strategy]]\nkind = \"react\"\n[[tap]]\ntrailer = \"{trailer}\"\nlag = \"{lag}\"")
    };
    // The same run with a bare tap says what the stamps are to say: its frames, and when they passed.
    write(&Scenario::parse(&text("none", "0"), "bare").unwrap(), 5, &folder.join("bare")).unwrap();
    let bare = folder.join("bare/tap.pcap");
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frames.py"))
        .arg(&bare)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let frames = String::from_utf8(output.stdout).unwrap();
    for (trailer, options, fields) in STAMPS {
        write(&Scenario::parse(&text(trailer, "7us"), trailer).unwrap(), 5, &folder).unwrap();
        // Two dissectors of others guess at trailers, too.
        let mut arguments = vec!["--disable-heuristic", "vssmonitoring_eth", "--disable-heuristic", "ixiatrailer_eth"];
        arguments.extend(options);
        arguments.extend(["-T", "fields", "-E", "separator=|"]);
        arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
        let said = tshark(&folder.join("tap.pcap"), &arguments);
        assert!(frames.lines().count() > 300 && said.lines().count() == frames.lines().count(), "{trailer}");
        for (said, frame) in said.lines().zip(frames.lines()) {
            let (time, check) = frame.split_once(' ').unwrap();
            let (second, nanos) = time.split_once('.').unwrap();
            let cells: Vec<&str> = said.split('|').collect();
            match trailer {
                "arista-7280" => {
                    assert_eq!(cells[..4], [second, number(nanos), "1", "0x0110"], "{frame}");
                    assert_eq!(cells[4], "0x0800");
                }
                "metamako" => {
                    assert_eq!(cells[1..], ["42", "7", "1", check], "{frame}");
                    assert_eq!(clock(cells[0]), clock_of(second, nanos), "{frame}");
                }
                _ => {
                    assert_eq!(cells[1..], ["1", "7", check], "{frame}");
                    assert_eq!(clock(cells[0]), clock_of(second, nanos), "{frame}");
                }
            }
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// A number without the zeros before it.
fn number(digits: &str) -> &str {
    let bare = digits.trim_start_matches('0');
    if bare.is_empty() { "0" } else { bare }
}

/// `Jan  5, 2026 14:30:00.000005000 UTC` without its date.
fn clock(text: &str) -> &str {
    text.split(' ').find(|word| word.contains(':')).unwrap_or("")
}

fn clock_of(second: &str, nanos: &str) -> String {
    let second: u64 = second.parse::<u64>().unwrap() % 86_400;
    format!("{:02}:{:02}:{:02}.{nanos}", second / 3600, second / 60 % 60, second % 60)
}

#[test]
fn attribution_scenarios_are_what_they_say() {
    for (name, symbols, rate, seconds) in [("attribution-100", 20, 100, 40), ("attribution-1000", 10, 1_000, 20)] {
        let (summary, _, truth) = run(&scenario(name), 1);
        let expected = symbols * rate * seconds;
        assert!(summary.messages.abs_diff(expected) < expected / 20, "{name}: {} messages", summary.messages);
        let (orders, uncaused, seen) = shares(&truth);
        assert!(orders >= 3_000, "{name}: {orders} orders");
        assert!((10..16).contains(&(uncaused * 100 / orders)), "{name}: {uncaused} of {orders} caused by nothing");
        assert!((73..83).contains(&(seen * 100 / (orders - uncaused))), "{name}: {seen} at the price they saw");
    }
    let (_, _, truth) = run(&scenario("attribution-burst"), 1);
    let (orders, uncaused, _) = shares(&truth);
    assert!(orders >= 3_000 && (27..33).contains(&(uncaused * 100 / orders)), "{uncaused} of {orders}");
}

/// New orders, those that nothing caused, and those at the price of the message that caused them.
fn shares(truth: &str) -> (u64, u64, u64) {
    let cell = |row: &[&str], name: &str| row[COLUMNS.iter().position(|known| *known == name).unwrap()].to_owned();
    let rows: Vec<Vec<&str>> = truth.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let new = rows.iter().filter(|row| cell(row, "request") == "new");
    let uncaused = new.clone().filter(|row| cell(row, "cause") == "none").count() as u64;
    let seen = new.clone().filter(|row| {
        let message = cell(row, "trigger_message");
        message.split_once("@ ").is_some_and(|(_, price)| price == cell(row, "price"))
    });
    (new.clone().count() as u64, uncaused, seen.count() as u64)
}

#[test]
fn the_truth_is_what_tshark_sees() {
    if !has_tshark() {
        return;
    }
    let folder = folder("oracle");
    for name in ["calm", "exchange-slows", "both-slow", "conditional"] {
        for seed in 1..3 {
            write(&scenario(name), seed, &folder).unwrap();
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle.py");
            let output = Command::new("python3")
                .arg(script)
                .args([folder.join("tap.pcap"), folder.join("truth.csv")])
                .output()
                .unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_truth_scores_full_marks_against_itself() {
    let folder = folder("score");
    for (name, _) in scenarios().iter().filter(|(name, _)| *name != "opening-rush") {
        write(&scenario(name), 2, &folder).unwrap();
        let truth = folder.join("truth.csv");
        // What was never captured has no row in ORDERS.
        let text = std::fs::read_to_string(&truth).unwrap();
        let seen: Vec<&str> = text.lines().filter(|line| !line.starts_with(',')).collect();
        std::fs::write(folder.join("orders.csv"), seen.join("\n")).unwrap();
        let score = score(&truth, &folder.join("orders.csv")).unwrap();
        let perfect = Thresholds {
            external: Some(1.0),
            missed: Some(0),
            extra: Some(0),
            precision: Some(1.0),
            recall: Some(1.0),
        };
        assert_eq!(score.failures(&perfect), Vec::<String>::new(), "{name}\n{score}");
        assert!(score.expected > 30, "{name}: {}", score.expected);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn recorded_market_data_are_played_again() {
    let folder = folder("replay");
    let mut first = scenario("calm");
    first.strategy.clear();
    write(&first, 1, &folder).unwrap();
    let recorded = std::fs::metadata(folder.join("tap.pcap")).unwrap().len();
    let text = format!(
        "duration = \"40s\"\n[market]\nreplay = {{ file = \"{}\", speed = 2.0 }}\n[[strategy]]\nkind = \"timer\"\nstyle = \"join\"",
        folder.join("tap.pcap").display()
    );
    let (summary, captures, _) = run(&Scenario::parse(&text, "replay").unwrap(), 1);
    assert!(summary.packets > 3_000, "{summary:?}");
    assert!(captures["tap"].len() as u64 > recorded * 9 / 10);
    std::fs::remove_dir_all(folder).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        // The same cases each time: a run of CI must not depend on luck.
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]
    #[test]
    fn whatever_the_parameters_the_truth_adds_up(
        seed: u64,
        protocol in 0..3_usize,
        version in 0..3_usize,
        (loss, wire_loss, reorder, cut, coalesce) in (0.0..0.2, 0.0..0.1, 0.0..0.2, 0.0..1.0, 0.0..1.0),
        (duplicate, snaplen, mss, resolution) in (0.0..0.2, prop_oneof![Just(0_u32), 120..600_u32], 100..1448_u16, 1..2000_u32),
        (reject, pending, unsolicited) in (0.0..0.3, 0.0..1.0, 0.0..0.5),
    ) {
        let protocol = ["itch50", "tops16", "deep10"][protocol];
        let version = ["4.2", "4.4", "5.0sp2"][version];
        let text = format!(
            "duration = \"1500ms\"\n[market]\nprotocol = \"{protocol}\"\nrate = 300.0\nrecover = {{ fixed = \"80us\" }}\n\
             [[line]]\nloss = {wire_loss}\n[[line]]\nname = \"B\"\ngroup = \"233.49.196.111:26477\"\nloss = {wire_loss}\n\
             [orders]\nversion = \"{version}\"\nheartbeat = \"1s\"\ndrops = [\"1s\"]\n\
             [network]\nloss = {wire_loss}\nreorder = {reorder}\ncut = {cut}\ncoalesce = {coalesce}\nmss = {mss}\nresend_after = \"5ms\"\n\
             [exchange]\nreject = {reject}\npending = {pending}\nunsolicited = {unsolicited}\nreject_session = 0.05\n\
             [[strategy]]\nkind = \"quote\"\npause = \"5ms\"\ncancel = 0.1\n[[strategy]]\nkind = \"react\"\nstyle = \"sweep\"\norders = 3\npause = \"20ms\"\n\
             [[tap]]\nloss = {loss}\nduplicate = {duplicate}\nsnaplen = {snaplen}\nresolution = \"{resolution}ns\"\n"
        );
        let (summary, _, truth) = run(&Scenario::parse(&text, "random").unwrap(), seed);
        prop_assert!(summary.requests > 0);
        let column = |name: &str| COLUMNS.iter().position(|known| *known == name).unwrap();
        for line in truth.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            prop_assert_eq!(cells.len(), COLUMNS.len());
            for hidden in cells[column("unobservable")].split(' ').filter(|one| !one.is_empty()) {
                prop_assert_eq!(cells[column(hidden)], "", "{} is hidden and yet there", hidden);
            }
            let seen = !cells[column("t_out_ns")].is_empty();
            for name in ["tcp_ack_ns", "ack_ns", "first_fill_ns", "full_fill_ns", "cancel_ack_ns", "replace_ack_ns"] {
                let value = cells[column(name)];
                prop_assert!(value.is_empty() || seen, "{} without a request: {}", name, line);
                // Below zero only where the tap lost the request's first copy and saw it again after its answer.
                let is_flagged = cells[column("flags")].split(' ').any(|flag| flag == "negative");
                prop_assert!(value.is_empty() || value.parse::<i64>().unwrap() >= 0 || is_flagged, "{}: {}", name, line);
            }
            let (first, full) = (cells[column("first_fill_ns")], cells[column("full_fill_ns")]);
            if let (Ok(first), Ok(full)) = (first.parse::<i64>(), full.parse::<i64>()) {
                prop_assert!(first <= full, "{}", line);
            }
            if let (Ok(t2t), Ok(internal)) = (cells[column("t2t_ns")].parse::<i64>(), cells[column("internal_ns")].parse::<i64>()) {
                prop_assert!(t2t + i64::from(resolution) >= internal, "{}", line);
            }
        }
    }
}
