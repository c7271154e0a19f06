//! How long reading and taking apart takes, beside what `cat`, capinfos and tcpdump need for the same file:
//! `cargo test --release --test capture_speed -- --ignored --nocapture`.
#![allow(clippy::disallowed_methods, reason = "this measures by the clock")]
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::print_stdout, reason = "the output is the point")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use tickscope::capture::{Input, Merged, open};
use tickscope::dissect::{Dissector, Transport};
use tickscope_model::TapId;

const FRAMES: u32 = 2_000_000;
const PAYLOAD: u16 = 101;

/// 143 bytes on the wire: Ethernet, IPv4, UDP and a payload, a microsecond apart.
fn make(path: &Path) {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    out.write_all(&[0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]).unwrap();
    let mut payload = vec![0_u8; usize::from(PAYLOAD)];
    for n in 0..FRAMES {
        let length = 42 + u32::from(PAYLOAD);
        for word in [1_700_000_000 + n / 1_000_000, n % 1_000_000 * 1000, length, length] {
            out.write_all(&word.to_le_bytes()).unwrap();
        }
        out.write_all(&[1, 0, 0x5e, 0x36, 0x0c, 0x6f, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]).unwrap();
        out.write_all(&(28 + PAYLOAD).to_be_bytes()).unwrap();
        out.write_all(&n.to_be_bytes()[2..]).unwrap();
        out.write_all(&[0x40, 0, 16, 17, 0, 0, 10, 0, 0, 1, 233, 54, 12, 111]).unwrap();
        out.write_all(&[0x67, 0x6d, 0x67, 0x6d]).unwrap();
        out.write_all(&(8 + PAYLOAD).to_be_bytes()).unwrap();
        payload[..4].copy_from_slice(&n.to_be_bytes());
        out.write_all(&[0, 0]).unwrap();
        out.write_all(&payload).unwrap();
    }
    out.flush().unwrap();
}

fn best(name: &str, mut run: impl FnMut()) -> u128 {
    let nanoseconds = (0..15).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos()
    });
    let best = nanoseconds.min().unwrap();
    let tenths = best * 10 / u128::from(FRAMES);
    println!("{name:<44} {:>6} ms {:>5}.{} ns a frame", best / 1_000_000, tenths / 10, tenths % 10);
    best
}

fn command(line: &str, path: &Path) {
    let line = line.replace("FILE", &path.display().to_string());
    let status = Command::new("sh").args(["-c", &line]).stderr(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{line}");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn read_all(path: &Path) -> (u64, u64) {
    let mut file = open(path).unwrap();
    let mut dissector = Dissector::new();
    let (mut packets, mut sum) = (0, 0);
    while file.advance() {
        let frame = file.frame(TapId(0));
        if let Ok(packet) = dissector.dissect(&frame) {
            packets += 1;
            if let Transport::Udp { payload } = packet.transport {
                // As a decoder would: the first bytes decide.
                sum += u64::from(payload[0]) + frame.time.0 + u64::from(packet.target_port);
            }
        }
    }
    (packets, sum)
}

#[test]
#[ignore = "measures; run it alone, in release"]
fn reading_costs_a_few_nanoseconds_a_frame() {
    let path = PathBuf::from("/tmp/tickscope-speed.pcap");
    if !path.exists() {
        make(&path);
    }
    command("cat FILE > /dev/null", &path);
    best("cat > /dev/null", || command("cat FILE > /dev/null", &path));
    best("capinfos -c", || command("capinfos -c FILE", &path));
    best("tcpdump -r -w /dev/null", || command("tcpdump -r FILE -w /dev/null", &path));
    best("advance", || {
        let mut file = open(&path).unwrap();
        let mut sum = 0;
        while file.advance() {
            sum += file.time().map_or(0, |time| time.0);
        }
        assert!(sum > 0);
    });
    let both = best("advance + dissect", || assert_eq!(read_all(&path).0, u64::from(FRAMES)));
    best("merged, one file + dissect", || {
        let input = Input { name: None, path: path.clone() };
        let mut merged = Merged::open(&[input], &[]).unwrap();
        let mut dissector = Dissector::new();
        let mut packets = 0;
        while let Some(captured) = merged.next() {
            packets += u32::from(dissector.dissect(&captured.frame).is_ok());
        }
        assert_eq!(packets, FRAMES);
    });
    best("merged, the file twice + dissect (/2)", || {
        let input = Input { name: None, path: path.clone() };
        let mut merged = Merged::open(&[input.clone(), input], &[]).unwrap();
        let mut dissector = Dissector::new();
        let mut packets = 0;
        while let Some(captured) = merged.next() {
            packets += u32::from(dissector.dissect(&captured.frame).is_ok());
        }
        assert_eq!(packets, 2 * FRAMES);
    });
    println!("resident {} MiB", resident_kib() >> 10);
    for (tool, suffix) in [("lz4 -q -f", "lz4"), ("zstd -q -f", "zst"), ("gzip -k -f -1", "gz")] {
        let packed = PathBuf::from(format!("{}.{suffix}", path.display()));
        if !packed.exists() {
            let extra = if suffix == "lz4" { format!(" {}", packed.display()) } else { String::new() };
            command(&format!("{tool} FILE{extra}"), &path);
        }
        best(&format!("advance + dissect, {suffix}"), || {
            assert_eq!(read_all(&packed).0, u64::from(FRAMES));
        });
    }
    println!("resident {} MiB", resident_kib() >> 10);
    assert!(both / u128::from(FRAMES) < 100, "{both}");
}
