//! Sends the frames of a simulated market as fast as wanted, many with one system call.

use std::io::Error;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use tickscope::capture::{Input, Merged};
use tickscope_sim::{Scenario, write};

use super::lab::SENT;
use super::net::Raw;

/// Frames in one system call.
const AT_ONCE: usize = 64;
/// Where number and count of the messages of a MoldUDP64 packet stand in a frame without VLAN.
const SEQUENCE: std::ops::Range<usize> = 52..60;
const COUNT: std::ops::Range<usize> = 60..62;

/// Number of the first message of a market-data packet, and how many it has.
fn numbers(frame: &[u8]) -> Option<(u64, u64)> {
    if frame.get(23) != Some(&17) {
        return None;
    }
    let (first, count) = (frame.get(SEQUENCE)?, frame.get(COUNT)?);
    Some((u64::from_be_bytes(first.try_into().ok()?), u16::from_be_bytes(count.try_into().ok()?).into()))
}

/// Frames to be sent, over and over.
pub(crate) struct Load {
    frames: Vec<Vec<u8>>,
    messages: u64,
    /// The number behind the last message.
    behind: u64,
}

/// What was sent.
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) time: Duration,
    /// When each was handed to the kernel, in nanoseconds since the epoch, if asked for: those of one call share a time.
    pub(crate) times: Vec<u64>,
}

impl Sent {
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn per_second(&self) -> f64 {
        self.frames as f64 / self.time.as_secs_f64()
    }
}

impl Load {
    pub(crate) fn new() -> Load {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live-load");
        let scenario = Scenario::shipped("opening-rush").expect("a shipped scenario");
        write(&scenario, 1, &folder).expect("the simulator writes");
        let taps = scenario.tap.iter().map(|tap| folder.join(format!("{}.{}", tap.name, tap.format.extension())));
        let inputs: Vec<Input> = taps.map(|path| Input { name: None, path }).collect();
        let mut merged = Merged::open(&inputs, &[]).expect("what was written");
        let mut frames = Vec::new();
        while let Some(captured) = merged.next() {
            frames.push(captured.frame.bytes.to_vec());
        }
        // What ends the session would end it in the middle.
        frames.retain(|frame| numbers(frame).is_none_or(|(_, count)| count < 0xffff));
        let messages = frames.iter().filter_map(|frame| Some(numbers(frame)?.1)).sum();
        let behind = frames.iter().filter_map(|frame| numbers(frame).map(|(first, count)| first + count)).max();
        std::fs::remove_dir_all(&folder).expect("our own folder");
        Load { frames, messages, behind: behind.unwrap_or_default() }
    }

    /// The rate of packets that brings so many messages a second.
    pub(crate) fn packets_for(&self, messages: u64) -> u64 {
        messages * self.frames.len() as u64 / self.messages.max(1)
    }

    pub(crate) fn frame(&self, at: usize) -> &[u8] {
        &self.frames[at % self.frames.len()]
    }

    /// Sends for so long at so many packets a second, from the frame with this number on; each time around the numbers of its messages
    /// go on behind those before. To be called in the sender's namespace.
    pub(crate) fn send(&self, first: u64, rate: u64, time: Duration) -> Sent {
        let socket = Raw::open(SENT[0]);
        socket.bypass_queues();
        let start = Instant::now();
        let most = rate * u64::try_from(time.as_millis()).unwrap() / 1000;
        let (mut sent, mut batch) = (0_u64, Vec::with_capacity(AT_ONCE));
        while sent < most && start.elapsed() < 2 * time {
            let due = u64::try_from(start.elapsed().as_micros()).unwrap() * rate / 1_000_000;
            let count = due.min(most).saturating_sub(sent).min(AT_ONCE as u64);
            if count == 0 {
                std::thread::sleep(Duration::from_micros(50));
                continue;
            }
            batch.clear();
            for number in first + sent..first + sent + count {
                let mut frame = self.frame(usize::try_from(number).unwrap()).to_vec();
                let turn = number / self.frames.len() as u64;
                if let Some((first, _)) = numbers(&frame).filter(|_| turn > 0) {
                    frame[SEQUENCE].copy_from_slice(&(first + turn * (self.behind - 1)).to_be_bytes());
                    frame[40..42].fill(0); // no UDP checksum
                }
                batch.push(frame);
            }
            sent += socket.send_all(&batch);
        }
        Sent { frames: sent, time: start.elapsed(), times: Vec::new() }
    }

    /// Sends so many frames one by one at a low rate, and notes when.
    pub(crate) fn send_timed(&self, rate: u64, count: usize) -> Sent {
        let socket = Raw::open(SENT[0]);
        socket.bypass_queues();
        let (start, mut times) = (Instant::now(), Vec::with_capacity(count));
        for at in 0..count {
            let due = Duration::from_nanos(at as u64 * 1_000_000_000 / rate);
            while start.elapsed() < due {
                std::hint::spin_loop();
            }
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            times.push(u64::try_from(now.as_nanos()).unwrap());
            assert!(socket.send(self.frame(at)), "{}", Error::last_os_error());
        }
        Sent { frames: count as u64, time: start.elapsed(), times }
    }
}
