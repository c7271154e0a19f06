//! Whatever the parameters of a scenario: what the simulator says could be observed, `analyze` gives to the
//! nanosecond, and it gives nothing where nothing could be observed. Scenarios are drawn at random, played, analysed and
//! scored. `PROPTEST_CASES=500 cargo test --profile quick --test main sim_truth` draws more of them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::RngSeed;
use tickscope_sim::Scenario;
use tickscope_sim::score::{Score, Thresholds, score};

use super::support::tickscope;

/// Without `PROPTEST_CASES`: enough to matter, few enough for every run of the tests.
const CASES: u32 = 24;

/// A table of a scenario: `key = value` lines that are there or not, so that a failure shrinks to the keys that matter.
type Keys = Vec<Option<String>>;

fn key<T: std::fmt::Display>(
    probability: f64,
    name: &'static str,
    values: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<String>> {
    weighted(probability, values.prop_map(move |value| format!("{name} = {value}"))).boxed()
}

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(values).prop_map(|value| format!("\"{value}\""))
}

fn span(range: std::ops::Range<u64>, unit: &'static str) -> impl Strategy<Value = String> {
    range.prop_map(move |value| format!("\"{value}{unit}\""))
}

/// Two decimals are enough for a share, and easier to read than sixteen.
fn share(most: u32) -> impl Strategy<Value = String> {
    (0..=most).prop_map(|percent| format!("{}.{:02}", percent / 100, percent % 100))
}

/// Intervals of a run in which something is slow, as a field of a latency.
fn slow() -> impl Strategy<Value = String> {
    let one = (0..900_u32, 1..400_u32, 0..60_u32, 0..3_000_u32).prop_map(|(from, length, tenths, add)| {
        let to = from + length;
        format!(
            "{{ from = \"{from}ms\", to = \"{to}ms\", factor = {}.{}, add = \"{add}us\" }}",
            tenths / 10,
            tenths % 10
        )
    });
    vec(one, 1..3).prop_map(|all| format!("[{}]", all.join(", ")))
}

fn latency() -> impl Strategy<Value = String> {
    prop_oneof![
        (1..300_u32).prop_map(|us| format!("{{ fixed = \"{us}us\" }}")),
        (1..100_u32, slow()).prop_map(|(us, slow)| format!("{{ median = \"{us}us\", sigma = 0.3, slow = {slow} }}")),
        (1..200_u32, 0..8_u32, 0..3_u32).prop_map(|(us, sigma, tail)| {
            format!("{{ median = \"{us}us\", sigma = 0.{sigma}, tail_share = 0.0{tail}, tail = \"2ms\" }}")
        }),
    ]
}

fn market() -> Vec<BoxedStrategy<Option<String>>> {
    vec![
        key(0.9, "protocol", one_of(&["itch50", "tops16", "deep10"])),
        key(0.7, "symbols", 1..40_u32),
        key(0.7, "rate", (50..3000_u32).prop_map(|rate| format!("{rate}.0"))),
        key(0.3, "branching", share(80)),
        key(0.3, "collect", span(1..50, "us")),
        key(0.2, "even", proptest::bool::ANY),
        key(
            0.3,
            "rush",
            vec((0..900_u32, 1..300_u32, 100..20_000_u32), 1..3).prop_map(|rushes| {
                let one = |(from, length, rate): &(u32, u32, u32)| {
                    format!("{{ from = \"{from}ms\", to = \"{}ms\", rate = {rate}.0 }}", from + length)
                };
                format!("[{}]", rushes.iter().map(one).collect::<Vec<_>>().join(", "))
            }),
        ),
        key(0.2, "burst", Just("{ every = \"200ms\", length = \"5ms\", rate = 20000.0 }")),
        key(0.3, "recover", latency()),
        key(0.2, "heartbeat", span(20..500, "ms")),
    ]
}

fn line() -> Vec<BoxedStrategy<Option<String>>> {
    vec![key(0.5, "delay", span(0..40, "us")), key(0.3, "jitter", span(1..20, "us")), key(0.4, "loss", share(20))]
}

fn orders() -> Vec<BoxedStrategy<Option<String>>> {
    vec![
        key(0.8, "version", one_of(&["4.2", "4.4", "5.0sp2"])),
        key(0.4, "sessions", 2..5_u32),
        key(0.3, "heartbeat", span(1..3, "s")),
        key(
            0.3,
            "drops",
            vec(50..900_u32, 1..3).prop_map(|mut at| {
                at.sort_unstable();
                format!("{:?}", at.iter().map(|ms| format!("{ms}ms")).collect::<Vec<_>>())
            }),
        ),
        key(0.3, "back_after", span(1..200, "ms")),
    ]
}

