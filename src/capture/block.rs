//! A stretch of a capture that was read ahead, on another thread: the ordinary market-data packets of it as runs, ready to
//! be used, and everything else as frames that still have to be read. In the order of the file.

use std::fmt;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use tickscope_decoders::{Glance, Glances, Sequenced};
use tickscope_model::{Frame, LinkType, MarketKind, TapId, Timestamp};

/// About so many bytes of the file are one block. Small enough for the second cache, large enough that handing one over
/// costs nothing; a frame's number within its block fits into 16 bits.
pub const BLOCK_BYTES: usize = 1 << 20;

/// See the head of this file.
#[derive(Default)]
pub struct Block {
    /// Where in the file it begins and ends: in front of a record, and behind one.
    pub start: usize,
    pub end: usize,
    pub frames: u32,
    pub parts: Vec<Part>,
    /// The packets of all runs.
    pub packets: Vec<Skimmed>,
    /// The messages of all packets.
    pub ticks: Glances,
    /// The bytes of all frames that the stages must read; taken away with [`Block::take_bytes`], since a block's ticks are
    /// needed for much longer.
    bytes: Vec<u8>,
    /// Where its memory goes.
    shelf: Option<Shelf>,
}

/// Where the memory of blocks that nobody needs any more waits for new ones.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Vec<Block>>>);

impl Shelf {
    fn take(&self) -> Block {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut block = spare.unwrap_or_else(Block::with_room);
        block.shelf = Some(self.clone());
        block
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let Some(shelf) = self.shelf.take() else { return };
        let mut spare = mem::take(self);
        spare.parts.clear();
        spare.packets.clear();
        spare.ticks.clear();
        spare.bytes.clear();
        shelf.0.lock().unwrap_or_else(PoisonError::into_inner).push(spare);
    }
}

/// What comes next in a block.
#[derive(Clone, Debug)]
pub enum Part {
    /// A frame that the stages must read.
    Frame(Unread),
    Run(Run),
}

/// A frame that the stages must read.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Which frame of the block it is, from 0.
    pub frame: u16,
    pub time: Timestamp,
    link: LinkType,
    wire_len: u32,
    bytes: Range<usize>,
}

impl Unread {
    /// The frame, of a block with these bytes whose first frame has number `first`.
    pub fn frame<'a>(&self, bytes: &'a [u8], tap: TapId, first: u64) -> Frame<'a> {
        Frame {
            tap,
            link: self.link,
            time: self.time,
            number: first + u64::from(self.frame),
            wire_len: self.wire_len,
            bytes: bytes.get(self.bytes.clone()).unwrap_or(&[]),
        }
    }
}

/// Packets of one flow whose sequence numbers follow each other without a gap.
#[derive(Clone, Debug)]
pub struct Run {
    /// Places in [`Block::packets`].
    pub packets: Range<u32>,
    /// The number behind the last message.
    pub end: u64,
    pub flow: FlowMark,
    pub session: Session,
}

/// Which flow, and which corrections its decoder had seen when the packets were read; see [`crate::flow::UdpFlows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowMark {
    pub place: u32,
    pub number: u32,
    pub corrected: u32,
}

/// The session of a run; no envelope has a longer one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Session {
    length: u8,
    bytes: [u8; 16],
}

impl Session {
    pub fn new(session: &[u8]) -> Option<Session> {
        let mut bytes = [0; 16];
        bytes.get_mut(..session.len())?.copy_from_slice(session);
        Some(Session { length: u8::try_from(session.len()).ok()?, bytes })
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

/// An ordinary market-data packet: all of its messages are whole and about symbols that are known.
#[derive(Clone, Copy, Debug)]
pub struct Skimmed {
    pub time: Timestamp,
    /// Sequence number of its first message.
    pub first: u64,
    /// Where its record begins, behind the start of the block.
    pub at: u32,
    /// Its first tick; there is one for each message.
    pub tick: u32,
    /// Captured bytes of the block's packets up to and with this one.
    pub bytes: u32,
    /// Which frame of the block it is, from 0.
    pub frame: u16,
    pub ip_id: u16,
}

/// A tick of a block.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub packet: u32,
    /// Which message of its packet.
    pub position: u32,
    pub code: u8,
    pub kind: MarketKind,
}

impl Block {
    /// With room for what is usual in a block.
    fn with_room() -> Block {
        let mut block = Block::default();
        block.packets.reserve_exact(BLOCK_BYTES / 128);
        block.ticks = Glances::with_room(BLOCK_BYTES / 48);
        block
    }

    /// An empty one.
    pub fn begin(start: usize, shelf: &Shelf) -> Block {
        let mut block = shelf.take();
        (block.start, block.end, block.frames) = (start, start, 0);
        block
    }

    /// Adds a packet, whose messages are in `ticks` already, to the run at hand if it continues it, else to a new one.
    #[inline]
    pub fn add(&mut self, flow: FlowMark, unit: &Sequenced<'_>, packet: Skimmed) -> bool {
        let Ok(number) = u32::try_from(self.packets.len()) else { return false };
        let end = unit.first + unit.count;
        match self.parts.last_mut() {
            Some(Part::Run(run)) if run.flow == flow && run.end == unit.first && unit.is_of(run.session.bytes()) => {
                run.packets.end = number + 1;
                run.end = end;
            }
            _ => {
                let Some(session) = Session::new(unit.session) else { return false };
                self.parts.push(Part::Run(Run { packets: number..number + 1, end, flow, session }));
            }
        }
        self.packets.push(packet);
        true
    }

