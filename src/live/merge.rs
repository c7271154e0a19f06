//! Queues to one run of frames in time order. A frame goes out once every other queue has a later one or has promised that
//! none comes before it (its *floor*): a silent tap promises by the clock, so it holds nobody up. A receiver that neither
//! brings frames nor promises is waited for [`PATIENCE_NS`] at most; frames that come later than that are taken all the same,
//! and counted.
//!
//! A tap whose frames carry stamps gets their times here, when a frame becomes the first of its queue (`restamp`): so taps of
//! one device are merged by that device's times, as `analyze` does it. Frames are compared by their *key*: their time, less
//! what the clock of their tap is ahead of this host's where that is much. While its first frames vote on whose stamps count,
//! a tap's frames wait, and later ones of others with them. A later vote holds nobody up: where a format wins it, the tap's
//! times become those of the device with the frame at hand.

use std::collections::VecDeque;

use tickscope_model::{Frame, LinkType, Nanos, TapId, Timestamp};

use super::queue::{Head, Reader};
use super::restamp::{NEAR_NS, Restamp};
use crate::capture::Captured;
use crate::capture::stamp::{Stamps, TapTime};

/// So long a queue may keep the others waiting.
const PATIENCE_NS: u64 = 1_000_000_000;
/// A frame that is older than the one before by more than this is no late one: a clock was set.
const STEP_NS: u64 = 2 * PATIENCE_NS;
/// Clocks that are farther apart than this are worth a word …
const WIDE_NS: u64 = 60_000_000_000;
/// … of which so many wait to be told.
const MOST_TOLD: usize = 20;

/// A tap's part of the merge.
#[derive(Default)]
struct TapState {
    /// Added to every time.
    offset: Nanos,
    /// `None` where the times are those of NIC and kernel.
    restamp: Option<Restamp>,
    /// Frames that went out.
    frames: u64,
    /// … of which so many came when time had gone on beyond them: later frames had gone out, or none was waited for any more.
    late: u64,
    /// Time of the newest.
    last: Timestamp,
    /// Its capture had to be opened anew since.
    is_interrupted: bool,
    /// Time had come to this when its times became another clock's: by that its frames may seem late, and are not.
    moved_at: Timestamp,
}

/// When a frame was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    /// As NIC or kernel stamped it.
    stamp: Timestamp,
    /// The time that counts.
    time: Timestamp,
    /// By which frames are merged.
    key: Timestamp,
}

struct Lane {
    tap: TapId,
    reader: Reader,
    /// Of the frame that was taken last, for those without a stamp.
    last: Moment,
    /// Of the next one, where its tap is restamped: each frame is to be read once.
    next: Option<Moment>,
    is_ended: bool,
}

/// By keys. At equal ones the lane that was added first comes first.
type Until = (Timestamp, usize);

/// See the head of this file.
#[derive(Default)]
pub(super) struct Merge {
    lanes: Vec<Lane>,
    taps: Vec<TapState>,
    /// Where the next frame comes from, and until when it may: up to that time and lane.
    current: Option<(usize, Until)>,
    /// Time has come to this.
    reached: Timestamp,
    /// Until then nothing more comes, as far as the last look knows.
    floor: Timestamp,
    /// Taps whose first frames vote.
    voting: usize,
    /// Taps that have decided, and what, until somebody is told.
    decided: VecDeque<Decision>,
    told: Vec<(TapId, String)>,
    /// How far the clock that is behind all others is ahead of this host's; of taps that have had frames, roughly. `None`
    /// before the first.
    lead_ns: Option<i64>,
}

/// It was decided whose times those of a tap are. Its next frame is the first one of which that is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub tap: TapId,
    /// Empty where the tap had no frame before. Else its frames before had the times of NIC and kernel: what the clock of each
    /// tap shows now.
    pub moved_at: Vec<Timestamp>,
}

/// What is known of a frame on its way in, beside what every capture knows.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The time of its tap's frame before it, where frames were lost in between.
    pub lost_since: Option<Timestamp>,
    /// By this host, not received.
    pub is_sent: bool,
    /// Its stamp as NIC or kernel took it, without its tap's offset; that of the frame before where there is none.
    pub stamp: Timestamp,
    /// All clocks have come to this: the frame's time, but for a clock that is ahead of another tap's.
    pub reached: Timestamp,
}

