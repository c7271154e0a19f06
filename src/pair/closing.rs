//! The end of a request: nothing can change it any more, so its row is put out.

use tickscope_model::{Loss, Nanos, SegmentKind, Timestamp};

use super::measured::Measured;
use super::pairer::{Paired, Pairer};
use super::parts;
use super::requests::{RequestId, Trail};
use super::row::{Flag, OrderRow};
use super::trigger::Held;

/// A request that is done is kept this long, for answers that cross it on the wire.
const LINGER: Nanos = Nanos(10_000_000_000);
/// … and until the next multiple of this: where many are closed together, what that takes is in the caches.
const CLOSING_EVERY: u64 = 100_000_000;

impl Pairer {
    /// Whether the first request that is done has been kept for so long.
    #[inline]
    pub(super) fn must_close(&self, now: Timestamp) -> bool {
        let is_due = |time: Timestamp| now.0 / CLOSING_EVERY > time.shifted(LINGER).0 / CLOSING_EVERY;
        self.closing.front().is_some_and(|(time, _)| is_due(*time))
    }

    /// Nothing can change a request any more: its row is written, or waits for the model.
    pub(super) fn close(&mut self, id: RequestId) {
        let Some(mut open) = self.requests.remove(id) else { return };
        self.unwatch(&mut open);
        self.walls.forget(id, &open.row.clordid);
        let units = self.sessions[open.session].units;
        if open.written.is_none()
            && let Some(loss) = parts::measure(&mut open, units)
        {
            self.losses.add(loss);
        }
        let session = &mut self.sessions[open.session];
        if session.by_clordid.get(open.row.clordid.as_bytes()) == Some(&id) {
            session.by_clordid.remove(open.row.clordid.as_bytes());
        }
        if let Some(order_id) = &open.order_id
            && session.by_order_id.get(order_id) == Some(&id)
        {
            session.by_order_id.remove(order_id);
        }
        if open.written.is_some() {
            self.put_out_late(&mut open);
        } else if let Some(case) = open.case.take() {
            self.held.push_back(Held { row: open.row, trail: open.trail, case });
        } else {
            self.write(open.row, &open.trail);
        }
    }

    /// Puts out a request's row.
    pub(super) fn write(&mut self, mut row: Box<OrderRow>, trail: &Trail) {
        if self.settle(&mut row, trail) {
            self.out.push(Paired { row, is_echo: trail.echo });
        }
    }

    /// Makes a row of what is known of a request, and counts it. False where nobody wants to see it.
    pub(super) fn settle(&mut self, row: &mut OrderRow, trail: &Trail) -> bool {
        let in_range = self.rules.from <= row.t_out && row.t_out < self.rules.to;
        let wanted = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
        if !in_range || !wanted(&self.rules.symbols, &row.symbol) || !wanted(&self.rules.sessions, &row.session) {
            self.losses.add(Loss::OutsideWindow);
            return false;
        }
        self.mark_moved(row);
        if row.flags.has(Flag::CrossClock) && !trail.echo {
            self.losses.add(Loss::CrossClock);
        }
        self.settle_clocks(row, trail);
        self.timely.mark(row, self.rules.trigger.window);
        if trail.ack_frame.is_some_and(|frame| trail.report_frames.contains(&frame)) {
            row.flags.set(Flag::AckWithAnswer);
        }
        if row.latency.iter().any(|(_, latency)| latency.0 < 0) {
            row.flags.set(Flag::Negative);
        }
        row.timeline.sort_by_key(|moment| moment.time);
        if trail.echo {
            self.hops += 1;
            let hop = row.latency(SegmentKind::Hop);
            row.latency = Measured::default();
            if let Some(hop) = hop {
                row.latency.set(SegmentKind::Hop, hop);
            }
        } else {
            if !trail.answered {
                row.flags.set(Flag::Unanswered);
                self.losses.add(Loss::Unanswered);
            }
            if row.trigger.is_none() {
                self.losses.add(Loss::Untriggered);
            }
        }
        if row.flags.has(Flag::AckWithAnswer) && row.latency(SegmentKind::TcpAck).is_some() {
            self.losses.add(Loss::AckWithAnswer);
        }
        let negative = row.segments().filter(|(_, latency)| latency.0 < 0).count();
        self.losses.add_many(Loss::Negative, negative as u64);
        true
    }
}
