//! Reading ahead must not matter: whatever the size of the blocks and the number of threads, the same rows, segments,
//! losses, lines and counts come out as from frames that are read one by one.

use std::convert::Infallible;
use std::path::PathBuf;

use proptest::prelude::*;
use tickscope::capture::{Input, Merged};
use tickscope::merge::{Feeds, Symbols};
use tickscope::pair::{Paired, Pairer};
use tickscope::pipeline::correlator::Correlator;
use tickscope::pipeline::{Configured, Pipeline};
use tickscope_model::Timestamp;
use tickscope_sim::Scenario;

use super::support::rules;
use super::tape::{Folder, Form, Recorded, simulated, write};

/// Two lines that lose and delay, a tap that loses, repeats and re-orders frames, a wire that cuts and loses segments.
const ROUGH: &str = r#"
duration = "2s"
[market]
protocol = "itch50"
symbols = 12
rate = 900.0
burst = { every = "500ms", length = "20ms", rate = 20000.0 }
[[line]]
name = "A"
group = "233.54.12.111:26477"
loss = 0.01
[[line]]
name = "B"
group = "233.54.12.112:26477"
delay = "30us"
jitter = "40us"
loss = 0.02
[orders]
sessions = 2
[network]
loss = 0.01
reorder = 0.02
cut = 0.1
[[strategy]]
kind = "react"
on = "trade"
style = "take"
share = 0.3
pause = "2ms"
[[strategy]]
kind = "timer"
every = "7ms"
[[tap]]
name = "tap"
loss = 0.005
duplicate = 0.01
"#;

/// Everything that comes out of captures, as text; `ahead` is threads and bytes of a block.
fn outcome(files: &[PathBuf], ahead: Option<(usize, usize)>) -> (String, usize) {
    let inputs: Vec<Input> = files.iter().map(|path| Input { name: None, path: path.clone() }).collect();
    let mut captures = Merged::open(&inputs, &[]).expect("captures");
    let mut pipeline = Pipeline::new(Configured::default(), None, vec![0; files.len()]);
    let mut lane = Correlator::new(Symbols::default(), Feeds::new(Vec::new()), Pairer::new(rules()), vec![vec![0]]);
    if let Some((threads, block)) = ahead {
        pipeline.read_ahead(&mut captures, threads, block);
    }
    let (mut rows, mut steps) = (Vec::new(), 0);
    let keep = |lane: &mut Correlator, rows: &mut Vec<String>| {
        rows.extend(lane.take().into_iter().map(|Paired { row, is_echo }| format!("{is_echo} {row:?}")));
    };
    let mut each = |lane: &mut Correlator, now: Timestamp| -> Result<(), Infallible> {
        lane.advance(now);
        keep(lane, &mut rows);
        Ok(())
    };
    while pipeline.step(&mut captures, &mut lane, &mut each).expect("nothing fails") {
        steps += 1;
    }
    captures.finish();
    pipeline.finish(&captures, &mut lane);
    while lane.finish_some() {
        keep(&mut lane, &mut rows);
    }
    keep(&mut lane, &mut rows);
    rows.sort();
    let lines = lane.feeds.lines.iter().map(|line| {
        let counts =
            [line.packets, line.messages, line.first, line.missing, line.requests, line.delay.n(), line.delay.max()];
        format!("{} {:?} {}", line.label(), counts, line.delay.mean())
    });
    let feeds = lane.feeds.feeds.iter().map(|feed| {
        let counts = [feed.messages, feed.duplicates, feed.gaps, feed.recovered, feed.lost(), feed.restarts];
        format!("{} {counts:?} {:?}", feed.session, feed.open_gaps())
    });
    let mut text: Vec<String> = lines.chain(feeds).collect();
    text.push(format!("{:?} {:?} {:?}", lane.messages, lane.losses, lane.pairer.losses()));
    text.push(format!("{:?} used {} {:?}", pipeline.taps, pipeline.frames_used(), pipeline.stream_bytes()));
    text.push(format!("{:?}", lane.market_counts));
    text.extend(rows);
    (text.join("\n"), steps)
}

fn check(files: &[PathBuf], ahead: &[(usize, usize)]) -> Vec<usize> {
    let all_steps = compare(files, ahead);
    assert!(all_steps[0] > 100, "there is something to read");
    all_steps
}

/// The same of captures that may be damaged in their first frame.
fn compare(files: &[PathBuf], ahead: &[(usize, usize)]) -> Vec<usize> {
    let (expected, frames) = outcome(files, None);
    let mut all_steps = vec![frames];
    for &(threads, block) in ahead {
        let (found, steps) = outcome(files, Some((threads, block)));
        let difference = expected.lines().zip(found.lines()).find(|(one, other)| one != other);
        assert_eq!(difference, None, "{threads} threads, blocks of {block} bytes");
        assert_eq!(expected.lines().count(), found.lines().count(), "{threads} threads, blocks of {block} bytes");
        all_steps.push(steps);
    }
    all_steps
}

