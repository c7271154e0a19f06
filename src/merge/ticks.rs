//! The recent market-data messages of every symbol, for the question "which was the newest before this order?".
//! Ticks that the stages read one by one lie in one ring in the order of arrival; those of a symbol are chained from newest
//! to oldest, so adding one is two writes and a look-up is a walk of a few steps. Ticks of packets that were read ahead
//! stay in their blocks, which are chained in the same way; a look-up walks both and takes what is newer.
//! Nothing is hashed and nothing allocated for a message.
//!
//! How far back a look-up sees does not depend on where a tick lies: [`MEMORY`] messages, counted over all feeds.

use std::collections::VecDeque;
use std::ops::Range;

use tickscope_model::{MarketKind, SymbolId, Timestamp};

use super::kept::{Cursors, KeptBlocks, messages};
use crate::capture::{Packets, Place, Spot};

/// Ticks in the ring, 32 bytes each.
pub(super) const RING: u32 = 1 << 20;
/// A look-up sees so many market-data messages back from its request …
const MEMORY: u32 = RING / 4 * 3;
/// … and must be made before so many more have come; those of one block may come on top of that.
const PATIENCE: u32 = RING / 4 - (1 << 16);
/// A step back in time of the capture is put in its place if it is at most this many ticks of the symbol long.
const REORDER_STEPS: usize = 64;
/// A block with fewer messages than these is not kept: its ticks go into the ring, so that no number of nearly empty blocks
/// is ever in memory.
pub(super) const SPARSE: u16 = 4096;
/// … and so many of their packets can be found in the file again.
const PLACES: usize = 8192;
/// For every so many messages it is remembered when they came.
const MARK_EVERY: u32 = 1 << 13;
/// … for so many messages back.
const MARKED_BACK: u32 = 2 * RING;

/// A message, as a look-up gives it.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    pub time: Timestamp,
    pub sequence: u64,
    /// Number of its frame in its tap.
    pub frame: u64,
    /// Which line brought it, see [`super::Feeds`].
    pub line: u16,
    pub code: u8,
    pub kind: MarketKind,
    /// Where its packet stands in its file, where that can be read once more.
    pub place: Option<Spot>,
}

/// The same in the ring.
#[derive(Clone, Copy)]
struct Stored {
    time: Timestamp,
    sequence: u64,
    /// The lower bits of the frame's number; the upper ones are in `frame_high`.
    frame: u32,
    /// Number of the tick before on the same symbol.
    before: u32,
    /// Which of all market-data messages it is.
    message: u32,
    line: u16,
    code: u8,
    /// The kind in the lower three bits, above them the upper five bits of the frame's number.
    kind_and_frame: u8,
}
const _: () = assert!(size_of::<Stored>() == 32);

const KINDS: [MarketKind; 5] =
    [MarketKind::Trade, MarketKind::Quote, MarketKind::Book, MarketKind::Auction, MarketKind::Status];

impl Stored {
    fn tick(&self) -> Tick {
        Tick {
            time: self.time,
            sequence: self.sequence,
            frame: u64::from(self.frame) | u64::from(self.kind_and_frame >> 3) << 32,
            line: self.line,
            code: self.code,
            kind: KINDS.get(usize::from(self.kind_and_frame & 7)).copied().unwrap_or(MarketKind::Status),
            place: None,
        }
    }
}

/// The ticks of one run; heads are kept by observation point and symbol.
pub struct Ticks {
    ring: Vec<Stored>,
    /// Ticks added to the ring so far, modulo 2^32; number `n` lies at `n % RING`. Number 0 is never given.
    count: u32,
    heads: Vec<Vec<u32>>,
    /// The latest time in the ring so far: as long as time goes forward, no older tick needs to be looked at.
    latest: Timestamp,
    /// Market-data messages so far, of all kinds, modulo 2^32.
    messages: u32,
    /// When every [`MARK_EVERY`]th message came, the newest last.
    marks: VecDeque<(u32, Timestamp)>,
    kept: KeptBlocks,
    /// Where the packets stand that were read ahead, but whose ticks went into the ring: line, time, frame and
    /// place, newest last.
    places: VecDeque<(u16, Timestamp, u64, Place)>,
}

