//! Blocks that were read ahead, kept for the look-up of triggers: which of their packets were used, as which messages,
//! and a cursor that goes through the ticks of a symbol from the newest to the oldest, block by block.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tickscope_model::{SymbolId, Timestamp};

use super::ticks::{RING, Tick};
use crate::capture::{Block, Packets};

/// A look-up in a block looks at so many messages one by one before it follows the symbol's chain.
const NEAR: u32 = 128;

/// Blocks in use, oldest first, by file.
#[derive(Default)]
pub(super) struct KeptBlocks {
    tracks: Vec<VecDeque<Kept>>,
}

/// A block, and which of its packets have been used.
struct Kept {
    block: Arc<Block>,
    point: u16,
    first_frame: u64,
    /// The last message of the block that was used.
    newest: u32,
    used: Vec<Used>,
}

/// Packets of a block that were used, and what for.
struct Used {
    packets: Range<u32>,
    /// Which of all messages the first tick of the first packet is.
    message: u32,
    line: u16,
    /// Which messages of the packet are new; all of them, unless it is a single packet.
    fresh: Option<Vec<Range<u64>>>,
}

impl KeptBlocks {
    /// Keeps packets; so many market-data messages had come before them. `fresh` as in [`Used`].
    pub(super) fn add(
        &mut self,
        point: u16,
        line: u16,
        packets: &Packets<'_>,
        fresh: Option<Vec<Range<u64>>>,
        messages: u32,
    ) {
        if self.tracks.len() <= packets.file {
            self.tracks.resize_with(packets.file + 1, VecDeque::new);
        }
        let is_new = |track: &VecDeque<Kept>| track.back().is_none_or(|kept| !Arc::ptr_eq(&kept.block, packets.block));
        if is_new(&self.tracks[packets.file]) {
            self.forget(messages);
        }
        let track = &mut self.tracks[packets.file];
        if is_new(track) {
            let (block, first_frame) = (packets.block.clone(), packets.first_frame);
            track.push_back(Kept { block, point, first_frame, newest: messages, used: Vec::new() });
        }
        let Some(kept) = track.back_mut() else { return };
        let sequence = packets.sequence();
        kept.newest = messages.wrapping_add(u32::try_from(sequence.end - sequence.start).unwrap_or(u32::MAX));
        // Runs that are used one behind the other, in one go and on one line, are one.
        if let Some(last) = kept.used.last_mut()
            && last.packets.end == packets.range.start
            && last.line == line
            && last.fresh.is_none()
            && fresh.is_none()
            && follows(&kept.block, last, packets.range.start, messages)
        {
            last.packets.end = packets.range.end;
            return;
        }
        kept.used.push(Used { packets: packets.range.clone(), message: messages, line, fresh });
    }

    /// The time of the newest packet of a file that is kept.
    pub(super) fn latest(&self, file: usize) -> Timestamp {
        let last = |kept: &Kept| {
            let packet = kept.used.last()?.packets.end.checked_sub(1)?;
            kept.block.packets.get(packet as usize).map(|packet| packet.time)
        };
        self.tracks.get(file).and_then(VecDeque::back).and_then(last).unwrap_or(Timestamp::MIN)
    }

    /// Lets go of blocks that are too old for any look-up.
    fn forget(&mut self, messages: u32) {
        let is_old = |kept: &Kept| messages.wrapping_sub(kept.newest) > RING + RING / 8;
        for track in &mut self.tracks {
            while track.front().is_some_and(is_old) {
                track.pop_front();
            }
        }
    }

    /// A cursor for each file, at the symbol's newest tick that is not later than `time`.
    pub(super) fn newest_first(&self, point: u16, symbol: SymbolId, time: Timestamp) -> Vec<Cursor<'_>> {
        let tracks = self.tracks.iter().filter(|track| !track.is_empty());
        let cursor = |track| {
            let mut cursor = Cursor { track, point, symbol, time, block: 0, behind: 0, number: 0, next: None };
            cursor.block = cursor.track.len();
            cursor.advance();
            cursor
        };
        tracks.map(cursor).collect()
    }

    /// Whether any market data was seen at this point.
    pub(super) fn has_point(&self, point: u16) -> bool {
        self.tracks.iter().flatten().any(|kept| kept.point == point)
    }
}

/// Whether a packet's first message comes right behind what was used last.
fn follows(block: &Block, last: &Used, packet: u32, message: u32) -> bool {
    let tick = |packet: u32| block.packets.get(packet as usize).map(|packet| packet.tick);
    match (tick(last.packets.start), tick(packet)) {
        (Some(first), Some(next)) => last.message.wrapping_add(next - first) == message,
        _ => false,
    }
}

/// A place in the blocks of one file.
pub(super) struct Cursor<'a> {
    track: &'a VecDeque<Kept>,
    point: u16,
    symbol: SymbolId,
    time: Timestamp,
    /// The current block.
    block: usize,
    /// The packet in it that is the first one later than `time`.
    behind: u32,
    /// The tick in it that comes next; 0: the next one is in an older block.
    number: u32,
    /// The tick that this cursor stands at, and which message it is.
    pub(super) next: Option<(Tick, u32)>,
}

impl Cursor<'_> {
    /// Goes to the next older tick.
    pub(super) fn advance(&mut self) {
        self.next = None;
        while self.next.is_none() {
            if self.number == 0 {
                let Some(older) = self.block.checked_sub(1) else { return };
                self.block = older;
                let kept = self.track.get(older).filter(|kept| kept.point == self.point);
                self.enter(kept);
                continue;
            }
            let Some(kept) = self.track.get(self.block) else { return };
            let Some(glance) = kept.block.ticks.get(self.number) else { return };
            let number = std::mem::replace(&mut self.number, glance.before);
            if u32::from(glance.packet) < self.behind {
                self.next = kept.tick(number);
            }
        }
    }
}

impl Cursor<'_> {
    /// Goes to the newest tick of a block that is not too late.
    fn enter(&mut self, kept: Option<&Kept>) {
        self.number = kept.map_or(0, |kept| kept.block.ticks.newest(self.symbol));
        let Some(block) = kept.map(|kept| &kept.block).filter(|_| self.number != 0) else { return };
        self.behind = block.behind(self.time);
        // What made us act is mostly a few messages old, while the newest of a busy symbol may be thousands further on.
        let behind = self.behind.checked_sub(1).map_or(0, |last| block.tick_behind(last));
        self.number = block.ticks.near(behind, NEAR, self.symbol).unwrap_or(self.number);
    }
}

impl Kept {
    /// A tick of the block and which of all messages it is, if it has been used. Like a tick of the ring it is numbered
    /// after the last message of its packet.
    fn tick(&self, number: u32) -> Option<(Tick, u32)> {
        let found = self.block.tick(number)?;
        let behind = self.used.partition_point(|used| used.packets.start <= found.packet);
        let used = self.used.get(behind.checked_sub(1)?).filter(|used| found.packet < used.packets.end)?;
        let is_new = |fresh: &Vec<Range<u64>>| fresh.iter().any(|range| range.contains(&u64::from(found.position)));
        if !used.fresh.as_ref().is_none_or(is_new) {
            return None;
        }
        let first = self.block.packets.get(used.packets.start as usize)?;
        let packet = self.block.packets.get(found.packet as usize)?;
        let message = used.message.wrapping_add(self.block.tick_behind(found.packet) - first.tick);
        let tick = Tick {
            time: packet.time,
            sequence: packet.first + u64::from(found.position),
            frame: self.first_frame + u64::from(packet.frame),
            line: used.line,
            code: found.code,
            kind: found.kind,
        };
        Some((tick, message))
    }
}
