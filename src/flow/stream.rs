//! One direction of a TCP conversation: segments as captured go in, bytes in order come out, each byte with the
//! frame that brought it first. Holes wait for their bytes until the peer has acknowledged them (then the capture
//! missed them), too much is waiting behind them, or they are too old (RFC 9293, sections 3.4 and 3.10.7.4).

use std::collections::VecDeque;
use std::ops::Range;

use tickscope_model::Timestamp;

use super::history::{Arrival, History};
use super::mend::Wounds;

/// At most this many bytes wait behind a hole.
const HELD_LIMIT: usize = 1 << 20;
/// A hole that the peer has acknowledged is given up after this long: two taps of one conversation, or two queues of
/// a NIC, may deliver an ACK a little before the data.
const ACKED_GRACE_NS: i64 = 5_000_000;
/// A hole that nobody acknowledges is given up after this long; retransmissions normally take less.
const HOLE_AGE_NS: i64 = 3_000_000_000;
/// A segment this far from the expected place belongs to another connection with the same ports.
const FAR_BYTES: i64 = 1 << 26;
/// Bytes in order that no message can be made of are given up beyond this.
const UNREAD_LIMIT: usize = 2 << 20;
/// So many such segments in a row, and the stream starts anew.
const FAR_LIMIT: u8 = 3;

/// What a reader did with bytes in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// So many were used; the rest comes back.
    pub used: usize,
    /// Where the first message among them begins.
    pub first: Option<u64>,
}

/// Who reads the bytes in order.
pub trait StreamSink {
    /// In-order bytes; the first stands at `base` in the stream.
    fn bytes(&mut self, base: u64, bytes: &[u8], history: &History) -> Taken;
    /// Bytes that came after the stream had gone on without them, with what lies around them and was not read. Returns the
    /// messages in them, `None` where it is not known yet how to read them.
    fn mended(&mut self, base: u64, bytes: &[u8], history: &History) -> Option<Vec<Range<u64>>>;
    /// `missing` bytes will never come; `discarded` bytes of a message that had begun are given up.
    fn gap(&mut self, missing: u64, discarded: u64);
    /// Bytes `start..end` were sent again.
    fn retransmitted(&mut self, start: u64, end: u64);
}

struct Held {
    start: u64,
    bytes: Vec<u8>,
}

impl Held {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// One direction of a conversation.
#[derive(Default)]
pub struct Stream {
    started: bool,
    /// Sequence number of the byte that is expected next …
    next: u32,
    /// … and its place in the stream.
    offset: u64,
    /// Bytes in order that the reader has not used yet; they end at `offset`.
    unread: Vec<u8>,
    history: History,
    held: VecDeque<Held>,
    held_bytes: usize,
    hole_since: Option<Timestamp>,
    /// The peer acknowledged up to here, first said at this time.
    acked_hole: Option<(u64, Timestamp)>,
    far: u8,
    /// Bytes of segments that had no place in the stream.
    stray: u64,
    /// Place of the FIN, which takes a sequence number but is no byte.
    fin: Option<u64>,
    /// Highest place that the peer has acknowledged.
    acked: u64,
    /// What the peer had acknowledged before the stream started.
    acked_before: Option<(u32, Arrival)>,
    wounds: Wounds,
    /// When the newest segment or ACK came.
    latest: Timestamp,
}

impl Stream {
    /// Where a fresh stream counts from. Not 0, so that a byte before the first captured one has a place too.
    const BASE: u64 = 1 << 32;
    /// How far from the first captured byte of a connection in mid-session an earlier one may lie.
    const REACH: u64 = 1 << 20;

    pub fn has_started(&self) -> bool {
        self.started
    }

    /// Bytes that are kept, which are bounded.
    pub fn waiting_bytes(&self) -> usize {
        self.unread.len() + self.held_bytes + self.wounds.bytes()
    }

    /// Bytes that wait behind a hole.
    pub fn held(&self) -> usize {
        self.held_bytes
    }

    /// A SYN: the stream begins behind it. Returns whether this is another connection than the one so far.
    pub fn open(&mut self, sequence: u32) -> bool {
        let first = sequence.wrapping_add(1);
        if self.started && first == self.next && self.offset == Self::BASE {
            return false;
        }
        // A repeated SYN of a connection that has moved on lies at the stream's very first byte.
        let behind = self.next.wrapping_sub(first);
        if self.started && u64::from(behind) == self.offset - Self::BASE {
            return false;
        }
        let renewed = self.started;
        *self = Stream { started: true, next: first, offset: Self::BASE, acked: Self::BASE, ..Stream::default() };
        renewed
    }

