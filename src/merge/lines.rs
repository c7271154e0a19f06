//! A/B arbitration: which line of a feed brought each message first, which messages came on no line, and how far
//! the other line is behind. A feed is one stream of sequence numbers (a MoldUDP64 session, an IEX-TP channel) at one
//! observation point; its lines are the flows that carry it, and a unicast flow is a retransmission on request.

use std::net::IpAddr;
use std::sync::Arc;

use tickscope_decoders::{Fresh, Sequenced, UnitKind};
use tickscope_model::{TapId, Timestamp};

use super::arrivals::Brought;
use super::feed::Feed;
use super::lags::Lag;
use crate::capture::Packets;
use crate::flow::{Datagram, Endpoint};
use crate::hash::HashMap;
use crate::stats::Histogram;

/// So many packets in a row that only repeat what a line itself had sent before: the feed was started again.
const RESTART: u32 = 256;
/// No feed gets this far (nine years at a million messages a second): a higher number is damage, and what follows from
/// it would not even fit into the counters.
pub const HIGHEST_SEQUENCE: u64 = 1 << 48;
/// The second copy of a frame from a mirror port comes within this time.
const DUPLICATE_NS: i64 = 1_000_000;

/// Feeds and lines are told apart up to so many; what looks like further ones, which is garbage, is one feed without numbers.
const MOST_FEEDS: usize = 1 << 12;
const MOST_LINES: usize = 1 << 14;
/// Flows whose line is remembered: flow `n` at `n` modulo this.
const FLOWS: usize = 1 << 16;

/// One flow that carries a feed.
pub struct Line {
    pub feed: usize,
    pub tap: TapId,
    /// The destination: multicast group and port.
    pub endpoint: Endpoint,
    /// A, B, … by configuration or in the order of appearance; R for retransmissions to one receiver.
    pub letter: char,
    /// `group:port A`, the `trigger_feed` of `--orders`; see [`Line::label`].
    named: (char, Arc<str>),
    pub packets: u64,
    /// … of which so many only said that the line is alive.
    pub heartbeats: u64,
    /// Time of the newest packet.
    pub last: Timestamp,
    /// Messages that this line brought, and those of them that it brought first.
    pub messages: u64,
    pub first: u64,
    /// Messages that were missing on this line, whether or not the other had them.
    pub missing: u64,
    /// How long after the first arrival this line brought what another had brought before.
    pub delay: Histogram,
    /// Requests for retransmission that were sent to this address.
    pub requests: u64,
    next: u64,
    repeats: u32,
}

/// What the arbiter says of a packet.
pub struct Verdict {
    pub fresh: Fresh,
    /// Which line brought it.
    pub line: u16,
    /// It tells the past (a retransmission of what was before the capture began): no trigger.
    pub stale: bool,
    /// The mirror port delivered the same packet twice.
    pub copy: bool,
}

/// All feeds and lines of a run.
#[derive(Default)]
pub struct Feeds {
    pub feeds: Vec<Feed>,
    pub lines: Vec<Line>,
    /// Line of a flow, by the flow's number; a new session on the same flow makes a new line.
    by_flow: Vec<Option<(u32, u16)>>,
    /// The line of all that are too many.
    rest: Option<usize>,
    by_session: HashMap<(u16, usize, Vec<u8>), usize>,
    /// Some feed is [`Feed::is_left`].
    has_left: bool,
    configured: Vec<(Endpoint, char)>,
}

impl Feeds {
    /// `configured`: the letter of a line by its destination.
    pub fn new(configured: Vec<(Endpoint, char)>) -> Feeds {
        Feeds { configured, ..Feeds::default() }
    }

    /// A packet came: which of its messages are new?
    #[inline]
    pub fn packet(&mut self, at: &Datagram<'_>, unit: &Sequenced<'_>) -> Verdict {
        let number = self.line_of(at, unit);
        let line = &mut self.lines[usize::from(number)];
        let feed = &mut self.feeds[line.feed];
        line.packets += 1;
        line.last = line.last.max(at.time);
        if unit.kind == UnitKind::Data && unit.first != 0 && feed.next == Some(unit.first) && line.next <= unit.first {
            // The next packet in order: nearly all of them.
            line.in_order(unit);
            feed.messages += unit.count;
            feed.next = Some(line.next);
            feed.arrivals.push(unit.first..unit.first + unit.count, number, Brought::Packet(at.time, at.ip_id));
            return Verdict { fresh: Fresh::All, line: number, stale: false, copy: false };
        }
        self.other(at, unit, number)
    }

