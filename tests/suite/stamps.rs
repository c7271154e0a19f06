//! Stamps that devices wrote into frames: captures of others give the times that other programs read in them, to the
//! nanosecond, and who stamped is found out from the bytes.

use std::path::{Path, PathBuf};

use tickscope::capture::stamp::{Stamps, TapTime, Trailer};
use tickscope::capture::{Input, Merged};
use tickscope_model::TapId;

use tickscope_sim::Scenario;

use super::support::{captures, loss, report, succeeds, table, text};
use super::tape::{Folder, Recorded, read};

/// The times of all frames, and who stamped them.
fn times(file: &Path, trailer: Trailer) -> (Vec<u64>, Option<Stamps>) {
    let input = Input { name: None, path: file.to_owned() };
    let rule = TapTime { trailer, ..TapTime::default() };
    let mut captures = Merged::open(&[input], &[rule]).expect("a capture");
    let mut times = Vec::new();
    while let Some(captured) = captures.next() {
        times.push(captured.frame.time.0);
    }
    (times, captures.stamps(TapId(0)))
}

/// `Feb  5, 2016 01:31:08.495676994 UTC` of February 2016, as tshark prints it.
fn february(text: &str) -> u64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!((words[0], words[2], words[4]), ("Feb", "2016", "UTC"), "{text}");
    let day: u64 = words[1].trim_end_matches(',').parse().expect("a day");
    let (clock, nanoseconds) = words[3].split_once('.').expect("a fraction");
    let seconds = clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().expect("a number"));
    assert_eq!(nanoseconds.len(), 9);
    // 2016-02-01 00:00 UTC.
    (1_454_284_800 + (day - 1) * 86_400 + seconds) * 1_000_000_000 + nanoseconds.parse::<u64>().expect("a number")
}

fn named(name: &str) -> Trailer {
    Trailer::named(name).expect("a format")
}

#[test]
fn metawatch_trailers_are_what_wireshark_reads() {
    let Some(folder) = captures() else { return };
    let file = folder.join("hwts/metamako_trailer.pcap");
    let rows = table(&text(&folder.join("expected/hwts/metamako_trailer.tsv")), '\t');
    let expected: Vec<u64> = rows.iter().map(|row| february(&row["metamako.time"])).collect();
    assert_eq!(expected.len(), 111);
    for trailer in [Trailer::Auto, named("metamako")] {
        let (times, stamps) = times(&file, trailer);
        assert_eq!(times, expected);
        let stamps = stamps.expect("stamps");
        assert_eq!((stamps.format, stamps.counts.stamped, stamps.counts.without()), (Some("metamako"), 111, 0));
        assert_eq!((stamps.edge.name(), stamps.tai.0, stamps.warnings.as_slice()), ("sof", 0, &[][..]));
    }
    // The capture has microseconds, and with them alone its own times.
    let (own, stamps) = times(&file, Trailer::None);
    assert!(stamps.is_none() && own.iter().all(|time| time % 1000 == 0));
}

/// The records of a little-endian pcap behind its header, as they are.
fn records(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut at, mut records) = (24, Vec::new());
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("four bytes"));
        let end = at + 16 + usize::try_from(length).expect("a length");
        records.push(&bytes[at..end]);
        at = end;
    }
    records
}

/// Few frames win no vote; what the user names is read where it stands all the same, be it with a check sequence behind it.
#[test]
fn a_named_trailer_is_read_from_a_single_frame() {
    let Some(folder) = captures() else { return };
    let whole = std::fs::read(folder.join("hwts/metamako_trailer.pcap")).expect("a capture");
    let rows = table(&text(&folder.join("expected/hwts/metamako_trailer.tsv")), '\t');
    let expected: Vec<u64> = rows.iter().map(|row| february(&row["metamako.time"])).collect();
    let (records, cut) = (records(&whole), Folder::new());
    assert_eq!((records.len(), expected.len()), (111, 111));
    for (size, format) in [(1, "metamako"), (1, "cpacket"), (8, "metamako"), (12, "metamako"), (12, "cpacket")] {
        for (records, expected) in records.chunks(size).zip(expected.chunks(size)) {
            let file = cut.put("cut.pcap", &[&whole[..24], &records.concat()].concat());
            let (times, stamps) = times(&file, named(format));
            assert_eq!(times, expected, "{format}, {size} frames");
            let stamps = stamps.expect("stamps");
            let counts = stamps.counts;
            assert_eq!((counts.stamped, counts.without()), (expected.len() as u64, 0));
            assert!(stamps.warnings.is_empty(), "{:?}", stamps.warnings);
        }
    }
}