impl Default for Ticks {
    fn default() -> Self {
        Ticks {
            ring: Vec::new(),
            count: 0,
            heads: Vec::new(),
            latest: Timestamp::MIN,
            messages: 0,
            marks: VecDeque::with_capacity((MARKED_BACK / MARK_EVERY + 2) as usize),
            kept: KeptBlocks::default(),
            places: VecDeque::new(),
        }
    }
}

impl Ticks {
    /// So many market-data messages have come, of whatever kind, with a packet of this time. They are counted before
    /// their ticks are added.
    #[inline]
    pub fn came(&mut self, messages: u64, time: Timestamp) {
        let before = self.messages;
        self.messages = self.messages.wrapping_add(u32::try_from(messages).unwrap_or(u32::MAX));
        if before / MARK_EVERY != self.messages / MARK_EVERY {
            self.mark(time);
        }
    }

    #[cold]
    fn mark(&mut self, time: Timestamp) {
        while self.marks.front().is_some_and(|(number, _)| self.messages.wrapping_sub(*number) > MARKED_BACK) {
            self.marks.pop_front();
        }
        self.marks.push_back((self.messages, time));
    }

    /// Market-data messages so far, modulo 2^32.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Whether a look-up for a request that came after so many messages must be made now.
    pub fn is_urgent(&self, messages: u32) -> bool {
        self.messages.wrapping_sub(messages) >= PATIENCE
    }

    /// What a look-up after so many messages can know of begins here: older ticks may have been forgotten.
    pub fn horizon(&self, messages: u32) -> Timestamp {
        let is_remembered = |number: u32| i64::from(messages.wrapping_sub(number).cast_signed()) <= i64::from(MEMORY);
        let oldest = self.marks.iter().find(|(number, _)| is_remembered(*number));
        match self.marks.front() {
            Some(first) if !is_remembered(first.0) => oldest.map_or(Timestamp::MAX, |(_, time)| *time),
            _ => Timestamp::MIN,
        }
    }

    /// Remembers a message of a packet that was announced with [`Ticks::came`].
    #[inline]
    pub fn push(&mut self, point: u16, symbol: SymbolId, tick: &Tick) {
        self.count = self.count.wrapping_add(1);
        if self.count == 0 {
            // Numbers start anew every 2^32 ticks; chains that would reach across are cut.
            self.heads.iter_mut().for_each(Vec::clear);
            self.count = 1;
        }
        let number = self.count;
        let at = (number % RING) as usize;
        let message = self.messages;
        let head = self.head(point, symbol);
        let before = std::mem::replace(head, number);
        let frame_high = u8::try_from(tick.frame >> 32 & 0x1f).expect("masked to five bits");
        let stored = Stored {
            time: tick.time,
            sequence: tick.sequence,
            frame: u32::try_from(tick.frame & 0xFFFF_FFFF).expect("masked to 32 bits"),
            before,
            message,
            line: tick.line,
            code: tick.code,
            kind_and_frame: tick.kind as u8 | frame_high << 3,
        };
        match self.ring.get_mut(at) {
            Some(slot) => *slot = stored,
            None => self.grow(stored),
        }
        if tick.time < self.latest {
            self.sink(point, symbol, number);
        }
        self.latest = self.latest.max(tick.time);
    }

    #[cold]
    fn grow(&mut self, stored: Stored) {
        if self.ring.is_empty() {
            self.ring.reserve_exact(RING as usize);
            // Slot 0 belongs to number 0, which does not exist until the ring is full.
            self.ring.push(Stored { time: Timestamp::MIN, ..stored });
        }
        self.ring.push(stored);
    }

