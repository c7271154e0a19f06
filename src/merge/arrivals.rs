//! When the messages of a feed first came, for a few thousand packets: by that it is measured how far another line is
//! behind, and a copy that a mirror port made is told from a repetition. Packets that were read ahead stay in their block
//! and are looked at only if they are asked for.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tickscope_model::Timestamp;

use super::ticks::SPARSE;
use crate::capture::{Block, Packets};

/// So many packets are remembered.
const PACKETS: usize = 4096;
/// A packet that was the first to bring something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub time: Timestamp,
    pub line: u16,
    pub ip_id: u16,
}

/// What brought messages.
pub(super) enum Brought {
    /// A packet of this time and IP identification.
    Packet(Timestamp, u16),
    /// Packets of a run that were read ahead: which part of the block it is, and their places there.
    Ahead(Arc<Block>, u32, Range<u32>),
}

struct Entry {
    numbers: Range<u64>,
    line: u16,
    brought: Brought,
}

impl Entry {
    fn packets(&self) -> usize {
        match &self.brought {
            Brought::Packet(..) => 1,
            Brought::Ahead(_, _, packets) => packets.len(),
        }
    }
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Arrivals {
    /// Oldest first.
    entries: VecDeque<Entry>,
    packets: usize,
}

impl Arrivals {
    /// Messages with these numbers came on this line for the first time.
    #[inline]
    pub(super) fn push(&mut self, numbers: Range<u64>, line: u16, brought: Brought) {
        let entry = Entry { numbers, line, brought };
        self.packets += entry.packets();
        while let Some(oldest) = self.entries.front()
            && self.packets - oldest.packets() >= PACKETS
        {
            self.packets -= oldest.packets();
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Has the places brought into the cache that the next packets take.
    pub(super) fn touch(&self, packets: usize) {
        let oldest = self.entries.iter().take(packets);
        std::hint::black_box(oldest.fold(0, |sum, entry| sum ^ entry.numbers.start ^ u64::from(entry.line)));
    }

    /// Packets that were read ahead brought messages for the first time on this line.
    #[inline]
    pub(super) fn push_packets(&mut self, line: u16, packets: &Packets<'_>) {
        // A block with next to nothing in it is not kept, so that no number of them is in memory.
        if packets.block.messages >= SPARSE {
            let brought = Brought::Ahead(packets.block.clone(), packets.part, packets.range.clone());
            return self.push(packets.sequence(), line, brought);
        }
        for ((first, count, time), packet) in packets.arrivals().zip(packets.packets()) {
            self.push(first..first + count, line, Brought::Packet(time, packet.ip_id));
        }
    }

    /// The packet that first brought a message, if it is one of the last few thousand.
    pub(super) fn of(&self, number: u64) -> Option<Arrived> {
        // Most repeats are a few packets old, so the newest are looked at first.
        let mut newer = 0;
        for entry in self.entries.iter().rev() {
            if entry.numbers.contains(&number) {
                return entry.find(number, newer);
            }
            newer += entry.packets();
        }
        None
    }
}

impl Entry {
    /// The packet of this entry that brought a message; so many packets are newer than the entry.
    fn find(&self, number: u64, newer: usize) -> Option<Arrived> {
        let line = self.line;
        match &self.brought {
            Brought::Packet(time, ip_id) => (newer < PACKETS).then_some(Arrived { time: *time, line, ip_id: *ip_id }),
            Brought::Ahead(block, part, packets) => {
                let run = block.run(*part)?;
                let all = block.packets.get(packets.start as usize..packets.end as usize)?;
                let at = all.partition_point(|packet| run.first_of(packet) <= number).checked_sub(1)?;
                let packet = all.get(at)?;
                let is_near = newer + (all.len() - 1 - at) < PACKETS;
                is_near.then_some(Arrived { time: packet.time, line, ip_id: packet.ip_id })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::test::run;

    #[test]
    fn packets_count_whether_they_were_read_ahead_or_not() {
        let (block, _) = run(3000, |number| Timestamp(10 * number), 7);
        let block = Arc::new(block);
        let (mut one_by_one, mut ahead) = (Arrivals::default(), Arrivals::default());
        for number in 0..3000 {
            one_by_one.push(number..number + 1, 2, Brought::Packet(Timestamp(10 * number), 7));
        }
        ahead.push(0..1000, 2, Brought::Ahead(block.clone(), 0, 0..1000));
        ahead.push(1000..3000, 2, Brought::Ahead(block.clone(), 0, 1000..3000));
        for number in 3000..6000 {
            one_by_one.push(number..number + 1, 3, Brought::Packet(Timestamp(10 * number), 7));
            ahead.push(number..number + 1, 3, Brought::Packet(Timestamp(10 * number), 7));
        }
        for number in 0..6001 {
            assert_eq!(one_by_one.of(number), ahead.of(number), "{number}");
        }
        assert_eq!((one_by_one.of(1903), one_by_one.of(1904).map(|found| found.time.0)), (None, Some(19_040)));
        assert_eq!(one_by_one.of(6000), None);
    }
}
