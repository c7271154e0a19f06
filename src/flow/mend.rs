//! Bytes that come after the stream has gone on without them: sent again after a hole was given up, from before the
//! first captured byte, or behind the cut of a segment that the capture shortened. What lay around the hole and was read
//! as nothing is kept for a while, so that a message is read after all once its last missing byte comes.

use std::collections::VecDeque;
use std::ops::Range;

use tickscope_model::Timestamp;

use super::history::{Acks, Arrival, History};
use super::stream::StreamSink;

/// At most so many given-up stretches of a stream are remembered …
const WOUNDS_KEPT: usize = 16;
/// … with so many bytes each …
const BYTES_KEPT: usize = 64 << 10;
/// … in so many pieces …
const PARTS_KEPT: usize = 1024;
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
        let Some(last) = self.all.back_mut().filter(|last| last.end.is_none()) else { return };
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
        for wound in &mut self.all {
            let (from, to) = (start.max(wound.start), end.min(wound.end.unwrap_or(end)));
            if from < to {
                wound.has_late = true;
                wound.add(from, slice(bytes, from - start..to - start), arrival);
            }
        }
    }

    /// Reads what has become readable.
    pub(super) fn read(&mut self, acks: &mut Acks, sink: &mut dyn StreamSink) {
        for wound in self.all.iter_mut().filter(|wound| wound.has_late && wound.has_changed) {
            std::mem::swap(acks, &mut wound.history.acks);
            wound.read(sink);
            std::mem::swap(acks, &mut wound.history.acks);
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
            if self.bytes + new.len() > BYTES_KEPT || self.parts.len() >= PARTS_KEPT {
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
                        None => parts.push(Part { bytes: None, ..part }),
                    }
                }
            }
        }
        if let Some((start, bytes)) = run {
            is_readable &= read_run(start, &bytes, &self.history, sink, &mut parts);
        }
        self.bytes = parts.iter().filter_map(|part| part.bytes.as_ref()).map(Vec::len).sum();
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
            parts.push(Part { start: message.start, end: message.end, bytes: None });
            from = message.end;
        }
    }
    rest(from, end, parts);
    is_readable
}
