//! The parts of external latency against the simulator's truth.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tickscope_sim::Scenario;

use super::support::{Row, succeeds, table, text};

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
