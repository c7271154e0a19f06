//! Bytes that come after the stream has gone on without them: sent again after a hole was given up, from before the
//! first captured byte, or behind the cut of a segment that the capture shortened. What lay around the hole and was read
//! as nothing is kept for a while, so that a message is read after all once its last missing byte comes.

use std::collections::VecDeque;
use std::ops::Range;

use tickscope_model::Timestamp;

use super::history::{Acks, Arrival, History};
use super::stream::StreamSink;

/// At most so many given-up stretches of a stream are remembered …
const WOUNDS_KEPT: usize = 512;
/// … with so many bytes in all …
const BYTES_KEPT: usize = 1 << 20;
/// … of which one may have so many …
const BYTES_OF_ONE: usize = 64 << 10;
/// … in so many pieces …
const PARTS_OF_ONE: usize = 1024;
/// … for so long: an answer waits no longer for its request.
const MEND_NS: i64 = 10_000_000_000;

/// Bytes of a wound, or a message in it that has been read.
struct Part {
    start: u64,
    end: u64,
    /// `None`: read.
    bytes: Option<Vec<u8>>,
}

/// From where the reader got stuck to the first message that it found behind.
struct Wound {
    start: u64,
    /// `None` while no message was found behind it.
    end: Option<u64>,
    /// Sorted and disjoint.
    parts: Vec<Part>,
    bytes: usize,
    history: History,
    since: Timestamp,
    /// Late bytes came.
    has_late: bool,
    /// Something came since it was last read.
    has_changed: bool,
}

/// The given-up stretches of a stream, in order.
#[derive(Default)]
pub(super) struct Wounds {
    all: VecDeque<Wound>,
    /// Some may be readable now.
    has_changed: bool,
}

impl Wounds {
    /// The reader goes on without bytes; nothing from `start` on has been read.
    pub(super) fn open(&mut self, start: u64, now: Timestamp) {
        if self.is_open() {
            return;
        }
        if self.all.len() == WOUNDS_KEPT {
            self.all.pop_front();
        }
        let (parts, history) = (Vec::new(), History::default());
        let (has_late, has_changed) = (false, false);
        self.all.push_back(Wound { start, end: None, parts, bytes: 0, history, since: now, has_late, has_changed });
    }

    /// Whether the reader has found no message yet behind the last hole.
    pub(super) fn is_open(&self) -> bool {
        self.all.back().is_some_and(|last| last.end.is_none())
    }

    /// Keeps bytes that were given up or passed over behind the last hole.
    pub(super) fn keep(&mut self, start: u64, bytes: &[u8], history: &History) {
        let has_room = self.has_room(bytes.len());
        let Some(last) = self.all.back_mut().filter(|last| last.end.is_none() && has_room) else { return };
        self.has_changed |= last.has_late;
        for (from, to, arrival) in history.within(start, start + bytes.len() as u64) {
            last.add(from, slice(bytes, from - start..to - start), arrival);
        }
    }

    /// The reader has found a message that begins at `end`.
    pub(super) fn close(&mut self, end: u64) {
        if let Some(last) = self.all.back_mut() {
            last.end.get_or_insert(end);
        }
    }