/// What comes next.
pub(super) enum Next<'a> {
    Frame(Captured<'a>, Arrival),
    /// No frame is ready; nothing comes any more that is older than this.
    Nothing(Timestamp),
    Decided(Decision),
    /// All queues have ended.
    End,
}

impl Merge {
    pub(super) fn add_tap(&mut self, rule: &TapTime) -> TapId {
        let restamp = Restamp::new(rule);
        self.voting += usize::from(restamp.as_ref().is_some_and(Restamp::is_voting));
        self.taps.push(TapState { offset: rule.offset, restamp, ..TapState::default() });
        self.find_lead();
        TapId(u16::try_from(self.taps.len() - 1).expect("fewer taps than numbers"))
    }

    pub(super) fn add_queue(&mut self, tap: TapId, reader: Reader) {
        // Those of captures that were opened anew.
        self.lanes.retain(|lane| !lane.is_ended);
        self.lanes.push(Lane { tap, reader, last: Moment::default(), next: None, is_ended: false });
        self.current = None;
    }

    /// Frames of this tap were lost: its next one says so.
    pub(super) fn interrupt(&mut self, tap: TapId) {
        if let Some(tap) = self.taps.get_mut(usize::from(tap.0)) {
            tap.is_interrupted = true;
        }
    }

    pub(super) fn late(&self, tap: TapId) -> u64 {
        self.taps.get(usize::from(tap.0)).map_or(0, |tap| tap.late)
    }

    /// How full the fullest of a tap's queues is, thousandths.
    pub(super) fn fill_permille(&self, tap: TapId) -> u16 {
        let of_tap = self.lanes.iter().filter(|lane| lane.tap == tap);
        of_tap.map(|lane| lane.reader.fill_permille()).max().unwrap_or(0)
    }

    /// Who stamps a tap's frames, where not NIC and kernel alone.
    pub(super) fn stamps(&self, tap: TapId) -> Option<Stamps> {
        self.taps.get(usize::from(tap.0))?.restamp.as_ref()?.report()
    }

    /// Whether a tap's times are those of a device's clock.
    pub(super) fn is_stamped(&self, tap: TapId) -> bool {
        self.taps.get(usize::from(tap.0)).is_some_and(|tap| tap.restamp.as_ref().is_some_and(Restamp::is_stamped))
    }

    /// What was decided since somebody asked.
    pub(super) fn take_told(&mut self, tap: TapId) -> Vec<String> {
        self.told.extract_if(.., |(of, _)| *of == tap).map(|(_, text)| text).collect()
    }

