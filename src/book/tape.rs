//! What the newest messages of each watched symbol did, in time order; and how many messages of which kind came, at
//! which local rates, which the model of the order stream is measured against.

use std::collections::VecDeque;

use tickscope_model::{MarketKind, SymbolId, Timestamp};

use super::{Effect, Touch};
use crate::merge::Tick;
use crate::prefetch::prefetch;

/// Entries kept of a symbol …
const LENGTH: usize = 1024;
/// … and where there are more symbols than `MANY`.
const SHORT_LENGTH: usize = 256;
const MANY: usize = 512;
/// Room for so many at first.
const FEW: usize = 32;
/// Messages that came so shortly before a request may have caused it.
const RECENT_NS: i64 = 1_000_000;
/// The local rate is that of so many newest messages.
const RATE_OF: usize = 8;
/// … and without a tape, where each has to be read from the file once more, of so many, as if as many more took as long.
const SAMPLED_RATE_OF: usize = 2;
/// Classes of local rates: by powers of two of the time that the last eight messages took.
pub const RATE_CLASSES: usize = 40;
/// Types of messages that are told apart; further ones are counted as one.
const TYPES: usize = 16;

/// A message and what it did.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub tick: Tick,
    pub effect: Effect,
    /// Match number, trade id, or reference of the order.
    pub reference: u64,
    /// The number of the first message of its packet.
    pub packet_sequence: u64,
}

/// Type of a message, and what it did to the best prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Number of its type, below 16.
    pub class: u8,
    pub touch: Touch,
    pub has_side: bool,
}

/// What the order stream could have reacted to, and for how long.
#[derive(Clone, Debug)]
pub struct Exposure {
    types: Vec<(u8, MarketKind)>,
    /// Messages by class, touch and whether the side is known.
    messages: Vec<u64>,
    /// Nanoseconds, over all symbols, by class of local rate.
    pub time: [u64; RATE_CLASSES],
}

impl Default for Exposure {
    fn default() -> Self {
        Exposure { types: Vec::new(), messages: vec![0; TYPES * 6], time: [0; RATE_CLASSES] }
    }
}

impl Exposure {
    fn class(&mut self, code: u8, kind: MarketKind) -> u8 {
        if self.types.len() < TYPES - 1 && !self.types.contains(&(code, kind)) {
            self.types.push((code, kind));
        }
        self.class_of(code, kind)
    }

    fn place(moved: Moved) -> usize {
        (usize::from(moved.class) * 3 + moved.touch as usize) * 2 + usize::from(moved.has_side)
    }

    /// Without a tape, the messages before requests that are too old to have caused them stand for all: those about the
    /// symbol of a request at `time`, newest first, `since` a time before which nothing is known. Returns the class of the
    /// local rate at the request.
    pub fn sample(&mut self, time: Timestamp, since: Option<Timestamp>, ticks: &[Tick]) -> u8 {
        let is_old = |tick: &Tick| time.since(tick.time).0 > RECENT_NS;
        // The message that two came since, with that one; before the first of all it is not known, or there is none.
        let anchor = |at: usize| ticks.get(at + SAMPLED_RATE_OF - 1).map(|tick| tick.time);
        let anchor = |at: usize| anchor(at).or(since.map(|_| Timestamp::MIN));
        for (at, tick) in ticks.iter().enumerate().filter(|(_, tick)| is_old(tick)) {
            let Some(anchor) = anchor(at + 1) else { break };
            let class = self.class(tick.code, tick.kind);
            self.messages[Exposure::place(Moved { class, touch: Touch::Same, has_side: false })] += 1;
            if let Some(from) = ticks.get(at + 1).map(|tick| tick.time).or(since) {
                spend(&mut self.time, (anchor, SAMPLED_RATE_OF), from, tick.time);
            }
        }
        if ticks.is_empty()
            && let Some(since) = since
        {
            spend(&mut self.time, (Timestamp::MIN, SAMPLED_RATE_OF), since, time);
        }
        let anchor = ticks.get(SAMPLED_RATE_OF - 1).map(|tick| tick.time);
        rate_class(anchor.map_or(u64::MAX, |anchor| time.0.saturating_sub(anchor.0)), SAMPLED_RATE_OF)
    }