fn files(folder: &Folder, frames: &[Recorded], form: Form, parts: usize) -> Vec<PathBuf> {
    let file = |part: usize| {
        let mine: Vec<Recorded> = frames.iter().skip(part).step_by(parts).cloned().collect();
        let path = folder.path().join(format!("{part}.cap"));
        std::fs::write(&path, write(&mine, form)).expect("the folder can be written");
        path
    };
    (0..parts).map(file).collect()
}

#[test]
fn a_rough_capture_gives_the_same_however_it_is_read() {
    let frames = simulated(ROUGH, 5);
    for (form, parts) in [(Form::PcapNano, 1), (Form::PcapMicroBigEndian, 1), (Form::PcapNg, 1), (Form::PcapNano, 3)] {
        let folder = Folder::new();
        let files = files(&folder, &frames, form, parts);
        let steps =
            check(&files, &[(0, 1 << 20), (0, 20_000), (1, 9_000), (2, 50_000), (3, 3_000), (4, 1), (2, 400_000)]);
        assert!(outcome(&files, None).0.contains("trigger: Some"), "there are orders and triggers");
        // Two lines take turns, so runs are short, but most packets must come in one.
        assert!(steps[2] < steps[0] || parts > 1, "{form:?}, {parts} files: {steps:?}");
    }
}

#[test]
fn times_that_step_back_between_blocks_are_put_in_order() {
    let scenario = ROUGH.replace("duration = \"2s\"", "duration = \"3s\"").replace("rate = 900.0", "rate = 6000.0");
    let mut frames = simulated(&scenario, 8);
    // As from a network card with many queues: every few frames some come late.
    for chunk in frames.chunks_mut(7) {
        chunk.reverse();
    }
    let folder = Folder::new();
    let files = files(&folder, &frames, Form::PcapNano, 1);
    check(&files, &[(0, 1 << 20), (2, 400_000), (1, 300_000)]);
}

#[test]
fn one_line_comes_in_long_runs() {
    let scenario =
        "duration = \"4s\"\n[market]\nprotocol = \"itch50\"\nsymbols = 9\nrate = 4000.0\n[[line]]\nname = \"A\"\n";
    let folder = Folder::new();
    let files = files(&folder, &simulated(scenario, 1), Form::PcapNano, 1);
    let steps = check(&files, &[(0, 100_000), (2, 100_000), (0, 400_000), (2, 500_000)]);
    assert!(steps[1] * 10 < steps[0] && steps[2] * 10 < steps[0], "{steps:?}");
}

#[test]
fn what_was_learned_wrong_is_read_again() {
    // The same stock locates stand for other stocks in the second half, as after midnight.
    let scenario = |names: &str| {
        format!("duration = \"1s\"\n[market]\nprotocol = \"itch50\"\nnames = [{names}]\nsymbols = 3\nrate = 3000.0\n")
    };
    let mut frames = simulated(&scenario("\"ONE\", \"TWO\", \"TRI\""), 1);
    let last = frames.last().expect("frames").time_ns;
    let first = frames.first().expect("frames").time_ns;
    let again = simulated(&scenario("\"EIN\", \"ZWEI\", \"DREI\""), 2);
    frames.extend(again.into_iter().map(|frame| Recorded { time_ns: frame.time_ns + last - first + 1000, ..frame }));
    let folder = Folder::new();
    let files = files(&folder, &frames, Form::PcapNano, 1);
    check(&files, &[(0, 30_000), (2, 5_000), (3, 200_000)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn blocks_of_any_size_and_any_number_of_threads(
        seed in 0..1000_u64,
        threads in 0..4_usize,
        block in 200..60_000_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        swaps in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let text = ROUGH.replace("duration = \"2s\"", "duration = \"300ms\"");
        prop_assert!(Scenario::parse(&text, "rough").is_ok());
        let mut frames = simulated(&text, seed);
        // Clocks that step back, and times that are equal.
        for index in &swaps {
            let at = index.index(frames.len() - 1);
            frames.swap(at, at + 1);
        }
        let folder = Folder::new();
        let files = files(&folder, &frames, Form::PcapNano, 1);
        let mut bytes = std::fs::read(&files[0]).expect("written");
        for (index, value) in &damage {
            let at = 24 + index.index(bytes.len() - 24);
            bytes[at] = *value;
        }
        std::fs::write(&files[0], bytes).expect("the folder can be written");
        compare(&files, &[(threads, block)]);
    }
}
