//! Queues to one run of frames in time order. A frame goes out once every other queue has a later one or has promised that
//! none comes before it (its *floor*): a silent tap promises by the clock, so it holds nobody up. A receiver that neither
//! brings frames nor promises is waited for [`PATIENCE_NS`] at most; frames that come later than that are taken all the same,
//! and counted.
//!
//! A tap whose frames carry stamps gets their times here, when a frame becomes the first of its queue (`restamp`): so taps of
//! one device are merged by that device's times, as `analyze` does it. Frames are compared by their *key*: their time, less
//! what the clock of their tap is ahead of this host's where that is much. While its first frames vote on whose stamps count,
//! a tap's frames wait, and later ones of others with them.

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
    decided: VecDeque<TapId>,
    told: Vec<(TapId, String)>,
    /// How far the clock that is behind all others is ahead of this host's; of taps that have had frames, roughly. `None`
    /// before the first.
    lead_ns: Option<i64>,
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
    /// It was decided whose times those of this tap are. None of its frames has come before.
    Decided(TapId),
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
        let again = self.current.and_then(|(lane, until)| {
            let (at, head) = self.head(lane).filter(|(at, _)| (at.key, lane) <= until)?;
            Some((lane, at, head))
        });
        let found = again.or_else(|| {
            let (lane, _) = self.choose(now())?;
            let (at, head) = self.head(lane)?;
            Some((lane, at, head))
        });
        if let Some((lane, at, head)) = found {
            return self.frame(lane, at, head);
        }
        if let Some(tap) = self.decided.pop_front() {
            return Next::Decided(tap);
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
            } else {
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
        if restamp.is_off_base() {
            let tap = usize::from(lane.tap.0);
            self.set_base(tap);
        }
        let lane = &mut self.lanes[at];
        let base_ns = self.taps[usize::from(lane.tap.0)].restamp.as_ref()?.base_ns.unwrap_or(0);
        lane.next = Some(Moment { stamp: Timestamp(head.time_ns), time, key: time.shifted(Nanos(-base_ns)) });
        lane.next
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
                self.decided.push_back(id);
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
        self.floor = first.map_or(floor, |(key, _)| floor.min(key)).min(Timestamp(now_ns));
        let until = second.min((floor, usize::MAX));
        self.current = first.filter(|(key, _)| *key <= floor).map(|(_, at)| (at, until));
        self.current
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::queue::{Writer, queue};
    use super::*;
    use crate::capture::stamp::Trailer;

    const SECOND: u64 = 1_000_000_000;

    fn merge(taps: usize) -> (Merge, Vec<Writer>) {
        let mut merge = Merge::default();
        let writers = (0..taps).map(|_| {
            let (writer, reader) = queue(1 << 20, thread::current());
            let tap = merge.add_tap(&TapTime { trailer: Trailer::None, ..TapTime::default() });
            merge.add_queue(tap, reader);
            writer
        });
        let writers = writers.collect();
        (merge, writers)
    }

    fn send(writer: &mut Writer, times: &[u64]) {
        for &time in times {
            writer.push(Head::new(time, 60, false), &[0; 60]);
        }
        writer.flush();
    }

    /// Tap, number and time of every frame that is ready at this time.
    fn ready(merge: &mut Merge, now: u64) -> Vec<(u16, u64, u64)> {
        let mut all = Vec::new();
        loop {
            match merge.next(|| now) {
                Next::Frame(Captured { frame, .. }, _) => all.push((frame.tap.0, frame.number, frame.time.0)),
                Next::Decided(_) => {}
                Next::Nothing(_) | Next::End => return all,
            }
        }
    }

    #[test]
    fn frames_come_in_time_order_as_far_as_the_other_queues_have_come() {
        let (mut merge, mut writers) = merge(2);
        let now = 10 * SECOND;
        let clock = now + SECOND / 2;
        send(&mut writers[0], &[now + 1, now + 5, now + 9]);
        assert_eq!(ready(&mut merge, clock), [], "the other one may have an earlier frame");
        send(&mut writers[1], &[now + 3, now + 5, now + 6]);
        let expected = [(0, 1, now + 1), (1, 1, now + 3), (0, 2, now + 5), (1, 2, now + 5), (1, 3, now + 6)];
        assert_eq!(ready(&mut merge, clock), expected);
        writers[1].promise(now + 8);
        assert!(matches!(merge.next(|| clock), Next::Nothing(floor) if floor.0 == now + 8));
        writers[1].promise(now + 9);
        assert_eq!(ready(&mut merge, clock), [(0, 3, now + 9)]);
        writers.into_iter().for_each(Writer::end);
        assert!(matches!(merge.next(|| clock), Next::End));
    }

    #[test]
    fn a_queue_that_says_nothing_is_waited_for_a_second_and_its_late_frames_are_counted() {
        let (mut merge, mut writers) = merge(2);
        let start = 10 * SECOND;
        send(&mut writers[0], &[start, start + 5]);
        assert_eq!(ready(&mut merge, start + SECOND - 1), []);
        assert_eq!(ready(&mut merge, start + SECOND + 5).len(), 2);
        send(&mut writers[1], &[start + 3, start + 7]);
        assert_eq!(ready(&mut merge, start + SECOND + 7), [(1, 1, start + 3), (1, 2, start + 7)]);
        assert_eq!((merge.late(TapId(0)), merge.late(TapId(1))), (0, 1));
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed() {
        let (mut merge, mut writers) = merge(1);
        send(&mut writers[0], &[100 * SECOND, 40 * SECOND, 41 * SECOND, 41 * SECOND - 1]);
        writers.remove(0).end();
        assert_eq!(ready(&mut merge, 0).len(), 4);
        assert_eq!(merge.late(TapId(0)), 1);
    }

    /// Two taps of one device, and the frame that arrives at a time with a stamp of its clock, `ahead` of this host's.
    fn stamped(trailer: &str) -> (Merge, Vec<Writer>) {
        let mut merge = Merge::default();
        let writer = |_| {
            let (writer, reader) = queue(1 << 20, thread::current());
            let trailer = Trailer::named(trailer).unwrap();
            let tap = merge.add_tap(&TapTime { trailer, ..TapTime::default() });
            merge.add_queue(tap, reader);
            writer
        };
        let writers = [0, 1].map(writer).into();
        (merge, writers)
    }

    fn send_stamped(writer: &mut Writer, frames: &[(u64, u64)]) {
        for &(arrival, stamp) in frames {
            let body = [stamp / SECOND, stamp % SECOND].map(|part| u32::try_from(part).unwrap().to_be_bytes()).concat();
            let frame = [vec![0; 64], body, vec![0, 0, 1, 2]].concat();
            writer.push(Head::new(arrival, u32::try_from(frame.len()).unwrap(), false), &frame);
        }
        writer.flush();
    }

    const DAY: u64 = 1_700_000_000 * SECOND;

    #[test]
    fn frames_of_one_device_come_in_the_order_of_its_stamps() {
        for ahead in [0, 3 * SECOND] {
            let (mut merge, mut writers) = stamped("metamako");
            let stamp = |after: u64| DAY + ahead + after;
            send_stamped(&mut writers[0], &[(DAY + 100, stamp(10)), (DAY + 200, stamp(120))]);
            send_stamped(&mut writers[1], &[(DAY + 90, stamp(20)), (DAY + 250, stamp(110))]);
            assert_eq!(ready(&mut merge, DAY + 1000), [], "they vote");
            writers.into_iter().for_each(Writer::end);
            let expected = [(0, 1, stamp(10)), (1, 1, stamp(20)), (1, 2, stamp(110)), (0, 2, stamp(120))];
            assert_eq!(ready(&mut merge, DAY + 2000), expected);
            assert_eq!((merge.late(TapId(0)), merge.late(TapId(1))), (0, 0));
            let counts = merge.stamps(TapId(1)).unwrap().counts;
            assert_eq!((counts.stamped, counts.without()), (2, 0), "each frame is read once");
        }
    }

    #[test]
    fn a_vote_ends_after_some_seconds_or_when_queues_fill() {
        let (mut merge, mut writers) = stamped("auto");
        send_stamped(&mut writers[0], &[(DAY, DAY)]);
        assert_eq!(ready(&mut merge, DAY + 1), []);
        assert_eq!(ready(&mut merge, DAY + 6 * SECOND), [(0, 1, DAY)], "one frame elects nobody");
        let told = [0, 1].map(|tap| merge.take_told(TapId(tap)).len());
        assert_eq!(told, [1, 0], "the other tap has no frame, and holds nobody up");

        let (mut merge, mut writers) = stamped("auto");
        for number in 0..100 {
            let frame = vec![0; 8000];
            writers[0].push(Head::new(DAY + number, 8000, false), &frame);
        }
        writers[0].flush();
        writers[1].promise(DAY + SECOND);
        assert_eq!(ready(&mut merge, DAY + SECOND).len(), 100);
        assert_eq!(merge.take_told(TapId(1)).len(), 0, "it may vote later");
    }

    #[test]
    fn a_device_whose_clock_is_set_goes_on_in_its_place() {
        let (mut merge, mut writers) = stamped("metamako");
        send_stamped(&mut writers[0], &[(DAY + 1, DAY)]);
        send_stamped(&mut writers[1], &[(DAY + 6, DAY + 5)]);
        assert_eq!(ready(&mut merge, DAY + 1), []);
        assert_eq!(ready(&mut merge, DAY + 6 * SECOND), [(0, 1, DAY), (1, 1, DAY + 5)], "they have voted");
        let (now, set) = (DAY + 10 * SECOND, 1000 * SECOND);
        send_stamped(&mut writers[0], &[(now + 11, now + set + 10), (now + 21, now + set + 20)]);
        send_stamped(&mut writers[1], &[(now + 16, now + 15), (now + 26, now + 25)]);
        writers.into_iter().for_each(Writer::end);
        // The first stamp of another time is not believed; the next one, which agrees with it, is.
        let expected = [(0, 2, now + 10), (1, 2, now + 15), (0, 3, now + set + 20), (1, 3, now + 25)];
        assert_eq!(ready(&mut merge, now + SECOND), expected);
        assert_eq!((merge.late(TapId(0)), merge.late(TapId(1))), (0, 0));
        assert!(merge.take_told(TapId(0)).iter().any(|text| text.contains("1000 s from")));
    }
}