    /// A FIN behind the byte before `sequence`.
    pub fn close(&mut self, sequence: u32) {
        if let Some(place) = self.place(sequence).and_then(|place| u64::try_from(place).ok()) {
            self.fin.get_or_insert(place);
        }
    }

    /// Bytes of the stream so far: read, waiting to be read, missing and stray.
    pub fn spanned(&self) -> u64 {
        if self.started { self.offset - Self::BASE + self.stray } else { 0 }
    }

    /// Place of a sequence number in the stream; `None` when the stream has not started.
    fn place(&self, sequence: u32) -> Option<i128> {
        // Reading the difference as signed is what makes the wrap-around at 2^32 disappear.
        let difference = sequence.wrapping_sub(self.next).cast_signed();
        self.started.then(|| i128::from(self.offset) + i128::from(difference))
    }

    /// The peer acknowledges everything before `sequence`. Returns the new place if that is an advance.
    pub fn acknowledge(&mut self, sequence: u32, arrival: Arrival) -> Option<u64> {
        if !self.started {
            let is_behind = |(before, _): (u32, Arrival)| sequence.wrapping_sub(before).cast_signed() <= 0;
            if !self.acked_before.is_some_and(is_behind) {
                self.acked_before = Some((sequence, arrival));
            }
        }
        let place = u64::try_from(self.place(sequence)?).ok()?;
        let place = self.fin.map_or(place, |fin| place.min(fin));
        let ahead = i128::from(place) - i128::from(self.offset);
        if place <= self.acked || ahead > i128::from(FAR_BYTES) {
            return None;
        }
        self.acked = place;
        self.history.acknowledge(place, arrival);
        if place > self.offset && self.acked_hole.is_none() {
            self.acked_hole = Some((place, arrival.time));
        }
        Some(place)
    }

    /// A segment with payload. `missing` bytes at its end were cut by the capture.
    pub fn segment(
        &mut self,
        sequence: u32,
        payload: &[u8],
        missing: u32,
        arrival: Arrival,
        sink: &mut dyn StreamSink,
    ) {
        if !self.started {
            self.begin(sequence, arrival.time);
        }
        self.expire(arrival.time, sink);
        let Some(start) = self.place(sequence) else { return };
        let distance = start - i128::from(self.offset);
        if distance.unsigned_abs() > FAR_BYTES.unsigned_abs().into() {
            self.far += 1;
            if self.far < FAR_LIMIT {
                self.stray += payload.len() as u64;
                sink.gap(payload.len() as u64, 0);
                return;
            }
            return self.begin_anew(sequence, payload, missing, arrival, sink);
        }
        self.far = 0;
        let start = u64::try_from(start).unwrap_or(0);
        self.place_bytes(start, payload, arrival, sink);
        self.read(sink);
        if missing > 0 {
            self.cut_tail(start + payload.len() as u64, u64::from(missing), sink);
        }
        self.note_hole(arrival.time);
    }

    /// A stream whose SYN was not captured: bytes before the first captured one may still come.
    fn begin(&mut self, sequence: u32, now: Timestamp) {
        let (acked_before, stray) = (self.acked_before, self.stray);
        *self = Stream { started: true, next: sequence, offset: Self::BASE, stray, ..Stream::default() };
        self.wounds.open(Self::BASE - Self::REACH, now);
        if let Some((before, arrival)) = acked_before {
            self.acknowledge(before, arrival);
        }
    }

    /// The numbers have jumped for good: another connection with these ports whose SYN was not captured.
    fn begin_anew(&mut self, sequence: u32, payload: &[u8], missing: u32, arrival: Arrival, sink: &mut dyn StreamSink) {
        self.give_up_all(sink);
        sink.gap(0, self.unread.len() as u64);
        *self = Stream { stray: self.spanned(), ..Stream::default() };
        self.segment(sequence, payload, missing, arrival, sink);
    }