    /// The next frame, as far as the clock (`now`, UTC) allows.
    #[inline]
    pub(super) fn next(&mut self, now: impl FnOnce() -> u64) -> Next<'_> {
        let mut found = self.current.and_then(|(lane, until)| {
            let (at, head) = self.head(lane).filter(|(at, _)| (at.key, lane) <= until)?;
            Some((lane, at, head))
        });
        if found.is_none() && self.decided.is_empty() {
            found = self.choose(now()).and_then(|(lane, _)| {
                let (at, head) = self.head(lane)?;
                Some((lane, at, head))
            });
        }
        if let Some(decision) = self.decided.pop_front() {
            self.current = None;
            return Next::Decided(decision);
        }
        if let Some((lane, at, head)) = found {
            return self.frame(lane, at, head);
        }
        if self.lanes.iter().all(|lane| lane.is_ended) {
            return Next::End;
        }
        // Whoever is told this goes on to it: what comes later than that is late.
        self.reached = self.reached.max(self.floor);
        Next::Nothing(self.on_clocks(self.floor))
    }

    /// What the clock that is behind all others shows at this time of the host.
    fn on_clocks(&self, key: Timestamp) -> Timestamp {
        self.lead_ns.map_or(Timestamp::MIN, |lead_ns| key.shifted(Nanos(lead_ns)))
    }

    fn find_lead(&mut self) {
        let ahead_ns = |tap: &TapState| tap.restamp.as_ref().map_or(Some(0), |restamp| restamp.base_ns);
        self.lead_ns = self.taps.iter().filter_map(ahead_ns).min();
    }

    fn frame(&mut self, at: usize, moment: Moment, head: Head) -> Next<'_> {
        let reached = self.on_clocks(moment.key);
        let lane = &mut self.lanes[at];
        let tap = &mut self.taps[usize::from(lane.tap.0)];
        let Moment { stamp, time, key } = moment;
        tap.frames += 1;
        if key < self.reached {
            if self.reached.0 - key.0 > STEP_NS {
                self.reached = key;
            } else if tap.moved_at <= key {
                tap.late += 1;
            }
        }
        self.reached = self.reached.max(key);
        let before = std::mem::replace(&mut tap.last, time);
        let lost_before = std::mem::take(&mut tap.is_interrupted) | head.lost_before;
        (lane.last, lane.next) = (moment, None);
        let frame = Frame {
            tap: lane.tap,
            link: LinkType::Ethernet,
            time,
            number: tap.frames,
            wire_len: head.wire_len,
            bytes: lane.reader.take(),
        };
        let captured = Captured { frame, has_time: head.time_ns != 0, file: usize::from(frame.tap.0) };
        let lost_since = lost_before.then_some(before);
        Next::Frame(captured, Arrival { lost_since, is_sent: head.is_sent, stamp, reached })
    }

    /// The head of a queue with its times.
    #[inline]
    fn head(&mut self, at: usize) -> Option<(Moment, Head)> {
        let lane = self.lanes.get_mut(at)?;
        let head = lane.reader.head()?;
        let tap = &self.taps[usize::from(lane.tap.0)];
        if head.time_ns == 0 {
            return Some((lane.last, head));
        }
        if tap.restamp.is_none() {
            let (stamp, time) = (Timestamp(head.time_ns), Timestamp(head.time_ns).shifted(tap.offset));
            return Some((Moment { stamp, time, key: time }, head));
        }
        Some((self.restamped(at, &head)?, head))
    }

    /// The same of a tap whose times are not those of NIC and kernel.
    #[inline(never)]
    fn restamped(&mut self, at: usize, head: &Head) -> Option<Moment> {
        let lane = self.lanes.get_mut(at)?;
        if lane.next.is_some() {
            return lane.next;
        }
        let tap = &mut self.taps[usize::from(lane.tap.0)];
        let (restamp, offset) = (tap.restamp.as_mut()?, tap.offset);
        let time = restamp.take(head, lane.reader.bytes(), offset);
        let (moved, is_off_base) = (restamp.take_moved(), restamp.is_off_base());
        let tap = lane.tap;
        if is_off_base {
            self.set_base(usize::from(tap.0));
        }
        if let Some(text) = moved {
            self.times_moved(tap, text, Timestamp(head.time_ns));
        }
        let lane = &mut self.lanes[at];
        let base_ns = self.taps[usize::from(lane.tap.0)].restamp.as_ref()?.base_ns.unwrap_or(0);
        lane.next = Some(Moment { stamp: Timestamp(head.time_ns), time, key: time.shifted(Nanos(-base_ns)) });
        lane.next
    }

    /// A later vote made a tap's times those of a device, with a frame that NIC or kernel stamped so.
    #[cold]
    fn times_moved(&mut self, id: TapId, text: String, stamp: Timestamp) {
        // Frames of its other queues that are looked at already are read once more.
        self.lanes.iter_mut().filter(|lane| lane.tap == id).for_each(|lane| lane.next = None);
        if let Some(tap) = self.taps.get_mut(usize::from(id.0)) {
            tap.moved_at = self.reached;
        }
        let ahead = |tap: &TapState| {
            let ahead_ns = tap.restamp.as_ref().and_then(|restamp| restamp.ahead_ns);
            ahead_ns.map_or(tap.offset, Nanos)
        };
        let moved_at = self.taps.iter().map(|tap| stamp.shifted(ahead(tap))).collect();
        self.told.push((id, text));
        self.decided.push_back(Decision { tap: id, moved_at });
    }

    /// Gives a tap the base of a clock that shows about the same, or one of its own; taps that go with it come along.
    #[cold]
    fn set_base(&mut self, at: usize) {
        let of = |tap: &TapState| tap.restamp.as_ref().and_then(|restamp| Some((restamp.base_ns, restamp.ahead_ns?)));
        let Some((old, ahead_ns)) = self.taps.get(at).and_then(of) else { return };
        let is_near = |base_ns: &i64| base_ns.abs_diff(ahead_ns) <= NEAR_NS;
        let bases = self.taps.iter().filter_map(|tap| tap.restamp.as_ref()?.base_ns);
        let base_ns = [0].into_iter().chain(bases).find(is_near).unwrap_or(ahead_ns);
        for (number, tap) in self.taps.iter_mut().enumerate() {
            let Some(restamp) = &mut tap.restamp else { continue };
            let goes_along = old.is_some() && restamp.base_ns == old && restamp.ahead_ns.is_some_and(|it| is_near(&it));
            if number == at || goes_along {
                restamp.base_ns = Some(base_ns);
            }
        }
        self.find_lead();
        self.tell_wide(at);
    }

    fn tell_wide(&mut self, at: usize) {
        let lead_ns = self.lead_ns.unwrap_or(0);
        let bases = self.taps.iter().filter_map(|tap| tap.restamp.as_ref()?.base_ns);
        let Some(apart_ns) = bases.map(|base_ns| base_ns.abs_diff(lead_ns)).max() else { return };
        if apart_ns > WIDE_NS && self.told.len() < MOST_TOLD {
            let text = format!(
                "its clock is {} s from that of another tap: requests on the tap that is ahead are closed so much later; an offset in \
                 [[tap]] brings them together",
                (apart_ns + 500_000_000) / 1_000_000_000
            );
            self.told.push((TapId(u16::try_from(at).unwrap_or(u16::MAX)), text));
        }
    }

    /// Lets the first frames of taps vote that have not decided yet, and ends the vote where it has lasted enough.
    #[cold]
    fn vote(&mut self, now_ns: u64) {
        // What waits must not fill the queues.
        let is_full = self.lanes.iter().any(|lane| lane.reader.is_half_full());
        for (at, tap) in self.taps.iter_mut().enumerate() {
            let Some(restamp) = tap.restamp.as_mut().filter(|restamp| restamp.is_voting()) else { continue };
            let mut lanes = self.lanes.iter_mut().filter(|lane| usize::from(lane.tap.0) == at).peekable();
            let mut is_ended = lanes.peek().is_some();
            for lane in lanes {
                // In this order: what was flushed before the end is there then.
                is_ended &= lane.reader.is_ended();
                lane.reader.look_ahead(|head, bytes| restamp.vote(head, bytes, now_ns));
            }
            // An idle tap holds nobody up, and may vote later.
            if restamp.has_voted(now_ns) || restamp.has_begun() && (is_ended || is_full) {
                let id = TapId(u16::try_from(at).unwrap_or(u16::MAX));
                self.told.push((id, restamp.decide()));
                self.decided.push_back(Decision { tap: id, moved_at: Vec::new() });
                self.voting -= 1;
            }
        }
    }

    /// Looks at all queues: which has the earliest frame, and until when no other one can have an earlier one.
    fn choose(&mut self, now_ns: u64) -> Option<(usize, Until)> {
        self.current = None;
        if self.voting > 0 {
            self.vote(now_ns);
        }
        if !self.decided.is_empty() {
            return None;
        }
        let overdue = Timestamp(now_ns.saturating_sub(PATIENCE_NS));
        // The first and the second of all heads; the least of what empty queues promise.
        let (mut first, mut second) = (None::<Until>, (Timestamp::MAX, usize::MAX));
        let mut floor = Timestamp::MAX;
        for at in 0..self.lanes.len() {
            let lane = &self.lanes[at];
            let tap = &self.taps[usize::from(lane.tap.0)];
            let shift = tap.restamp.as_ref().map_or(tap.offset, |restamp| Nanos(restamp.promise_ns()));
            let is_voting = tap.restamp.as_ref().is_some_and(Restamp::is_voting);
            // In this order: what was flushed before the promise is there then.
            let (is_ended, promised) = (lane.reader.is_ended(), lane.reader.promised_ns());
            if is_voting && let Some(head) = self.lanes[at].reader.head() {
                let first = Timestamp(head.time_ns).shifted(shift);
                floor = floor.min(if head.time_ns == 0 { self.reached } else { first });
                continue;
            }
            let Some((Moment { key, .. }, _)) = self.head(at) else {
                self.lanes[at].is_ended = is_ended;
                if !is_ended {
                    let promised = Timestamp(promised).max(overdue).shifted(shift);
                    floor = floor.min(promised.max(self.lanes[at].last.key));
                }
                continue;
            };
            let head = (key, at);
            second = second.min(first.map_or(second, |first| first.max(head)));
            first = Some(first.map_or(head, |first| first.min(head)));
        }
        if !self.decided.is_empty() {
            // Some of these keys were of the clock before.
            return None;
        }
        self.floor = first.map_or(floor, |(key, _)| floor.min(key)).min(Timestamp(now_ns));
        let until = second.min((floor, usize::MAX));
        self.current = first.filter(|(key, _)| *key <= floor).map(|(_, at)| (at, until));
        self.current
    }
}

#[cfg(test)]
mod tests;