    /// Messages of that kind so far.
    pub fn messages(&self, moved: Moved) -> u64 {
        self.messages.get(Exposure::place(moved)).copied().unwrap_or(0)
    }

    /// The class of a message's type.
    pub fn class_of(&self, code: u8, kind: MarketKind) -> u8 {
        let known = self.types.iter().position(|known| *known == (code, kind));
        u8::try_from(known.unwrap_or(TYPES - 1)).expect("below 16")
    }

    /// Whether the class is one of trades.
    pub fn is_trade(&self, class: u8) -> bool {
        self.types.get(usize::from(class)).is_some_and(|(_, kind)| *kind == MarketKind::Trade)
    }
}

/// The newest messages of a symbol at a point.
struct Strip {
    symbol: SymbolId,
    /// In time order.
    entries: VecDeque<Entry>,
    /// The times of the last of them, which each further message needs, oldest first. Before there are so many: [`Timestamp::MIN`].
    times: [Timestamp; RATE_OF],
}

impl Strip {
    fn push(&mut self, entry: &Entry, length: usize) {
        let time = entry.tick.time;
        while self.entries.len() >= length {
            self.entries.pop_front();
        }
        if self.entries.len() == self.entries.capacity() {
            // Most symbols that have many messages have more: what is copied once to more room is not copied again.
            let room = if self.entries.len() < FEW { FEW } else { length };
            self.entries.reserve_exact(room.saturating_sub(self.entries.len()).max(1));
        }
        if self.entries.is_empty() || self.times[RATE_OF - 1] <= time {
            self.entries.push_back(*entry);
            self.times.rotate_left(1);
            self.times[RATE_OF - 1] = time;
        } else {
            self.insert(*entry);
        }
    }

    /// The capture stepped back in time.
    #[cold]
    fn insert(&mut self, entry: Entry) {
        let at = self.entries.partition_point(|other| other.tick.time <= entry.tick.time);
        self.entries.insert(at, entry);
        let newest = self.entries.iter().rev().map(|entry| entry.tick.time);
        self.times.iter_mut().rev().zip(newest).for_each(|(kept, time)| *kept = time);
    }
}

/// See the head of this file.
#[derive(Default)]
pub struct Tape {
    strips: Vec<Strip>,
    /// By point and symbol: the number of its strip, from 1 on.
    numbers: Vec<Vec<u32>>,
    pub exposure: Exposure,
}

impl Tape {
    /// A message came. `counts`: it is of a kind that may be a trigger.
    pub fn push(&mut self, point: u16, symbol: SymbolId, entry: &Entry, counts: bool) {
        let length = if self.strips.len() > MANY { SHORT_LENGTH } else { LENGTH };
        if counts {
            let (code, kind) = (entry.tick.code, entry.tick.kind);
            let class = self.exposure.class(code, kind);
            let moved = Moved { class, touch: entry.effect.touch, has_side: entry.effect.side.is_some() };
            self.exposure.messages[Exposure::place(moved)] += 1;
        }
        let number = self.number(point, symbol);
        let strip = &mut self.strips[number];
        if !strip.entries.is_empty() {
            let (anchor, last) = (strip.times[0], strip.times[RATE_OF - 1]);
            spend(&mut self.exposure.time, (anchor, RATE_OF), last, entry.tick.time);
        }
        strip.push(entry, length);
    }

    /// Forgets all messages; how many of which kind came stays.
    pub fn forget(&mut self) {
        for strip in &mut self.strips {
            strip.entries.clear();
            strip.times = [Timestamp::MIN; RATE_OF];
        }
    }

