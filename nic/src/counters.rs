//! What happened to every frame of a queue. The rule: **seen = delivered + waiting + the sum of what was lost**, where waiting
//! frames lie in the ring. After a stop, when everything is read, nothing is waiting.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::frame::{Flags, Frame, Source};
use crate::sys;
use crate::xdp::{Matches, QueueMatches};

/// Frames of one queue (AF_XDP) or ring (AF_PACKET) since the start.
///
/// At any time `seen = delivered + waiting + lost()`, where waiting frames lie in the ring and are at most `capacity`
/// ([`Counters::check`]). After [`crate::Capture::stop`], when receivers have answered `Ended`, nothing is waiting
/// ([`Counters::check_finished`]). Frames that NIC or driver dropped before were never seen
/// ([`crate::Capture::interface_drops`]); frames that do not match the filter are not seen either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub queue: u32,
    /// Frames that matched the filter, counted by the kernel before anything can be lost.
    pub seen: u64,
    /// Frames that a receiver has shown.
    pub delivered: u64,
    /// The ring had no room: the reader was too slow. (AF_PACKET's `tp_drops`, AF_XDP's `rx_ring_full`.)
    pub ring_full: u64,
    /// AF_XDP: the reader had given no memory back for the frame.
    pub fill_ring_empty: u64,
    /// AF_XDP in copy mode: longer than a chunk of memory.
    pub too_long: u64,
    /// AF_XDP: matched while the queue had no socket; the host's own stack got it.
    pub no_socket: u64,
    /// AF_XDP: the kernel did not take the frame although there was a socket.
    pub refused: u64,
    /// A descriptor in the ring pointed outside it; nothing was read.
    pub malformed: u64,
    /// Not frames: how often the whole ring was frozen because its reader was behind (AF_PACKET).
    pub freezes: u64,
    /// Not frames: descriptors that we wrote wrongly (AF_XDP's `rx_invalid_descs`); always 0 unless we have a mistake.
    pub invalid_descriptors: u64,
    /// Of the delivered: cut, larger than the MTU, without any stamp.
    pub truncated: u64,
    pub super_frames: u64,
    pub without_stamp: u64,
    /// Not seen: fragments that a filter by ports could not judge, left to the host's stack (AF_XDP).
    pub fragments_passed: u64,
    /// The most frames that can wait in the ring, or (AF_XDP) be on their way from the program to it.
    pub capacity: u64,
    /// Delivered or lost while these counters were read one after the other: they may count as waiting.
    pub meanwhile: u64,
}

/// The rule of this module does not hold: a mistake in this program or in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "queue {queue}: {seen} frames seen are not {delivered} delivered and {lost} lost, with {capacity} at most waiting; \
     please report this"
)]
pub struct Imbalance {
    pub queue: u32,
    pub seen: u64,
    pub delivered: u64,
    pub lost: u64,
    pub capacity: u64,
}

