//! The lane of `analyze`: market data goes through arbitration into the ticks, order flow into the pairer.

use std::ops::Range;

use tickscope_decoders::{Described, Fresh, Sequenced, UnitKind};
use tickscope_model::{Loss, Losses, MarketEvent, MarketKind, OrderEvent, SymbolId, Timestamp};

use super::bookkeeper::{Bookkeeper, GATHERED, Message};
use super::exchange_clock::ExchangeClocks;
use crate::book::{Health, price_of};
use crate::capture::{Captured, Packets, Place};
use crate::flow::{Arrival, Datagram, Direction, Lane, Seen};
use crate::hash::HashMap;
use crate::merge::{Feeds, Passed, Recent, Symbols, Tick, Ticks};
use crate::pair::attribution::Case;
use crate::pair::{LinkRule, Links, Paired, Pairer, Trigger, View, candidates};

/// Messages read, by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageCounts {
    /// Market-data messages in packets that were read.
    pub market: u64,
    /// … of which were looked at: new, of a known type, whole.
    pub market_used: u64,
    /// Order-entry messages.
    pub order: u64,
    pub order_used: u64,
    /// Damaged ones that are known only by what they left behind.
    pub stray: u64,
}

/// Everything right of the flows, for one run.
pub struct Correlator {
    pub symbols: Symbols,
    pub feeds: Feeds,
    pub ticks: Ticks,
    books: Bookkeeper,
    /// Only where there are books.
    pub recent: Recent,
    /// The number of the first message of the packet at hand.
    packet_sequence: u64,
    pub pairer: Pairer,
    pub losses: Losses,
    pub messages: MessageCounts,
    pub exchange_clocks: ExchangeClocks,
    /// For each point the points that its orders take market data from, nearest first.
    points: Vec<Vec<u16>>,
    line: u16,
    stale: bool,
    /// The last order-entry message: a list gives several orders in one message, which counts once.
    last_message: HashMap<(u32, bool), u64>,
    /// Market-data messages by tenth of a second, for the report's course over time: the current one …
    slot: (u64, u64),
    /// … and those that are complete.
    pub market_counts: Vec<(Timestamp, u64)>,
}

/// So many conversations' last messages are remembered, both directions.
const MOST_CONVERSATIONS: u32 = 1 << 14;
/// Width of a slot of `market_counts`.
const SLOT_NS: u64 = 100_000_000;

impl Correlator {
    pub fn new(mut symbols: Symbols, feeds: Feeds, pairer: Pairer, points: Vec<Vec<u16>>) -> Correlator {
        let trigger = &pairer.rules().trigger;
        let books = Bookkeeper::new(&trigger.links, trigger.kinds.clone());
        for name in trigger.links.iter().flat_map(LinkRule::symbols).filter(|_| trigger.keeps_books) {
            symbols.watch(name.as_bytes());
        }
        Correlator {
            symbols,
            feeds,
            ticks: Ticks::default(),
            books,
            recent: Recent::default(),
            packet_sequence: 0,
            pairer,
            losses: Losses::default(),
            messages: MessageCounts::default(),
            exchange_clocks: ExchangeClocks::default(),
            points,
            line: 0,
            stale: false,
            last_message: HashMap::default(),
            slot: (0, 0),
            market_counts: Vec::new(),
        }
    }

    /// The order flow names this symbol: it has a book from now on, if there are books.
    pub fn watch(&mut self, name: &[u8]) {
        if self.pairer.rules().trigger.keeps_books {
            self.symbols.watch(name);
        }
    }

    /// Time has come to `now`.
    #[inline]
    pub fn advance(&mut self, now: Timestamp) {
        if self.pairer.must_advance(now, &self.ticks) {
            self.books.settle(&self.symbols);
            self.with_view(|pairer, view| pairer.advance(now, view));
        }
    }

    /// The end: everything that is open is closed, some at a time. False when that was all.
    pub fn finish_some(&mut self) -> bool {
        self.close_slot();
        self.books.settle(&self.symbols);
        self.with_view(Pairer::finish_some)
    }

    /// Times of some tap are another clock's from now on, which is rare: as if the run began anew, but for books, feeds and
    /// sessions. `moved_at`: what the clock of each tap shows.
    pub fn times_moved(&mut self, moved_at: Vec<Timestamp>) {
        self.close_slot();
        self.books.settle(&self.symbols);
        self.with_view(|pairer, view| pairer.times_moved(moved_at, view));
        self.books.forget_times(&self.symbols);
        (self.ticks, self.exchange_clocks) = (Ticks::default(), ExchangeClocks::default());
        self.recent.forget();
    }

    #[inline]
    fn count_in_slot(&mut self, time: Timestamp, count: u64) {
        self.messages.market += count;
        let slot = time.0 / SLOT_NS;
        if slot != self.slot.0 {
            self.close_slot();
            self.slot.0 = slot;
        }
        self.slot.1 += count;
    }