    #[inline]
    fn head(&mut self, point: u16, symbol: SymbolId) -> &mut u32 {
        let (point, symbol) = (usize::from(point), symbol.0 as usize);
        if self.heads.len() <= point {
            self.heads.resize_with(point + 1, Vec::new);
        }
        let heads = &mut self.heads[point];
        if heads.len() <= symbol {
            heads.resize((symbol + 1).next_power_of_two(), 0);
        }
        &mut heads[symbol]
    }

    /// The tick with this number, unless it has been overwritten.
    #[inline]
    fn get(&self, number: u32) -> Option<&Stored> {
        if number == 0 || self.count.wrapping_sub(number) >= RING - 1 {
            return None;
        }
        self.ring.get((number % RING) as usize)
    }

    /// The capture stepped back in time: the newest tick moves down its chain to where its time belongs.
    #[cold]
    fn sink(&mut self, point: u16, symbol: SymbolId, number: u32) {
        let Some(&tick) = self.get(number) else { return };
        let mut above = tick.before;
        if self.get(above).is_none_or(|previous| previous.time <= tick.time) {
            return;
        }
        for _ in 0..REORDER_STEPS {
            let Some(&upper) = self.get(above) else { return };
            match self.get(upper.before) {
                Some(lower) if lower.time > tick.time => above = upper.before,
                _ => break,
            }
        }
        *self.head(point, symbol) = tick.before;
        let Some(upper) = self.ring.get_mut((above % RING) as usize) else { return };
        let below = std::mem::replace(&mut upper.before, number);
        if let Some(moved) = self.ring.get_mut((number % RING) as usize) {
            moved.before = below;
        }
    }

    /// Remembers packets that were read ahead, all of them new. They have not been announced with [`Ticks::came`].
    pub fn keep(&mut self, point: u16, line: u16, packets: &Packets<'_>) {
        // Time steps back within a file, though not within a block: such packets are put in their place in the ring.
        let latest = self.kept.latest(packets.file);
        let is_late = packets.times().is_some_and(|times| *times.start() < latest);
        let late = match packets.block.messages {
            ..SPARSE => packets.range.len(),
            _ if is_late => packets.packets().partition_point(|packet| packet.time < latest),
            _ => 0,
        };
        for (at, (_, count, time)) in (packets.range.start..).zip(packets.arrivals()).take(late) {
            self.came(count, time);
            self.push_messages(point, line, packets, at, None);
        }
        let packets = &packets.behind(&packets.first(late));
        if packets.range.is_empty() {
            return;
        }
        self.see_point(point);
        self.kept.add(point, line, packets, None, self.messages);
        // Marks are set as if the packets had come one by one: with the one that brings the count over a multiple.
        let total = packets.sequence();
        let count = u32::try_from(total.end - total.start).unwrap_or(u32::MAX);
        let (before, after) = (self.messages, self.messages.wrapping_add(count));
        while self.messages / MARK_EVERY != after / MARK_EVERY {
            let wanted = MARK_EVERY - self.messages % MARK_EVERY + self.messages.wrapping_sub(before);
            let (time, done) = packets.at_message(wanted);
            self.messages = before.wrapping_add(done);
            self.mark(time);
        }
        self.messages = after;
    }

    /// Remembers a packet that was read ahead and has been announced with [`Ticks::came`]: all its messages, or those
    /// that are new.
    pub fn keep_announced(&mut self, point: u16, line: u16, packet: &Packets<'_>, fresh: Option<Vec<Range<u64>>>) {
        let is_late = packet.packets().first().is_some_and(|first| first.time < self.kept.latest(packet.file));
        if packet.block.messages < SPARSE || is_late {
            return self.push_messages(point, line, packet, packet.range.start, fresh.as_deref());
        }
        let numbers = packet.sequence();
        let count = u32::try_from(numbers.end - numbers.start).unwrap_or(u32::MAX);
        self.see_point(point);
        self.kept.add(point, line, packet, fresh, self.messages.wrapping_sub(count));
    }