/// Bytes that would be a stamp of another century are none, where the capture's clock is set.
#[test]
fn a_named_trailer_that_frames_do_not_carry_gives_no_absurd_times() {
    let folder = Folder::new();
    let file = stamped(&folder, |number, plain, mut with| {
        // Seconds and nanoseconds of the stamp, and the check sequence in front of it.
        let at = with.bytes.len() - 16;
        with.bytes[at..at + 12].copy_from_slice(&[9, 9, 9, 9, 29, 17, 5, 4, 3, 2, 1, 0]);
        if number % 3 == 0 { plain } else { with }
    });
    let (own, _) = times(&file, Trailer::None);
    let (times, stamps) = times(&file, named("metamako"));
    let stamps = stamps.expect("the named form");
    assert_eq!(times, own);
    assert_eq!((stamps.counts.stamped, stamps.warnings.len()), (0, 1), "{stamps:?}");
    assert!(stamps.counts.doubtful > 100, "{stamps:?}");
}

/// Whole microseconds in a file that counts nanoseconds are microseconds.
#[test]
fn stamps_that_are_coarser_than_their_file_widen_the_resolution() {
    let folder = Folder::new();
    let own =
        |step: u64| move |_: usize, plain: Recorded, _| Recorded { time_ns: plain.time_ns / step * step, ..plain };
    for (step, expected, word) in [(1, 1, ""), (1_000, 1_000, "microseconds"), (1_000_000, 1_000_000, "milliseconds")] {
        let found = report(&[&stamped(&folder, own(step))]);
        assert_eq!(found["taps"][0]["resolution_ns"], expected);
        let notes = found["notes"].as_array().expect("an array");
        let told =
            format!("mixed: its stamps are whole {word}, though the file counts in 1 ns: they are taken for that");
        assert_eq!(notes.iter().any(|note| *note == *told.as_str()), step > 1, "{notes:?}");
    }
    // With fewer frames it may be chance.
    let few = stamped(&folder, |number, plain, _| Recorded { time_ns: number as u64 * 1_000, ..plain });
    let frames = read(&std::fs::read(few).expect("it was just written"));
    let found = report(&[&folder.capture("few.pcap", &frames[..63])]);
    assert_eq!(found["taps"][0]["resolution_ns"], 1);
}

/// The vendor's decoder prints data frames only: `2016/02/24-03:32:24.488259691    72 bytes`.
fn vendor(file: &Path) -> Vec<u64> {
    let lines = text(file);
    let time = |line: &str| {
        let clock = line.strip_prefix("2016/02/24-")?.split_whitespace().next()?;
        Some(february(&format!("Feb 24, 2016 {clock} UTC")))
    };
    lines.lines().filter_map(time).collect()
}

#[test]
fn exalink_counters_are_what_the_vendor_reads() {
    let Some(folder) = captures() else { return };
    for (mode, first, keyframes) in [("append", 1_456_284_744_488_259_691, 33), ("fcs", 1_456_284_651_730_743_080, 18)]
    {
        let file = folder.join(format!("hwts/exa.mode.{mode}.pcap"));
        let expected = vendor(&folder.join(format!("expected/hwts/exa.mode.{mode}.vendor--32-bit.txt")));
        assert_eq!((expected.len(), expected[0]), (3, first));
        for trailer in [Trailer::Auto, named("exalink")] {
            let (times, stamps) = times(&file, trailer);
            assert!(times.windows(3).any(|three| three == expected), "{mode}: {times:?}");
            let stamps = stamps.expect("stamps");
            let counts = stamps.counts;
            assert_eq!(stamps.format, Some("exalink"));
            assert_eq!((counts.stamped, counts.keyframes, counts.without()), (3, keyframes, 0), "{mode}");
        }
        let report = report(&[&file]);
        assert_eq!(loss(&report, "keyframe"), keyframes, "keyframes are counted by their own name");
        assert_eq!(report["taps"][0]["stamps"]["source"], "exalink");
    }
}