    /// Has brought into the cache what so many more packets of a line's feed will need.
    pub fn touch(&self, line: u16, packets: usize) {
        if let Some(line) = self.lines.get(usize::from(line)) {
            self.feeds[line.feed].arrivals.touch(packets);
        }
    }

    /// Packets came that follow each other without a gap. If they are what the feed was waiting for, all of their
    /// messages are new, and the line that brought them is returned. Otherwise nothing has happened, and they must be
    /// given to [`Feeds::packet`] one by one.
    #[inline]
    pub fn packets(&mut self, at: &Datagram<'_>, packets: &Packets<'_>) -> Option<u16> {
        let (session, numbers) = (packets.run.session, packets.sequence());
        let (first, count) = (numbers.start, numbers.end - numbers.start);
        let unit = Sequenced { session: session.bytes(), first, count, kind: UnitKind::Data };
        let number = self.line_of(at, &unit);
        let line = &mut self.lines[usize::from(number)];
        let feed = &mut self.feeds[line.feed];
        if feed.next != Some(first) || line.next > first {
            return None;
        }
        line.packets += packets.packets().len() as u64;
        line.last = packets.packets().last().map_or(line.last, |newest| line.last.max(newest.time));
        line.in_order(&unit);
        feed.messages += count;
        feed.next = Some(line.next);
        feed.arrivals.push_packets(number, packets);
        Some(number)
    }

    /// Everything but the next packet in order.
    fn other(&mut self, at: &Datagram<'_>, unit: &Sequenced<'_>, number: u16) -> Verdict {
        let line = &mut self.lines[usize::from(number)];
        let feed = &mut self.feeds[line.feed];
        let mut verdict = Verdict { fresh: Fresh::None, line: number, stale: false, copy: false };
        match unit.kind {
            UnitKind::Request => {
                line.requests += 1;
                line.letter = 'R';
                return verdict;
            }
            UnitKind::End => feed.ended = true,
            UnitKind::Heartbeat => line.heartbeats += 1,
            UnitKind::Data => {}
        }
        let has_numbers = !feed.is_rest && unit.first != 0 && unit.first <= HIGHEST_SEQUENCE;
        if !has_numbers || feed.is_doubtful(unit, at.time) {
            // The feed has no numbers (or they were wiped, or damaged): everything is new, nothing can be missing.
            line.messages += unit.count;
            line.first += unit.count;
            feed.messages += unit.count;
            verdict.fresh = Fresh::All;
            return verdict;
        }
        if line.letter != 'R' && line.restarted(unit) {
            feed.restart(unit.first);
            line.next = unit.first;
        }
        let end = unit.first + unit.count;
        if line.next != 0 && unit.first > line.next {
            line.missing += unit.first - line.next;
        } else if unit.first < line.next && line.missing > 0 {
            // Late on its own line: what was counted as missing there has come.
            line.missing = line.missing.saturating_sub(unit.count.min(line.next - unit.first));
        }
        line.next = line.next.max(end);
        let recovery = line.letter == 'R';
        let expected = *feed.next.get_or_insert(unit.first);
        if !recovery {
            feed.start.get_or_insert(unit.first);
        }
        if unit.first > expected {
            feed.jump(expected, unit.first, at.time, recovery);
        }
        feed.next = Some(end.max(expected));
        if unit.count == 0 {
            return verdict;
        }
        let (fresh, recovered) = feed.fresh(expected, unit, recovery);
        let new = match &fresh {
            Fresh::All => unit.count,
            Fresh::None => 0,
            Fresh::Some(ranges) => ranges.iter().map(|range| range.end - range.start).sum(),
        };
        if new < unit.count
            && let Some(before) = feed.arrivals.of(unit.first)
        {
            let delay = at.time.since(before.time);
            if before.line == number && before.ip_id == at.ip_id && delay.0.abs() <= DUPLICATE_NS && at.ip_id != 0 {
                line.packets -= 1;
                verdict.copy = true;
                return verdict;
            }
            if let (true, Ok(delay)) = (before.line != number && !recovery, u64::try_from(delay.0)) {
                line.delay.record(delay);
                feed.lags.add(Lag { time: at.time, line: number, delay_ns: delay });
            }
        }
        line.messages += unit.count;
        line.first += new;
        feed.messages += new;
        feed.recovered += recovered;
        feed.duplicates += unit.count - new;
        verdict.stale = recovery && recovered == 0;
        verdict.fresh = fresh;
        if new > 0 {
            feed.arrivals.push(unit.first..unit.first + unit.count, number, Brought::Packet(at.time, at.ip_id));
        }
        verdict
    }

