//! Fragments of IPv4 (RFC 791, RFC 815) and IPv6 (RFC 8200, section 4.5) put together, with limits on everything.
//!
//! How frames stay accounted for: `dissect` answers a piece with [`Loss::FragmentHeld`], and the caller does **not**
//! count that answer, for it is not known yet what becomes of the piece. [`Dissector::fragments`] says at any time how
//! many pieces were used, lost, or still wait; each piece is under exactly one of them. At the end of the input
//! (after [`Dissector::give_up`]) the report takes `used` as [`Loss::FragmentHeld`] and `lost` as
//! [`Loss::FragmentLost`]. The piece that completes a datagram is no loss: its answer is the packet.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use tickscope_model::{Frame, Loss, TapId, Timestamp};

use super::packet::Packet;
use super::reader::Reader;
use super::slow::{Found, Layer, Piece, Walk, follow};
use super::{fast, slow};

/// Reads frames, and keeps pieces of datagrams until they are whole.
#[derive(Default)]
pub struct Dissector {
    waiting: HashMap<Key, Waiting>,
    /// Keys in the order in which their first piece came, with its serial number: a key may be used again.
    order: VecDeque<(Key, u64)>,
    serial: u64,
    /// Datagrams that were completed lately, for mirror ports that deliver each frame twice.
    completed: VecDeque<(Key, Timestamp)>,
    counts: FragmentCounts,
    /// The datagram that the last answer borrows from.
    whole: Vec<u8>,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
}

/// What became of the pieces that were answered by [`Loss::FragmentHeld`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Their datagram was completed by a later frame.
    pub used: u64,
    /// Their datagram was given up.
    pub lost: u64,
    /// Their datagram is not complete yet.
    pub waiting: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    tap: TapId,
    source: IpAddr,
    target: IpAddr,
    id: u32,
    /// 0 for IPv6, where the identification alone names the datagram.
    protocol: u8,
}

/// A datagram in parts.
struct Waiting {
    serial: u64,
    since: Timestamp,
    pieces: u64,
    bytes: Vec<u8>,
    /// Which bytes are there: sorted, not touching each other.
    there: Vec<(usize, usize)>,
    /// Its length, once the last piece has come.
    length: Option<usize>,
    /// From the first piece: what the bytes are, and around them.
    about: slow::Datagram,
}

const MOST_DATAGRAMS: usize = 1024;
const LONGEST_DATAGRAM: usize = 65_535;
/// Linux gives up after 30 s as well.
const PATIENCE_NS: u64 = 30_000_000_000;
/// A fast sender's identifications come round in seconds: what contradicts an older datagram than this is a new one.
const REUSE_NS: u64 = 1_000_000_000;
/// Copies by a mirror port arrive within a millisecond.
const COPY_NS: u64 = 1_000_000;
/// Datagrams in datagrams in …: each level may be fragmented, up to the limit on tunnels.
const MOST_LEVELS: usize = 9;

impl Dissector {
    pub fn new() -> Dissector {
        Dissector::default()
    }

