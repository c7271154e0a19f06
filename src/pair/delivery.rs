//! What TCP says of a request that is open: it was acknowledged, bytes after it are missing, or it was sent again.

use std::ops::Range;

use tickscope_model::SegmentKind;

use super::pairer::{MOST_CONVERSATIONS, Pairer};
use super::requests::{RequestId, Session};
use super::row::{Detail, Flag, Moment};
use crate::flow::{Arrival, Direction};

/// A TCP retransmission concerns one of so many newest requests.
const RETRANSMISSION_REACH: usize = 512;
/// So many requests of a conversation wait for their acknowledgement, the newest ones.
const MOST_UNACKNOWLEDGED: usize = 1 << 14;

impl Pairer {
    /// A request whose last byte the other side has not acknowledged yet.
    pub(super) fn await_acknowledgement(&mut self, key: (u32, bool), end: u64, id: RequestId) {
        if self.unacknowledged.len() > 2 * MOST_CONVERSATIONS.max(self.unacknowledged_kept) {
            // Of conversations that were cut off, and those of which one side is seen only. All may still be open, then it is
            // looked at once there are twice as many: each request would look at all of them otherwise.
            let is_open = |(_, id): &(u64, RequestId)| self.requests.get(*id).is_some();
            self.unacknowledged.retain(|_, waiting| waiting.back().is_some_and(is_open));
            self.unacknowledged_kept = self.unacknowledged.len();
        }
        let waiting = self.unacknowledged.entry(key).or_default();
        if waiting.len() >= MOST_UNACKNOWLEDGED {
            waiting.pop_front();
        }
        waiting.push_back((end, id));
    }

    /// The peer acknowledged everything before `place`.
    pub fn acknowledged(&mut self, direction: &Direction<'_>, place: u64, arrival: Arrival) {
        let key = (direction.conversation, direction.key.source < direction.key.target);
        let Some(queue) = self.unacknowledged.get_mut(&key) else { return };
        let mut done = std::mem::take(&mut self.acknowledged);
        queue.retain(|&(end, id)| {
            if end <= place {
                done.push(id);
            }
            place < end
        });
        if queue.is_empty() && self.unacknowledged.len() > MOST_CONVERSATIONS {
            self.unacknowledged.remove(&key);
        }
        for id in done.drain(..) {
            self.acknowledge(id, arrival);
        }
        self.acknowledged = done;
    }

    pub(super) fn acknowledge(&mut self, id: RequestId, arrival: Arrival) {
        if let Some(open) = self.requests.get_mut(id) {
            open.row.latency.set(SegmentKind::TcpAck, arrival.time.since(open.row.t_out));
            open.trail.ack_frame = Some((arrival.tap, arrival.frame));
            open.row.timeline.push(Moment {
                time: arrival.time,
                tap: arrival.tap,
                frame: arrival.frame,
                what: "tcp_ack",
                detail: Detail::default(),
            });
        }
    }

    /// The session that has spoken last in this conversation.
    fn session_of(&mut self, direction: &Direction<'_>) -> Option<&mut Session> {
        let at = *self.last_session.get(&direction.conversation)?;
        self.sessions.get_mut(at)
    }

    /// Bytes are missing: whatever is open in this conversation may have lost an answer.
    pub fn stream_gap(&mut self, direction: &Direction<'_>) {
        if let Some(session) = self.session_of(direction) {
            session.gaps += 1;
        }
        for open in self.requests.values_mut() {
            if open.conversation == direction.conversation && !open.trail.answered {
                open.row.flags.set(Flag::Gap);
            }
        }
    }

    /// Bytes were sent again: flags the requests among them.
    pub fn retransmitted(&mut self, direction: &Direction<'_>, places: Range<u64>) {
        if let Some(session) = self.session_of(direction) {
            session.retransmissions += 1;
        }
        let from_source = direction.key.source < direction.key.target;
        self.requests.newest(RETRANSMISSION_REACH, |open| {
            let begin = open.end.saturating_sub(open.length);
            if open.conversation == direction.conversation
                && open.from_source == from_source
                && begin < places.end
                && places.start < open.end
            {
                open.row.flags.set(Flag::Retransmitted);
            }
        });
    }
}
