//! What is seen of messages that are read ahead: first only which instruments a packet, and a stretch of packets, may be about,
//! and of the few packets that somebody asks for, each message.

use tickscope_model::{MarketKind, SymbolId};

/// A message, seen for what a tick is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Whom it is about.
    pub symbol: SymbolId,
    /// The protocol's own type byte.
    pub code: u8,
    /// What it is about.
    pub kind: MarketKind,
}

/// Words of [`Marks`]; a power of two.
const WORDS: usize = 64;

/// What a stretch of packets is about: a bit for each number by which the protocol calls its instruments, shared by numbers
/// that are 4096 apart. Whoever finds a bit set must look; where it is not set there is no message.
#[derive(Clone, Debug)]
pub struct Marks {
    words: [u64; WORDS],
}

/// What a packet is about: two bits for each number, of its last five binary digits and of the five before, so that few
/// numbers that are not there seem to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketMarks(u32);

impl PacketMarks {
    /// Those of a packet with one message, about what has this number.
    #[inline]
    pub fn of(number: u16) -> PacketMarks {
        PacketMarks(1 << (number % 32) | 1 << (number / 32 % 32))
    }

    /// There is a message about what has this number.
    #[inline]
    pub fn mark(&mut self, number: u16) {
        self.0 |= PacketMarks::of(number).0;
    }

    /// Whether there may be such a message as those others are of.
    #[inline]
    pub fn may_hold(self, other: PacketMarks) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { words: [0; WORDS] }
    }
}

impl Marks {
    /// There is a message about what has this number.
    #[inline]
    pub fn mark(&mut self, number: u16) {
        if let Some(word) = self.words.get_mut(usize::from(number) / 64 % WORDS) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether there may be one.
    #[inline]
    pub fn may_hold(&self, number: u16) -> bool {
        self.words.get(usize::from(number) / 64 % WORDS).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_of_their_number_and_its_namesakes() {
        let (mut marks, mut packet) = (Marks::default(), PacketMarks::default());
        for number in [0, 63, 64, 4095, 9000] {
            assert!(!marks.may_hold(number), "{number}");
            marks.mark(number);
            packet.mark(number);
            assert!(marks.may_hold(number), "{number}");
        }
        assert!(marks.may_hold(4096) && marks.may_hold(9000 - 4096));
        for number in [0, 63, 64, 4095, 9000] {
            assert!(packet.may_hold(PacketMarks::of(number)), "{number}");
        }
        // Six bits are set: 36 of 1024 pairs of them.
        assert_eq!((0..1024).filter(|&number| packet.may_hold(PacketMarks::of(number))).count(), 36);
        assert_eq!((0..4096).filter(|&number| marks.may_hold(number)).count(), 5);
    }
}
