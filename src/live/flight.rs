//! The flight recorder: the newest frames of all taps, in memory that is there from the start. Frames lie in chunks; a chunk
//! that is full is sealed, and the oldest one is filled anew. Sealed chunks can be shared with a thread that writes them to a
//! file, so the engine never waits for a disk: it only copies each frame once.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use tickscope_model::{Frame, LinkType, Nanos, TapId, Timestamp};

use super::merge::Arrival;
use super::pcapng::{self, Packet};
use crate::write::Packets;

/// Memory is divided into so many chunks: what is thrown away at once is a small part of it …
const CHUNKS: usize = 64;
/// … but no chunk is smaller than this, so that every frame fits …
const CHUNK_BYTES_MIN: usize = 128 << 10;
/// … and there are so many at least.
const FEWEST: usize = 4;
/// Frames of a chunk are as many as fit where they have so many bytes; of smaller ones a chunk holds no more.
const BYTES_PER_FRAME: usize = 192;

/// What is known of a frame beside its bytes.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// The one that counts …
    time: Timestamp,
    /// … and as NIC or kernel took it.
    stamp: Timestamp,
    number: u64,
    /// Where its bytes end; they begin where those of the one before end.
    end: u32,
    wire_len: u32,
    tap: TapId,
    is_sent: bool,
}

/// First and last number of a tap's frames in a chunk.
type Range = (TapId, u64, u64);

/// See the head of this file.
struct Chunk {
    frames: Vec<Kept>,
    bytes: Vec<u8>,
    ranges: Vec<Range>,
    /// Time of the newest frame.
    last: Timestamp,
}

impl Chunk {
    fn new(bytes: usize, taps: usize) -> Chunk {
        let data = bytes / (BYTES_PER_FRAME + size_of::<Kept>()) * BYTES_PER_FRAME;
        Chunk {
            frames: Vec::with_capacity(data / BYTES_PER_FRAME),
            bytes: Vec::with_capacity(data),
            ranges: Vec::with_capacity(taps),
            last: Timestamp::MIN,
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.frames.len() < self.frames.capacity() && self.bytes.capacity() - self.bytes.len() >= bytes
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.bytes.clear();
        self.ranges.clear();
        self.last = Timestamp::MIN;
    }

    #[inline]
    fn push(&mut self, frame: &Frame<'_>, arrival: &Arrival) {
        self.bytes.extend_from_slice(frame.bytes);
        let end = u32::try_from(self.bytes.len()).expect("a chunk is smaller than 4 GiB");
        let Frame { tap, time, number, wire_len, .. } = *frame;
        let Arrival { stamp, is_sent, .. } = *arrival;
        self.frames.push(Kept { time, stamp, number, end, wire_len, tap, is_sent });
        self.last = self.last.max(time);
        match self.ranges.iter_mut().find(|(known, ..)| *known == tap) {
            Some((_, _, last)) => *last = number,
            None => self.ranges.push((tap, number, number)),
        }
    }

    fn may_hold(&self, tap: TapId, number: u64) -> bool {
        self.ranges.iter().any(|&(known, first, last)| known == tap && first <= number && number <= last)
    }

    /// Its frames with their bytes, from the oldest.
    fn frames(&self) -> impl Iterator<Item = (&Kept, &[u8])> {
        let mut start = 0;
        self.frames.iter().map(move |kept| {
            let end = kept.end as usize;
            (kept, &self.bytes[std::mem::replace(&mut start, end)..end])
        })
    }
}

/// See the head of this file.
pub struct Flight {
    /// Name of each tap, and what is said of it in files.
    taps: Arc<[(String, String)]>,
    /// Frames that are older than this, by the newest one, are let go.
    span: Nanos,
    current: Chunk,
    /// From the oldest.
    sealed: VecDeque<Arc<Chunk>>,
    free: Vec<Chunk>,
    chunk_bytes: usize,
}

/// What the recorder held at one moment, for another thread to write.
pub struct Held {
    taps: Arc<[(String, String)]>,
    chunks: Vec<Arc<Chunk>>,
    from: Timestamp,
}

impl Flight {
    /// At most so many bytes, all of which are taken at once, for these taps, which [`TapId`] counts: the name of each, and what is
    /// to be said of it in files.
    pub fn new(taps: &[(String, String)], span: Nanos, bytes: usize) -> Flight {
        let chunk_bytes = (bytes / CHUNKS).max(CHUNK_BYTES_MIN);
        let count = (bytes / chunk_bytes).max(FEWEST);
        let mut free: Vec<Chunk> = (0..count).map(|_| Chunk::new(chunk_bytes, taps.len())).collect();
        let current = free.pop().expect("there are several");
        let sealed = VecDeque::with_capacity(count);
        Flight { taps: taps.into(), span, current, sealed, free, chunk_bytes }
    }

