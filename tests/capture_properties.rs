//! What holds for every capture: merging sorts and loses nothing, packing changes nothing, a cut file gives what was
//! before the cut, and no damage makes the reader panic, hang or take memory without bound.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use tickscope::capture::stamp::TapTime;
use tickscope::capture::{CaptureFile, Input, Merged, open};
use tickscope::dissect::Dissector;
use tickscope_model::{Loss, Nanos, TapId, Timestamp};

/// A file of this test alone, gone at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, bytes: &[u8]) -> Temporary {
        let path = std::env::temp_dir().join(format!("tickscope-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Temporary(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn captures() -> Option<PathBuf> {
    let given = std::env::var_os("TICKSCOPE_CAPTURES").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"));
    if folder.join("INDEX.tsv").is_file() {
        return Some(folder);
    }
    let required = std::env::var_os("TICKSCOPE_REQUIRE_CAPTURES").is_some_and(|value| value == "1");
    assert!(!required, "{} has no captures, and TICKSCOPE_REQUIRE_CAPTURES=1", folder.display());
    skipped(&format!("no captures in {} (set TICKSCOPE_CAPTURES)", folder.display()));
    None
}

fn skipped(why: &str) {
    // Past the test runner's capture, so that it is seen.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// A nanosecond pcap whose frames have these times, and their number as content.
fn pcap(times: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (number, time) in times.iter().enumerate() {
        let words = [time / 1_000_000_000, time % 1_000_000_000, 8, 8];
        for word in words {
            bytes.extend_from_slice(&u32::try_from(word).unwrap().to_le_bytes());
        }
        bytes.extend_from_slice(&u64::try_from(number).unwrap().to_le_bytes());
    }
    bytes
}

type Content = (Option<Timestamp>, u64, Vec<u8>);

/// Time, number and bytes of every frame, and how the file ended.
fn contents(path: &Path) -> (Vec<Content>, Option<String>) {
    let mut file = open(path).unwrap_or_else(|error| panic!("{error}"));
    let mut frames = Vec::new();
    while file.advance() {
        let frame = file.frame(TapId(0));
        frames.push((file.time(), frame.number, frame.bytes.to_vec()));
    }
    (frames, file.cut().map(ToString::to_string))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_sorts_and_loses_nothing(
        mut files in prop::collection::vec(prop::collection::vec(0..40_u64, 0..30), 1..6),
        shift in -5..5_i64,
        sorted in any::<bool>(),
    ) {
        if sorted {
            for times in &mut files {
 times.sort_unstable();
 }
        }
        for times in &mut files {
            for time in times {
 *time += 1000;
 }
        }
        let written: Vec<Temporary> =
            files.iter().enumerate().map(|(n, times)| Temporary::new(&format!("merge{n}.pcap"), &pcap(times))).collect();
        let inputs: Vec<Input> = written
            .iter()
            .enumerate()
            .map(|(n, file)| Input { name: Some(format!("tap{n}")), path: file.0.clone() })
            .collect();
        let mut merged = Merged::open(&inputs, &[TapTime { name: "tap0".to_owned(), offset: Nanos(shift), ..TapTime::default() }]).unwrap();
        let mut seen = vec![Vec::new(); files.len()];
        let mut order = Vec::new();
        while let Some(captured) = merged.next() {
            prop_assert!(captured.has_time);
            let tap = usize::from(captured.frame.tap.0);
            let number = u64::from_le_bytes(captured.frame.bytes.try_into().unwrap());
            prop_assert_eq!(captured.frame.number, number + 1);
            order.push((captured.frame.time, tap));
            seen[tap].push(captured.frame.time.0);
        }
        prop_assert!(merged.next().is_none());
        let expected: Vec<Vec<u64>> = files
            .iter()
            .enumerate()
            .map(|(n, times)| times.iter().map(|t| if n == 0 { t.saturating_add_signed(shift) } else { *t }).collect())
            .collect();
        prop_assert_eq!(&seen, &expected, "each file whole and in its own order");
        if sorted {
            prop_assert!(order.is_sorted(), "by time, then by file: {:?}", order);
        }
        prop_assert_eq!(merged.position(), merged.size().unwrap());
    }

    #[test]
    fn a_cut_capture_gives_the_frames_before_the_cut(frames in 1..20_u64, keep in 24..600_usize) {
        let times: Vec<u64> = (0..frames).collect();
        let mut bytes = pcap(&times);
        let whole = bytes.len();
        bytes.truncate(keep);
        let file = Temporary::new("cut.pcap", &bytes);
        let (found, cut) = contents(&file.0);
        prop_assert_eq!(found.len(), (bytes.len() - 24) / 24);
        let is_whole_record = (bytes.len() - 24).is_multiple_of(24);
        prop_assert_eq!(cut.is_none(), is_whole_record, "{:?} of {}", cut, whole);
    }
}

#[test]
fn packing_changes_nothing() {
    let Some(folder) = captures() else { return };
    let path = folder.join("fix/quickfix_lossy_cli.pcap");
    let plain = std::fs::read(&path).unwrap();
    let expected = contents(&path);
    assert!(expected.0.len() > 2000 && expected.1.is_none());
    for (tool, arguments) in [
        ("gzip", ["-c"].as_slice()),
        ("zstd", &["-c", "-q"]),
        ("zstd", &["-c", "-q", "-19", "--long=27"]),
        ("xz", &["-c", "-1"]),
        ("xz", &["-c", "--block-size=100000", "--check=sha256"]),
        ("lz4", &["-c", "-q"]),
        ("lz4", &["-c", "-q", "-9", "-BD", "--content-size"]),
    ] {
        let output = Command::new(tool).args(arguments).arg(&path).output();
        let Some(packed) = output.ok().filter(|output| output.status.success()).map(|output| output.stdout) else {
            skipped(&format!("{tool} {arguments:?} does not work here"));
            continue;
        };
        let file = Temporary::new("packed.bin", &packed);
        assert!(contents(&file.0) == expected, "{tool} {arguments:?}");
        // Cut in its middle: the first part of the frames, and a reason.
        let half = Temporary::new("half.bin", &packed[..packed.len() / 2]);
        let (frames, cut) = match open(&half.0) {
            Ok(_) => contents(&half.0),
            // One block holds everything (lz4: 4 MiB), and half of a block is nothing.
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let cut = cut.unwrap_or_default();
        assert!(frames.len() < expected.0.len() && expected.0.starts_with(&frames), "{tool}: {}", frames.len());
        assert!(cut.contains("data is cut short after"), "{tool} {arguments:?}: {cut}");
    }
    // What gzip packed in two parts reads as one.
    let middle = plain.len() / 3;
    let mut joined = Vec::new();
    for part in [&plain[..middle], &plain[middle..]] {
        let mut encoder = flate2::write::GzEncoder::new(&mut joined, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    let file = Temporary::new("joined.gz", &joined);
    assert!(contents(&file.0) == expected);
}

#[test]
fn a_pipe_reads_like_a_file() {
    let Some(folder) = captures() else { return };
    for name in
        ["fix/quickfix_lossy_cli.pcap", "robust/pcapplusplus_many_interfaces-1.pcapng", "iex/TOPS16_20170710.pcap.gz"]
    {
        let path = folder.join(name);
        let pipe = Temporary(std::env::temp_dir().join(format!("tickscope-{}-pipe", std::process::id())));
        let made = Command::new("mkfifo").arg(&pipe.0).status();
        if !made.is_ok_and(|status| status.success()) {
            return skipped("mkfifo does not work here");
        }
        let (from, to) = (path.clone(), pipe.0.clone());
        let writer = std::thread::spawn(move || {
            let bytes = std::fs::read(from).unwrap();
            let mut out = std::fs::OpenOptions::new().write(true).open(to).unwrap();
            // In pieces of an odd size, as a slow writer would.
            for piece in bytes.chunks(4099) {
                out.write_all(piece).unwrap();
            }
        });
        // Opened once: a pipe cannot be read twice.
        let mut file = open(&pipe.0).unwrap();
        assert_eq!(file.size(), None);
        let mut frames = Vec::new();
        while file.advance() {
            let frame = file.frame(TapId(0));
            frames.push((file.time(), frame.number, frame.bytes.to_vec()));
        }
        writer.join().unwrap();
        assert!((frames, None) == contents(&path), "{name}: {:?}", file.cut());
    }
}

#[test]
fn packed_nonsense_is_named() {
    let packed = zstd::encode_all(&b"tag,value\n1,2\n3,4\n5,6\n"[..], 1).unwrap();
    let file = Temporary::new("nonsense.zst", &packed);
    let error = open(&file.0).err().expect("no capture").to_string();
    assert!(error.contains("after unpacking, this is text"), "{error}");
    let file = Temporary::new("short.gz", &[0x1f, 0x8b, 8, 0, 0]);
    let error = open(&file.0).err().expect("no capture").to_string();
    assert!(error.contains("the gzip data is cut short after 5 bytes"), "{error}");
    let file = Temporary::new("head.pcap", &pcap(&[])[..20]);
    let error = open(&file.0).err().expect("no capture").to_string();
    assert!(error.contains("at byte 20: the capture ends inside its file header"), "{error}");
    let file = Temporary::new("nothing.pcap", &[]);
    let error = open(&file.0).err().expect("no capture").to_string();
    assert!(error.contains("this is empty"), "{error}");
}

#[test]
fn a_file_that_shrinks_while_it_is_read_ends_with_a_report() {
    let times: Vec<u64> = (0..100_000).collect();
    let bytes = pcap(&times);
    for (new_length, expected) in [(1_000_000, 1_000_000), (2_399_990, 2_399_990), (0, 0)] {
        let file = Temporary::new("shrinks.pcap", &bytes);
        let mut capture = open(&file.0).unwrap();
        let mut frames = 0_u64;
        while frames < 500 && capture.advance() {
            frames += 1;
        }
        std::fs::OpenOptions::new().write(true).open(&file.0).unwrap().set_len(new_length).unwrap();
        while capture.advance() {
            frames += 1;
        }
        let cut = capture.cut().expect("it ended early").clone();
        assert_eq!(cut.reason, format!("the file shrank while it was being read, at byte {expected}"));
        assert_eq!(cut.offset, expected);
        assert!(frames < 100_000, "{frames}");
        assert!(!capture.advance());
    }
}

/// `xorshift64*`: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(number).unwrap() % limit.max(1)
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let length = bytes.len();
            let at = self.below(length);
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                3 => {
                    // A number that is often a length.
                    let end = (at + 4).min(length);
                    let value = [0, 4, 12, 0xffff, 0x7fff_ffff, u32::MAX][self.below(6)].to_le_bytes();
                    bytes[at..end].copy_from_slice(&value[..end - at]);
                }
                4 => {
                    let end = at + self.below((length - at).min(200));
                    let copy = bytes[at..end].to_vec();
                    let to = self.below(length);
                    bytes.splice(to..to, copy);
                }
                _ => {
                    let end = at + self.below((length - at).min(64));
                    bytes.drain(at..end);
                }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
    }
}

/// Reads everything; the answers must add up.
fn exhaust(file: &mut CaptureFile, limit: usize) {
    let mut dissector = Dissector::new();
    let (mut frames, mut used, mut lost, mut held) = (0_u64, 0, 0, 0);
    while file.advance() {
        frames += 1;
        let frame = file.frame(TapId(0));
        assert!(frame.bytes.len() <= limit && u64::try_from(limit).unwrap() >= frames, "more than the file has");
        match dissector.dissect(&frame) {
            Ok(_) => used += 1,
            Err(Loss::FragmentHeld) => held += 1,
            Err(_) => lost += 1,
        }
    }
    dissector.give_up();
    let counts = dissector.fragments();
    assert_eq!((counts.waiting, counts.used + counts.lost), (0, held));
    assert_eq!(frames, used + lost + held);
    assert!(!file.advance(), "the end stays the end");
}

#[test]
fn no_damage_makes_the_reader_panic_or_hang() {
    let Some(folder) = captures() else { return };
    let rounds: usize = std::env::var("TICKSCOPE_FUZZ_ROUNDS").map_or(20, |text| text.parse().unwrap());
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let mut files: Vec<PathBuf> = ["robust", "robust/pcapng_be", "robust/pcapng_le", "hwts"]
        .into_iter()
        .flat_map(|inside| std::fs::read_dir(folder.join(inside)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let mut opened = 0;
    for path in &files {
        let mut seed = std::fs::read(path).unwrap();
        // Long captures repeat themselves.
        seed.truncate(30_000);
        for round in 0..rounds {
            let mut bytes = seed.clone();
            numbers.damage(&mut bytes);
            if round % 5 == 4 {
                bytes = zstd::encode_all(bytes.as_slice(), 1).unwrap();
                numbers.damage(&mut bytes);
            }
            let file = Temporary::new("damaged.bin", &bytes);
            if let Ok(mut capture) = open(&file.0) {
                opened += 1;
                exhaust(&mut capture, 64 << 20);
            }
        }
    }
    assert!(opened > files.len() * rounds / 2, "{opened}");
}
