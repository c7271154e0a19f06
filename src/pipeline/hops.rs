//! The same packet at two taps: found by a hash of the bytes that nothing on the way changes (what UDP or TCP carries, and
//! TCP's sequence number), so that it does not matter who rewrote addresses, ports, VLAN tags or the TTL. Memory is
//! bounded; a packet that one tap saw twice cannot be told from its copy, so it is counted and not joined. Live most flows
//! are looked at in samples until taps turn out to share them (`sparing.rs`).

mod sparing;

use std::collections::VecDeque;
use std::hash::BuildHasher;

use tickscope_model::{Nanos, TapId, Timestamp};

use self::sparing::Sparing;
use crate::dissect::{Packet, Transport};
use crate::flow::FlowKey;
use crate::hash::{HashMap, RandomState};
use crate::pair::TapClocks;
use crate::stats::Histogram;

/// A packet waits this long, by the captures' clocks, to be seen at another tap.
const WAIT: u64 = 1_000_000_000;
/// So many packets wait; with more, the oldest are given up early.
const MOST_WAITING: usize = 1 << 18;
/// Taps that one packet is joined at.
const MOST_TAPS: usize = 6;
/// Pairs of taps, each way of each conversation, that are told apart.
const MOST_WAYS: usize = 256;
/// One of so many packets of a way are kept as they are, for the bounds of clocks: those that bound most of each slot.
const SLOTS: u64 = 4096;

/// A packet that waits for others to see it.
struct Waiting {
    /// The taps that saw it, and when; the first so many count.
    taps: [TapId; MOST_TAPS],
    times: [Timestamp; MOST_TAPS],
    count: usize,
    /// At the first tap.
    key: FlowKey,
    is_ambiguous: bool,
}

impl Waiting {
    fn new(tap: TapId, time: Timestamp, key: FlowKey) -> Waiting {
        let (mut taps, mut times) = ([TapId(0); MOST_TAPS], [Timestamp::MIN; MOST_TAPS]);
        (taps[0], times[0]) = (tap, time);
        Waiting { taps, times, count: 1, key, is_ambiguous: false }
    }

    fn is_seen_by(&self, tap: TapId) -> bool {
        self.taps.iter().take(self.count).any(|other| *other == tap)
    }

    /// False where there is no more room.
    fn add(&mut self, tap: TapId, time: Timestamp) -> bool {
        let (Some(at), Some(when)) = (self.taps.get_mut(self.count), self.times.get_mut(self.count)) else {
            return false;
        };
        (*at, *when) = (tap, time);
        self.count += 1;
        true
    }

    fn sightings(&self) -> impl Iterator<Item = (TapId, Timestamp)> + Clone {
        self.taps.into_iter().zip(self.times).take(self.count)
    }
}

/// Packets of one direction of a conversation from one tap to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// The tap with the smaller number, and the other.
    pub taps: (TapId, TapId),
    /// As it was at the tap that saw the first packet first.
    pub key: FlowKey,
}

/// What was seen on a way.
#[derive(Clone, Debug, Default)]
pub struct Crossing {
    /// Second tap's time less the first's: where it is not below zero, and, with its sign turned, where it is.
    pub after: Histogram,
    pub before: Histogram,
    /// The least and the most of each slot of time.
    pub extremes: Vec<(Timestamp, Nanos)>,
    slot: Option<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u64,
    least: (Timestamp, Nanos),
    most: (Timestamp, Nanos),
}

/// Width of a slot: a tenth of a second.
const SLOT_NS: u64 = 100_000_000;

impl Crossing {
    fn add(&mut self, time: Timestamp, apart: Nanos) {
        let histogram = if apart.0 < 0 { &mut self.before } else { &mut self.after };
        histogram.record(apart.0.unsigned_abs());
        let number = time.0 / SLOT_NS;
        match &mut self.slot {
            Some(slot) if slot.number == number => {
                if apart < slot.least.1 {
                    slot.least = (time, apart);
                }
                if apart > slot.most.1 {
                    slot.most = (time, apart);
                }
            }
            _ => {
                self.close_slot();
                self.slot = Some(Slot { number, least: (time, apart), most: (time, apart) });
            }
        }
    }

