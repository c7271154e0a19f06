//! What is seen of messages that are read ahead: twelve bytes each, those of a symbol chained from the newest to the oldest.

use tickscope_model::{MarketKind, SymbolId};

/// A message, seen for what a tick is made of.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// Number of the one before on the same symbol, 0 where there is none.
    pub before: u32,
    /// Whom it is about.
    pub symbol: SymbolId,
    /// Which packet it is in, as the caller of [`Glances::begin_packet`] counts them.
    pub packet: u16,
    /// The protocol's own type byte.
    pub code: u8,
    /// What it is about.
    pub kind: MarketKind,
}

/// Symbols have numbers below this.
const MOST_SYMBOLS: usize = 1 << 28;

/// Messages in the order in which they came. The first has number 1.
#[derive(Debug, Default)]
pub struct Glances {
    all: Vec<Glance>,
    /// Number of the newest one of each symbol.
    newest: Vec<u32>,
    packet: u16,
}

impl Glances {
    /// With room for so many messages.
    pub fn with_room(count: usize) -> Glances {
        Glances { all: Vec::with_capacity(count), ..Glances::default() }
    }

    /// What is added from now on is in this packet.
    #[inline]
    pub fn begin_packet(&mut self, packet: u16) {
        self.packet = packet;
    }

    /// Adds a message.
    #[inline]
    pub fn add(&mut self, symbol: SymbolId, kind: MarketKind, code: u8) {
        let place = symbol.0 as usize;
        if self.newest.len() <= place {
            self.make_room(place);
        }
        let Some(newest) = self.newest.get_mut(place) else { return };
        let before = *newest;
        self.all.push(Glance { before, symbol, packet: self.packet, code, kind });
        #[allow(clippy::cast_possible_truncation, reason = "fewer than the bytes of a block")]
        {
            *newest = self.all.len() as u32;
        }
    }

    #[cold]
    fn make_room(&mut self, place: usize) {
        // No run has more symbols than a table of them holds; a higher number is none.
        if place < MOST_SYMBOLS {
            self.newest.resize((place + 1).next_power_of_two(), 0);
        }
    }

    /// How many there are.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "fewer than the bytes of a block")]
    pub fn count(&self) -> u32 {
        self.all.len() as u32
    }

    /// Takes the newest away again, down to so many.
    pub fn cut(&mut self, count: u32) {
        while self.count() > count
            && let Some(last) = self.all.pop()
        {
            if let Some(newest) = self.newest.get_mut(last.symbol.0 as usize) {
                *newest = last.before;
            }
        }
    }

    /// The message with this number.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Glance> {
        self.all.get(number.checked_sub(1)? as usize)
    }

    /// The messages with these numbers, the first and the one behind the last.
    pub fn between(&self, first: u32, behind: u32) -> &[Glance] {
        let place = |number: u32| number.saturating_sub(1) as usize;
        self.all.get(place(first)..place(behind)).unwrap_or(&[])
    }

    /// Number of the newest message about a symbol, 0 where there is none.
    pub fn newest(&self, symbol: SymbolId) -> u32 {
        self.newest.get(symbol.0 as usize).copied().unwrap_or(0)
    }

    /// The newest message about a symbol among the last so many up to and with number `from`.
    pub fn near(&self, from: u32, count: u32, symbol: SymbolId) -> Option<u32> {
        let range = from.saturating_sub(count) as usize..(from as usize).min(self.all.len());
        let found = self.all.get(range.clone())?.iter().rposition(|glance| glance.symbol == symbol)?;
        u32::try_from(range.start + found + 1).ok()
    }

    /// Forgets all of them and keeps the memory.
    pub fn clear(&mut self) {
        self.all.clear();
        self.newest.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_symbol_are_chained_and_can_be_taken_back() {
        let mut glances = Glances::default();
        for (packet, symbol) in [(0, 3), (0, 4), (1, 3), (2, 3), (2, 900)] {
            glances.begin_packet(packet);
            glances.add(SymbolId(symbol), MarketKind::Trade, b'P');
        }
        let packets = |glances: &Glances, symbol: u32| {
            let mut number = glances.newest(SymbolId(symbol));
            let mut packets = Vec::new();
            while let Some(glance) = glances.get(number) {
                packets.push(glance.packet);
                number = glance.before;
            }
            packets
        };
        assert_eq!(packets(&glances, 3), [2, 1, 0]);
        assert_eq!((packets(&glances, 4), packets(&glances, 5), packets(&glances, 900)), (vec![0], vec![], vec![2]));
        let near = |from: u32, count: u32, symbol: u32| glances.near(from, count, SymbolId(symbol));
        assert_eq!((near(4, 9, 3), near(3, 9, 3), near(2, 1, 3), near(2, 2, 3)), (Some(4), Some(3), None, Some(1)));
        assert_eq!((near(9, 5, 900), near(4, 4, 900), near(0, 4, 3)), (Some(5), None, None));
        glances.cut(3);
        assert_eq!((packets(&glances, 3), packets(&glances, 900)), (vec![1, 0], vec![]));
        glances.clear();
        assert_eq!((packets(&glances, 3), glances.count()), (vec![], 0));
    }
}
