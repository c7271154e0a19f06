//! Captures as values: frames that a test makes, changes, and writes as files. Formats as in the Internet-Drafts
//! draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.

use std::path::{Path, PathBuf};

use tickscope_sim::Scenario;

/// One frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) time_ns: u64,
    pub(crate) wire_len: u32,
    pub(crate) bytes: Vec<u8>,
}

fn word(value: usize) -> u32 {
    u32::try_from(value).expect("tests make small captures")
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    PcapNano,
    PcapMicro,
    PcapMicroBigEndian,
    PcapNg,
    PcapNgMicro,
}

pub(crate) fn write(frames: &[Recorded], form: Form) -> Vec<u8> {
    match form {
        Form::PcapNano => pcap(frames, 0xa1b2_3c4d, 1, u32::to_le_bytes, u16::to_le_bytes),
        Form::PcapMicro => pcap(frames, 0xa1b2_c3d4, 1000, u32::to_le_bytes, u16::to_le_bytes),
        Form::PcapMicroBigEndian => pcap(frames, 0xa1b2_c3d4, 1000, u32::to_be_bytes, u16::to_be_bytes),
        Form::PcapNg => pcapng(frames, 1),
        Form::PcapNgMicro => pcapng(frames, 1000),
    }
}

fn pcap(frames: &[Recorded], magic: u32, tick_ns: u64, four: fn(u32) -> [u8; 4], two: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(four(magic));
    out.extend(two(2));
    out.extend(two(4));
    for value in [0, 0, 262_144, 1] {
        out.extend(four(value));
    }
    for frame in frames {
        let (seconds, rest) = (frame.time_ns / 1_000_000_000, frame.time_ns % 1_000_000_000);
        let seconds = u32::try_from(seconds).expect("before 2106");
        let rest = u32::try_from(rest / tick_ns).expect("below a second");
        for value in [seconds, rest, word(frame.bytes.len()), frame.wire_len] {
            out.extend(four(value));
        }
        out.extend(&frame.bytes);
    }
    out
}

/// A block of type, body padded to four bytes, and its length at both ends.
fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let length = word(padded + 12).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(length);
    out.extend(body);
    out.extend(std::iter::repeat_n(0, padded - body.len()));
    out.extend(length);
}

fn pcapng(frames: &[Recorded], tick_ns: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    section.extend([1, 0, 0, 0]);
    section.extend([0xff; 8]);
    block(&mut out, 0x0a0d_0d0a, &section);
    let mut interface = vec![1, 0, 0, 0, 0, 0, 4, 0];
    if tick_ns == 1 {
        interface.extend([9, 0, 1, 0, 9, 0, 0, 0]); // if_tsresol: 10^-9; without it microseconds
    }
    interface.extend([0; 4]);
    block(&mut out, 1, &interface);
    for frame in frames {
        let ticks = frame.time_ns / tick_ns;
        let halves =
            [u32::try_from(ticks >> 32), u32::try_from(ticks & 0xffff_ffff)].map(|half| half.expect("32 bits"));
        let mut body = Vec::new();
        for value in [0, halves[0], halves[1], word(frame.bytes.len()), frame.wire_len] {
            body.extend(value.to_le_bytes());
        }
        body.extend(&frame.bytes);
        block(&mut out, 6, &body);
    }
    out
}

/// Reads what [`Form::PcapNano`] writes; the simulator's files are of this form.
pub(crate) fn read(bytes: &[u8]) -> Vec<Recorded> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(word(0), 0xa1b2_3c4d, "a little-endian pcap in nanoseconds");
    let (mut at, mut frames) = (24, Vec::new());
    while at < bytes.len() {
        let length = word(at + 8) as usize;
        frames.push(Recorded {
            time_ns: u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4)),
            wire_len: word(at + 12),
            bytes: bytes[at + 16..at + 16 + length].to_vec(),
        });
        at += 16 + length;
    }
    frames
}

/// A folder for the files of one test, gone when the test is.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder for the test"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).expect("the folder can be written");
        path
    }

    pub(crate) fn capture(&self, name: &str, frames: &[Recorded]) -> PathBuf {
        self.put(name, &write(frames, Form::PcapNano))
    }
}

/// What the one tap of a simulated market saw.
pub(crate) fn simulated(scenario: &str, seed: u64) -> Vec<Recorded> {
    let folder = Folder::new();
    let scenario = Scenario::parse(scenario, "test").expect("a scenario");
    tickscope_sim::write(&scenario, seed, folder.path()).expect("the folder can be written");
    let files = std::fs::read_dir(folder.path()).expect("a readable folder");
    let mut captures: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
    captures.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    assert_eq!(captures.len(), 1, "one tap, in pcap");
    read(&std::fs::read(&captures[0]).expect("the capture is there"))
}

/// A busy second: quotes, trades, orders, fills, cancels.
pub(crate) const BUSY: &str = r#"
duration = "3s"
[market]
protocol = "itch50"
symbols = 5
rate = 150.0
[[strategy]]
kind = "react"
on = "trade"
style = "take"
share = 0.7
pause = "20ms"
[[strategy]]
kind = "react"
on = "best"
style = "join"
share = 0.2
cancel = 0.4
"#;

/// One end of a TCP conversation that a test makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) host: u8,
    pub(crate) port: u16,
}

/// Ethernet, IPv4 and TCP headers (RFC 791, RFC 9293) around a payload; checksums are zero, as offloading leaves them.
pub(crate) fn tcp_frame(from: End, to: End, id: u16, numbers: (u32, u32), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0, 0, to.host, 2, 0, 0, 0, 0, from.host, 8, 0];
    let total = u16::try_from(40 + payload.len()).expect("a frame of normal size");
    out.extend([0x45, 0]);
    out.extend(total.to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend([0x40, 0, 64, 6, 0, 0, 10, 0, 0, from.host, 10, 0, 0, to.host]);
    out.extend(from.port.to_be_bytes());
    out.extend(to.port.to_be_bytes());
    out.extend(numbers.0.to_be_bytes());
    out.extend(numbers.1.to_be_bytes());
    out.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(payload);
    out
}

pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// A FIX 4.4 message with its length and checksum; `|` stands for SOH.
pub(crate) fn fix(body: &str) -> Vec<u8> {
    let body = body.replace('|', "\x01");
    let head = format!("8=FIX.4.4\x019={}\x01{body}", body.len());
    let sum = head.bytes().fold(0_u8, u8::wrapping_add);
    format!("{head}10={sum:03}\x01").into_bytes()
}