    /// The messages of one packet, by its place in the block, into the ring, for a block that is not worth keeping.
    fn push_messages(&mut self, point: u16, line: u16, packets: &Packets<'_>, at: u32, fresh: Option<&[Range<u64>]>) {
        let Some(packet) = packets.block.packets.get(at as usize) else { return };
        // Where the file is no longer what it was, its reader notices and reports that.
        let mut glances = Vec::new();
        if messages(packets.block, packets.run, at, &mut |glance| glances.push(glance)).is_none() {
            return;
        }
        let (time, frame, first) = (packet.time, packets.frame(at), packets.run.first_of(packet));
        if self.places.len() == PLACES {
            self.places.pop_front();
        }
        let place = Place { file: packets.file, place: packets.block.place_of(packet), number: frame };
        self.places.push_back((line, packet.time, frame, place));
        for (position, glance) in (0..).zip(&glances) {
            if fresh.is_none_or(|fresh| fresh.iter().any(|range| range.contains(&position))) {
                let (sequence, code, kind) = (first + position, glance.code, glance.kind);
                self.push(point, glance.symbol, &Tick { time, sequence, frame, line, code, kind, place: None });
            }
        }
    }

    /// Where the packet of a recent tick can be read once more.
    pub fn place_of(&self, tick: &Tick) -> Option<Place> {
        // Frames are numbered by file, and the files of one observation point share their lines.
        let is_it = |(line, time, frame, _): &&(u16, Timestamp, u64, Place)| {
            (*line, *time, *frame) == (tick.line, tick.time, tick.frame)
        };
        let spot = tick.place.map(|spot| spot.of_frame(tick.frame));
        spot.or_else(|| self.places.iter().rev().find(is_it).map(|(.., place)| *place))
    }

    fn see_point(&mut self, point: u16) {
        if self.heads.len() <= usize::from(point) {
            self.heads.resize_with(usize::from(point) + 1, Vec::new);
        }
    }

    /// The ticks of a symbol at a point from newest to oldest, for a request at `time` that came after so many messages:
    /// those that are not later than it, as far back as 786,432 messages go. Those before `since` may be left out.
    pub fn newest_first(
        &self,
        point: u16,
        symbol: SymbolId,
        (since, time): (Timestamp, Timestamp),
        messages: u32,
    ) -> Walk<'_> {
        let head = self.heads.get(usize::from(point)).and_then(|heads| heads.get(symbol.0 as usize)).copied();
        let cursors = self.kept.newest_first(point, symbol, time);
        let mut walk = Walk { ticks: self, time, since, messages, ring: head.unwrap_or(0), cursors };
        while self.get(walk.ring).is_some_and(|stored| stored.time > time) {
            walk.ring = self.get(walk.ring).map_or(0, |stored| stored.before);
        }
        walk
    }

    /// Whether any market data was seen at this point.
    pub fn has_point(&self, point: u16) -> bool {
        self.heads.get(usize::from(point)).is_some_and(|heads| !heads.is_empty()) || self.kept.has_point(point)
    }
}

/// See [`Ticks::newest_first`].
pub struct Walk<'a> {
    ticks: &'a Ticks,
    time: Timestamp,
    since: Timestamp,
    messages: u32,
    /// Number of the next tick in the ring.
    ring: u32,
    cursors: Cursors<'a>,
}

impl Walk<'_> {
    /// From here on, ticks before this time may be left out: to know that there are none costs less than to find them.
    pub fn only_since(&mut self, since: Timestamp) {
        self.since = self.since.max(since);
    }
}