impl Counters {
    /// Every reason for which a frame was lost, with the name that outputs use.
    pub fn losses(&self) -> [(&'static str, u64); 6] {
        [
            ("ring_full", self.ring_full),
            ("fill_ring_empty", self.fill_ring_empty),
            ("too_long", self.too_long),
            ("no_socket", self.no_socket),
            ("refused", self.refused),
            ("malformed", self.malformed),
        ]
    }

    pub fn lost(&self) -> u64 {
        self.losses().iter().map(|(_, frames)| frames).sum()
    }

    /// Frames in the ring that nobody has read yet. `None` where more came out than went in.
    pub fn waiting(&self) -> Option<u64> {
        self.seen.checked_sub(self.delivered)?.checked_sub(self.lost())
    }

    fn imbalance(&self) -> Imbalance {
        let Counters { queue, seen, delivered, capacity, .. } = *self;
        Imbalance { queue, seen, delivered, lost: self.lost(), capacity }
    }

    /// The rule at any time: what is neither delivered nor lost fits into the ring.
    pub fn check(&self) -> Result<(), Imbalance> {
        match self.waiting() {
            Some(waiting) if waiting <= self.capacity.saturating_add(self.meanwhile) => Ok(()),
            _ => Err(self.imbalance()),
        }
    }

    /// The rule after the end: seen = delivered + lost, exactly.
    pub fn check_finished(&self) -> Result<(), Imbalance> {
        if self.waiting() == Some(0) { Ok(()) } else { Err(self.imbalance()) }
    }
}

/// Where the kernel counts for a queue.
pub(crate) enum Kernel {
    /// PACKET_STATISTICS starts anew whenever it is read, so what was read is added up here.
    Packet { socket: Arc<OwnedFd>, seen: AtomicU64, dropped: AtomicU64, freezes: AtomicU64 },
    /// Without a socket where a queue was left out: then its frames pass to the host.
    Xdp { socket: Option<Arc<OwnedFd>>, matches: Arc<Matches>, is_zero_copy: bool },
}

/// Shared by a receiver, which counts what it shows, and the capture, which is asked.
pub(crate) struct Tally {
    pub(crate) queue: u32,
    pub(crate) capacity: u64,
    pub(crate) kernel: Kernel,
    delivered: AtomicU64,
    malformed: AtomicU64,
    truncated: AtomicU64,
    super_frames: AtomicU64,
    without_stamp: AtomicU64,
}

/// What a receiver counts in one call. It is added to the shared counters before memory is given back to the kernel, so that
/// frames are not counted as waiting whose place another one has already.
#[derive(Default)]
pub(crate) struct Shown {
    /// Of the whole call.
    pub(crate) total: u64,
    pub(crate) malformed: u64,
    delivered: u64,
    truncated: u64,
    super_frames: u64,
    without_stamp: u64,
}

impl Shown {
    pub(crate) fn count(&mut self, frame: &Frame<'_>) {
        self.total += 1;
        self.delivered += 1;
        self.truncated += u64::from(frame.flags.contains(Flags::TRUNCATED));
        self.super_frames += u64::from(frame.flags.contains(Flags::SUPER_FRAME));
        self.without_stamp += u64::from(frame.source == Source::None);
    }
}

impl Shown {
    /// Adds what is new to the shared counters.
    pub(crate) fn publish(&mut self, tally: &Tally) {
        for (shared, more) in [
            (&tally.delivered, &mut self.delivered),
            (&tally.malformed, &mut self.malformed),
            (&tally.truncated, &mut self.truncated),
            (&tally.super_frames, &mut self.super_frames),
            (&tally.without_stamp, &mut self.without_stamp),
        ] {
            if *more > 0 {
                shared.fetch_add(std::mem::take(more), Relaxed);
            }
        }
    }
}

impl Tally {
    pub(crate) fn new(queue: u32, capacity: u64, kernel: Kernel) -> Tally {
        let zero = || AtomicU64::new(0);
        Tally {
            queue,
            capacity,
            kernel,
            delivered: zero(),
            malformed: zero(),
            truncated: zero(),
            super_frames: zero(),
            without_stamp: zero(),
        }
    }

    /// Everything as it is now. What was delivered and lost is read before what the kernel saw, so that no more comes out than
    /// went in, and once more after it, to know what moved meanwhile.
    pub(crate) fn counters(&self) -> io::Result<Counters> {
        let mut counters = self.read()?;
        let delivered = self.delivered.load(Relaxed);
        let lost = match &self.kernel {
            Kernel::Packet { .. } => 0, // seen and lost are read at once
            Kernel::Xdp { .. } => self.read()?.lost() - counters.lost(),
        };
        counters.meanwhile = delivered - counters.delivered + lost;
        Ok(counters)
    }