    /// Adds a frame that the stages must read.
    pub fn add_frame(&mut self, number: u16, frame: &Frame<'_>) {
        let (time, link, wire_len, from) = (frame.time, frame.link, frame.wire_len, self.bytes.len());
        self.bytes.extend_from_slice(frame.bytes);
        self.parts.push(Part::Frame(Unread { frame: number, time, link, wire_len, bytes: from..self.bytes.len() }));
    }

    /// The bytes that `Unread::frame` needs.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        mem::take(&mut self.bytes)
    }

    /// Captured bytes of the packets so far.
    #[inline]
    pub fn packet_bytes(&self) -> u32 {
        self.packets.last().map_or(0, |packet| packet.bytes)
    }

    /// A tick by its number.
    #[inline]
    pub fn tick(&self, number: u32) -> Option<Found> {
        let &Glance { packet, code, kind, .. } = self.ticks.get(number)?;
        let packet = u32::from(packet);
        let first = self.packets.get(packet as usize)?.tick;
        Some(Found { packet, position: number.checked_sub(first + 1)?, code, kind })
    }

    /// The first packet that is later than `time`.
    pub fn behind(&self, time: Timestamp) -> u32 {
        u32::try_from(self.packets.partition_point(|packet| packet.time <= time)).unwrap_or(u32::MAX)
    }

    /// The place behind a packet's last tick.
    pub fn tick_behind(&self, packet: u32) -> u32 {
        self.packets.get(packet as usize + 1).map_or(self.ticks.count(), |next| next.tick)
    }

    /// The number behind the last message of a packet of this run.
    pub fn end_of(&self, run: &Run, packet: u32) -> u64 {
        let next = packet + 1;
        if next < run.packets.end {
            self.packets.get(next as usize).map_or(run.end, |packet| packet.first)
        } else {
            run.end
        }
    }

    /// Captured bytes of these packets, headers of records not counted.
    pub fn bytes_of(&self, packets: Range<u32>) -> u64 {
        let up_to = |packet: u32| self.packets.get(packet as usize).map_or(0, |packet| packet.bytes);
        let before = packets.start.checked_sub(1).map_or(0, up_to);
        packets.end.checked_sub(1).map_or(0, |last| u64::from(up_to(last) - before))
    }
}

/// Part of a run, ready to be used: its packets, and where they belong.
#[derive(Clone)]
pub struct Packets<'a> {
    pub block: &'a Arc<Block>,
    pub run: &'a Run,
    /// Those packets of the run that come before any other frame of the captures.
    pub range: Range<u32>,
    /// Number of the block's first frame.
    pub first_frame: u64,
    pub file: usize,
    pub tap: TapId,
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub file: usize,
    pub place: usize,
    pub number: u64,
}

impl<'a> Packets<'a> {
    pub fn packets(&self) -> &'a [Skimmed] {
        self.block.packets.get(self.range.start as usize..self.range.end as usize).unwrap_or(&[])
    }

    /// The first so many of them.
    #[must_use]
    pub fn first(&self, count: usize) -> Packets<'a> {
        let end = self.range.start.saturating_add(u32::try_from(count).unwrap_or(u32::MAX)).min(self.range.end);
        Packets { range: self.range.start..end, ..self.clone() }
    }

    /// The others.
    #[must_use]
    pub fn behind(&self, part: &Packets<'_>) -> Packets<'a> {
        Packets { range: part.range.end..self.range.end, ..self.clone() }
    }

    /// Sequence number of the first message, and the one behind the last.
    pub fn sequence(&self) -> Range<u64> {
        let first = self.packets().first().map_or(self.run.end, |packet| packet.first);
        first..self.range.end.checked_sub(1).map_or(self.run.end, |last| self.block.end_of(self.run, last))
    }

    /// First number, count of messages, time and IP identification of each.
    pub fn arrivals(&self) -> impl ExactSizeIterator<Item = (u64, u64, Timestamp, u16)> + use<'a> {
        let packets = self.packets();
        let end = self.sequence().end;
        packets.iter().enumerate().map(move |(at, packet)| {
            let next = packets.get(at + 1).map_or(end, |next| next.first);
            (packet.first, next - packet.first, packet.time, packet.ip_id)
        })
    }

    /// Where their frames stand.
    pub fn places(&self) -> Vec<Place> {
        let place = |packet: &Skimmed| Place {
            file: self.file,
            place: self.block.start + packet.at as usize,
            number: self.frame(packet),
        };
        self.packets().iter().map(place).collect()
    }

    /// The messages of one of them.
    pub fn glances(&self, at: usize) -> &'a [Glance] {
        let Some(packet) = self.packets().get(at) else { return &[] };
        let number = self.range.start.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
        self.block.ticks.between(packet.tick + 1, self.block.tick_behind(number) + 1)
    }

    pub fn frame(&self, packet: &Skimmed) -> u64 {
        self.first_frame + u64::from(packet.frame)
    }
}