impl Iterator for Walk<'_> {
    type Item = Tick;

    #[inline]
    fn next(&mut self) -> Option<Tick> {
        self.cursors.iter_mut().filter(|cursor| cursor.is_due).for_each(|cursor| cursor.advance(self.since));
        let stored = self.ticks.get(self.ring);
        let of_ring = stored.map(|stored| (stored.tick(), stored.message));
        // Of ticks at the same time the one further on in its file is the newer, and a later file's.
        let newer = |(tick, _): &(Tick, u32)| (tick.time, tick.frame);
        let newest = self
            .cursors
            .iter_mut()
            .filter(|cursor| cursor.next.is_some())
            .max_by_key(|cursor| cursor.next.as_ref().map(newer));
        let (tick, message) = match (newest, of_ring) {
            (Some(cursor), found) if found.is_none() || cursor.next.as_ref().map(newer) > found.as_ref().map(newer) => {
                cursor.is_due = true;
                cursor.next?
            }
            (_, found) => {
                self.ring = stored?.before;
                found?
            }
        };
        debug_assert!(tick.time <= self.time, "later ones were passed over");
        let age = i64::from(self.messages.wrapping_sub(message).cast_signed());
        (age <= i64::from(MEMORY)).then_some(tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest_first(ticks: &Ticks, symbol: u32) -> Vec<u64> {
        let walk = ticks.newest_first(0, SymbolId(symbol), (Timestamp::MIN, Timestamp::MAX), ticks.messages());
        walk.map(|tick| tick.time.0).collect()
    }

    fn push(ticks: &mut Ticks, symbol: u32, time: u64) {
        ticks.came(1, Timestamp(time));
        let (time, kind) = (Timestamp(time), MarketKind::Trade);
        ticks.push(
            0,
            SymbolId(symbol),
            &Tick { time, sequence: time.0, frame: time.0, line: 0, code: b'P', kind, place: None },
        );
    }

    #[test]
    fn a_symbol_gives_its_ticks_newest_first_also_where_the_capture_stepped_back() {
        let mut ticks = Ticks::default();
        for time in [10, 20, 40, 30, 50, 15] {
            push(&mut ticks, 7, time);
            push(&mut ticks, 8, 100 + time);
        }
        assert_eq!(newest_first(&ticks, 7), [50, 40, 30, 20, 15, 10]);
        assert_eq!(newest_first(&ticks, 8), [150, 140, 130, 120, 115, 110]);
        assert_eq!(newest_first(&ticks, 9), [0; 0]);
        let early: Vec<u64> = ticks
            .newest_first(0, SymbolId(7), (Timestamp::MIN, Timestamp(30)), ticks.messages())
            .map(|tick| tick.time.0)
            .collect();
        assert_eq!(early, [30, 20, 15, 10], "what came later than the request is no candidate");
    }

    #[test]
    fn what_is_too_many_messages_old_is_forgotten_and_the_horizon_says_from_when_on() {
        let mut ticks = Ticks::default();
        push(&mut ticks, 1, 1);
        for time in 2..100 {
            push(&mut ticks, 2, time);
        }
        assert_eq!((newest_first(&ticks, 1).len(), ticks.horizon(ticks.messages())), (1, Timestamp::MIN));
        for time in 100..u64::from(2 * RING) + 10 {
            push(&mut ticks, 2, time);
        }
        assert_eq!(newest_first(&ticks, 1), [0; 0]);
        let seen = newest_first(&ticks, 2);
        assert_eq!((seen.first(), seen.len()), (Some(&(u64::from(2 * RING) + 9)), MEMORY as usize + 1));
        let (horizon, last) = (ticks.horizon(ticks.messages()).0, seen[seen.len() - 1]);
        assert!(last <= horizon && horizon < last + u64::from(MARK_EVERY), "{last} {horizon}");
    }

    #[test]
    fn frame_numbers_are_kept_beyond_32_bits() {
        let mut ticks = Ticks::default();
        push(&mut ticks, 1, (5 << 32) + 77);
        let tick =
            ticks.newest_first(0, SymbolId(1), (Timestamp::MIN, Timestamp::MAX), 1).next().expect("there is one");
        assert_eq!((tick.frame, tick.kind), ((5 << 32) + 77, MarketKind::Trade));
    }
}
