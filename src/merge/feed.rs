//! A feed: one stream of sequence numbers, what of it came, and what is missing.

use std::fmt::Write as _;
use std::ops::Range;

use tickscope_decoders::{Fresh, Protocol, Sequenced};
use tickscope_model::Timestamp;

use super::arrivals::Arrivals;
use super::lags::Lags;
use crate::flow::Datagram;

/// Separate gaps of a feed that are remembered until they are filled.
const GAPS: usize = 4096;
/// A packet whose number is this far ahead is believed only when the next one goes on behind it.
const FAR: u64 = 1 << 24;

/// One stream of sequence numbers at one observation point.
#[allow(clippy::struct_excessive_bools, reason = "independent facts, not the states of one machine")]
pub struct Feed {
    pub point: u16,
    pub protocol: &'static Protocol,
    /// When its first packet came.
    pub(super) since: Timestamp,
    /// The session as text where it is text, else in hex.
    pub session: String,
    /// Messages seen for the first time.
    pub messages: u64,
    /// Messages that had been seen before.
    pub duplicates: u64,
    /// Gaps that were open at some time, and the messages that later arrived after all.
    pub gaps: u64,
    pub recovered: u64,
    /// When messages were last noticed to be missing.
    pub last_gap: Option<Timestamp>,
    pub ended: bool,
    pub restarts: u64,
    /// Messages missing in gaps that were too many to remember one by one.
    pub(super) forgotten: u64,
    /// It stands for all that are too many to be told apart: nothing is missing in it.
    pub(super) is_rest: bool,
    /// Flows that bring it now; it had some, and has none any more.
    pub(super) flows: u32,
    pub(super) is_left: bool,
    pub(super) key: Vec<u8>,
    /// The first number that a live line brought: what a retransmission tells of before is the past.
    pub(super) start: Option<u64>,
    pub(super) next: Option<u64>,
    /// The numbers of the last packet, where they were too far ahead to be believed.
    pub(super) far: Option<Range<u64>>,
    /// By how much packets came later on one line than on the first one.
    pub lags: Lags,
    pub(super) has_multicast: bool,
    /// Open gaps and when they were noticed.
    pub(super) missing: Vec<(Range<u64>, Timestamp)>,
    pub(super) arrivals: Arrivals,
}

impl Feed {
    /// Messages that came on no line.
    pub fn lost(&self) -> u64 {
        self.missing.iter().map(|(range, _)| range.end - range.start).sum::<u64>() + self.forgotten
    }

    /// Whether it was captured from its first message on.
    pub fn is_whole(&self) -> bool {
        self.start.is_some_and(|start| start <= 1)
    }

    /// The gaps that are still open, largest first: when noticed, first number and size.
    pub fn open_gaps(&self) -> Vec<(Timestamp, u64, u64)> {
        let gap = |(range, time): &(Range<u64>, Timestamp)| (*time, range.start, range.end - range.start);
        let mut gaps: Vec<_> = self.missing.iter().map(gap).collect();
        gaps.sort_by_key(|&(_, first, size)| (std::cmp::Reverse(size), first));
        gaps
    }

    pub(super) fn new(at: &Datagram<'_>, unit: &Sequenced<'_>) -> Feed {
        let printable = unit.session.iter().all(|byte| (b' '..=b'~').contains(byte));
        let session = if printable {
            String::from_utf8_lossy(unit.session).trim().to_owned()
        } else {
            unit.session.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}"); // a String takes everything
                text
            })
        };
        Feed {
            point: at.key.point,
            protocol: at.protocol,
            since: at.time,
            session,
            messages: 0,
            duplicates: 0,
            gaps: 0,
            recovered: 0,
            last_gap: None,
            ended: false,
            restarts: 0,
            forgotten: 0,
            is_rest: false,
            flows: 0,
            is_left: false,
            key: unit.session.to_vec(),
            start: None,
            next: None,
            far: None,
            lags: Lags::default(),
            has_multicast: false,
            missing: Vec::new(),
            arrivals: Arrivals::default(),
        }
    }

    /// Whether a packet is so far ahead that its number is more likely damaged than a gap. If the next packet goes on
    /// behind it, it was a gap after all.
    pub(super) fn is_doubtful(&mut self, unit: &Sequenced<'_>, time: Timestamp) -> bool {
        let Some(expected) = self.next.filter(|next| unit.first > next.saturating_add(FAR)) else { return false };
        match self.far.take() {
            Some(far) if far.end == unit.first => {
                self.jump(expected, far.start, time, false);
                self.next = Some(far.end);
                false
            }
            _ => {
                self.far = Some(unit.first..unit.first + unit.count);
                true
            }
        }
    }

    /// The numbers `expected..first` were skipped.
    pub(super) fn jump(&mut self, expected: u64, first: u64, time: Timestamp, recovery: bool) {
        if recovery {
            return;
        }
        self.gaps += 1;
        self.last_gap = Some(time);
        if self.missing.len() < GAPS {
            self.missing.push((expected..first, time));
        } else {
            self.forgotten += first - expected;
        }
    }

    /// Which messages of a packet are new, and how many of them fill a gap.
    pub(super) fn fresh(&mut self, expected: u64, unit: &Sequenced<'_>, recovery: bool) -> (Fresh, u64) {
        let end = unit.first + unit.count;
        if unit.first >= expected && !(recovery && unit.first > expected) {
            return (Fresh::All, 0);
        }
        if end <= expected && self.missing.is_empty() && !recovery {
            return (Fresh::None, 0);
        }
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut recovered = 0;
        let mut rest = Vec::with_capacity(self.missing.len());
        for (gap, time) in self.missing.drain(..) {
            let overlap = gap.start.max(unit.first)..gap.end.min(end);
            if overlap.start < overlap.end {
                recovered += overlap.end - overlap.start;
                ranges.push(overlap.start - unit.first..overlap.end - unit.first);
                let parts = [gap.start..overlap.start, overlap.end..gap.end];
                rest.extend(parts.into_iter().filter(|part| !part.is_empty()).map(|part| (part, time)));
            } else {
                rest.push((gap, time));
            }
        }
        self.missing = rest;
        if end > expected {
            ranges.push(expected.max(unit.first) - unit.first..unit.count);
        }
        ranges.sort_by_key(|range| range.start);
        let covered: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let fresh = if covered == unit.count || (recovery && end <= self.start.unwrap_or(0)) {
            Fresh::All
        } else if covered == 0 {
            Fresh::None
        } else {
            Fresh::Some(ranges)
        };
        (fresh, recovered)
    }

    pub(super) fn restart(&mut self, first: u64) {
        self.restarts += 1;
        self.forgotten = self.lost();
        self.missing.clear();
        self.arrivals = Arrivals::default();
        self.start = Some(first);
        self.next = Some(first);
    }
}