    /// What a frame carries. A packet may borrow from the frame or, where the frame completed a datagram, from here.
    #[inline]
    pub fn dissect<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Packet<'a>, Loss> {
        match fast::dissect(frame) {
            Some(packet) => Ok(packet),
            None => self.dissect_slowly(frame),
        }
    }

    #[inline(never)]
    fn dissect_slowly<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Packet<'a>, Loss> {
        let mut about = match slow::dissect(frame)? {
            Found::Packet(packet) => return Ok(packet),
            Found::Piece(piece) => self.add(frame, &piece)?,
        };
        for _ in 1..MOST_LEVELS {
            // A tunnel's packet may itself be a fragment. (Looked at twice, since the borrow checker cannot see that
            // a returned packet and the next round never meet.)
            let inner = match follow(whole(&self.whole, about), Layer::Inside(about)) {
                Ok(Found::Piece(piece)) => OwnedPiece::new(&piece),
                Ok(Found::Packet(_)) | Err(_) => break,
            };
            about = self.add(frame, &inner.piece())?;
        }
        match follow(whole(&self.whole, about), Layer::Inside(about))? {
            Found::Packet(packet) => Ok(packet),
            Found::Piece(_) => Err(Loss::FrameMalformed),
        }
    }

    /// Takes a piece in. `Ok` where it completed its datagram, which then lies in `whole`.
    fn add(&mut self, frame: &Frame<'_>, piece: &Piece<'_>) -> Result<slow::Datagram, Loss> {
        self.expire(frame.time);
        let end = piece.offset.saturating_add(piece.bytes.len());
        // All but the last piece are multiples of 8 bytes, none is empty, and none reaches beyond a datagram's end.
        if piece.bytes.is_empty() || (piece.more && !piece.bytes.len().is_multiple_of(8)) || end > LONGEST_DATAGRAM {
            return Err(Loss::FrameMalformed);
        }
        let slow::Datagram { source, target, protocol, .. } = piece.about;
        let protocol = if source.is_ipv4() { protocol } else { 0 };
        let key = Key { tap: frame.tap, source, target, id: piece.id, protocol };
        if !self.waiting.contains_key(&key) {
            if self.is_copy(&key, frame.time) {
                return Err(Loss::CaptureDuplicate);
            }
            self.begin(key, frame.time, piece);
        }
        let Some(waiting) = self.waiting.get_mut(&key) else { return Err(Loss::FragmentHeld) };
        if let Err(loss) = waiting.insert(piece, end) {
            if frame.time.0 <= waiting.since.0.saturating_add(REUSE_NS) {
                return Err(loss);
            }
            self.drop_one(&key);
            self.begin(key, frame.time, piece);
            self.waiting.get_mut(&key).map_or(Ok(()), |waiting| waiting.insert(piece, end))?;
        }
        let Some(waiting) = self.waiting.get_mut(&key) else { return Err(Loss::FragmentHeld) };
        if !waiting.is_complete() {
            waiting.pieces += 1;
            self.counts.waiting += 1;
            return Err(Loss::FragmentHeld);
        }
        let Some(complete) = self.waiting.remove(&key) else { return Err(Loss::FragmentHeld) };
        self.counts.waiting -= complete.pieces;
        self.counts.used += complete.pieces;
        if self.completed.len() >= 64 {
            self.completed.pop_front();
        }
        self.completed.push_back((key, frame.time));
        let old = std::mem::replace(&mut self.whole, complete.bytes);
        self.spare.push(old);
        Ok(complete.about)
    }

    fn begin(&mut self, key: Key, time: Timestamp, piece: &Piece<'_>) {
        while self.waiting.len() >= MOST_DATAGRAMS {
            self.drop_oldest();
        }
        self.serial += 1;
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        let waiting = Waiting {
            serial: self.serial,
            since: time,
            pieces: 0,
            bytes,
            there: Vec::new(),
            length: None,
            about: piece.about,
        };
        self.waiting.insert(key, waiting);
        self.order.push_back((key, self.serial));
        if self.order.len() > 4 * MOST_DATAGRAMS {
            // Mostly keys of datagrams that were completed behind one that was not.
            let waiting = &self.waiting;
            self.order.retain(|(key, serial)| waiting.get(key).is_some_and(|waiting| waiting.serial == *serial));
        }
    }

    fn is_copy(&self, key: &Key, time: Timestamp) -> bool {
        self.completed.iter().any(|(done, at)| done == key && time.since(*at).0.unsigned_abs() <= COPY_NS)
    }

    /// Gives up what has waited for too long. Only looks at the oldest, so it costs nothing where nothing is old.
    fn expire(&mut self, now: Timestamp) {
        while let Some((key, serial)) = self.order.front() {
            match self.waiting.get(key) {
                Some(waiting) if waiting.serial == *serial => {
                    if now.0 <= waiting.since.0.saturating_add(PATIENCE_NS) {
                        return;
                    }
                    self.drop_oldest();
                }
                // Completed meanwhile.
                _ => {
                    self.order.pop_front();
                }
            }
        }
    }

    fn drop_oldest(&mut self) {
        while let Some((key, serial)) = self.order.pop_front() {
            if self.waiting.get(&key).is_none_or(|waiting| waiting.serial != serial) {
                continue;
            }
            self.drop_one(&key);
            return;
        }
    }

    fn drop_one(&mut self, key: &Key) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.counts.waiting -= waiting.pieces;
            self.counts.lost += waiting.pieces;
            self.spare.push(waiting.bytes);
        }
    }

    /// The input is at its end: what still waits is lost.
    pub fn give_up(&mut self) {
        self.counts.lost += self.counts.waiting;
        self.counts.waiting = 0;
        self.waiting.clear();
        self.order.clear();
    }

    /// What became of the pieces so far.
    pub fn fragments(&self) -> FragmentCounts {
        self.counts
    }
}

