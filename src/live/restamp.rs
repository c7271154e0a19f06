//! Times of one tap that are not those of NIC and kernel: stamps in its frames, or times moved to the other edge. Also how they
//! fit into the order of all taps: a device's clock may be seconds or years from this host's, so frames are merged by their
//! time less what the tap's clock is ahead, roughly (its *base*). Taps whose clocks are as far ahead have the same base, to
//! the nanosecond, so the order of their frames is exactly that of their stamps.

use tickscope_model::{Frame, LinkType, Nanos, TapId, Timestamp};

use super::queue::Head;
use crate::capture::stamp::{Online, Stamps, TapTime};

/// Clocks that are no farther apart than this have one base. A frame is never so long on its way from the device.
pub(super) const NEAR_NS: u64 = 50_000_000;
/// A tap's clock may come so far from its base before it gets another: more than above, so that none is between two.
const FAR_NS: u64 = 2 * NEAR_NS;
/// Frames may vote for so long; the tap's frames wait meanwhile, and so do those of others that come later.
const VOTE_NS: u64 = 5_000_000_000;
/// The lowest difference that was seen lately comes up to the present one by this part of the way with every frame.
const FORGET_SHIFT: u32 = 10;

/// See the head of this file.
pub(super) struct Restamp {
    online: Online,
    /// When the first frame voted, by this host's clock.
    voting_since: Option<u64>,
    /// Time less the stamp of NIC or kernel: of the newest frame, and the lowest lately. `None` before the first.
    pub(super) ahead_ns: Option<i64>,
    lowest_ns: i64,
    pub(super) base_ns: Option<i64>,
    /// Its times became those of a device, until somebody is told.
    moved: Option<String>,
}

impl Restamp {
    /// `None` where the times of NIC and kernel stand.
    pub(super) fn new(rule: &TapTime) -> Option<Restamp> {
        let online = Online::new(rule.clone())?;
        Some(Restamp { online, voting_since: None, ahead_ns: None, lowest_ns: 0, base_ns: None, moved: None })
    }

    pub(super) fn is_voting(&self) -> bool {
        self.online.is_voting()
    }

    /// A frame votes, at this time of the host.
    pub(super) fn vote(&mut self, head: &Head, bytes: &[u8], now_ns: u64) {
        self.voting_since.get_or_insert(now_ns);
        // What nobody stamped cannot be compared.
        if head.time_ns != 0 {
            self.online.vote(&frame(head, bytes));
        }
    }

    /// Whether enough have voted, or for long enough.
    pub(super) fn has_voted(&self, now_ns: u64) -> bool {
        let is_over = |since: u64| now_ns.saturating_sub(since) >= VOTE_NS;
        self.online.has_enough() || self.voting_since.is_some_and(is_over)
    }

    /// Whether some frame has come that waits for the end of the vote.
    pub(super) fn has_begun(&self) -> bool {
        self.voting_since.is_some()
    }

    pub(super) fn decide(&mut self) -> String {
        self.online.decide()
    }

    /// The time of a frame, with the tap's offset.
    pub(super) fn take(&mut self, head: &Head, bytes: &[u8], offset: Nanos) -> Timestamp {
        let stamp = Timestamp(head.time_ns);
        let time = self.online.take(&frame(head, bytes), stamp).shifted(offset);
        if let Some(text) = self.online.take_moved() {
            // Nothing that is known of the clock so far is true of the device's.
            (self.moved, self.ahead_ns, self.base_ns) = (Some(text), None, None);
        }
        let ahead_ns = time.since(stamp).0;
        self.lowest_ns = match self.ahead_ns {
            Some(_) if self.lowest_ns <= ahead_ns => self.lowest_ns + ((ahead_ns - self.lowest_ns) >> FORGET_SHIFT),
            _ => ahead_ns,
        };
        self.ahead_ns = Some(ahead_ns);
        time
    }

    /// Whether the frame that was taken last is the first one with a device's times, in mid-run; what is said of it.
    pub(super) fn take_moved(&mut self) -> Option<String> {
        self.moved.take()
    }

    /// Whether its clock is too far from its base, or has none yet.
    pub(super) fn is_off_base(&self) -> bool {
        let ahead_ns = self.ahead_ns.unwrap_or(0);
        self.base_ns.is_none_or(|base_ns| base_ns.abs_diff(ahead_ns) > FAR_NS)
    }

    /// What is to be added to a time of the host so that no key of a later frame lies before it.
    pub(super) fn promise_ns(&self) -> i64 {
        let near_ns = i64::try_from(NEAR_NS).expect("some milliseconds");
        match (self.ahead_ns, self.base_ns) {
            (Some(_), Some(base_ns)) => self.lowest_ns.saturating_sub(base_ns),
            _ => -near_ns,
        }
    }

    /// Whether the times are those of a device's clock.
    pub(super) fn is_stamped(&self) -> bool {
        self.online.is_stamped()
    }

    pub(super) fn report(&self) -> Option<Stamps> {
        self.online.report()
    }
}

fn frame<'a>(head: &Head, bytes: &'a [u8]) -> Frame<'a> {
    let time = Timestamp(head.time_ns);
    Frame { tap: TapId(0), link: LinkType::Ethernet, time, number: 1, wire_len: head.wire_len, bytes }
}
