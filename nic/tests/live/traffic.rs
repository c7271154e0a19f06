//! Who sends, and who reads everything that a capture shows.
#![allow(unsafe_code, reason = "raw sockets have no safe interface")]
#![allow(clippy::disallowed_methods, reason = "a test of live capture lives in real time")]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use tickscope_nic::{Capture, Counters, Frame, Receiver, Source, Waited, clock};

use super::lab::B_ADDRESS;
use super::net::Raw;

/// Bytes of a datagram: its number, when it was sent, and nothing.
pub(crate) const PAYLOAD: usize = 100;
/// Ethernet, IPv4, UDP.
pub(crate) const HEADERS: usize = 42;

/// Sends numbered datagrams to `port` of `b`, at about `rate` per second, each with the time just before it is sent.
pub(crate) fn send(socket: &UdpSocket, port: u16, count: u64, rate: u64) {
    let start = Instant::now();
    let mut payload = [0; PAYLOAD];
    for number in 0..count {
        let due = Duration::from_nanos(number * 1_000_000_000 / rate);
        if number % 8 == 0 {
            let ahead = due.saturating_sub(start.elapsed());
            if ahead > Duration::from_micros(200) {
                std::thread::sleep(ahead);
            }
        }
        payload[0..8].copy_from_slice(&number.to_be_bytes());
        payload[8..16].copy_from_slice(&clock::now_utc_ns().to_be_bytes());
        socket.send_to(&payload, (B_ADDRESS, port)).unwrap();
    }
}

/// A frame's copy, with when it was read.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) wire_len: u32,
    pub(crate) time_ns: u64,
    pub(crate) source: Source,
    pub(crate) is_out: bool,
    pub(crate) flags: tickscope_nic::Flags,
    pub(crate) queue: u32,
    pub(crate) read_ns: u64,
}

impl Seen {
    pub(crate) fn of(frame: &Frame<'_>) -> Seen {
        Seen {
            bytes: frame.bytes.to_vec(),
            wire_len: frame.wire_len,
            time_ns: frame.time_ns,
            source: frame.source,
            is_out: frame.direction == tickscope_nic::Direction::Out,
            flags: frame.flags,
            queue: frame.queue,
            read_ns: clock::now_utc_ns(),
        }
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.bytes[HEADERS + at..HEADERS + at + 8].try_into().unwrap())
    }

    pub(crate) fn number(&self) -> u64 {
        self.word(0)
    }

    pub(crate) fn sent_ns(&self) -> u64 {
        self.word(8)
    }
}

/// Reads until the capture has ended, or nothing has come for `idle`.
pub(crate) fn read(receiver: &mut Receiver, idle: Duration) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut last = Instant::now();
    loop {
        match receiver.wait(Duration::from_millis(20)).unwrap() {
            Waited::Ended => return seen,
            Waited::Ready => {
                if receiver.each(256, &mut |frame| seen.push(Seen::of(&frame))) > 0 {
                    last = Instant::now();
                }
            }
            Waited::Nothing | Waited::LinkDown if last.elapsed() > idle => return seen,
            Waited::Nothing | Waited::LinkDown => {}
        }
    }
}

/// Waits until the kernel has seen so many frames: what was sent may still be on its way.
pub(crate) fn await_seen(capture: &Capture, frames: u64) {
    let start = Instant::now();
    while capture.counters().unwrap().iter().map(|counters| counters.seen).sum::<u64>() < frames {
        assert!(start.elapsed() < Duration::from_secs(20), "{frames} frames are not there: {:?}", capture.counters());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for `frames` to be seen, stops the capture and reads what is left; then the account must be exact.
pub(crate) fn finish(capture: &mut Capture, receivers: &mut [Receiver], frames: u64) -> (Vec<Seen>, Vec<Counters>) {
    await_seen(capture, frames);
    capture.stop();
    let rest = receivers.iter_mut().flat_map(|receiver| read(receiver, Duration::from_secs(5))).collect();
    let counters = capture.counters().unwrap();
    for counters in &counters {
        counters.check_finished().unwrap();
    }
    (rest, counters)
}

/// Checks that each stamp lies between sending and reading; says how late they were.
pub(crate) fn check_stamps(name: &str, seen: &[Seen]) {
    let mut late: Vec<u64> = Vec::new();
    for frame in seen {
        let (sent, stamp, read) = (frame.sent_ns(), frame.time_ns, frame.read_ns);
        assert!(sent <= stamp && stamp <= read, "{name}: sent {sent}, stamped {stamp}, read {read}");
        late.push(stamp - sent);
    }
    late.sort_unstable();
    let at = |percent: usize| late[(late.len() - 1) * percent / 100];
    eprintln!(
        "{name}: {} stamps, after sending: p50 {} ns, p99 {} ns, most {} ns",
        late.len(),
        at(50),
        at(99),
        at(100)
    );
}

/// Datagrams to `port` from `a` to `b`: without a tag, with one, with two, of IPv4.
pub(crate) fn tagged_frames([from, to]: [[u8; 6]; 2], port: u16) -> Vec<Vec<u8>> {
    [&[][..], &[0x8100], &[0x88A8], &[0x88A8, 0x8100], &[0x8100, 0x8100]]
        .into_iter()
        .map(|tags| {
            let mut frame = [to, from].concat();
            for (number, tag) in (0x6064u16..).zip(tags) {
                frame.extend_from_slice(&u16::to_be_bytes(*tag));
                frame.extend_from_slice(&number.to_be_bytes());
            }
            frame.extend_from_slice(&[8, 0]);
            let length = u16::try_from(20 + 8 + PAYLOAD).unwrap();
            let mut header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2];
            header[2..4].copy_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(&header);
            frame.extend_from_slice(&[1, 2]);
            frame.extend_from_slice(&port.to_be_bytes());
            frame.extend_from_slice(&(length - 20).to_be_bytes());
            frame.resize(frame.len() + 2 + PAYLOAD, 0x5A);
            frame
        })
        .collect()
}

/// Sends frames as they are.
pub(crate) fn send_raw(interface: &str, frames: &[Vec<u8>]) {
    let socket = Raw::open(interface);
    for frame in frames {
        assert!(socket.send(frame), "{}", std::io::Error::last_os_error());
    }
}