    /// Gives up holes that have been acknowledged or are too old by `now`.
    pub fn expire(&mut self, now: Timestamp, sink: &mut dyn StreamSink) {
        self.latest = now;
        self.wounds.expire(now);
        if let Some((place, since)) = self.acked_hole {
            if place <= self.offset {
                self.acked_hole = None;
            } else if now.since(since).0 > ACKED_GRACE_NS {
                self.acked_hole = None;
                self.skip_to(place.min(self.first_held().unwrap_or(place)), sink);
                self.read(sink);
                // What lies behind the next hole may have been acknowledged as well.
                if self.acked > self.offset {
                    self.acked_hole = Some((self.acked, since));
                    return self.expire(now, sink);
                }
            }
        }
        if self.hole_since.is_some_and(|since| now.since(since).0 > HOLE_AGE_NS) {
            self.give_up_hole(sink);
            self.hole_since = None;
            self.note_hole(now);
        }
    }

    /// Goes on behind the first hole, without the bytes that are missing.
    pub fn give_up_hole(&mut self, sink: &mut dyn StreamSink) {
        if let Some(place) = self.first_held() {
            self.skip_to(place, sink);
            self.read(sink);
        }
    }

    /// The end of the capture or of the connection: whatever waits behind holes is read now.
    pub fn finish(&mut self, sink: &mut dyn StreamSink) {
        if self.started {
            self.give_up_all(sink);
        }
    }

    /// Bytes in order that no message was made of (the head of a message whose end was not captured).
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    fn first_held(&self) -> Option<u64> {
        self.held.front().map(|held| held.start)
    }

    fn note_hole(&mut self, now: Timestamp) {
        self.hole_since = if self.held.is_empty() { None } else { self.hole_since.or(Some(now)) };
    }

    fn give_up_all(&mut self, sink: &mut dyn StreamSink) {
        while let Some(place) = self.first_held() {
            self.skip_to(place, sink);
            self.read(sink);
        }
        if self.acked > self.offset {
            self.skip_to(self.acked, sink);
        }
        self.hole_since = None;
        self.acked_hole = None;
    }

    /// Everything before `place` that is not there is lost.
    fn skip_to(&mut self, place: u64, sink: &mut dyn StreamSink) {
        let missing = place.saturating_sub(self.offset);
        if missing == 0 {
            return;
        }
        sink.gap(missing, self.unread.len() as u64);
        let base = self.offset - self.unread.len() as u64;
        self.wounds.open(base, self.latest);
        self.wounds.keep(base, &self.unread, &self.history);
        self.unread.clear();
        self.advance(missing);
        self.forget_pieces();
    }

    fn advance(&mut self, count: u64) {
        self.offset += count;
        // Sequence numbers live modulo 2^32 (RFC 9293, section 3.4), so the low half of the count is what moves them.
        self.next = self.next.wrapping_add(u32::try_from(count & 0xFFFF_FFFF).expect("masked to 32 bits"));
    }

    fn forget_pieces(&mut self) {
        self.history.forget_before(self.offset - self.unread.len() as u64);
    }

    /// The end of a cut segment was on the wire and will not come again.
    fn cut_tail(&mut self, start: u64, missing: u64, sink: &mut dyn StreamSink) {
        if start <= self.offset && self.offset < start + missing {
            let place = (start + missing).min(self.first_held().unwrap_or(u64::MAX));
            self.skip_to(place, sink);
            self.read(sink);
        }
    }

