//! Packets that were read ahead, ready to be used: a part of a run, with what is known of it without reading them again.

use std::num::NonZeroU32;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use tickscope_model::{TapId, Timestamp};

use super::block::{Block, Run, Skimmed};

/// Part of a run, ready to be used: its packets, and where they belong.
#[derive(Clone)]
pub struct Packets<'a> {
    pub block: &'a Arc<Block>,
    pub run: &'a Run,
    /// Which part of the block the run is.
    pub part: u32,
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

/// The same without its number, in little room.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    /// The number of the file, from 1.
    file: NonZeroU32,
    place: usize,
}
const _: () = assert!(size_of::<Option<Spot>>() == 16);

impl Spot {
    pub fn new(file: usize, place: usize) -> Option<Spot> {
        let file = u32::try_from(file).ok()?.checked_add(1).and_then(NonZeroU32::new)?;
        Some(Spot { file, place })
    }

    pub fn of_frame(self, number: u64) -> Place {
        Place { file: self.file.get() as usize - 1, place: self.place, number }
    }
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

    /// Whether they are all packets of the run: then nothing of the packets themselves has to be looked at.
    #[inline]
    fn is_whole(&self) -> bool {
        self.range == self.run.packets
    }

    /// Times of the first and of the last.
    #[inline]
    pub fn times(&self) -> Option<RangeInclusive<Timestamp>> {
        if self.is_whole() {
            return Some(self.run.times.clone());
        }
        let packets = self.packets();
        Some(packets.first()?.time..=packets.last()?.time)
    }

    /// Sequence number of the first message, and the one behind the last.
    #[inline]
    pub fn sequence(&self) -> Range<u64> {
        if self.is_whole() {
            return self.run.sequence.clone();
        }
        let of = |packet: u32| {
            let inside = self.block.packets.get(packet as usize).filter(|_| packet < self.run.packets.end);
            inside.map_or(self.run.sequence.end, |packet| self.run.first_of(packet))
        };
        of(self.range.start)..of(self.range.end)
    }

    /// First number, count of messages and time of each.
    pub fn arrivals(&self) -> impl ExactSizeIterator<Item = (u64, u64, Timestamp)> + use<'a> {
        let (packets, run, end) = (self.packets(), self.run, self.sequence().end);
        packets.iter().enumerate().map(move |(at, packet)| {
            let first = run.first_of(packet);
            let next = packets.get(at + 1).map_or(end, |next| run.first_of(next));
            (first, next - first, packet.time)
        })
    }

    /// The packet that brings the message with this number among theirs, counted from 1: its time, and how many messages there
    /// are up to and with its own.
    pub fn at_message(&self, number: u32) -> (Timestamp, u32) {
        let packets = self.packets();
        let first = packets.first().map_or(0, |packet| u32::from(packet.message));
        let at = packets.partition_point(|packet| u32::from(packet.message) - first < number).saturating_sub(1);
        let place = self.range.start.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
        let time = packets.get(at).map_or(Timestamp::MAX, |packet| packet.time);
        (time, u32::from(self.block.messages_behind(place)) - first)
    }

    /// Where their frames stand.
    pub fn places(&self) -> Vec<Place> {
        let place = |(number, packet): (u32, &Skimmed)| Place {
            file: self.file,
            place: self.block.start + packet.at as usize,
            number: self.frame(number),
        };
        (self.range.start..).zip(self.packets()).map(place).collect()
    }

    /// Captured bytes, headers of records not counted.
    pub fn bytes(&self) -> u64 {
        if self.is_whole() {
            return self.run.bytes.into();
        }
        let before = |packet: u32| {
            self.block.packets.get(packet as usize).map_or(self.block.packet_bytes, |packet| packet.bytes)
        };
        u64::from(before(self.range.end) - before(self.range.start))
    }

    /// Number of the frame of a packet, by its place in [`Block::packets`].
    #[inline]
    pub fn frame(&self, packet: u32) -> u64 {
        self.first_frame + u64::from(self.run.frame_of(packet))
    }
}