/// tcpdump's own sample: not among the captures of every machine, so that it is compared where it is.
#[test]
#[expect(clippy::print_stderr, reason = "a skip has to be seen")]
fn headers_of_a_7280_are_what_tcpdump_reads() {
    let Some(folder) = captures() else { return };
    let file: PathBuf = folder.join("robust/tcpdump_arista_ether.pcap");
    if !file.exists() {
        eprintln!("SKIPPED: no {}; its stamps are tested in src/capture/stamp/arista_7280.rs", file.display());
        return;
    }
    let (times, stamps) = times(&file, Trailer::Auto);
    let expected = [
        (0, 1_559_162_199_944_724_424),
        (4, 1_559_162_236_448_931_747),
        (8, 1_559_162_261_404_038_772),
        (9, 1_559_162_261_893_796_872),
        (12, 1_559_162_272_954_995_144),
        (15, 1_559_162_275_041_072_639),
    ];
    for (at, time) in expected {
        assert_eq!(times[at], time, "frame {}", at + 1);
    }
    let stamps = stamps.expect("stamps");
    assert_eq!((stamps.format, stamps.counts.stamped, stamps.tai.0), (Some("arista-7280"), 16, 0));
}

/// A scenario's two taps at one place, one of which writes stamps; what `choose` makes of both is a capture.
fn stamped(folder: &Folder, choose: impl Fn(usize, Recorded, Recorded) -> Recorded) -> PathBuf {
    let mut scenario = Scenario::shipped("calm").expect("a shipped scenario");
    scenario.duration.0 = 3_000_000_000;
    let (mut plain, mut with) = (scenario.tap[0].clone(), scenario.tap[0].clone());
    plain.name = "plain".into();
    (with.name, with.trailer) = ("with".into(), tickscope_sim::Trailer::Metamako);
    scenario.tap = vec![plain, with];
    tickscope_sim::write(&scenario, 1, folder.path()).expect("the folder can be written to");
    let frames = |name: &str| read(&std::fs::read(folder.path().join(name)).expect("it was just written"));
    let (plain, with) = (frames("plain.pcap"), frames("with.pcap"));
    assert_eq!(plain.len(), with.len());
    let both = plain.into_iter().zip(with).enumerate();
    let mixed: Vec<Recorded> = both.map(|(number, (plain, with))| choose(number, plain, with)).collect();
    folder.capture("mixed.pcap", &mixed)
}

/// Half of the frames carry a stamp, which is less than the nine tenths that the vote asks for.
#[test]
fn a_vote_that_no_format_wins_is_reported_and_the_user_decides() {
    let folder = Folder::new();
    let file = stamped(&folder, |number, plain, with| if number % 2 == 0 { plain } else { with });
    let undecided = |report: &serde_json::Value| report["taps"][0]["stamps"]["undecided"].clone();
    let found = report(&[&file]);
    let told = undecided(&found);
    assert_eq!((&told["nearest"], &told["why"]), (&"metamako".into(), &"fewer than nine tenths carry it".into()));
    let frames = told["frames"].as_u64().expect("a number");
    assert!(told["of"] == 256 && (120..=128).contains(&frames), "{told}");
    assert_eq!(found["taps"][0]["stamps"]["source"], "capture");
    let screen = succeeds("analyze", &[], &[&file]);
    assert!(screen.contains("! mixed: no format won the vote on stamps; nearest was metamako, in"), "{screen}");
    // As the report says: the tap by its name, or all taps.
    let named = PathBuf::from(format!("md={}", file.display()));
    for (option, file) in [("md=metamako", &named), ("metamako", &file)] {
        let report = succeeds("analyze", &["--json", "--trailer", option], &[file]);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let stamps = &report["taps"][0]["stamps"];
        assert!(stamps["source"] == "metamako" && undecided(&report).is_null(), "{option}: {stamps}");
        let (with, without) = (stamps["stamped"].as_u64(), stamps["without"]["none"].as_u64());
        assert!(with > Some(100) && with.zip(without).is_some_and(|(with, without)| with.abs_diff(without) <= 1));
    }
    let none = succeeds("analyze", &["--json", "--trailer", "none"], &[&file]);
    assert!(undecided(&serde_json::from_str(&none).expect("JSON")).is_null(), "nobody asked for a vote");
}

/// The stamps count TAI, the capture UTC: 37 s are taken off, and said.
#[test]
fn stamps_that_count_tai_become_utc() {
    let folder = Folder::new();
    let file = stamped(&folder, |_, _, with| Recorded { time_ns: with.time_ns - 37_000_000_000, ..with });
    let found = report(&[&file]);
    let stamps = &found["taps"][0]["stamps"];
    assert_eq!((&stamps["source"], &stamps["taken_off_ns"]), (&"metamako".into(), &37_000_000_000_u64.into()));
    let warning = stamps["warnings"][0].as_str().expect("a warning");
    assert_eq!(warning, "the stamps are 37 s ahead of the capture's clock, as TAI is: 37 s were taken off");
    // What the simulator's exchange stamped is 37 s later than what is left, and that is said, too.
    assert_eq!(found["taps"][0]["looks_like_tai"], true, "{}", found["taps"][0]);
}
