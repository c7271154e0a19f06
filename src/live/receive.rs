//! A receiver's thread: waits on the NIC's ring and copies frames into the queue. Nothing else happens here, so that the ring
//! is emptied as fast as it can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, iter};

use rustix::thread::{CpuSet, sched_setaffinity};
use tickscope_nic::{CaptureError, Direction, Flags, Receiver, Source, Waited, clock, realtime};

use super::queue::{Head, Writer, add};

/// Frames that are copied between two looks at the queue.
pub(super) const BUDGET: usize = 256;
/// How long a receiver waits on an empty ring until it says that it is empty.
const IDLE: Duration = Duration::from_millis(40);
/// Where fewer frames than [`BUDGET`] came at once, the next are left to gather for so long, if the ring has room for them.
const GATHERING: Duration = Duration::from_millis(20);
/// How long it waits where the link is down: the ring says so at once.
const DOWN: Duration = Duration::from_millis(20);

/// Who may have stamped a frame, and which way it went.
pub(super) const SOURCES: [Source; 5] =
    [Source::HardwareNic, Source::KernelXdpTai, Source::KernelXdpMonotonic, Source::KernelSoftware, Source::None];

/// Frames by who stamped them, received and sent.
#[derive(Default)]
pub(super) struct Stamped {
    counts: [[AtomicU64; 2]; SOURCES.len()],
}

impl Stamped {
    #[inline]
    fn count(&self, source: Source, direction: Direction) {
        let at = SOURCES.iter().position(|known| *known == source).unwrap_or(SOURCES.len() - 1);
        let way = usize::from(direction == Direction::Out);
        add(&self.counts[at][way], 1);
    }

    /// Those that there were.
    pub(super) fn all(&self) -> impl Iterator<Item = (Source, Direction, u64)> {
        let ways = |(source, counts): (Source, &[AtomicU64; 2])| {
            let counts = [0, 1].map(|way: usize| counts[way].load(Ordering::Relaxed));
            iter::zip([Direction::In, Direction::Out], counts).map(move |(way, count)| (source, way, count))
        };
        iter::zip(SOURCES, &self.counts).flat_map(ways).filter(|(_, _, count)| *count > 0)
    }
}

/// How a receiver is to run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Running {
    /// On this processor only.
    pub processor: Option<usize>,
    /// By `SCHED_FIFO` with this priority, unless it is 0.
    pub fifo: u8,
    /// A frame may lie this long in the kernel after its stamp until the ring shows it.
    pub hidden_ns: u64,
}

/// A running receiver.
pub(super) type Handle = JoinHandle<Result<(), CaptureError>>;

pub(super) fn start(
    name: &str,
    receiver: Receiver,
    writer: Writer,
    stamped: Arc<Stamped>,
    running: Running,
) -> io::Result<Handle> {
    // Linux shows 15 characters of it.
    let name: String = name.chars().take(15).collect();
    thread::Builder::new().name(name).spawn(move || receive(receiver, writer, &stamped, running))
}

fn receive(
    mut receiver: Receiver,
    mut writer: Writer,
    stamped: &Stamped,
    running: Running,
) -> Result<(), CaptureError> {
    if let Some(processor) = running.processor {
        let mut only = CpuSet::new();
        only.set(processor);
        // It was checked when the tap was opened; a processor that was taken away since is no reason to stop.
        let _ = sched_setaffinity(None, &only);
    }
    if running.fifo > 0 {
        // This was tried, too, before the first tap was opened.
        let _ = realtime::run_first(running.fifo);
    }
    let result = read(&mut receiver, &mut writer, stamped, running.hidden_ns);
    writer.end();
    result
}

/// Until the capture has ended, or cannot go on.
fn read(receiver: &mut Receiver, writer: &mut Writer, stamped: &Stamped, hidden_ns: u64) -> Result<(), CaptureError> {
    loop {
        let asked_ns = clock::now_utc_ns();
        match receiver.wait(IDLE)? {
            Waited::Ready => {
                let count = receiver.each(BUDGET, &mut |frame| {
                    stamped.count(frame.source, frame.direction);
                    let lost_before = frame.flags.contains(Flags::LOSS_BEFORE);
                    let mut head = Head::new(frame.time_ns, frame.wire_len, lost_before);
                    head.is_sent = frame.direction == Direction::Out;
                    writer.push(head, frame.bytes);
                });
                writer.pause(asked_ns);
                if count < BUDGET {
                    receiver.gather(GATHERING)?;
                }
            }
            waited @ (Waited::Nothing | Waited::LinkDown) => {
                writer.flush();
                writer.promise(asked_ns.saturating_sub(hidden_ns));
                if waited == Waited::LinkDown {
                    thread::park_timeout(DOWN);
                }
            }
            Waited::Ended => return Ok(()),
        }
    }
}