    /// Keeps what is new of `start..start + payload.len()`; of bytes that came twice the first copy stays.
    fn place_bytes(&mut self, start: u64, payload: &[u8], arrival: Arrival, sink: &mut dyn StreamSink) {
        let end = start + payload.len() as u64;
        let old = usize::try_from(self.offset.saturating_sub(start)).unwrap_or(usize::MAX).min(payload.len());
        if old > 0 {
            // A keep-alive repeats the last byte (RFC 9293, section 3.8.4); only more than that is a retransmission.
            if !(payload.len() <= 1 && end == self.offset) {
                sink.retransmitted(start, start + old as u64);
                let unread = self.offset - self.unread.len() as u64;
                let read = usize::try_from(unread.saturating_sub(start)).unwrap_or(usize::MAX).min(old);
                self.wounds.late(start, payload.split_at(read).0, arrival);
            }
        }
        let (mut from, mut rest) = (start + old as u64, payload.split_at(old).1);
        while !rest.is_empty() {
            // Held pieces are sorted, disjoint and behind `offset`: of this segment only what lies between them is new.
            let slot = self.held.partition_point(|held| held.end() <= from);
            let next = self.held.get(slot);
            let known = if from < self.offset {
                self.offset - from
            } else {
                next.filter(|held| held.start <= from).map_or(0, |held| held.end() - from)
            };
            let space = next.map_or(u64::MAX, |held| held.start.saturating_sub(from));
            let take = usize::try_from(if known > 0 { known } else { space }).unwrap_or(usize::MAX).min(rest.len());
            let (piece, tail) = rest.split_at(take);
            if known > 0 {
                sink.retransmitted(from, from + take as u64);
            } else if from == self.offset {
                self.unread.extend_from_slice(piece);
                self.history.add(from, take, arrival);
                self.advance(take as u64);
                self.take_held();
            } else {
                self.held_bytes += take;
                self.held.insert(slot, Held { start: from, bytes: piece.to_vec() });
                self.history.add(from, take, Arrival { early: true, ..arrival });
            }
            from += take as u64;
            rest = tail;
        }
        while self.held_bytes > HELD_LIMIT {
            let Some(place) = self.first_held() else { break };
            self.skip_to(place, sink);
            self.take_held();
        }
    }

    /// Moves held bytes that have become contiguous behind the unread ones.
    fn take_held(&mut self) {
        while self.first_held() == Some(self.offset) {
            let Some(held) = self.held.pop_front() else { break };
            self.held_bytes -= held.bytes.len();
            self.unread.extend_from_slice(&held.bytes);
            self.advance(held.bytes.len() as u64);
        }
    }

    fn read(&mut self, sink: &mut dyn StreamSink) {
        self.take_held();
        if !self.unread.is_empty() {
            self.read_unread(sink);
        }
        self.wounds.read(&mut self.history.acks, sink);
        self.forget_pieces();
    }

    fn read_unread(&mut self, sink: &mut dyn StreamSink) {
        let base = self.offset - self.unread.len() as u64;
        let Taken { used, first } = sink.bytes(base, &self.unread, &self.history);
        let used = used.min(self.unread.len());
        if self.wounds.is_open() {
            // Up to the first message they were passed over: the end of a message whose beginning is missing.
            let passed = first.map_or(used, |first| usize::try_from(first.saturating_sub(base)).unwrap_or(used));
            self.wounds.keep(base, self.unread.split_at(passed.min(used)).0, &self.history);
            if let Some(first) = first {
                self.wounds.close(first);
            }
        }
        self.unread.drain(..used);
        if self.unread.len() > UNREAD_LIMIT {
            sink.gap(0, self.unread.len() as u64);
            self.unread.clear();
        }
    }

    /// Offers the unread bytes again, to a reader that could not tell before what they are.
    pub fn reread(&mut self, sink: &mut dyn StreamSink) {
        self.read(sink);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tickscope_model::TapId;

    use super::*;

    /// Uses up every byte at once and notes when each was first seen.
    #[derive(Default)]
    struct Bytes {
        read: Vec<u8>,
        times: Vec<u64>,
        missing: u64,
        repeated: u64,
    }

    impl StreamSink for Bytes {
        fn bytes(&mut self, base: u64, bytes: &[u8], history: &History) -> Taken {
            for (at, &byte) in bytes.iter().enumerate() {
                self.read.push(byte);
                self.times.push(history.brought(base + at as u64).expect("every byte was brought").time.0);
            }
            Taken { used: bytes.len(), first: Some(base) }
        }
        fn mended(&mut self, base: u64, bytes: &[u8], history: &History) -> Option<Vec<Range<u64>>> {
            self.bytes(base, bytes, history);
            Some(std::iter::once(base..base + bytes.len() as u64).collect())
        }
        fn gap(&mut self, missing: u64, _discarded: u64) {
            self.missing += missing;
        }
        fn retransmitted(&mut self, start: u64, end: u64) {
            self.repeated += end - start;
        }
    }

    fn at(time: u64) -> Arrival {
        Arrival { tap: TapId(0), frame: time, time: Timestamp(time), early: false, cut: false }
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).expect("below 251")).collect()
    }