    /// Hands over the count of the slot that goes on: what still comes in it is counted in another piece.
    pub fn close_slot(&mut self) {
        if self.slot.1 > 0 {
            self.market_counts.push((Timestamp(self.slot.0 * SLOT_NS), self.slot.1));
            self.slot.1 = 0;
        }
    }

    /// Books and links as they were settled last.
    fn with_view<R>(&mut self, work: impl FnOnce(&mut Pairer, &View<'_>) -> R) -> R {
        let view = View {
            ticks: &self.ticks,
            tape: self.books.tape(),
            recent: &self.recent,
            links: self.books.links(),
            feeds: &self.feeds,
            symbols: &self.symbols,
            points: &self.points,
        };
        work(&mut self.pairer, &view)
    }

    /// What could have caused a request whose case was kept.
    pub fn candidates(&mut self, case: &Case) -> Vec<Trigger> {
        self.books.settle(&self.symbols);
        self.with_view(|_, view| candidates(case, view))
    }

    /// How links are kept.
    pub fn links(&self) -> &Links {
        self.books.links()
    }

    /// Rows that are ready, in no particular order.
    pub fn take(&mut self) -> Vec<Paired> {
        self.pairer.take()
    }

    /// A message about a symbol that the order flow names.
    fn book(&mut self, point: u16, tick: Tick, event: &MarketEvent) {
        let Some(line) = self.feeds.lines.get(usize::from(tick.line)) else { return };
        let (number, feed) = (line.feed, &self.feeds.feeds[line.feed]);
        let health = Health { is_whole: feed.is_whole(), gaps: feed.gaps };
        self.feeds.left().for_each(|left| self.books.forget(left, &self.symbols));
        let packet_sequence = self.packet_sequence;
        if self.books.is_empty() {
            self.feeds.touch(tick.line, GATHERED);
        }
        self.books.take(Message { point, feed: number, health, tick, packet_sequence, event: *event }, &self.symbols);
    }

    /// A message that may stand before an order in another symbol.
    #[inline]
    fn pass(&mut self, at: &Datagram<'_>, event: &MarketEvent) {
        let is_trade = event.kind == MarketKind::Trade;
        let price = event.price.filter(|_| is_trade).and_then(price_of).unwrap_or(0);
        self.recent.push(Passed { time: at.time, price, symbol: event.symbol, point: at.key.point, is_trade });
    }

    /// Packets that were read ahead and are what their feed was waiting for.
    fn use_all(&mut self, point: u16, line: u16, packets: &Packets<'_>) {
        let numbers = packets.sequence();
        let count = numbers.end - numbers.start;
        let slot = |time: &Timestamp| time.0 / SLOT_NS;
        match packets.times() {
            Some(times) if slot(times.start()) == slot(times.end()) => self.count_in_slot(*times.start(), count),
            _ => packets.arrivals().for_each(|(_, count, time)| self.count_in_slot(time, count)),
        }
        self.messages.market_used += count;
        self.ticks.keep(point, line, packets);
    }

    /// A single packet that was read ahead; false where it is a copy by the mirror port.
    fn use_one(&mut self, at: &Datagram<'_>, packet: &Packets<'_>) -> bool {
        let numbers = packet.sequence();
        let count = numbers.end - numbers.start;
        let session = packet.run.session;
        let unit = Sequenced { session: session.bytes(), first: numbers.start, count, kind: UnitKind::Data };
        let Some(fresh) = self.sequenced(at, &unit) else { return false };
        let ranges = match fresh {
            Fresh::All => None,
            Fresh::None => return true,
            Fresh::Some(ranges) => Some(ranges),
        };
        let new = ranges.as_ref().map_or(count, |ranges| ranges.iter().map(|range| range.end - range.start).sum());
        self.messages.market_used += new;
        if !self.stale {
            self.ticks.keep_announced(at.key.point, self.line, packet, ranges.clone());
        }
        true
    }
}

impl Lane for Correlator {
    #[inline]
    fn frame(&mut self, _captured: &Captured<'_>) {}

    fn wants_fields(&self) -> bool {
        false
    }

    fn symbol(&mut self, name: &[u8]) -> SymbolId {
        self.symbols.number(name)
    }

    #[inline]
    fn sequenced(&mut self, at: &Datagram<'_>, unit: &Sequenced<'_>) -> Option<Fresh> {
        let verdict = self.feeds.packet(at, unit);
        if verdict.copy {
            return None;
        }
        (self.line, self.stale, self.packet_sequence) = (verdict.line, verdict.stale, unit.first);
        if unit.kind == UnitKind::Data {
            self.count_in_slot(at.time, unit.count);
            self.ticks.came(unit.count, at.time);
        }
        match &verdict.fresh {
            Fresh::None if unit.kind == UnitKind::Data => {
                self.losses.add_many(Loss::FeedDuplicate, unit.count);
            }
            Fresh::All | Fresh::None => {}
            Fresh::Some(ranges) => {
                let new: u64 = ranges.iter().map(|range| range.end - range.start).sum();
                self.losses.add_many(Loss::FeedDuplicate, unit.count - new);
            }
        }
        Some(verdict.fresh)
    }

    #[inline]
    fn market(&mut self, at: &Datagram<'_>, event: &MarketEvent) {
        self.messages.market_used += 1;
        if !self.stale {
            self.pairer.market(at.time, event);
            if self.exchange_clocks.wants(at.tap) {
                self.exchange_clocks.compare(at.tap, at.time, event.exchange_ns);
            }
            let MarketEvent { kind, code, sequence, .. } = *event;
            let tick = Tick { time: at.time, sequence, frame: at.frame, line: self.line, code, kind, place: None };
            self.ticks.push(at.key.point, event.symbol, &tick);
            if self.symbols.is_watched(event.symbol) {
                self.book(at.key.point, tick, event);
            }
            if self.pairer.rules().trigger.keeps_books {
                self.pass(at, event);
            }
        }
    }

    fn packets(&mut self, mut at: Datagram<'_>, packets: &Packets<'_>) -> u64 {
        let mut copies = 0;
        let mut rest = packets.clone();
        while !rest.range.is_empty() {
            if let Some(line) = self.feeds.packets(&at, &rest) {
                self.use_all(at.key.point, line, &rest);
                break;
            }
            let Some(first) = rest.packets().first() else { break };
            (at.frame, at.time, at.ip_id) = (rest.frame(rest.range.start), first.time, first.ip_id);
            let one = rest.first(1);
            copies += u64::from(!self.use_one(&at, &one));
            rest = rest.behind(&one);
        }
        copies
    }

    fn has_wants(&self) -> bool {
        self.pairer.has_wants()
    }

    fn wants_again(&mut self) -> Vec<Place> {
        self.pairer.wants_again()
    }

    fn market_again(&mut self, at: &Datagram<'_>, event: &MarketEvent) {
        self.pairer.market(at.time, event);
    }

    fn seen_again(&mut self) {
        self.pairer.compare_with_market();
    }

    fn ended(&mut self) {
        self.books.settle(&self.symbols);
        self.with_view(Pairer::ended);
    }

    fn market_other(&mut self, _at: &Datagram<'_>) {
        self.messages.market_used += 1;
    }

    fn datagram_described(&mut self, _at: &Datagram<'_>, _message: Described) {}

    fn order(&mut self, direction: &Direction<'_>, seen: &Seen, event: &OrderEvent<'_>) {
        let from_source = direction.key.source < direction.key.target;
        if self.last_message.len() > MOST_CONVERSATIONS as usize * 2 {
            // Conversations are numbered as they begin: the older ones are over, or say nothing for long.
            let oldest = direction.conversation.saturating_sub(MOST_CONVERSATIONS / 2);
            self.last_message.retain(|(conversation, _), _| *conversation >= oldest);
        }
        let last = self.last_message.entry((direction.conversation, from_source)).or_insert(0);
        if *last != seen.end {
            *last = seen.end;
            self.messages.order += 1;
            // A damaged message has been counted as such by its decoder.
            match (event.is_damaged, event.is_copy) {
                (true, _) => {}
                (false, true) => self.losses.add(Loss::PossDup),
                (false, false) => self.messages.order_used += 1,
            }
        }
        if direction.from_client == Some(false) && !event.is_copy && self.exchange_clocks.wants(seen.tap) {
            self.exchange_clocks.compare(seen.tap, seen.time, event.sending_ns);
        }
        self.pairer.order(direction, seen, event, &self.symbols, self.ticks.messages());
        if event.kind.is_request() {
            self.watch(event.symbol);
            self.watch(event.security_id);
        }
    }

    fn order_described(&mut self, _direction: &Direction<'_>, _seen: &Seen, _message: Described) {}

    fn acknowledged(&mut self, direction: &Direction<'_>, place: u64, arrival: Arrival) {
        self.pairer.acknowledged(direction, place, arrival);
    }

    fn stream_gap(&mut self, direction: &Direction<'_>) {
        self.pairer.stream_gap(direction);
    }

    fn retransmitted(&mut self, direction: &Direction<'_>, places: Range<u64>) {
        self.pairer.retransmitted(direction, places);
    }

    fn loss(&mut self, loss: Loss, count: u64) {
        self.losses.add_many(loss, count);
    }

    fn stray(&mut self, loss: Loss, count: u64) {
        self.messages.stray += count;
        self.losses.add_many(loss, count);
    }
}