/// A piece that lies in the buffer that is about to be replaced.
struct OwnedPiece {
    bytes: Vec<u8>,
    about: slow::Datagram,
    id: u32,
    offset: usize,
    more: bool,
}

impl OwnedPiece {
    fn new(piece: &Piece<'_>) -> OwnedPiece {
        let Piece { about, id, offset, more, bytes } = *piece;
        OwnedPiece { bytes: bytes.to_vec(), about, id, offset, more }
    }

    fn piece(&self) -> Piece<'_> {
        Piece { about: self.about, id: self.id, offset: self.offset, more: self.more, bytes: &self.bytes }
    }
}

fn whole(bytes: &[u8], about: slow::Datagram) -> Walk<'_> {
    Walk { rest: Reader { bytes, beyond: 0 }, around: about.around }
}

impl Waiting {
    /// Puts the bytes of a piece where they belong. Bytes that are there already stay; where the piece says something
    /// else about them, or about the end, it is refused whole.
    fn insert(&mut self, piece: &Piece<'_>, end: usize) -> Result<(), Loss> {
        let beyond_last = self.length.is_some_and(|length| end > length || (!piece.more && end != length));
        let last_before_others = !piece.more && self.there.last().is_some_and(|&(_, to)| to > end);
        if beyond_last || last_before_others || self.contradicts(piece, end) {
            return Err(Loss::FrameMalformed);
        }
        if !piece.more {
            self.length = Some(end);
        }
        if piece.offset == 0 {
            // The first piece has the header that says what follows (RFC 8200), and the packet's own tags.
            self.about = piece.about;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        // Overlapping bytes are equal, so it does not matter who wins.
        if let Some(place) = self.bytes.get_mut(piece.offset..end) {
            place.copy_from_slice(piece.bytes);
        }
        self.note(piece.offset, end);
        Ok(())
    }

    fn contradicts(&self, piece: &Piece<'_>, end: usize) -> bool {
        let first = self.there.partition_point(|range| range.1 <= piece.offset);
        let mut overlapping = self.there.iter().skip(first).take_while(|range| range.0 < end);
        overlapping.any(|&(from, to)| {
            let (from, to) = (from.max(piece.offset), to.min(end));
            self.bytes.get(from..to) != piece.bytes.get(from - piece.offset..to - piece.offset)
        })
    }

    /// Adds a range to those that are there, joining what touches.
    fn note(&mut self, mut from: usize, mut to: usize) {
        let first = self.there.partition_point(|range| range.1 < from);
        let last = self.there.partition_point(|range| range.0 <= to);
        for &(start, end) in self.there.get(first..last).unwrap_or(&[]) {
            from = from.min(start);
            to = to.max(end);
        }
        self.there.splice(first..last, [(from, to)]);
    }

    fn is_complete(&self) -> bool {
        match (self.length, self.there.as_slice()) {
            (Some(length), [(0, to)]) => *to == length,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Transport;
    use tickscope_model::LinkType;

    /// An IPv4 packet of protocol 17 whose body is `body`; RFC 791, section 3.1.
    fn ipv4(id: u16, offset: usize, more: bool, body: &[u8]) -> Vec<u8> {
        let total = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
        let field = u16::try_from(offset / 8).unwrap() | if more { 0x2000 } else { 0 };
        let mut bytes = vec![0x45, 0, total[0], total[1]];
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&field.to_be_bytes());
        bytes.extend_from_slice(&[64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend_from_slice(body);
        bytes
    }

    /// The same for IPv6, with a fragment header.
    fn ipv6(id: u32, offset: usize, more: bool, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + body.len()).unwrap().to_be_bytes();
        let field = u16::try_from(offset).unwrap() | u16::from(more);
        let mut bytes = vec![0x60, 0, 0, 0, length[0], length[1], 44, 64];
        bytes.extend_from_slice(&[1; 16]);
        bytes.extend_from_slice(&[2; 16]);
        bytes.extend_from_slice(&[17, 0]);
        bytes.extend_from_slice(&field.to_be_bytes());
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn datagram(length: u16) -> Vec<u8> {
        let mut bytes = vec![0x10, 0, 0x20, 0];
        bytes.extend_from_slice(&(length + 8).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend((0..length).map(|n| n.to_be_bytes()[1]));
        bytes
    }

    fn give(dissector: &mut Dissector, time: u64, bytes: &[u8]) -> Result<Vec<u8>, Loss> {
        let wire_len = u32::try_from(bytes.len()).unwrap();
        let frame = Frame { tap: TapId(0), link: LinkType::RawIp, time: Timestamp(time), number: 1, wire_len, bytes };
        let packet = dissector.dissect(&frame)?;
        assert_eq!((packet.source_port, packet.target_port), (0x1000, 0x2000));
        match packet.transport {
            Transport::Udp { payload } => Ok(payload.to_vec()),
            Transport::Tcp { .. } => panic!("sent as UDP"),
        }
    }

    #[test]
    fn pieces_in_any_order_become_the_datagram() {
        let whole = datagram(3000);
        for make in
            [ipv4 as fn(u16, usize, bool, &[u8]) -> Vec<u8>, |id, at, more, body| ipv6(u32::from(id), at, more, body)]
        {
            let pieces = [
                make(7, 0, true, &whole[..1480]),
                make(7, 1480, true, &whole[1480..2960]),
                make(7, 2960, false, &whole[2960..]),
            ];
            for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let mut dissector = Dissector::new();
                let answers = order.map(|n| give(&mut dissector, 0, &pieces[n]));
                assert_eq!(answers[0], Err(Loss::FragmentHeld));
                assert_eq!(answers[1], Err(Loss::FragmentHeld));
                assert_eq!(answers[2].as_deref(), Ok(&whole[8..]), "{order:?}");
                assert_eq!(dissector.fragments(), FragmentCounts { used: 2, lost: 0, waiting: 0 });
                assert_eq!(give(&mut dissector, 500_000, &pieces[0]), Err(Loss::CaptureDuplicate));
            }
        }
    }

    #[test]
    fn equal_bytes_may_overlap_and_others_may_not() {
        let whole = datagram(100);
        let mut dissector = Dissector::new();
        let held = Err(Loss::FragmentHeld);
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 0, true, &whole[..64])), held);
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 0, true, &whole[..64])), held, "a copy waits with the first");
        let mut other = whole.clone();
        other[40] ^= 1;
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 32, true, &other[32..96])), Err(Loss::FrameMalformed));
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 32, false, &whole[32..])).as_deref(), Ok(&whole[8..]));
        assert_eq!(dissector.fragments(), FragmentCounts { used: 2, lost: 0, waiting: 0 });
    }

    #[test]
    fn impossible_pieces_are_refused() {
        let mut dissector = Dissector::new();
        let malformed = Err(Loss::FrameMalformed);
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 0, true, &[0; 65])), malformed, "no multiple of 8");
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 8, false, &[])), malformed, "empty");
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 65528, false, &[0; 16])), malformed, "beyond 64 KiB");
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 64, false, &[0; 16])), Err(Loss::FragmentHeld));
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 80, true, &[0; 16])), malformed, "behind the end");
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 64, false, &[0; 8])), malformed, "another end");
    }

    #[test]
    fn what_is_never_completed_is_lost_after_a_while_and_at_the_end() {
        let whole = datagram(100);
        let mut dissector = Dissector::new();
        let held = Err(Loss::FragmentHeld);
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 0, true, &whole[..64])), held);
        assert_eq!(give(&mut dissector, PATIENCE_NS, &ipv4(2, 0, true, &whole[..64])), held);
        assert_eq!(dissector.fragments(), FragmentCounts { used: 0, lost: 0, waiting: 2 });
        assert_eq!(give(&mut dissector, PATIENCE_NS + 1, &ipv4(3, 0, true, &whole[..64])), held);
        assert_eq!(dissector.fragments(), FragmentCounts { used: 0, lost: 1, waiting: 2 });
        // The other half comes too late: it waits by itself.
        assert_eq!(give(&mut dissector, PATIENCE_NS + 2, &ipv4(1, 64, false, &whole[64..])), held);
        dissector.give_up();
        assert_eq!(dissector.fragments(), FragmentCounts { used: 0, lost: 4, waiting: 0 });
    }

    #[test]
    fn an_identification_that_comes_round_begins_anew() {
        let whole = datagram(100);
        let mut dissector = Dissector::new();
        assert_eq!(give(&mut dissector, 0, &ipv4(1, 0, true, &[9; 64])), Err(Loss::FragmentHeld));
        let later = REUSE_NS + 1;
        assert_eq!(give(&mut dissector, later, &ipv4(1, 0, true, &whole[..64])), Err(Loss::FragmentHeld));
        assert_eq!(give(&mut dissector, later, &ipv4(1, 64, false, &whole[64..])).as_deref(), Ok(&whole[8..]));
        assert_eq!(dissector.fragments(), FragmentCounts { used: 1, lost: 1, waiting: 0 });
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut dissector = Dissector::new();
        for id in 0..10_000 {
            assert_eq!(give(&mut dissector, 0, &ipv4(id, 0, true, &[0; 64])), Err(Loss::FragmentHeld));
        }
        let kept = u64::try_from(MOST_DATAGRAMS).unwrap();
        assert_eq!(dissector.fragments(), FragmentCounts { used: 0, lost: 10_000 - kept, waiting: kept });
        let mut dissector = Dissector::new();
        assert_eq!(give(&mut dissector, 0, &ipv4(65_535, 0, true, &[0; 64])), Err(Loss::FragmentHeld));
        for id in 0..20_000 {
            let whole = datagram(100);
            assert_eq!(give(&mut dissector, 0, &ipv4(id, 0, true, &whole[..64])).err(), Some(Loss::FragmentHeld));
            let last = ipv4(id, 64, false, &whole[64..]);
            assert!(give(&mut dissector, 0, &last).is_ok());
        }
        assert!(dissector.order.len() <= 4 * MOST_DATAGRAMS && dissector.spare.len() <= MOST_DATAGRAMS + 1);
    }

    #[test]
    fn a_tunnel_in_pieces_whose_packet_is_in_pieces() {
        let whole = datagram(2000);
        let inner = [ipv4(5, 0, true, &whole[..1000]), ipv4(5, 1000, false, &whole[1000..])];
        let mut dissector = Dissector::new();
        let mut answers = Vec::new();
        for (packet, id) in inner.iter().zip([100, 101]) {
            // GRE (RFC 2784) with an IPv4 packet, itself fragmented.
            let gre = [&[0, 0, 8, 0], packet.as_slice()].concat();
            for (at, more, body) in [(0, true, &gre[..600]), (600, false, &gre[600..])] {
                let mut outer = ipv4(id, at, more, body);
                outer[9] = 47;
                answers.push(give(&mut dissector, 0, &outer));
            }
        }
        assert!(answers[..3].iter().all(|answer| *answer == Err(Loss::FragmentHeld)), "{answers:?}");
        assert_eq!(answers[3].as_deref(), Ok(&whole[8..]));
        assert_eq!(dissector.fragments(), FragmentCounts { used: 3, lost: 0, waiting: 0 });
    }
}