    /// Has a symbol's strip brought into the cache.
    #[inline]
    pub fn prefetch_strip(&self, point: u16, symbol: SymbolId) {
        if let Some(strip) = self.strip(point, symbol) {
            prefetch(strip, size_of::<Strip>());
        }
    }

    /// The place of its next message; the strip is in the cache.
    #[inline]
    pub fn prefetch_place(&self, point: u16, symbol: SymbolId) {
        let Some(strip) = self.strip(point, symbol) else { return };
        let entries = &strip.entries;
        let place = if entries.len() < entries.capacity() {
            entries.back().map(|newest| std::ptr::from_ref(newest).wrapping_add(1))
        } else {
            entries.front().map(std::ptr::from_ref)
        };
        if let Some(place) = place {
            prefetch(place, size_of::<Entry>());
        }
    }

    /// The number of a symbol's strip, from 0 on; it has one from now on.
    fn number(&mut self, point: u16, symbol: SymbolId) -> usize {
        let (point, at) = (usize::from(point), symbol.0 as usize);
        if self.numbers.len() <= point {
            self.numbers.resize_with(point + 1, Vec::new);
        }
        let numbers = &mut self.numbers[point];
        if numbers.len() <= at {
            numbers.resize((at + 1).next_power_of_two(), 0);
        }
        if numbers[at] == 0 {
            self.strips.push(Strip { symbol, entries: VecDeque::new(), times: [Timestamp::MIN; RATE_OF] });
            numbers[at] = u32::try_from(self.strips.len()).expect("fewer than symbols");
        }
        numbers[at] as usize - 1
    }

    fn strip(&self, point: u16, symbol: SymbolId) -> Option<&Strip> {
        let number = *self.numbers.get(usize::from(point))?.get(symbol.0 as usize)?;
        self.strips.get((number as usize).checked_sub(1)?)
    }

    fn entries(&self, point: u16, symbol: SymbolId) -> Option<&VecDeque<Entry>> {
        self.strip(point, symbol).map(|strip| &strip.entries)
    }

    /// What a message did, if it is still on the tape.
    pub fn find(&self, point: u16, symbol: SymbolId, tick: &Tick) -> Option<&Effect> {
        let entries = self.entries(point, symbol)?;
        let first = entries.partition_point(|entry| entry.tick.time < tick.time);
        let same = entries.range(first..).take_while(|entry| entry.tick.time == tick.time);
        let is_it = |entry: &&Entry| entry.tick.sequence == tick.sequence && entry.tick.line == tick.line;
        same.into_iter().find(is_it).map(|entry| &entry.effect)
    }

    /// The entries of a symbol in a time, the last moment included, oldest first.
    pub fn between(
        &self,
        point: u16,
        symbol: SymbolId,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = &Entry> {
        self.entries(point, symbol).into_iter().flat_map(move |entries| {
            let first = entries.partition_point(|entry| entry.tick.time < from);
            let behind = entries.partition_point(|entry| entry.tick.time <= to);
            entries.range(first..behind.max(first))
        })
    }

    /// Symbols with entries at a point, in no particular order.
    pub fn symbols(&self, point: u16) -> impl Iterator<Item = SymbolId> + '_ {
        let numbers = self.numbers.get(usize::from(point)).into_iter().flatten();
        numbers.filter_map(|number| Some(self.strips.get((*number as usize).checked_sub(1)?)?.symbol))
    }

    /// The newest entry that is not later than `time`.
    pub fn newest(&self, point: u16, symbol: SymbolId, time: Timestamp) -> Option<&Entry> {
        let entries = self.entries(point, symbol)?;
        entries.get(entries.partition_point(|entry| entry.tick.time <= time).checked_sub(1)?)
    }

