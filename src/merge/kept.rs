//! Blocks that were read ahead, kept for the look-up of triggers: which of their packets were used, as which messages,
//! and a cursor that goes through the ticks of a symbol from the newest to the oldest. A block only knows which symbols a
//! group of packets may be about; the messages of the groups that are looked at are read from the file once more.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tickscope_decoders::Glance;
use tickscope_model::{SymbolId, Timestamp};

use super::ticks::{RING, Tick};
use crate::capture::{Block, Packets, Run, Spot};
use crate::dissect::datagram;

/// Blocks in use, oldest first, by file.
#[derive(Default)]
pub(super) struct KeptBlocks {
    tracks: Vec<VecDeque<Kept>>,
}

/// A block, and which of its packets have been used.
struct Kept {
    block: Arc<Block>,
    point: u16,
    file: usize,
    first_frame: u64,
    /// The last message of the block that was used.
    newest: u32,
    /// The time of the last packet that was used.
    latest: Timestamp,
    used: Vec<Used>,
}

/// Packets of a run that were used, and what for.
struct Used {
    /// The run, as a part of the block.
    part: u32,
    packets: Range<u32>,
    /// Which of all messages the first message of the first packet is.
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
            let (newest, latest, file) = (messages, Timestamp::MIN, packets.file);
            let used = Vec::with_capacity(block.parts.len() / 2 + 1);
            track.push_back(Kept { block, point, file, first_frame, newest, latest, used });
        }
        let Some(kept) = track.back_mut() else { return };
        let sequence = packets.sequence();
        kept.latest = packets.times().map_or(kept.latest, |times| *times.end());
        kept.newest = messages.wrapping_add(u32::try_from(sequence.end - sequence.start).unwrap_or(u32::MAX));
        let (part, packets) = (packets.part, packets.range.clone());
        kept.used.push(Used { part, packets, message: messages, line, fresh });
    }

    /// The time of the newest packet of a file that is kept.
    pub(super) fn latest(&self, file: usize) -> Timestamp {
        self.tracks.get(file).and_then(VecDeque::back).map_or(Timestamp::MIN, |kept| kept.latest)
    }

    /// Lets go of blocks that are too old for any look-up.
    fn forget(&mut self, messages: u32) {
        let is_old = |kept: &Kept| messages.wrapping_sub(kept.newest) > RING + (1 << 16);
        for track in &mut self.tracks {
            while track.front().is_some_and(is_old) {
                track.pop_front();
            }
        }
    }

    /// A cursor for each file, in front of the symbol's newest tick that is not later than `time`.
    pub(super) fn newest_first<'a>(&'a self, point: u16, symbol: SymbolId, time: Timestamp) -> Cursors<'a> {
        let tracks = self.tracks.iter().filter(|track| !track.is_empty());
        let cursor = |track: &'a VecDeque<Kept>| {
            let (block, found) = (track.len(), Vec::new());
            Cursor { track, point, symbol, time, block, behind: 0, found, next: None, is_due: true }
        };
        let mut cursors = tracks.map(cursor);
        Cursors { first: cursors.next(), others: cursors.collect() }
    }

    /// Whether any market data was seen at this point.
    pub(super) fn has_point(&self, point: u16) -> bool {
        self.tracks.iter().flatten().any(|kept| kept.point == point)
    }
}

/// A cursor for each file; mostly it is one.
pub(super) struct Cursors<'a> {
    first: Option<Cursor<'a>>,
    others: Vec<Cursor<'a>>,
}

impl<'a> Cursors<'a> {
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Cursor<'a>> {
        self.first.iter_mut().chain(&mut self.others)
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
    /// The packets of it before this one have not been looked at.
    behind: u32,
    /// What was found in the packet that was looked at last, oldest first.
    found: Vec<(Tick, u32)>,
    /// The tick that this cursor stands at, and which message it is.
    pub(super) next: Option<(Tick, u32)>,
    /// That one was taken away, and which is next has not been looked for: perhaps nobody asks.
    pub(super) is_due: bool,
}

impl Cursor<'_> {
    /// Goes to the next older tick. Ticks before `since` may be left out.
    pub(super) fn advance(&mut self, since: Timestamp) {
        self.is_due = false;
        self.next = self.found.pop();
        while self.next.is_none() {
            let kept = self.track.get(self.block).filter(|kept| kept.point == self.point);
            let newest = |kept: &Kept| {
                let marks = kept.block.marks_of(self.symbol);
                marks.filter_map(|mark| kept.block.newest(mark, self.behind, since)).max()
            };
            let packet = kept.and_then(newest);
            if let (Some(kept), Some(packet)) = (kept, packet) {
                self.behind = packet;
                kept.find(self.symbol, packet, &mut self.found);
                self.next = self.found.pop();
            } else {
                let Some(older) = self.block.checked_sub(1) else { return };
                let Some(kept) = self.track.get(older) else { return };
                if kept.block.packets.last().is_some_and(|last| last.time < since) {
                    return;
                }
                self.block = older;
                self.behind = kept.block.behind(self.time);
            }
        }
    }
}

impl Kept {
    /// The ticks of a symbol in a packet, if it has been used. Like a tick of the ring each is numbered after the last message
    /// of its packet.
    fn find(&self, symbol: SymbolId, packet: u32, found: &mut Vec<(Tick, u32)>) {
        let at = self.used.partition_point(|used| used.packets.end <= packet);
        let Some(used) = self.used.get(at).filter(|used| used.packets.start <= packet) else { return };
        let (Some(run), Some(skimmed)) = (self.block.run(used.part), self.block.packets.get(packet as usize)) else {
            return;
        };
        let (line, first) = (used.line, run.first_of(skimmed));
        let frame = self.first_frame + u64::from(run.frame_of(packet));
        let place = Spot::new(self.file, self.block.place_of(skimmed));
        let before = self.block.messages_before(used.packets.start);
        let message = used.message.wrapping_add(u32::from(self.block.messages_behind(packet) - before));
        let (found_before, mut position) = (found.len(), 0);
        let mut each = |Glance { symbol: of, code, kind }: Glance| {
            let is_new = || used.fresh.as_ref().is_none_or(|fresh| fresh.iter().any(|range| range.contains(&position)));
            if of == symbol && is_new() {
                let (time, sequence) = (skimmed.time, first + position);
                let tick = Tick { time, sequence, frame, line, code, kind, place };
                found.push((tick, message));
            }
            position += 1;
        };
        // Where the file is no longer what it was, its reader notices and reports that.
        if messages(&self.block, run, packet, &mut each).is_none() {
            found.truncate(found_before);
        }
    }
}

/// The messages of a packet, read from the file once more.
pub(super) fn messages(block: &Block, run: &Run, packet: u32, each: &mut dyn FnMut(Glance)) -> Option<()> {
    let (frame, skim) = block.reread(run, packet)?;
    skim.glances(datagram(&frame)?.payload, each)
}