    /// The line that a packet belongs to, found by its flow while the session stays the same.
    #[inline]
    fn line_of(&mut self, at: &Datagram<'_>, unit: &Sequenced<'_>) -> u16 {
        if let Some(Some((flow, number))) = self.by_flow.get(at.flow as usize % FLOWS)
            && *flow == at.flow
            && let Some(feed) = self.lines.get(usize::from(*number)).and_then(|line| self.feeds.get(line.feed))
            && (feed.is_rest || unit.is_of(&feed.key))
        {
            return *number;
        }
        self.new_line(at, unit)
    }

    #[cold]
    fn new_line(&mut self, at: &Datagram<'_>, unit: &Sequenced<'_>) -> u16 {
        let place = at.flow as usize % FLOWS;
        if self.by_flow.len() <= place {
            self.by_flow.resize(place + 1, None);
        }
        let number = match self.feed_of(at, unit) {
            Some(feed) => self.line_in(feed, at, unit),
            None => self.rest(at, unit),
        };
        let number = u16::try_from(number).expect("there are fewer lines");
        if let Some((flow, old)) = self.by_flow[place].replace((at.flow, number))
            && flow == at.flow
        {
            self.leave(usize::from(old));
        }
        self.feeds[self.lines[usize::from(number)].feed].flows += 1;
        number
    }

    /// A flow goes over to another session.
    fn leave(&mut self, line: usize) {
        let feed = self.lines[line].feed;
        self.feeds[feed].flows = self.feeds[feed].flows.saturating_sub(1);
        if self.feeds[feed].flows == 0 {
            (self.feeds[feed].is_left, self.has_left) = (true, true);
        }
    }

    /// Feeds whose last flow has gone over to another session, as on the next day, since this was asked last.
    #[inline]
    pub fn left(&mut self) -> impl Iterator<Item = usize> {
        let feeds = if std::mem::take(&mut self.has_left) { self.feeds.as_mut_slice() } else { &mut [] };
        feeds.iter_mut().enumerate().filter_map(|(at, feed)| std::mem::take(&mut feed.is_left).then_some(at))
    }

    /// The feed of a packet; `None` where there are too many.
    fn feed_of(&mut self, at: &Datagram<'_>, unit: &Sequenced<'_>) -> Option<usize> {
        let protocol = std::ptr::from_ref(at.protocol) as usize;
        let key = (at.key.point, protocol, unit.session.to_vec());
        if let Some(feed) = self.by_session.get(&key) {
            return Some(*feed);
        }
        if self.by_session.len() >= MOST_FEEDS {
            return None;
        }
        self.feeds.push(Feed::new(at, unit));
        self.by_session.insert(key, self.feeds.len() - 1);
        Some(self.feeds.len() - 1)
    }

    /// The line of a feed that brought a packet.
    fn line_in(&mut self, feed: usize, at: &Datagram<'_>, unit: &Sequenced<'_>) -> usize {
        // A retransmission request travels to the exchange: its destination is not a line of the feed.
        let is_it = |line: &Line| line.feed == feed && line.endpoint == at.key.target && line.tap == at.tap;
        if let Some(known) = self.lines.iter().position(is_it) {
            return known;
        }
        if self.lines.len() >= MOST_LINES {
            return self.rest(at, unit);
        }
        let letter = self.letter(feed, at, unit);
        self.lines.push(Line::new(feed, at, letter));
        self.lines.len() - 1
    }