    /// The class of the local rate of messages at that time.
    pub fn rate_class(&self, point: u16, symbol: SymbolId, time: Timestamp) -> u8 {
        let anchor = self.entries(point, symbol).and_then(|entries| {
            let behind = entries.partition_point(|entry| entry.tick.time <= time);
            Some(entries.get(behind.checked_sub(RATE_OF)?)?.tick.time)
        });
        rate_class(anchor.map_or(u64::MAX, |anchor| time.0.saturating_sub(anchor.0)), RATE_OF)
    }
}

/// The class of the rate at which so many messages, at most eight, take so long.
fn rate_class(span_ns: u64, messages: usize) -> u8 {
    let span_ns = span_ns.saturating_mul((RATE_OF / messages) as u64);
    let bits = u64::BITS - span_ns.leading_zeros();
    u8::try_from(bits).expect("at most 64").min(u8::try_from(RATE_CLASSES - 1).expect("small"))
}

/// Adds the time from one message to the next to the classes that it passes through; so many came since `anchor`.
fn spend(time: &mut [u64; RATE_CLASSES], (anchor, messages): (Timestamp, usize), from: Timestamp, to: Timestamp) {
    let mut at = from.0;
    while at < to.0 {
        let class = rate_class(at.saturating_sub(anchor.0), messages);
        // The next class begins where the span has one bit more.
        let is_last = usize::from(class) >= RATE_CLASSES - 1 || anchor == Timestamp::MIN;
        let next = || anchor.0 + (1_u64 << class).div_ceil((RATE_OF / messages) as u64);
        let end = if is_last { to.0 } else { to.0.min(next()) };
        let place = if anchor == Timestamp::MIN { RATE_CLASSES - 1 } else { usize::from(class) };
        time[place] += end - at;
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(time: u64, sequence: u64) -> Entry {
        let time = Timestamp(time);
        let tick = Tick { time, sequence, frame: 1, line: 0, code: b'A', kind: MarketKind::Book, place: None };
        let effect = Effect { price: i64::try_from(sequence).unwrap(), ..Effect::default() };
        Entry { tick, effect, reference: 0, packet_sequence: 0 }
    }

    #[test]
    fn entries_are_found_by_time_and_sequence_also_where_the_capture_stepped_back() {
        let mut tape = Tape::default();
        for (time, sequence) in [(10, 1), (20, 2), (20, 3), (15, 4)] {
            tape.push(0, SymbolId(1), &entry(time, sequence), true);
        }
        let price = |time, sequence| tape.find(0, SymbolId(1), &entry(time, sequence).tick).map(|effect| effect.price);
        assert_eq!((price(20, 3), price(15, 4), price(10, 9)), (Some(3), Some(4), None));
        assert_eq!(tape.newest(0, SymbolId(1), Timestamp(16)).map(|entry| entry.tick.sequence), Some(4));
        let moved = Moved { class: 0, touch: Touch::Same, has_side: false };
        assert_eq!(tape.exposure.messages(moved), 4);
    }

    #[test]
    fn time_is_spent_in_the_classes_that_it_passes_through() {
        let mut time = [0; RATE_CLASSES];
        spend(&mut time, (Timestamp(1000), 8), Timestamp(1003), Timestamp(1010));
        // Spans 3; 4 to 7; 8 to 9.
        assert_eq!((time[2], time[3], time[4]), (1, 4, 2));
        assert_eq!(time.iter().sum::<u64>(), 7);
        let class = |span| rate_class(span, 8);
        assert_eq!((class(3), class(4), class(u64::MAX)), (2, 3, 39));
    }

    #[test]
    fn four_messages_count_as_eight_that_take_twice_as_long() {
        let mut time = [0; RATE_CLASSES];
        spend(&mut time, (Timestamp(1000), 4), Timestamp(1000), Timestamp(1010));
        // Spans of eight: 0; 2; 4 and 6; 8 to 14; 16 and 18.
        assert_eq!((time[0], time[2], time[3], time[4], time[5]), (1, 1, 2, 4, 2));
        assert_eq!((rate_class(3, 4), rate_class(6, 8), rate_class(u64::MAX, 4)), (3, 3, 39));
    }
}