    /// Keeps a frame.
    #[inline]
    pub fn push(&mut self, frame: &Frame<'_>, arrival: &Arrival) {
        if !self.current.has_room(frame.bytes.len()) {
            self.seal();
        }
        // One that is longer than any chunk cannot be kept; the queue before cuts earlier.
        if self.current.has_room(frame.bytes.len()) {
            self.current.push(frame, arrival);
        }
    }

    /// These frames, by tap and number, in the order in which they came, as a pcapng file with the times that count: they are shown
    /// beside their order.
    pub fn packets(&self, wanted: &[(TapId, u64)]) -> Packets {
        let mut missing = wanted.to_vec();
        missing.sort_unstable();
        missing.dedup();
        let asked = missing.len();
        let mut pcapng = Vec::new();
        begin(&mut pcapng, self.taps.iter().map(|(name, _)| (name.as_str(), "")), "frames from the flight recorder");
        for chunk in self.chunks() {
            if !missing.iter().any(|&(tap, number)| chunk.may_hold(tap, number)) {
                continue;
            }
            for (kept, bytes) in chunk.frames() {
                let Ok(at) = missing.binary_search(&(kept.tap, kept.number)) else { continue };
                missing.remove(at);
                packet(&mut pcapng, &self.taps, kept, kept.time, bytes);
            }
        }
        Packets { pcapng, found: asked - missing.len(), missing, oldest: self.oldest() }
    }

    /// Time of the oldest frame that is held.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.chunks().find_map(|chunk| chunk.frames.first()).map(|kept| kept.time)
    }

    /// Everything that is held now.
    pub fn held(&mut self) -> Held {
        let newest = self.chunks().map(|chunk| chunk.last).max().unwrap_or(Timestamp::MIN);
        if !self.current.frames.is_empty() {
            self.seal();
        }
        let chunks = self.sealed.iter().cloned().collect();
        Held { taps: Arc::clone(&self.taps), chunks, from: newest.shifted(Nanos(-self.span.0)) }
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.sealed.iter().map(AsRef::as_ref).chain([&self.current])
    }

    fn seal(&mut self) {
        let oldest = self.current.last.shifted(Nanos(-self.span.0));
        while self.sealed.front().is_some_and(|chunk| chunk.last < oldest) {
            self.let_go();
        }
        if self.free.is_empty() {
            self.let_go();
        }
        // One that is still being written to a file is gone for us; memory for another one comes back with it.
        let next = self.free.pop().unwrap_or_else(|| Chunk::new(self.chunk_bytes, self.taps.len()));
        self.sealed.push_back(Arc::new(std::mem::replace(&mut self.current, next)));
    }

    fn let_go(&mut self) {
        if let Some(mut chunk) = self.sealed.pop_front().and_then(Arc::into_inner) {
            chunk.clear();
            self.free.push(chunk);
        }
    }
}

impl Held {
    /// A pcapng file of all of it, with the stamps as NIC or kernel took them, as a recording has them: `analyze` adds offsets, and
    /// reads stamps in the frames, itself.
    pub fn write(&self, comment: &str, out: &mut impl Write) -> io::Result<()> {
        let mut blocks = Vec::with_capacity(2 * CHUNK_BYTES_MIN);
        begin(&mut blocks, self.taps.iter().map(|(name, about)| (name.as_str(), about.as_str())), comment);
        for chunk in &self.chunks {
            for (kept, bytes) in chunk.frames().filter(|(kept, _)| kept.time >= self.from) {
                packet(&mut blocks, &self.taps, kept, kept.stamp, bytes);
                if blocks.len() >= CHUNK_BYTES_MIN {
                    out.write_all(&blocks)?;
                    blocks.clear();
                }
            }
        }
        out.write_all(&blocks)
    }

    /// Time of the newest frame.
    pub fn newest(&self) -> Timestamp {
        self.chunks.iter().map(|chunk| chunk.last).max().unwrap_or(Timestamp::MIN)
    }
}

fn begin<'a>(out: &mut Vec<u8>, taps: impl Iterator<Item = (&'a str, &'a str)>, comment: &str) {
    pcapng::section(out, comment);
    for (name, about) in taps {
        pcapng::interface(out, LinkType::Ethernet, name, about);
    }
}