    /// Bytes that the reader has gone on without, or that it has read.
    pub(super) fn late(&mut self, start: u64, bytes: &[u8], arrival: Arrival) {
        let end = start + bytes.len() as u64;
        // Most bytes that come again were read.
        let behind = self.all.partition_point(|wound| wound.end.is_some_and(|closed| closed <= start));
        if behind == self.all.len() || !self.has_room(bytes.len()) {
            return;
        }
        self.has_changed = true;
        for wound in self.all.iter_mut().skip(behind) {
            let (from, to) = (start.max(wound.start), end.min(wound.end.unwrap_or(end)));
            if from < to {
                wound.has_late = true;
                wound.add(from, slice(bytes, from - start..to - start), arrival);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.all.iter().map(|wound| wound.bytes).sum()
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes() + bytes <= BYTES_KEPT
    }

    /// Reads what has become readable.
    pub(super) fn read(&mut self, acks: &mut Acks, sink: &mut dyn StreamSink) {
        if !self.has_changed {
            return;
        }
        self.has_changed = false;
        for wound in self.all.iter_mut().filter(|wound| wound.has_late && wound.has_changed) {
            std::mem::swap(acks, &mut wound.history.acks);
            wound.read(sink);
            std::mem::swap(acks, &mut wound.history.acks);
            self.has_changed |= wound.has_changed;
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        while self.all.front().is_some_and(|first| now.since(first.since).0 > MEND_NS) {
            self.all.pop_front();
        }
    }
}

/// A part of some bytes; places inside a segment always fit.
fn slice(bytes: &[u8], range: Range<u64>) -> &[u8] {
    let fits = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    bytes.get(fits(range.start)..fits(range.end)).unwrap_or_default()
}

impl Wound {
    /// Keeps what is new of these bytes.
    fn add(&mut self, start: u64, bytes: &[u8], arrival: Arrival) {
        let (mut from, end) = (start, start + bytes.len() as u64);
        while from < end {
            let slot = self.parts.partition_point(|part| part.end <= from);
            let next = self.parts.get(slot);
            if let Some(known) = next.filter(|part| part.start <= from) {
                from = known.end;
                continue;
            }
            let to = next.map_or(end, |part| part.start.min(end));
            let new = slice(bytes, from - start..to - start);
            if self.bytes + new.len() > BYTES_OF_ONE || self.parts.len() >= PARTS_OF_ONE {
                return;
            }
            self.bytes += new.len();
            self.history.add(from, new.len(), arrival);
            self.parts.insert(slot, Part { start: from, end: to, bytes: Some(new.to_vec()) });
            self.has_changed = true;
            from = to;
        }
    }

    /// Gives every run of bytes without a hole to the reader, and keeps what no message was made of.
    fn read(&mut self, sink: &mut dyn StreamSink) {
        let mut parts = Vec::with_capacity(self.parts.len());
        let mut run: Option<(u64, Vec<u8>)> = None;
        let mut is_readable = true;
        for part in std::mem::take(&mut self.parts) {
            match (&mut run, part.bytes) {
                (Some((start, bytes)), Some(more)) if *start + bytes.len() as u64 == part.start => bytes.extend(more),
                (_, more) => {
                    if let Some((start, bytes)) = run.take() {
                        is_readable &= read_run(start, &bytes, &self.history, sink, &mut parts);
                    }
                    match more {
                        Some(bytes) => run = Some((part.start, bytes)),
                        None => mark_read(part.start, part.end, &mut parts),
                    }
                }
            }
        }
        if let Some((start, bytes)) = run {
            is_readable &= read_run(start, &bytes, &self.history, sink, &mut parts);
        }
        self.bytes = parts.iter().filter_map(|part| part.bytes.as_ref()).map(Vec::len).sum();
        let is_kept = |start, end| {
            let from = parts.partition_point(|part| part.end <= start);
            parts.iter().skip(from).take_while(|part| part.start < end).any(|part| part.bytes.is_some())
        };
        self.history.keep_only(is_kept);
        self.parts = parts;
        self.has_changed = !is_readable;
    }
}

/// Reads bytes without a hole, and adds what is left of them and the messages to `parts`. False where nobody can read yet.
fn read_run(start: u64, bytes: &[u8], history: &History, sink: &mut dyn StreamSink, parts: &mut Vec<Part>) -> bool {
    let end = start + bytes.len() as u64;
    let messages = sink.mended(start, bytes, history);
    let is_readable = messages.is_some();
    let mut from = start;
    let rest = |from: u64, to: u64, parts: &mut Vec<Part>| {
        if from < to {
            parts.push(Part { start: from, end: to, bytes: Some(slice(bytes, from - start..to - start).to_vec()) });
        }
    };
    for message in messages.into_iter().flatten() {
        // A list gives one event an order, all with the span of the whole message.
        if message.start >= from {
            rest(from, message.start, parts);
            mark_read(message.start, message.end, parts);
            from = message.end;
        }
    }
    rest(from, end, parts);
    is_readable
}

fn mark_read(start: u64, end: u64, parts: &mut Vec<Part>) {
    match parts.last_mut() {
        Some(last) if last.bytes.is_none() && last.end == start => last.end = end,
        _ => parts.push(Part { start, end, bytes: None }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tickscope_model::TapId;

    use super::super::stream::{Stream, Taken};
    use super::*;

    /// Reads messages `<…>` of a stream, and notes the place and the time of each.
    #[derive(Default)]
    struct Messages(Vec<(u64, u64)>);

    impl Messages {
        fn decode(&mut self, base: u64, bytes: &[u8], history: &History) -> (usize, Vec<Range<u64>>) {
            let (mut used, mut found) = (0, Vec::new());
            while let Some(begin) = bytes[used..].iter().position(|&byte| byte == b'<') {
                used += begin;
                let Some(length) = bytes[used..].iter().position(|&byte| byte == b'>') else { return (used, found) };
                let span = base + used as u64..base + (used + length + 1) as u64;
                self.0.push((span.start, history.brought(span.end - 1).expect("in hand").time.0));
                found.push(span);
                used += length + 1;
            }
            (bytes.len(), found)
        }
    }

    impl StreamSink for Messages {
        fn bytes(&mut self, base: u64, bytes: &[u8], history: &History) -> Taken {
            let (used, found) = self.decode(base, bytes, history);
            Taken { used, first: found.first().map(|span| span.start) }
        }
        fn mended(&mut self, base: u64, bytes: &[u8], history: &History) -> Option<Vec<Range<u64>>> {
            Some(self.decode(base, bytes, history).1)
        }
        fn gap(&mut self, _missing: u64, _discarded: u64) {}
        fn retransmitted(&mut self, _start: u64, _end: u64) {}
    }

    fn at(time: u64) -> Arrival {
        Arrival { tap: TapId(0), frame: time, time: Timestamp(time), early: false, cut: false }
    }

    #[test]
    fn what_is_sent_again_after_it_was_given_up_is_read_in_its_place() {
        let (mut stream, mut sink) = (Stream::default(), Messages::default());
        stream.open(99);
        stream.segment(100, b"<one><t", 0, at(1), &mut sink);
        stream.segment(111, b"ee><four>", 0, at(2), &mut sink);
        stream.acknowledge(120, at(3));
        stream.expire(Timestamp(10_000_000), &mut sink);
        assert_eq!(sink.0.len(), 2, "one and four");
        stream.segment(107, b"wo", 0, at(20_000_000), &mut sink);
        assert_eq!(sink.0.len(), 2);
        // Resent in larger pieces: of what was there before, the first sight counts.
        stream.segment(105, b"<two><th", 0, at(20_000_001), &mut sink);
        stream.segment(105, b"<two><th", 0, at(20_000_002), &mut sink);
        let times: Vec<u64> = sink.0.iter().map(|message| message.1).collect();
        assert_eq!(times, [1, 2, 20_000_001, 2], "each once");
    }

    #[test]
    fn a_capture_that_begins_in_mid_session_takes_what_comes_from_before() {
        let (mut stream, mut sink) = (Stream::default(), Messages::default());
        stream.segment(200, b"lf><two>", 0, at(1), &mut sink);
        stream.segment(196, b"<a h", 0, at(2), &mut sink);
        stream.segment(190, b"lost>", 0, at(3), &mut sink);
        let times: Vec<u64> = sink.0.iter().map(|message| message.1).collect();
        assert_eq!(times, [1, 1], "the last byte of the first came with the second's first");
    }

    #[test]
    fn the_end_of_a_cut_segment_is_read_from_smaller_ones() {
        let (mut stream, mut sink) = (Stream::default(), Messages::default());
        stream.open(99);
        stream.segment(100, b"<one", 6, at(1), &mut sink);
        stream.segment(110, b"<three>", 0, at(2), &mut sink);
        stream.segment(104, b"><two>", 0, at(3), &mut sink);
        let times: Vec<u64> = sink.0.iter().map(|message| message.1).collect();
        assert_eq!(times, [2, 3, 3]);
    }

    proptest! {
        /// Whatever order segments come in, whenever holes are given up: a message whose bytes were all captured is read
        /// once, at the first sight of its last byte.
        #[test]
        fn no_message_is_missed_and_none_is_read_twice(
            lengths in prop::collection::vec(2_usize..30, 5..60),
            cuts in prop::collection::vec((0_usize..1500, 1_usize..80, 0_u64..8_000_000, any::<bool>()), 1..150),
            has_syn in any::<bool>(),
        ) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for length in lengths {
                bytes.push(b'<');
                bytes.resize(bytes.len() + length - 2, b'-');
                bytes.push(b'>');
                ends.push((bytes.len() - length, bytes.len()));
            }
            let (mut stream, mut sink) = (Stream::default(), Messages::default());
            if has_syn {
                stream.open(999);
            }
            let mut first = vec![None; bytes.len()];
            let (mut now, mut origin) = (0, if has_syn { Some(0) } else { None });
            for (start, size, later, is_acked) in cuts {
                now += later;
                let Some(payload) = bytes.get(start..(start + size).min(bytes.len())).filter(|some| some.len() > 1) else {
                    continue;
                };
                origin.get_or_insert(start);
                first[start..start + payload.len()].iter_mut().for_each(|time| _ = time.get_or_insert(now));
                let place = |at: usize| 1000 + u32::try_from(at).expect("small");
                stream.segment(place(start), payload, 0, at(now), &mut sink);
                if is_acked {
                    stream.acknowledge(place(start + payload.len()), at(now));
                }
            }
            stream.finish(&mut sink);
            let origin = origin.unwrap_or(0) as u64;
            let mut expected: Vec<(u64, u64)> = (ends.iter())
                .filter(|&&(start, end)| first[start..end].iter().all(Option::is_some))
                .map(|&(start, end)| ((1 << 32) + start as u64 - origin, first[end - 1].expect("seen")))
                .collect();
            sink.0.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(sink.0, expected);
        }
    }
}
