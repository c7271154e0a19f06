//! Queues to one run of frames in time order. A frame goes out once every other queue has a later one or has promised that
//! none comes before it (its *floor*): a silent tap promises by the clock, so it holds nobody up. A receiver that neither
//! brings frames nor promises is waited for [`PATIENCE_NS`] at most; frames that come later than that are taken all the same,
//! and counted.

use tickscope_model::{Frame, LinkType, Nanos, TapId, Timestamp};

use super::queue::{Head, Reader};
use crate::capture::Captured;

/// So long a queue may keep the others waiting.
const PATIENCE_NS: u64 = 1_000_000_000;
/// A frame that is older than the one before by more than this is no late one: a clock was set.
const STEP_NS: u64 = 2 * PATIENCE_NS;

/// A tap's part of the merge.
#[derive(Clone, Copy, Debug, Default)]
struct TapState {
    /// Added to every time.
    offset: Nanos,
    /// Frames that went out.
    frames: u64,
    /// … of which so many came when time had gone on beyond them: later frames had gone out, or none was waited for any more.
    late: u64,
    /// Time of the newest.
    last: Timestamp,
    /// Its capture had to be opened anew since.
    is_interrupted: bool,
}

struct Lane {
    tap: TapId,
    reader: Reader,
    /// Time of the frame that was taken last, for those without a stamp.
    last: Timestamp,
    is_ended: bool,
}

/// At equal times the lane that was added first comes first.
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
}

/// What is known of a frame on its way in, beside what every capture knows.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The time of its tap's frame before it, where frames were lost in between.
    pub lost_since: Option<Timestamp>,
    /// By this host, not received.
    pub is_sent: bool,
    /// Its stamp as it was taken, without its tap's offset; that of the frame before where there is none.
    pub stamp: Timestamp,
}

/// What comes next.
pub(super) enum Next<'a> {
    Frame(Captured<'a>, Arrival),
    /// No frame is ready; nothing comes any more that is older than this.
    Nothing(Timestamp),
    /// All queues have ended.
    End,
}

impl Merge {
    pub(super) fn add_tap(&mut self, offset: Nanos) -> TapId {
        self.taps.push(TapState { offset, ..TapState::default() });
        TapId(u16::try_from(self.taps.len() - 1).expect("fewer taps than numbers"))
    }

    pub(super) fn add_queue(&mut self, tap: TapId, reader: Reader) {
        // Those of captures that were opened anew.
        self.lanes.retain(|lane| !lane.is_ended);
        self.lanes.push(Lane { tap, reader, last: Timestamp::MIN, is_ended: false });
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

    /// The next frame, as far as the clock (`now`, UTC) allows.
    #[inline]
    pub(super) fn next(&mut self, now: impl FnOnce() -> u64) -> Next<'_> {
        let again =
            self.current.filter(|(lane, until)| self.head(*lane).is_some_and(|(time, _)| (time, *lane) <= *until));
        let Some((lane, _)) = again.or_else(|| self.choose(now())) else {
            if self.lanes.iter().all(|lane| lane.is_ended) {
                return Next::End;
            }
            // Whoever is told this goes on to it: what comes later than that is late.
            self.reached = self.reached.max(self.floor);
            return Next::Nothing(self.floor);
        };
        match self.head(lane) {
            Some((time, head)) => self.frame(lane, time, head),
            None => Next::Nothing(self.floor),
        }
    }

    fn frame(&mut self, at: usize, time: Timestamp, head: Head) -> Next<'_> {
        let lane = &mut self.lanes[at];
        let tap = &mut self.taps[usize::from(lane.tap.0)];
        tap.frames += 1;
        if time < self.reached {
            if self.reached.0 - time.0 > STEP_NS {
                self.reached = time;
            } else {
                tap.late += 1;
            }
        }
        self.reached = self.reached.max(time);
        let before = std::mem::replace(&mut tap.last, time);
        let lost_before = std::mem::take(&mut tap.is_interrupted) | head.lost_before;
        lane.last = time;
        let frame = Frame {
            tap: lane.tap,
            link: LinkType::Ethernet,
            time,
            number: tap.frames,
            wire_len: head.wire_len,
            bytes: lane.reader.take(),
        };
        let captured = Captured { frame, has_time: head.time_ns != 0, file: usize::from(frame.tap.0) };
        let stamp = time.shifted(Nanos(-tap.offset.0));
        Next::Frame(captured, Arrival { lost_since: lost_before.then_some(before), is_sent: head.is_sent, stamp })
    }

    /// The head of a queue with its time on the clock that counts.
    #[inline]
    fn head(&mut self, at: usize) -> Option<(Timestamp, Head)> {
        let lane = self.lanes.get_mut(at)?;
        let head = lane.reader.head()?;
        let offset = self.taps[usize::from(lane.tap.0)].offset;
        let time = if head.time_ns == 0 { lane.last } else { Timestamp(head.time_ns).shifted(offset) };
        Some((time, head))
    }

    /// Looks at all queues: which has the earliest frame, and until when no other one can have an earlier one.
    fn choose(&mut self, now_ns: u64) -> Option<(usize, Until)> {
        let overdue = Timestamp(now_ns.saturating_sub(PATIENCE_NS));
        // The first and the second of all heads; the least of what empty queues promise.
        let (mut first, mut second) = (None::<Until>, (Timestamp::MAX, usize::MAX));
        let mut floor = Timestamp::MAX;
        for at in 0..self.lanes.len() {
            let lane = &self.lanes[at];
            let offset = self.taps[usize::from(lane.tap.0)].offset;
            // In this order: what was flushed before the promise is there then.
            let (is_ended, promised) = (lane.reader.is_ended(), lane.reader.promised_ns());
            let Some((time, _)) = self.head(at) else {
                self.lanes[at].is_ended = is_ended;
                if !is_ended {
                    let promised = Timestamp(promised).max(overdue).shifted(offset);
                    floor = floor.min(promised.max(self.lanes[at].last));
                }
                continue;
            };
            let head = (time, at);
            second = second.min(first.map_or(second, |first| first.max(head)));
            first = Some(first.map_or(head, |first| first.min(head)));
        }
        self.floor = first.map_or(floor, |(time, _)| floor.min(time)).min(Timestamp(now_ns));
        let until = second.min((floor, usize::MAX));
        self.current = first.filter(|(time, _)| *time <= floor).map(|(_, at)| (at, until));
        self.current
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::queue::{Writer, queue};
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn merge(taps: usize) -> (Merge, Vec<Writer>) {
        let mut merge = Merge::default();
        let writers = (0..taps).map(|_| {
            let (writer, reader) = queue(1 << 20, thread::current());
            let tap = merge.add_tap(Nanos(0));
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
        while let Next::Frame(captured, _) = merge.next(|| now) {
            let frame = captured.frame;
            all.push((frame.tap.0, frame.number, frame.time.0));
        }
        all
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
}