fn network() -> Vec<BoxedStrategy<Option<String>>> {
    vec![
        key(0.4, "delay", span(0..100, "us")),
        key(0.3, "mss", 100..1449_u32),
        key(0.3, "loss", share(10)),
        key(0.3, "reorder", share(30)),
        key(0.3, "cut", share(100)),
        key(0.3, "coalesce", share(100)),
        key(0.2, "coalesce_wait", span(1..500, "us")),
        key(
            0.6,
            "resend_after",
            prop_oneof![3 => span(20..60, "ms"), 1 => span(1..20, "ms"), 1 => span(200..201, "ms")],
        ),
        // Delayed ACKs longer than the timer: everything is sent twice.
        key(0.4, "ack", prop_oneof![3 => latency(), 1 => Just("{ fixed = \"40ms\" }".to_owned())]),
    ]
}

fn strategy() -> Vec<BoxedStrategy<Option<String>>> {
    vec![
        key(0.5, "share", share(100)),
        key(0.9, "pause", span(2..80, "ms")),
        key(0.7, "style", one_of(&["take", "join", "sweep"])),
        key(0.5, "on", one_of(&["trade", "best", "any"])),
        key(0.2, "first", proptest::bool::ANY),
        key(0.2, "away", 1..20_u32),
        key(0.3, "quantity", 1..2000_u32),
        key(0.3, "orders", 1..5_u32),
        key(0.4, "cancel", share(60)),
        key(0.5, "every", span(3..200, "ms")),
    ]
}

fn exchange() -> Vec<BoxedStrategy<Option<String>>> {
    vec![
        key(0.6, "latency", latency()),
        key(0.4, "report_gap", latency()),
        key(0.3, "reject", share(60)),
        key(0.3, "reject_change", share(60)),
        key(0.3, "reject_session", share(30)),
        key(0.3, "reject_business", share(30)),
        key(0.3, "unsolicited", share(80)),
        key(0.3, "pending", share(100)),
        key(0.5, "public", one_of(&["before", "after"])),
        key(0.2, "public_gap", span(0..100, "us")),
    ]
}

/// Faults of a tap. Stamps in the frames count, so the file's own time may lag behind them; but not where frames are cut,
/// since those have only the file's.
fn tap() -> Vec<BoxedStrategy<Option<String>>> {
    vec![
        key(0.3, "place", share(100)),
        key(0.3, "resolution", span(1..3000, "ns")),
        key(
            0.3,
            "trailer",
            (one_of(&["metamako", "exablaze-hpt", "arista-7280"]), 0..90_u32)
                .prop_map(|(trailer, lag)| format!("{trailer}\nlag = \"{lag}us\"\nsnaplen = 0")),
        ),
        key(0.2, "snaplen", 90..700_u32),
        key(0.3, "vlan", 1..4095_u32),
        key(0.3, "loss", share(15)),
        key(0.3, "duplicate", share(20)),
        key(0.2, "from", span(10..700, "ms")),
        key(0.3, "format", one_of(&["pcap", "pcapng"])),
    ]
}

/// The clock of a tap, which all taps of one point share.
fn clock() -> Vec<BoxedStrategy<Option<String>>> {
    vec![
        key(0.3, "offset", (-90_000..90_000_i32).prop_map(|ns| format!("\"{ns}ns\""))),
        key(0.3, "drift", -500..500_i32),
    ]
}

/// Where the taps stand: what each sees, which direction, which group.
const ARRANGEMENTS: &[&[(&str, &str, &str)]] = &[
    &[("md orders", "both", "")],
    &[("md orders client", "both", "")],
    &[("md", "both", ""), ("orders", "both", "")],
    &[("md client", "both", ""), ("orders", "both", "")],
    &[("md orders", "both", ""), ("md orders", "both", "")],
    &[("orders", "both", ""), ("md orders", "both", "")],
    &[("orders", "out", "fibre"), ("orders", "in", "fibre"), ("md", "both", "")],
    &[("A", "both", "fibre"), ("orders", "out", "fibre"), ("B orders", "in", "fibre")],
    &[("md orders", "out", "")],
    &[("md orders", "in", "")],
    &[("orders", "both", "")],
];

#[derive(Clone, Debug)]
struct Drawn {
    text: String,
    seed: u64,
    has_groups: bool,
}