    fn close_slot(&mut self) {
        if let Some(slot) = self.slot.take()
            && (self.extremes.len() as u64) < SLOTS
        {
            self.extremes.push(slot.least);
            if slot.most != slot.least {
                self.extremes.push(slot.most);
            }
        }
    }

    pub fn n(&self) -> u64 {
        self.after.n() + self.before.n()
    }
}

/// See the head of this file.
#[derive(Default)]
pub struct Hops {
    hasher: RandomState,
    waiting: HashMap<u64, Waiting>,
    queue: VecDeque<(Timestamp, u64)>,
    ways: Vec<(Way, Crossing)>,
    places: HashMap<Way, usize>,
    /// Packets that several taps saw, and one of them more than once.
    pub ambiguous: u64,
    /// Given up before their time, for want of memory.
    pub evicted: u64,
    /// Joined, on ways beyond the limit, or seen by more taps than are joined.
    pub beyond: u64,
    /// What is known of the taps' clocks; nothing while that is being found out.
    pub clocks: TapClocks,
    /// Joined, at a time when nobody knows how the clocks of the taps are related.
    pub unrelated: u64,
    /// Which packets are looked at, where not all are.
    sparing: Option<Sparing>,
}

impl Hops {
    /// Looks at all packets only of flows that taps share, for those who cannot know beforehand whether there are any.
    pub fn sparing(taps: usize) -> Hops {
        Hops { sparing: Some(Sparing::new(taps)), ..Hops::default() }
    }

    /// A packet was seen.
    #[inline]
    pub fn see(&mut self, tap: TapId, time: Timestamp, packet: &Packet<'_>) {
        if self.sparing.as_mut().is_none_or(|sparing| sparing.looks_at(tap, packet)) {
            self.look(tap, time, packet);
        }
    }

    fn look(&mut self, tap: TapId, time: Timestamp, packet: &Packet<'_>) {
        let Some(hash) = self.hash(packet) else { return };
        self.advance(time);
        match self.waiting.get_mut(&hash) {
            Some(waiting) if waiting.is_seen_by(tap) => waiting.is_ambiguous = true,
            Some(waiting) => {
                if let Some(sparing) = &mut self.sparing {
                    sparing.share((waiting.taps[0], &waiting.key), (tap, &FlowKey::of(0, packet)));
                }
                self.beyond += u64::from(!waiting.add(tap, time));
            }
            None => {
                self.waiting.insert(hash, Waiting::new(tap, time, FlowKey::of(0, packet)));
                self.queue.push_back((time, hash));
            }
        }
    }

    /// Packets of shared flows that may have been missed before their flows were known to be shared: at most so many.
    pub fn overlooked(&self) -> u64 {
        self.sparing.as_ref().map_or(0, |sparing| sparing.overlooked)
    }

    /// `None` for packets that are all alike, or not whole.
    fn hash(&self, packet: &Packet<'_>) -> Option<u64> {
        if packet.missing > 0 {
            return None;
        }
        match packet.transport {
            Transport::Udp { payload: [] } | Transport::Tcp { payload: [], .. } => None,
            Transport::Tcp { sequence, payload, .. } => Some(self.hasher.hash_one((sequence, payload))),
            Transport::Udp { payload } if packet.target.is_multicast() => {
                // The lines of a feed carry the same bytes to different groups, which nobody translates.
                Some(self.hasher.hash_one((packet.target, packet.target_port, payload)))
            }
            Transport::Udp { payload } => Some(self.hasher.hash_one(payload)),
        }
    }