    fn read(&self) -> io::Result<Counters> {
        let mut counters = Counters {
            queue: self.queue,
            capacity: self.capacity,
            delivered: self.delivered.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            truncated: self.truncated.load(Relaxed),
            super_frames: self.super_frames.load(Relaxed),
            without_stamp: self.without_stamp.load(Relaxed),
            ..Counters::default()
        };
        match &self.kernel {
            Kernel::Packet { socket, seen, dropped, freezes } => {
                let (new, _) = sys::option::<[u32; 3]>(socket, libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
                let add = |shared: &AtomicU64, new: u32| shared.fetch_add(new.into(), Relaxed) + u64::from(new);
                // tpacket_stats_v3: packets (those dropped are among them), drops, freezes of the queue.
                let [packets, drops, frozen] = new;
                counters.ring_full = add(dropped, drops);
                counters.seen = add(seen, packets);
                counters.freezes = add(freezes, frozen);
            }
            Kernel::Xdp { socket, matches, is_zero_copy } => {
                let early = matches.of_queue(self.queue)?;
                let (statistics, length) = match socket {
                    Some(socket) => sys::option::<[u64; 6]>(socket, libc::SOL_XDP, libc::XDP_STATISTICS)?,
                    None => ([0; 6], 0),
                };
                counters.xdp(&statistics, length, *is_zero_copy, &early);
                // Once more: a value is copied from its begin, so a frame could be lost in it and not yet seen.
                counters.seen = matches.of_queue(self.queue)?.matched;
            }
        }
        Ok(counters)
    }
}

impl Counters {
    /// `struct xdp_statistics`: 24 bytes before Linux 5.9 (dropped, invalid rx, invalid tx), 48 since (rx ring full, fill ring
    /// empty, tx ring empty).
    fn xdp(&mut self, statistics: &[u64; 6], length: usize, is_zero_copy: bool, matches: &QueueMatches) {
        let known = |index: usize| if (index + 1) * 8 <= length { statistics[index] } else { 0 };
        let (dropped, ring_full, fill_empty) = (known(0), known(3), known(4));
        self.seen = matches.matched;
        self.no_socket = matches.no_socket;
        self.refused = matches.refused;
        self.fragments_passed = matches.fragments;
        self.ring_full = ring_full;
        self.invalid_descriptors = known(1);
        self.fill_ring_empty = 0;
        if is_zero_copy {
            // Here the kernel counts attempts to get memory ahead of frames, so `fill_empty` is no number of frames.
            self.too_long = dropped;
        } else {
            // A frame for which there was no memory counts in both; the others that were dropped were too long.
            self.fill_ring_empty = fill_empty.min(dropped);
            self.too_long = dropped - self.fill_ring_empty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_holds_while_frames_wait_and_exactly_at_the_end() {
        let base =
            Counters { seen: 100, delivered: 80, ring_full: 5, too_long: 3, capacity: 20, ..Counters::default() };
        for (change, waiting, holds, is_finished) in [
            (base, Some(12), true, false),
            (Counters { capacity: 11, ..base }, Some(12), false, false),
            (Counters { capacity: 12, ..base }, Some(12), true, false),
            (Counters { capacity: 11, meanwhile: 1, ..base }, Some(12), true, false),
            (Counters { delivered: 92, ..base }, Some(0), true, true),
            (Counters { delivered: 93, ..base }, None, false, false),
            (Counters { delivered: 101, ..base }, None, false, false),
            (Counters { delivered: 0, no_socket: 50, malformed: 42, ..base }, Some(0), true, true),
        ] {
            assert_eq!(change.waiting(), waiting, "{change:?}");
            assert_eq!(change.check().is_ok(), holds, "{change:?}");
            assert_eq!(change.check_finished().is_ok(), is_finished, "{change:?}");
        }
    }

    #[test]
    fn statistics_of_old_kernels_are_shorter() {
        let matches = QueueMatches { matched: 50, redirected: 45, no_socket: 3, refused: 2, ..QueueMatches::default() };
        let statistics = [9, 1, 0, 7, 4, 0];
        let mut counters = Counters::default();
        counters.xdp(&statistics, 24, false, &matches);
        assert_eq!((counters.ring_full, counters.fill_ring_empty, counters.too_long), (0, 0, 9));
        counters.xdp(&statistics, 48, false, &matches);
        assert_eq!((counters.ring_full, counters.fill_ring_empty, counters.too_long), (7, 4, 5));
        assert_eq!((counters.seen, counters.no_socket, counters.refused, counters.invalid_descriptors), (50, 3, 2, 1));
        counters.xdp(&statistics, 48, true, &matches);
        assert_eq!((counters.ring_full, counters.fill_ring_empty, counters.too_long), (7, 0, 9));
    }
}
