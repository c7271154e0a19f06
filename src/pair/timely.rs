//! Live, a row does not wait for all that may still come: it is put out soon after its request is done, and when it is
//! `answer_timeout` old at the latest. The request stays open as long as it would have (so that whatever is found by it is
//! found live as it is offline); a latency that is measured behind its row goes to the segments alone.
//! Also here: which rows frames may be missing for that the capture lost.

use std::collections::VecDeque;

use tickscope_model::{Nanos, Timestamp};

use super::measured::Measured;
use super::pairer::{Paired, Pairer};
use super::parts;
use super::requests::{Open, RequestId};
use super::row::{Flag, OrderRow};

/// Answers that cross each other on the wire, and an acknowledgement by TCP that is delayed, come within this.
const SOON: Nanos = Nanos(1_000_000_000);
/// So many stretches in which frames were lost are remembered; longer ago is a part of the oldest.
const LOSSES: usize = 1024;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Timely {
    /// `None`: offline.
    timeout: Option<Nanos>,
    /// Requests by the time when they were sent, and by the time when they were done.
    sent: VecDeque<(Timestamp, RequestId)>,
    done: VecDeque<(Timestamp, RequestId)>,
    /// When frames were lost, oldest first.
    lost: VecDeque<(Timestamp, Timestamp)>,
}

impl Timely {
    pub(super) fn new(timeout: Option<Nanos>) -> Timely {
        Timely { timeout, ..Timely::default() }
    }

    pub(super) fn sent(&mut self, time: Timestamp, id: RequestId) {
        if self.timeout.is_some() {
            self.sent.push_back((time, id));
        }
    }

    pub(super) fn done(&mut self, time: Timestamp, id: RequestId) {
        if self.timeout.is_some() {
            self.done.push_back((time, id));
        }
    }

    #[inline]
    pub(super) fn has_due(&self, now: Timestamp) -> bool {
        self.is_due(&self.done, SOON, now) || self.is_due(&self.sent, Nanos(i64::MAX), now)
    }

    /// Whether the first of a queue is so old, or as old as any gets.
    #[inline]
    fn is_due(&self, queue: &VecDeque<(Timestamp, RequestId)>, age: Nanos, now: Timestamp) -> bool {
        let age = self.timeout.map(|timeout| timeout.min(age));
        age.zip(queue.front()).is_some_and(|(age, first)| first.0.shifted(age) < now)
    }

    /// A request whose row is due, if it is still open and has none.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<RequestId> {
        let first = if self.is_due(&self.done, SOON, now) {
            self.done.pop_front()
        } else if self.is_due(&self.sent, Nanos(i64::MAX), now) {
            self.sent.pop_front()
        } else {
            None
        };
        first.map(|(_, id)| id)
    }

    /// Nothing that was sent is open any more.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.done.clear();
    }

    fn lost(&mut self, from: Timestamp, to: Timestamp) {
        match self.lost.back_mut().filter(|last| from <= last.1) {
            Some(last) => *last = (last.0.min(from), last.1.max(to)),
            None => self.lost.push_back((from, to)),
        }
        if self.lost.len() > LOSSES {
            let oldest = self.lost.pop_front();
            if let (Some(oldest), Some(next)) = (oldest, self.lost.front_mut()) {
                next.0 = oldest.0;
            }
        }
    }

    /// Flags a row whose cause or answers may be among what was lost: between its trigger, or the window's beginning, and its
    /// last answer, or the end of time where it has none.
    pub(super) fn mark(&self, row: &mut OrderRow, window: Nanos) {
        if self.lost.is_empty() {
            return;
        }
        let begin = row.trigger.as_ref().map_or(row.t_out.shifted(Nanos(-window.0)), |trigger| trigger.time);
        let answers = row.timeline.iter().filter(|moment| moment.what != "request").map(|moment| moment.time);
        let end = answers.max().unwrap_or(Timestamp::MAX);
        if self.lost.iter().any(|&(from, to)| from <= end && begin <= to) {
            row.flags.set(Flag::CaptureLoss);
        }
    }
}

impl Pairer {
    /// The capture lost frames of a tap between these two of its frames.
    pub fn capture_lost(&mut self, from: Timestamp, to: Timestamp) {
        self.timely.lost(from, to);
    }

    /// Puts out the row of a request that stays open.
    pub(super) fn write_early(&mut self, id: RequestId) {
        let Some(mut open) = self.requests.take(id) else { return };
        if open.written.is_none() && open.case.is_none() {
            let units = self.sessions[open.session].units;
            if let Some(loss) = parts::measure(&mut open, units) {
                self.losses.add(loss);
            }
            if self.settle(&mut open.row, &open.trail) {
                self.out.push(Paired { row: open.row.clone(), is_echo: open.trail.echo });
                open.written = Some(open.row.latency);
            } else {
                // Nobody wants to see what comes later either.
                open.trail.echo = true;
                open.written = Some(Measured::default());
            }
        }
        self.requests.put_back(id, open);
    }

    /// A request was told something: what is new behind its row goes out.
    pub(super) fn came_late(&mut self, id: RequestId) {
        if self.requests.get(id).is_none_or(|open| open.written.is_none()) {
            return;
        }
        if let Some(mut open) = self.requests.take(id) {
            self.put_out_late(&mut open);
            self.requests.put_back(id, open);
        }
    }

    /// Puts out the latencies that were measured after the row.
    pub(super) fn put_out_late(&mut self, open: &mut Open) {
        let Some(written) = &mut open.written else { return };
        let mut late = Measured::default();
        for (kind, latency) in open.row.latency.iter() {
            if written.get(kind).is_none() {
                late.set(kind, latency);
                written.set(kind, latency);
            }
        }
        // Of a second sighting there is the hop alone, and that is out.
        if late.iter().next().is_some() && !open.trail.echo {
            let mut row = Box::new(OrderRow { timeline: Vec::new(), ..(*open.row).clone() });
            row.latency = late;
            self.out.push(Paired { row, is_echo: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::summary_tests::row;

    #[test]
    fn rows_are_due_soon_after_they_are_done_and_at_the_timeout() {
        let mut timely = Timely::new(Some(Nanos(10_000_000_000)));
        timely.sent(Timestamp(0), 1);
        timely.sent(Timestamp(5_000_000_000), 2);
        timely.done(Timestamp(7_000_000_000), 2);
        for (now, expected) in [
            (8_000_000_000, None),
            (8_000_000_001, Some(2)),
            (10_000_000_000, None),
            (10_000_000_001, Some(1)),
            (14_000_000_000, None),
        ] {
            assert_eq!(timely.due(Timestamp(now)), expected, "{now}");
        }
    }

    #[test]
    fn rows_under_way_while_frames_were_lost_are_flagged() {
        let mut timely = Timely::default();
        timely.lost(Timestamp(100), Timestamp(200));
        // Unanswered and without a trigger: its cause may have come since 50, its answer at any time.
        for (sent, window, expected) in [(99, 10, true), (150, 10, true), (205, 10, true), (211, 10, false)] {
            let mut row = row("a", sent);
            row.timeline.clear();
            timely.mark(&mut row, Nanos(window));
            assert_eq!(row.flags.has(Flag::CaptureLoss), expected, "{sent}");
        }
    }

    #[test]
    fn stretches_of_loss_are_joined_where_there_are_too_many() {
        let mut timely = Timely::default();
        for at in 0..2000_u64 {
            timely.lost(Timestamp(at * 10), Timestamp(at * 10 + 1));
        }
        assert_eq!((timely.lost.len(), timely.lost.front().map(|lost| lost.0)), (LOSSES, Some(Timestamp(0))));
    }
}