    /// Whoever waited long enough by now has been seen where it will be seen.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(&(time, hash)) = self.queue.front() {
            let is_over = time.0.saturating_add(WAIT) < now.0;
            if !is_over && self.queue.len() < MOST_WAITING {
                return;
            }
            self.evicted += u64::from(!is_over);
            self.queue.pop_front();
            self.close(hash);
        }
    }

    fn close(&mut self, hash: u64) {
        let Some(waiting) = self.waiting.remove(&hash) else { return };
        if waiting.is_ambiguous {
            self.ambiguous += u64::from(waiting.count > 1);
            return;
        }
        for (at, one) in waiting.sightings().enumerate() {
            for other in waiting.sightings().skip(at + 1) {
                let (first, second) = if one.0 < other.0 { (one, other) } else { (other, one) };
                if self.clocks.across(first, second).is_none() {
                    self.unrelated += 1;
                    continue;
                }
                let way = Way { taps: (first.0, second.0), key: waiting.key };
                self.join(way, first.1, second.1.since(first.1));
            }
        }
    }

    fn join(&mut self, way: Way, time: Timestamp, apart: Nanos) {
        let place = match self.places.get(&way) {
            Some(place) => *place,
            None if self.ways.len() >= MOST_WAYS => {
                self.beyond += 1;
                return;
            }
            None => {
                self.ways.push((way, Crossing::default()));
                self.places.insert(way, self.ways.len() - 1);
                self.ways.len() - 1
            }
        };
        if let Some((_, crossing)) = self.ways.get_mut(place) {
            crossing.add(time, apart);
        }
    }

    /// The end of the captures.
    pub fn finish(&mut self) {
        while let Some((_, hash)) = self.queue.pop_front() {
            self.close(hash);
        }
        self.ways.iter_mut().for_each(|(_, crossing)| crossing.close_slot());
    }

    /// All ways, in the order in which they were found.
    pub fn ways(&self) -> &[(Way, Crossing)] {
        &self.ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn udp(source: u8, group: u8, payload: &[u8]) -> Packet<'_> {
        let address = |first, last| IpAddr::V4(Ipv4Addr::new(first, 0, 0, last));
        Packet {
            source: address(10, source),
            target: address(group, 9),
            source_port: 1,
            target_port: 2,
            ip_id: 0,
            vlan: 0,
            transport: Transport::Udp { payload },
            missing: 0,
        }
    }

    fn counts(seen: &[(u16, u64, Packet<'_>)]) -> (u64, u64, Vec<i64>) {
        let mut hops = Hops::default();
        for (tap, time, packet) in seen {
            hops.see(TapId(*tap), Timestamp(*time), packet);
        }
        hops.finish();
        let joined = hops.ways().iter().map(|(_, crossing)| crossing.n()).sum();
        let apart = hops.ways().iter().flat_map(|(_, crossing)| crossing.extremes.iter().map(|(_, apart)| apart.0));
        (joined, hops.ambiguous, apart.collect())
    }

    #[test]
    fn the_same_bytes_at_two_taps_are_joined_whoever_rewrote_the_addresses() {
        let seen = [(0, 100, udp(1, 10, b"a")), (1, 130, udp(7, 10, b"a")), (1, 140, udp(1, 10, b"b"))];
        assert_eq!(counts(&seen), (1, 0, vec![30]));
        let back = [(1, 100, udp(1, 10, b"a")), (0, 130, udp(1, 10, b"a"))];
        assert_eq!(counts(&back), (1, 0, vec![-30]), "second tap less first");
    }

    #[test]
    fn bytes_that_a_tap_saw_twice_are_counted_and_not_joined() {
        let seen = [(0, 100, udp(1, 10, b"a")), (0, 110, udp(1, 10, b"a")), (1, 130, udp(1, 10, b"a"))];
        assert_eq!(counts(&seen), (0, 1, vec![]));
        let later = WAIT + 200;
        let seen = [(0, 100, udp(1, 10, b"a")), (0, later, udp(1, 10, b"a")), (1, later + 5, udp(1, 10, b"a"))];
        assert_eq!(counts(&seen), (1, 0, vec![5]), "the first was over by then");
        let lines = [(0, 100, udp(1, 230, b"a")), (0, 110, udp(1, 231, b"a")), (1, 130, udp(1, 230, b"a"))];
        assert_eq!(counts(&lines), (1, 0, vec![30]), "lines of a feed are told apart by their group");
    }

    #[test]
    fn memory_is_bounded() {
        let mut hops = Hops::default();
        let payloads: Vec<[u8; 4]> = (0..300_000_u32).map(u32::to_be_bytes).collect();
        for payload in &payloads {
            hops.see(TapId(0), Timestamp(5), &udp(1, 10, payload));
        }
        assert!(hops.waiting.len() <= MOST_WAITING && hops.queue.len() <= MOST_WAITING);
        assert!(hops.evicted > 30_000);
    }
}