fn packet(out: &mut Vec<u8>, taps: &[(String, String)], kept: &Kept, time: Timestamp, bytes: &[u8]) {
    let Kept { tap, number, wire_len, is_sent, .. } = *kept;
    let name = taps.get(usize::from(tap.0)).map_or("", |(name, _)| name.as_str());
    let comment = format!("frame {number} of {name}");
    pcapng::packet(out, &Packet { interface: tap.0, time, wire_len, is_sent: Some(is_sent), bytes }, &comment);
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::capture::{Input, Merged};

    fn flight(span: Nanos, bytes: usize) -> Flight {
        Flight::new(&["md", "ord"].map(|name| (name.to_owned(), String::new())), span, bytes)
    }

    fn push(flight: &mut Flight, tap: u16, number: u64, time: u64, length: usize) {
        let bytes = vec![u8::try_from(number % 251).unwrap(); length];
        let (tap, time, link) = (TapId(tap), Timestamp(time), LinkType::Ethernet);
        // The clock that counts is ahead of the one that stamped, but on the first tap.
        let stamp = time.shifted(Nanos(if tap.0 == 0 { 0 } else { -3 }));
        let arrival = Arrival { lost_since: None, is_sent: tap.0 == 1, stamp, reached: time };
        flight.push(&Frame { tap, link, time, number, wire_len: 2000, bytes: &bytes }, &arrival);
    }

    /// Tap's name, time, length on the wire and first byte of every frame of a pcapng.
    fn read(name: &str, pcapng: &[u8]) -> Vec<(String, u64, u32, u8, usize)> {
        let path = std::env::temp_dir().join(format!("tickscope-flight-{}-{name}.pcapng", std::process::id()));
        std::fs::write(&path, pcapng).unwrap();
        let inputs = [Input { name: None, path: PathBuf::from(&path) }];
        let mut merged = Merged::open(&inputs, &[]).unwrap();
        let mut frames = Vec::new();
        while let Some(captured) = merged.next() {
            let frame = captured.frame;
            let (tap, bytes) = (usize::from(frame.tap.0), frame.bytes);
            frames.push((tap, frame.time.0, frame.wire_len, bytes[0], bytes.len()));
        }
        std::fs::remove_file(&path).unwrap();
        // The file's name stands before.
        let name = |tap: usize| merged.taps()[tap].name.rsplit(':').next().unwrap().to_owned();
        frames.into_iter().map(|(tap, time, wire, byte, length)| (name(tap), time, wire, byte, length)).collect()
    }

    #[test]
    fn frames_that_are_asked_for_come_as_pcapng() {
        let mut flight = flight(Nanos(1_000_000_000), 1 << 20);
        for number in 1..=9 {
            push(&mut flight, 0, number, number * 10, 61);
            push(&mut flight, 1, number, number * 10 + 5, 1514);
        }
        let packets = flight.packets(&[(TapId(1), 2), (TapId(0), 7), (TapId(0), 2), (TapId(0), 7)]);
        assert_eq!((packets.found, packets.missing.len()), (3, 0));
        let expected = [("md", 20, 2, 61), ("ord", 25, 2, 1514), ("md", 70, 7, 61)];
        let expected = expected.map(|(tap, time, byte, length)| (tap.to_owned(), time, 2000, byte, length));
        assert_eq!(read("asked", &packets.pcapng), expected, "with the times that count");
        let mut file = Vec::new();
        flight.held().write("a slow order", &mut file).unwrap();
        let times: Vec<u64> = read("stamps", &file).iter().map(|frame| frame.1).collect();
        let stamps = (1..=9).flat_map(|number| [number * 10, number * 10 + 5 - 3]);
        assert_eq!(times, stamps.collect::<Vec<_>>(), "as they were taken");
    }

    #[test]
    fn what_has_aged_out_is_named_and_memory_is_bounded() {
        let mut flight = flight(Nanos(i64::MAX), 1 << 20);
        for number in 1..=20_000 {
            push(&mut flight, 0, number, number, 200);
        }
        let packets = flight.packets(&[(TapId(0), 3), (TapId(0), 19_999)]);
        assert_eq!((packets.found, packets.missing.as_slice()), (1, [(TapId(0), 3)].as_slice()));
        assert_eq!(read("aged", &packets.pcapng).len(), 1);
        let oldest = packets.oldest.unwrap().0;
        let kept = 20_000 - oldest + 1;
        assert!(kept * 200 > 1 << 19 && kept * 200 <= 1 << 20, "{kept}");
        assert_eq!(flight.packets(&[(TapId(0), oldest), (TapId(0), oldest - 1)]).missing, [(TapId(0), oldest - 1)]);
        let bytes: usize =
            flight.chunks().map(|chunk| chunk.bytes.capacity() + size_of::<Kept>() * chunk.frames.capacity()).sum();
        assert!(bytes <= 1 << 20);
    }

    #[test]
    fn what_is_held_can_be_written_while_frames_go_on() {
        let mut flight = flight(Nanos(1000), 1 << 20);
        for number in 1..=5000 {
            push(&mut flight, 0, number, number, 100);
        }
        let held = flight.held();
        for number in 5001..=60_000 {
            push(&mut flight, 0, number, number, 100);
        }
        let mut file = Vec::new();
        held.write("a slow order", &mut file).unwrap();
        let frames = read("held", &file);
        assert_eq!(frames.iter().map(|frame| frame.1).collect::<Vec<_>>(), (4000..=5000).collect::<Vec<_>>());
        assert_eq!(held.newest(), Timestamp(5000));
        drop(held);
        assert_eq!(flight.packets(&[(TapId(0), 59_500)]).found, 1);
    }
}
