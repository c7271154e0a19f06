//! What a message from the exchange means for the request that it is about. The rules are those of INTERFACE.md:
//! pending states, corrections and copies are no answers, and a cancel nobody asked for answers nothing.

use tickscope_model::{Loss, OrderEvent, OrderKind, SegmentKind, Timestamp};

use super::attribution::candidates::Report;
use super::pairer::Pairer;
use super::requests::RequestId;
use super::row::{Detail, Flag, Moment};
use super::trigger::report_tick;
use crate::flow::Seen;

impl Pairer {
    pub(super) fn answer(&mut self, session: usize, seen: &Seen, event: &OrderEvent<'_>) {
        match event.kind {
            OrderKind::Logon => {
                self.sessions[session].logons += 1;
                if event.reset {
                    self.sessions[session].reset_sequences();
                }
                return;
            }
            OrderKind::Logout | OrderKind::Other | OrderKind::Quote | OrderKind::MassQuote => return,
            _ => {}
        }
        self.answers += 1;
        self.sessions[session].answers += 1;
        let Some(id) = self.asked_by(session, event) else {
            let orphans = self.early.keep(session, seen, event);
            self.losses.add_many(Loss::Orphan, orphans);
            return;
        };
        self.matched(session, id, seen, event);
    }

    /// A request has come: perhaps its answers were read before it.
    pub(super) fn late_request(&mut self, session: usize, id: RequestId, name: (&[u8], u64), sent: Timestamp) {
        for answer in self.early.take(session, name, sent) {
            self.matched(session, id, answer.seen(), &answer.event());
        }
    }

    fn matched(&mut self, session: usize, id: RequestId, seen: &Seen, event: &OrderEvent<'_>) {
        self.answers_matched += 1;
        if !event.order_id.is_empty() && event.order_id != b"NONE" {
            self.name_by_order_id(session, id, event.order_id);
        }
        self.sessions[session].units.learn(event);
        self.apply(session, id, seen, event);
        let private = self.requests.get_mut(id).map(|open| (open.row.request, &mut open.private));
        if private.is_some_and(|(request, private)| private.tell(request, seen, event)) {
            self.look_later(id, seen.time);
        }
        self.came_late(id);
    }

    /// The exchange calls a request by this OrderID; mostly it has done so before.
    fn name_by_order_id(&mut self, session: usize, id: RequestId, order_id: &[u8]) {
        let by_order_id = &mut self.sessions[session].by_order_id;
        match by_order_id.get_mut(order_id) {
            Some(known) => *known = id,
            None => drop(by_order_id.insert(order_id.into(), id)),
        }
        if let Some(open) = self.requests.get_mut(id).filter(|open| open.order_id.as_deref() != Some(order_id)) {
            open.order_id = Some(order_id.into());
        }
    }

    /// Whether a copy answered the request before: an earlier copy may be read later, from a stream with a hole.
    pub(super) fn is_answered_by_copy(&self, session: usize, event: &OrderEvent<'_>) -> bool {
        let open = self.asked_by(session, event).and_then(|id| self.requests.get(id));
        open.is_some_and(|open| open.row.flags.has(Flag::Resent))
    }

    /// The request that a report is about: by the ClOrdID that it names, else by OrderID, else by message number.
    fn asked_by(&self, session: usize, event: &OrderEvent<'_>) -> Option<RequestId> {
        let state = self.sessions.get(session)?;
        if !event.clordid.is_empty() {
            return state.by_clordid.get(event.clordid).copied();
        }
        if !event.order_id.is_empty() {
            return state.by_order_id.get(event.order_id).copied();
        }
        if event.ref_sequence != 0 { state.by_sequence(event.ref_sequence) } else { None }
    }

    fn apply(&mut self, session: usize, id: RequestId, seen: &Seen, event: &OrderEvent<'_>) {
        let Some(open) = self.requests.get_mut(id) else { return };
        let latency = seen.time.since(open.row.t_out);
        for frame in [(seen.tap, seen.first_frame), (seen.tap, seen.frame)] {
            if open.trail.report_frames.len() < 16 && !open.trail.report_frames.contains(&frame) {
                open.trail.report_frames.push(frame);
            }
        }
        let request = open.row.request;
        if event.kind == OrderKind::Fill && !event.is_copy {
            self.reports.push(Report {
                tick: report_tick(seen.time, seen.frame, event.sequence),
                tap: seen.tap,
                session: open.row.session.clone(),
                symbol: open.row.symbol.clone(),
            });
        }
        let (kind, what, outcome) = match event.kind {
            OrderKind::Ack => (Some(SegmentKind::Ack), "ack", "accepted"),
            OrderKind::Reject | OrderKind::SessionReject => (Some(SegmentKind::Reject), "reject", "rejected"),
            OrderKind::Fill => (Some(SegmentKind::FirstFill), "fill", "filled"),
            OrderKind::Canceled if matches!(request, OrderKind::Cancel | OrderKind::MassCancel) => {
                (Some(SegmentKind::CancelAck), "cancel_ack", "canceled")
            }
            OrderKind::Replaced if request == OrderKind::Replace => {
                (Some(SegmentKind::ReplaceAck), "replace_ack", "replaced")
            }
            OrderKind::Canceled => (None, "canceled", "canceled"),
            OrderKind::Replaced => (None, "replaced", "replaced"),
            _ => (None, "pending", ""),
        };
        if let Some(kind) = kind {
            // The smallest: where the capture delivered segments out of order, the second fill may be the first seen.
            open.row.latency.set_least(kind, latency);
        }
        open.trail.answered |= !outcome.is_empty();
        let last = event.leaves.is_some_and(|leaves| leaves.mantissa == 0) || event.order_status == b'2';
        if event.kind == OrderKind::Fill && last {
            open.row.latency.set_least(SegmentKind::FullFill, latency);
        }
        let moment = Moment { time: seen.time, tap: seen.tap, frame: seen.frame, what, detail: Detail::of(event) };
        if open.row.timeline.len() < 64 {
            open.row.timeline.push(moment);
        }
        if event.is_copy {
            open.row.flags.set(Flag::Resent);
        }
        if event.is_damaged {
            open.row.flags.set(Flag::BadChecksum);
        }
        let comes_late = outcome == "accepted" && open.row.outcome != "unanswered";
        if !outcome.is_empty() && !comes_late {
            open.row.outcome = outcome;
        }
        let is_done = match event.kind {
            OrderKind::Fill => last,
            OrderKind::Ack | OrderKind::Pending => false,
            OrderKind::Replaced => request != OrderKind::Replace,
            _ => true,
        };
        if is_done {
            self.done(id, seen.time);
        }
        if matches!(event.kind, OrderKind::Canceled | OrderKind::Replaced) && !event.orig_clordid.is_empty() {
            self.end_original(session, id, event, seen.time);
        }
    }

    /// The order that was cancelled or replaced is over too.
    fn end_original(&mut self, session: usize, id: RequestId, event: &OrderEvent<'_>, now: Timestamp) {
        let original = self.sessions.get(session).and_then(|state| state.by_clordid.get(event.orig_clordid)).copied();
        let Some(original) = original.filter(|original| *original != id) else { return };
        if let Some(open) = self.requests.get_mut(original) {
            open.row.outcome = if event.kind == OrderKind::Canceled { "canceled" } else { "replaced" };
        }
        self.done(original, now);
    }

    fn done(&mut self, id: RequestId, now: Timestamp) {
        let Some(open) = self.requests.get_mut(id) else { return };
        if open.done.is_none() {
            open.done = Some(now);
            self.close_later(id, now);
        }
    }
}