    #[test]
    fn a_hole_is_given_up_when_the_peer_has_acknowledged_it() {
        let (mut stream, mut sink) = (Stream::default(), Bytes::default());
        stream.open(u32::MAX - 1);
        stream.segment(u32::MAX, b"abc", 0, at(1), &mut sink);
        stream.segment(5, b"xyz", 0, at(2), &mut sink);
        assert_eq!((sink.read.as_slice(), sink.missing), (&b"abc"[..], 0), "bytes 2..5 are missing");
        stream.acknowledge(8, at(3));
        stream.expire(Timestamp(4), &mut sink);
        assert_eq!(sink.missing, 0, "the data may still come a little later than its ACK");
        stream.expire(Timestamp(10_000_000), &mut sink);
        assert_eq!((sink.read.as_slice(), sink.missing), (&b"abcxyz"[..], 3));
    }

    #[test]
    fn bytes_that_were_only_acknowledged_count_as_missing() {
        let (mut stream, mut sink) = (Stream::default(), Bytes::default());
        stream.open(99);
        stream.segment(100, b"abc", 0, at(1), &mut sink);
        stream.acknowledge(110, at(2));
        stream.expire(Timestamp(20_000_000), &mut sink);
        stream.segment(110, b"def", 0, at(20_000_001), &mut sink);
        assert_eq!((sink.read.as_slice(), sink.missing), (&b"abcdef"[..], 7));
    }

    #[test]
    fn a_keep_alive_is_no_retransmission() {
        let (mut stream, mut sink) = (Stream::default(), Bytes::default());
        stream.segment(100, b"abc", 0, at(1), &mut sink);
        stream.segment(102, b"\0", 0, at(2), &mut sink);
        assert_eq!(sink.repeated, 0);
        stream.segment(101, b"bc", 0, at(3), &mut sink);
        assert_eq!((sink.repeated, sink.read.as_slice()), (2, &b"abc"[..]));
    }

    #[test]
    fn the_same_ports_again_make_a_new_stream() {
        let (mut stream, mut sink) = (Stream::default(), Bytes::default());
        assert!(!stream.open(7));
        stream.segment(8, b"abc", 0, at(1), &mut sink);
        assert!(!stream.open(7), "the SYN was only repeated");
        assert!(stream.open(500_000_000), "another connection");
    }

    #[test]
    fn what_waits_behind_a_hole_is_bounded() {
        let (mut stream, mut sink) = (Stream::default(), Bytes::default());
        stream.open(0);
        let block = text(1000);
        for number in 0..5000_u32 {
            stream.segment(1 + 10 + number * 1000, &block, 0, at(1), &mut sink);
            assert!(stream.held() + stream.unread() <= HELD_LIMIT + block.len());
        }
        assert_eq!(sink.missing, 10);
    }

    proptest! {
        /// However a stream is cut, repeated and reordered, the bytes are the same, and each has the time of the
        /// first segment that carried it.
        #[test]
        fn any_segmentation_gives_the_same_bytes(
            length in 1_usize..3000,
            initial in any::<u32>(),
            cuts in prop::collection::vec((0_usize..3000, 1_usize..400), 0..60),
            order in any::<u64>(),
        ) {
            let bytes = text(length);
            let mut segments: Vec<(usize, usize)> = cuts
                .into_iter()
                .filter(|&(start, _)| start < length)
                .map(|(start, size)| (start, size.min(length - start)))
                .collect();
            // A plain pass over the whole stream makes sure that every byte is sent at least once.
            segments.extend((0..length).step_by(97).map(|start| (start, 97.min(length - start))));
            let mut seed = order;
            for at in (1..segments.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                segments.swap(at, usize::try_from(seed >> 33).expect("31 bits") % (at + 1));
            }
            let (mut stream, mut sink) = (Stream::default(), Bytes::default());
            stream.open(initial);
            let mut expected = vec![u64::MAX; length];
            for (number, &(start, size)) in segments.iter().enumerate() {
                let time = number as u64 + 1;
                expected[start..start + size].iter_mut().for_each(|first| *first = (*first).min(time));
                let sequence = initial.wrapping_add(1).wrapping_add(u32::try_from(start).expect("small"));
                stream.segment(sequence, &bytes[start..start + size], 0, at(time), &mut sink);
            }
            stream.finish(&mut sink);
            prop_assert_eq!(&sink.read, &bytes);
            prop_assert_eq!(&sink.times, &expected);
            prop_assert_eq!(sink.missing, 0);
        }
    }
}
