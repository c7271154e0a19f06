//! Which frame brought which byte of a stream, and which frame of the peer acknowledged it: what turns the place of a
//! message in the stream into its times. Places count from the stream's beginning, so they never wrap around.

use std::collections::VecDeque;

use tickscope_model::{TapId, Timestamp};

/// So many advances of the peer's acknowledgement are remembered.
const ACKS_KEPT: usize = 256;

/// The frame that brought some bytes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub tap: TapId,
    pub frame: u64,
    pub time: Timestamp,
    /// Earlier bytes of the stream were still missing when these came.
    pub early: bool,
    /// The frame was cut by the capture.
    pub cut: bool,
}

/// Bytes `start..end` of the stream, counted from its beginning, and what brought them.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u64,
    end: u64,
    arrival: Arrival,
}

/// What is known of the peer's acknowledgement when a message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// None was seen that covers the last byte.
    NotYet,
    /// The first one that covers the last byte.
    By(Arrival),
    /// The last byte was acknowledged before a frame with it was captured, so that the frame that was acknowledged is not
    /// in the capture; or it is too long ago to say.
    Unseen,
}

/// The last advances of the peer's acknowledgement, for messages that are read after their ACK was seen.
#[derive(Debug, Default)]
pub(super) struct Acks {
    last: VecDeque<(u64, Arrival)>,
    /// Up to here the first ACK may have been forgotten.
    forgotten: u64,
}

/// Which frame brought which byte that has not been used yet, and which frame of the peer acknowledged it.
#[derive(Debug, Default)]
pub struct History {
    /// Sorted and disjoint.
    pieces: VecDeque<Piece>,
    pub(super) acks: Acks,
}

impl History {
    /// What brought the byte at `place`.
    pub fn brought(&self, place: u64) -> Option<Arrival> {
        let at = self.pieces.partition_point(|piece| piece.end <= place);
        self.pieces.get(at).filter(|piece| piece.start <= place).map(|piece| piece.arrival)
    }

    /// Whether a frame that brought any of these bytes was cut.
    pub fn was_cut(&self, start: u64, end: u64) -> bool {
        let from = self.pieces.partition_point(|piece| piece.end <= start);
        self.pieces.iter().skip(from).take_while(|piece| piece.start < end).any(|piece| piece.arrival.cut)
    }

    /// The first ACK that covered everything before `place`, whose last byte came at `time`.
    pub fn acknowledged(&self, place: u64, time: Timestamp) -> Acked {
        if place <= self.acks.forgotten {
            return Acked::Unseen;
        }
        // Nearly always the message has just come.
        if self.acks.last.back().is_none_or(|(acked, _)| *acked < place) {
            return Acked::NotYet;
        }
        let first = self.acks.last.partition_point(|(acked, _)| *acked < place);
        match self.acks.last.get(first) {
            None => Acked::NotYet,
            Some(&(_, arrival)) if time <= arrival.time => Acked::By(arrival),
            Some(_) => Acked::Unseen,
        }
    }

    /// When the newest of the bytes came.
    pub fn latest(&self) -> Timestamp {
        self.pieces.back().map_or(Timestamp::MIN, |piece| piece.arrival.time)
    }

    pub(super) fn add(&mut self, start: u64, len: usize, arrival: Arrival) {
        let at = self.pieces.partition_point(|other| other.start < start);
        self.pieces.insert(at, Piece { start, end: start + len as u64, arrival });
    }

    /// The pieces that `start..end` is made of: where each begins and ends, and what brought it.
    pub(super) fn within(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64, Arrival)> {
        let from = self.pieces.partition_point(|piece| piece.end <= start);
        let inside = self.pieces.iter().skip(from).take_while(move |piece| piece.start < end);
        inside.map(move |piece| (piece.start.max(start), piece.end.min(end), piece.arrival))
    }

    pub(super) fn forget_before(&mut self, place: u64) {
        while self.pieces.front().is_some_and(|piece| piece.end <= place) {
            self.pieces.pop_front();
        }
    }

    /// Forgets the pieces that are not wanted any more; asks for each by its beginning and end.
    pub(super) fn keep_only(&mut self, is_kept: impl Fn(u64, u64) -> bool) {
        self.pieces.retain(|piece| is_kept(piece.start, piece.end));
    }

    /// The acknowledgement has moved on to `place`.
    pub(super) fn acknowledge(&mut self, place: u64, arrival: Arrival) {
        if self.acks.last.len() == ACKS_KEPT
            && let Some((oldest, _)) = self.acks.last.pop_front()
        {
            self.acks.forgotten = oldest;
        }
        self.acks.last.push_back((place, arrival));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_from_before_the_first_sight_is_not_the_messages_own() {
        let at = |time| Arrival { tap: TapId(0), frame: time, time: Timestamp(time), early: false, cut: false };
        let mut history = History::default();
        history.acknowledge(100, at(5));
        history.acknowledge(200, at(9));
        assert_eq!(history.acknowledged(100, Timestamp(5)), Acked::By(at(5)));
        assert_eq!(
            history.acknowledged(100, Timestamp(6)),
            Acked::Unseen,
            "not the one at 9, which moved on from there"
        );
        assert_eq!(history.acknowledged(101, Timestamp(6)), Acked::By(at(9)));
        assert_eq!(history.acknowledged(201, Timestamp(6)), Acked::NotYet);
        for more in 0..ACKS_KEPT as u64 {
            history.acknowledge(300 + more, at(10));
        }
        assert_eq!(history.acknowledged(150, Timestamp(6)), Acked::Unseen, "forgotten");
        assert_eq!(history.acknowledged(201, Timestamp(6)), Acked::By(at(10)));
    }
}
