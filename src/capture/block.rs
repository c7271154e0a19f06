//! A stretch of a capture that was read ahead, on another thread: the ordinary market-data packets of it as runs, ready to
//! be used, and everything else as frames that still have to be read. In the order of the file.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tickscope_decoders::Glance;
use tickscope_model::{MarketKind, SymbolId, TapId, Timestamp};


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
    ticks: Vec<BlockTick>,
    /// The newest tick of each symbol, as 1 + its place in `ticks`.
    heads: Vec<u32>,
}

/// What comes next in a block.
#[derive(Clone, Debug)]
pub enum Part {
    /// A frame that the stages must read.
    Frame {
        /// Where its record begins, behind the start of the block.
        at: u32,
        /// Which frame of the block it is, from 0.
        frame: u16,
        time: Timestamp,
    },
    Run(Run),
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

/// A message, as the look-up of triggers needs it.
#[derive(Clone, Copy, Debug)]
struct BlockTick {
    /// The tick before on the same symbol, as 1 + its place.
    before: u32,
    packet: u32,
    code: u8,
    kind: MarketKind,
}

/// A tick of a block.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub time: Timestamp,
    pub packet: u32,
    /// Which message of its packet.
    pub position: u32,
    pub code: u8,
    pub kind: MarketKind,
    /// Number of the tick before on the same symbol, 0 where there is none.
    pub before: u32,
}

impl Block {
    /// An empty one.
    pub fn begin(start: usize) -> Block {
        Block { start, end: start, ..Block::default() }
    }

    /// Adds a packet to the run at hand if it continues it, else to a new one.
    #[inline]
    pub fn add(&mut self, flow: FlowMark, session: &[u8], packet: Skimmed, glances: &[Glance]) -> bool {
        let Ok(number) = u32::try_from(self.packets.len()) else { return false };
        let end = packet.first + glances.len() as u64;
        match self.parts.last_mut() {
            Some(Part::Run(run))
                if run.flow == flow && run.end == packet.first && run.session.bytes() == session =>
            {
                run.packets.end = number + 1;
                run.end = end;
            }
            _ => {
                let Some(session) = Session::new(session) else { return false };
                self.parts.push(Part::Run(Run { packets: number..number + 1, end, flow, session }));
            }
        }
        self.packets.push(packet);
        for glance in glances {
            let symbol = glance.symbol.0 as usize;
            if self.heads.len() <= symbol {
                self.heads.resize((symbol + 1).next_power_of_two(), 0);
            }
            let Some(head) = self.heads.get_mut(symbol) else { return false };
            self.ticks.push(BlockTick { before: *head, packet: number, code: glance.code, kind: glance.kind });
            *head = self.ticks.len() as u32;
        }
        true
    }

    /// Captured bytes of the packets so far.
    #[inline]
    pub fn bytes(&self) -> u32 {
        self.packets.last().map_or(0, |packet| packet.bytes)
    }

    /// How many messages are in the packets so far: the place of the next packet's first tick.
    #[inline]
    pub fn tick_count(&self) -> u32 {
        self.ticks.len() as u32
    }

    /// The newest tick of a symbol, for [`Block::tick`]; 0 where there is none.
    pub fn newest(&self, symbol: SymbolId) -> u32 {
        self.heads.get(symbol.0 as usize).copied().unwrap_or(0)
    }

    /// A tick by its number, which is 1 + its place.
    #[inline]
    pub fn tick(&self, number: u32) -> Option<Found> {
        let place = number.checked_sub(1)?;
        let &BlockTick { before, packet, code, kind } = self.ticks.get(place as usize)?;
        let Skimmed { time, tick, .. } = *self.packets.get(packet as usize)?;
        Some(Found { time, packet, position: place - tick, code, kind, before })
    }

    /// The place behind a packet's last tick.
    pub fn tick_behind(&self, packet: u32) -> u32 {
        self.packets.get(packet as usize + 1).map_or(self.tick_count(), |next| next.tick)
    }

    /// The number behind the last message of a packet of this run.
    pub fn end_of(&self, run: &Run, packet: u32) -> u64 {
        let next = packet + 1;
        if next < run.packets.end { self.packets.get(next as usize).map_or(run.end, |packet| packet.first) } else { run.end }
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
    pub fn first(&self, count: usize) -> Packets<'a> {
        let end = self.range.start.saturating_add(u32::try_from(count).unwrap_or(u32::MAX)).min(self.range.end);
        Packets { range: self.range.start..end, ..self.clone() }
    }

    /// The others.
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

    pub fn frame(&self, packet: &Skimmed) -> u64 {
        self.first_frame + u64::from(packet.frame)
    }
}
