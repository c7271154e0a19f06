//! Sends the frames of a capture on two interfaces, market data on the one and TCP on the other, at the pace of the capture:
//! gaps are kept, but for long ones.

use std::io::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tickscope::capture::{Input, Merged};

use super::lab::SENT;
use super::net::Raw;

/// Longer gaps are cut to this.
const LONGEST_GAP_NS: u64 = 2_000_000;

/// Sends all frames; how many on each interface. To be called in the sender's namespace.
pub(crate) fn replay(capture: &Path) -> [u64; 2] {
    play(capture, by_way, |_| {})
}

/// Market data and orders, each on its interface. IPv4: TCP are orders.
fn by_way(bytes: &[u8]) -> (usize, Vec<u8>) {
    (usize::from(bytes.get(23) == Some(&6)), bytes.to_vec())
}

/// The same; `change` says on which interface a frame goes, and what is sent.
pub(crate) fn replay_with(capture: &Path, change: impl FnMut(&[u8]) -> (usize, Vec<u8>)) -> [u64; 2] {
    play(capture, change, |_| {})
}

/// The same, and behind each frame others on its interface.
pub(crate) fn replay_beside(capture: &Path, others: impl FnMut(&mut dyn FnMut(&[u8]))) -> [u64; 2] {
    play(capture, by_way, others)
}

fn play(
    capture: &Path,
    mut change: impl FnMut(&[u8]) -> (usize, Vec<u8>),
    mut others: impl FnMut(&mut dyn FnMut(&[u8])),
) -> [u64; 2] {
    let mut frames = Merged::open(&[Input { name: None, path: capture.to_owned() }], &[]).unwrap();
    let sockets = SENT.map(Raw::open);
    let mut sent = [0; 2];
    let (start, mut due_ns, mut before) = (Instant::now(), 0, None);
    while let Some(captured) = frames.next() {
        let frame = captured.frame;
        let gap = before.map_or(0, |before| frame.time.0.saturating_sub(before));
        before = Some(frame.time.0);
        due_ns += gap.min(LONGEST_GAP_NS);
        wait_until(start, Duration::from_nanos(due_ns));
        let (way, bytes) = change(frame.bytes);
        let mut send = |frame: &[u8]| {
            assert!(sockets[way].send(frame), "{}", Error::last_os_error());
            sent[way] += 1;
        };
        send(&bytes);
        others(&mut send);
    }
    sent
}

/// Sleeps while there is much time, and spins for the rest.
fn wait_until(start: Instant, due: Duration) {
    let ahead = due.saturating_sub(start.elapsed());
    if ahead > Duration::from_micros(200) {
        std::thread::sleep(ahead.saturating_sub(Duration::from_micros(100)));
    }
    while start.elapsed() < due {
        std::hint::spin_loop();
    }
}