    fn rest(&mut self, at: &Datagram<'_>, unit: &Sequenced<'_>) -> usize {
        *self.rest.get_or_insert_with(|| {
            let session = "(others)".to_owned();
            self.feeds.push(Feed { is_rest: true, session, ..Feed::new(at, unit) });
            self.lines.push(Line::new(self.feeds.len() - 1, at, 'Z'));
            self.lines.len() - 1
        })
    }

    fn letter(&mut self, feed: usize, at: &Datagram<'_>, unit: &Sequenced<'_>) -> char {
        if let Some((_, letter)) = self.configured.iter().find(|(endpoint, _)| *endpoint == at.key.target) {
            return *letter;
        }
        let multicast = is_multicast(at.key.target.address);
        if unit.kind == UnitKind::Request || (!multicast && self.feeds[feed].has_multicast) {
            return 'R';
        }
        if multicast && !self.feeds[feed].has_multicast {
            // What came by unicast before the first multicast packet was a late joiner's recovery.
            let feed_state = &mut self.feeds[feed];
            feed_state.has_multicast = true;
            feed_state.next = None;
            feed_state.missing.clear();
            self.lines.iter_mut().filter(|line| line.feed == feed).for_each(|line| line.letter = 'R');
        }
        let used = |letter: char| self.lines.iter().any(|line| line.feed == feed && line.letter == letter);
        ('A'..='Q').find(|&letter| !used(letter)).unwrap_or('Z')
    }

    /// Whether a feed of this point that had begun by this time shows single orders.
    pub fn shows_orders(&self, point: u16, time: Timestamp) -> bool {
        self.feeds.iter().any(|feed| feed.point == point && feed.since <= time && feed.protocol.shows_orders)
    }
}

impl Line {
    fn new(feed: usize, at: &Datagram<'_>, letter: char) -> Line {
        Line {
            feed,
            tap: at.tap,
            endpoint: at.key.target,
            letter,
            named: (letter, format!("{} {letter}", at.key.target).into()),
            packets: 0,
            messages: 0,
            first: 0,
            missing: 0,
            heartbeats: 0,
            last: Timestamp::MIN,
            delay: Histogram::default(),
            requests: 0,
            next: 0,
            repeats: 0,
        }
    }

    /// `group:port A`, the `trigger_feed` of `--orders`.
    pub fn label(&self) -> Arc<str> {
        let (letter, label) = &self.named;
        if *letter == self.letter { label.clone() } else { format!("{} {}", self.endpoint, self.letter).into() }
    }

    /// The next messages that the feed was waiting for.
    #[inline]
    fn in_order(&mut self, unit: &Sequenced<'_>) {
        if self.next != unit.first && self.next != 0 {
            self.missing += unit.first - self.next;
        }
        self.messages += unit.count;
        self.first += unit.count;
        self.next = unit.first + unit.count;
        self.repeats = 0;
    }

    /// Whether this line has gone back for good: it repeats its own numbers, packet after packet.
    fn restarted(&mut self, unit: &Sequenced<'_>) -> bool {
        if unit.count == 0 || unit.first + unit.count > self.next {
            self.repeats = 0;
            return false;
        }
        self.repeats += 1;
        if self.repeats < RESTART {
            return false;
        }
        self.repeats = 0;
        true
    }
}