fn table(head: &str, keys: &Keys) -> String {
    let mut text = format!("{head}\n");
    let mut seen: Vec<&str> = Vec::new();
    for line in keys.iter().flatten().flat_map(|key| key.lines()) {
        let name = line.split(' ').next().unwrap_or("");
        if !seen.contains(&name) {
            seen.push(name);
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn scenario() -> impl Strategy<Value = Drawn> {
    let kinds = Union::new(["react", "quote", "timer", "conditional"].map(Just));
    let strategies = vec((kinds, strategy()), 1..4);
    let head = (100..1000_u32, market(), vec(line(), 0..3), orders(), network());
    let sides = (latency(), 0..10_u32, weighted(0.25, latency()), exchange());
    let taps = (0..ARRANGEMENTS.len(), clock(), vec(tap(), 3), vec(weighted(0.5, clock()), 3));
    (head, strategies, sides, taps, 1..1_000_000_u64).prop_map(
        |((duration, market, lines, orders, network), strategies, sides, taps, seed)| {
            let mut text = format!("duration = \"{duration}ms\"\n");
            text += &table("[market]\nnames = [\"ALPHA\"]", &market);
            for (at, keys) in lines.iter().enumerate() {
                let name = ["A", "B"][at];
                text += &table(&format!("[[line]]\nname = \"{name}\"\ngroup = \"233.54.12.{at}:26477\""), keys);
            }
            text += &table("[orders]", &orders);
            text += &table("[network]", &network);
            let (internal, digits, gateway, exchange) = sides;
            let _ = writeln!(text, "[trader]\nlatency = {internal}\ndigits = {digits}");
            for (kind, keys) in &strategies {
                let mut head = format!("[[strategy]]\nkind = \"{kind}\"");
                match *kind {
                    "conditional" => head += "\nwhen = \"ALPHA\"\nsell = \"ALPHA\"",
                    // Half of these stand near the price that they saw, which only they can.
                    "react" | "timer" if seed % 2 == 0 => head += "\nseen = 0.6",
                    _ => {}
                }
                text += &table(&head, keys);
            }
            if let Some(latency) = &gateway {
                let _ = writeln!(text, "[gateway]\nlatency = {latency}");
            }
            text += &table("[exchange]", &exchange);
            let (arrangement, clock, faults, clocks) = taps;
            let arrangement = ARRANGEMENTS[arrangement];
            for (at, (sees, direction, group)) in arrangement.iter().enumerate() {
                let sees: Vec<&str> = sees.split(' ').filter(|one| *one != "B" || lines.len() > 1).collect();
                let mut head = format!("[[tap]]\nname = \"tap{at}\"\nsees = {sees:?}\ndirection = \"{direction}\"");
                if !group.is_empty() {
                    head += &format!("\ngroup = \"{group}\"");
                }
                let own = clocks[at].as_ref().filter(|_| group.is_empty()).unwrap_or(&clock);
                let keys: Keys = faults[at].iter().chain(own).cloned().collect();
                text += &table(&head, &keys);
            }
            let has_groups = arrangement.iter().any(|(_, _, group)| !group.is_empty());
            Drawn { text, seed, has_groups }
        },
    )
}

/// A folder of this case's own, empty.
fn folder() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sim-truth-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

/// Plays the scenario, analyses what its taps captured, and compares.
fn played(drawn: &Drawn, folder: &Path) -> Score {
    let scenario = Scenario::parse(&drawn.text, "drawn").unwrap_or_else(|error| panic!("{error}\n{}", drawn.text));
    tickscope_sim::write(&scenario, drawn.seed, folder).expect("the folder can be written to");
    let orders = folder.join("orders.csv");
    let mut arguments = vec!["analyze".to_owned(), "-q".into(), "--orders".into(), orders.display().to_string()];
    let mut settings = String::new();
    for tap in &scenario.tap {
        let file = folder.join(format!("{}.{}", tap.name, tap.format.extension()));
        arguments.push(format!("{}={}", tap.name, file.display()));
        if !tap.group.is_empty() {
            let _ = writeln!(settings, "[[tap]]\nname = \"{}\"\ngroup = \"{}\"", tap.name, tap.group);
        }
    }
    if drawn.has_groups {
        let file = folder.join("tickscope.toml");
        std::fs::write(&file, settings).expect("the folder can be written to");
        arguments.extend(["--config".into(), file.display().to_string()]);
    }
    let ran = tickscope(&arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    score(&folder.join("truth.csv"), &orders).expect("two tables")
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    // The same cases each time, unless another seed is asked for: a run of CI must not depend on luck.
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(3);
    }
    config
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn whatever_the_scenario_what_could_be_seen_is_exact(drawn in scenario()) {
        let folder = folder();
        let score = played(&drawn, &folder);
        let strict = Thresholds { external: Some(1.0), missed: Some(0), extra: Some(0), precision: None, recall: None };
        let failures = score.failures(&strict);
        prop_assert!(failures.is_empty(), "{}: {:?}\nseed {}\n{}\n{}", folder.display(), failures, drawn.seed, drawn.text, score);
        prop_assert_eq!(score.t_out_ns.failures(), 0, "seed {}\n{}\n{}", drawn.seed, drawn.text, score);
        std::fs::remove_dir_all(folder).expect("the test's own folder can go");
    }
}