fn is_multicast(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowKey;
    use std::net::Ipv4Addr;

    /// Feeds packets of one message with these numbers; returns messages, lost ones and gaps.
    fn told(numbers: &[u64]) -> (u64, u64, u64) {
        let end = |host: u8| Endpoint { address: IpAddr::V4(Ipv4Addr::new(239, 0, 0, host)), port: 5000 };
        let key = FlowKey { point: 0, source: end(1), target: end(2) };
        let mut feeds = Feeds::default();
        for (at, &first) in (1_u64..).zip(numbers) {
            let ip_id = u16::try_from(at).expect("few");
            let protocol = tickscope_decoders::PROTOCOLS[0];
            let at =
                Datagram { protocol, key: &key, flow: 0, tap: TapId(0), frame: at, time: Timestamp(at * 1000), ip_id };
            feeds.packet(&at, &Sequenced { session: b"S", first, count: 1, kind: UnitKind::Data });
        }
        let feed = &feeds.feeds[0];
        (feed.messages, feed.lost(), feed.gaps)
    }

    #[test]
    fn a_damaged_number_is_no_gap_and_a_large_gap_is_one() {
        assert_eq!(told(&[1, 2, 3, 4]), (4, 0, 0));
        assert_eq!(told(&[1, 2, 9, 10]), (4, 6, 1));
        assert_eq!(told(&[1, 2, 3 << 40, 3, 4]), (5, 0, 0), "one packet far ahead is damage");
        assert_eq!(told(&[1, 2, 3 << 40, 7 << 40, 3]), (5, 0, 0), "and so is another one elsewhere");
        assert_eq!(told(&[1, 2, 1 << 30, (1 << 30) + 1, (1 << 30) + 2]), (5, (1 << 30) - 3, 1), "a gap after all");
        assert_eq!(told(&[1, 2, u64::MAX, 3]), (4, 0, 0));
    }

    #[test]
    fn a_feed_is_left_once_all_its_flows_bring_another_session() {
        let end = |host: u8| Endpoint { address: IpAddr::V4(Ipv4Addr::new(239, 0, 0, host)), port: 5000 };
        let key = FlowKey { point: 0, source: end(1), target: end(2) };
        let mut feeds = Feeds::default();
        let mut left = |flow: u32, session: &[u8]| {
            let (protocol, time) = (tickscope_decoders::PROTOCOLS[0], Timestamp(1));
            let at = Datagram { protocol, key: &key, flow, tap: TapId(0), frame: 1, time, ip_id: 1 };
            feeds.packet(&at, &Sequenced { session, first: 1, count: 1, kind: UnitKind::Data });
            feeds.left().collect::<Vec<usize>>()
        };
        let days: [(u32, &[u8]); 5] =
            [(0, b"monday"), (1, b"monday"), (0, b"tuesday"), (1, b"tuesday"), (1, b"tuesday")];
        assert_eq!(days.map(|(flow, session)| left(flow, session)), [vec![], vec![], vec![], vec![0], vec![]]);
    }

    #[test]
    fn garbage_that_looks_like_ever_new_feeds_takes_no_more_room() {
        let end = |host: u8| Endpoint { address: IpAddr::V4(Ipv4Addr::new(239, 0, 0, host)), port: 5000 };
        let key = FlowKey { point: 0, source: end(1), target: end(2) };
        let mut feeds = Feeds::default();
        let mut packet = |flow: u32, session: &[u8], first: u64| {
            let (protocol, time) = (tickscope_decoders::PROTOCOLS[0], Timestamp(u64::from(flow)));
            let at = Datagram { protocol, key: &key, flow, tap: TapId(0), frame: 1, time, ip_id: 1 };
            let verdict = feeds.packet(&at, &Sequenced { session, first, count: 1, kind: UnitKind::Data });
            assert!(verdict.fresh == Fresh::All, "flow {flow}");
            (feeds.feeds.len(), feeds.lines.len(), feeds.by_flow.len())
        };
        assert_eq!(packet(0, b"real", 1), (1, 1, 1));
        let most = (0..200_000_u32).map(|flow| packet(flow, &flow.to_le_bytes(), u64::from(flow) % 97 + 1)).last();
        assert_eq!(most, Some((MOST_FEEDS + 1, MOST_FEEDS + 1, FLOWS)));
        packet(0, b"real", 2);
        let (real, rest) = (&feeds.feeds[0], &feeds.feeds[MOST_FEEDS]);
        assert_eq!((real.messages, real.lost(), rest.messages), (2, 0, 200_001 - MOST_FEEDS as u64));
        assert_eq!((rest.lost(), rest.gaps, rest.session.as_str()), (0, 0, "(others)"));
    }
}
