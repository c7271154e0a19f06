//! Reading a feed as a trader does: datagrams of one or several lines become messages in order, each once, with the best
//! prices after them. It reads what `encode` writes, from the published specifications, and shares no code with it (nor
//! with the decoders); messages that no strategy looks at are passed over.

use std::collections::{BTreeMap, HashMap};

use crate::book::{Best, Side};
use crate::encode::feed::{FeedProtocol, Tick};
use crate::market::Instrument;

/// At most so many packets wait for what is missing before them.
const MOST_HELD: usize = 10_000;

/// An order in an ITCH book.
#[derive(Clone, Copy, Debug)]
struct Shown {
    symbol: u16,
    side: Side,
    price: u32,
    quantity: u32,
}

/// What is shown of a symbol: quantity by price.
#[derive(Clone, Debug, Default)]
struct View {
    bids: BTreeMap<u32, u64>,
    asks: BTreeMap<u32, u64>,
    /// TOPS: the quote, and the one before it.
    quote: Best,
    quote_before: Best,
}

impl View {
    fn side(&mut self, side: Side) -> &mut BTreeMap<u32, u64> {
        if side == Side::Buy { &mut self.bids } else { &mut self.asks }
    }

    fn best(&self) -> Best {
        let shown = |quantity: &u64| u32::try_from(*quantity).unwrap_or(u32::MAX);
        let (bid, ask) = (self.bids.last_key_value(), self.asks.first_key_value());
        Best {
            bid: bid.map_or(0, |(price, _)| *price),
            bid_quantity: bid.map_or(0, |(_, quantity)| shown(quantity)),
            ask: ask.map_or(0, |(price, _)| *price),
            ask_quantity: ask.map_or(0, |(_, quantity)| shown(quantity)),
        }
    }

    fn take(&mut self, side: Side, price: u32, quantity: u32) {
        if let Some(left) = self.side(side).get_mut(&price) {
            *left = left.saturating_sub(quantity.into());
            if *left == 0 {
                self.side(side).remove(&price);
            }
        }
    }

    /// A message that was lost leaves levels behind; those that a new order crosses cannot be there.
    fn uncross(&mut self, side: Side, price: u32) {
        if side == Side::Buy {
            self.asks = self.asks.split_off(&(price + 1));
        } else {
            self.bids.split_off(&price);
        }
    }
}

/// What one datagram led to.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The messages of each packet that could be read now.
    pub(crate) packets: Vec<Vec<Tick>>,
    /// Messages that are missing since just now: the first, and how many.
    pub(crate) missing: Option<(u64, u16)>,
}

/// One feed and what it shows.
#[derive(Debug)]
pub(crate) struct Follower {
    protocol: FeedProtocol,
    symbols: HashMap<[u8; 8], u16>,
    views: Vec<View>,
    orders: HashMap<u64, Shown>,
    next: u64,
    asked_to: u64,
    /// By first message: until when it waits for those before it, its number of messages, the payload.
    ahead: BTreeMap<u64, (u64, u64, Vec<u8>)>,
    /// How long a packet waits.
    patience: u64,
}

impl Follower {
    /// Follows a feed of these instruments.
    pub(crate) fn new(protocol: FeedProtocol, instruments: &[Instrument], patience: u64) -> Follower {
        let symbols = instruments.iter().zip(0_u16..).map(|(one, at)| (one.padded, at)).collect();
        let views = vec![View::default(); instruments.len()];
        let (orders, ahead) = (HashMap::new(), BTreeMap::new());
        Follower { protocol, symbols, views, orders, next: 1, asked_to: 0, ahead, patience }
    }

    /// First message and number of messages of a packet.
    fn header(&self, payload: &[u8]) -> Option<(u64, u64)> {
        if self.protocol == FeedProtocol::Itch50 {
            let (first, count) = (big(payload, 10, 8)?, big(payload, 18, 2)?);
            return Some((first, if count == u64::from(u16::MAX) { 0 } else { count }));
        }
        Some((little(payload, 24, 8)?, little(payload, 14, 2)?))
    }

    /// Takes a datagram of any line.
    pub(crate) fn take(&mut self, now: u64, payload: &[u8]) -> Taken {
        let mut taken = Taken::default();
        let Some((first, count)) = self.header(payload) else { return taken };
        if first > self.next {
            let from = self.next.max(self.asked_to);
            if from < first && !self.ahead.contains_key(&from) {
                let before = self.ahead.range(from..first).next().map_or(first, |(ahead, _)| *ahead);
                taken.missing = Some((from, u16::try_from(before - from).unwrap_or(u16::MAX - 1)));
            }
            self.asked_to = self.asked_to.max(first + count);
            if count > 0 && self.ahead.len() < MOST_HELD {
                self.ahead.entry(first).or_insert_with(|| (now + self.patience, count, payload.to_vec()));
            }
        } else if first + count > self.next {
            taken.packets.push(self.read(first, count, payload));
        }
        self.read_ahead(now, &mut taken);
        taken
    }

    /// Reads what waited long enough.
    pub(crate) fn look_again(&mut self, now: u64) -> Taken {
        let mut taken = Taken::default();
        self.read_ahead(now, &mut taken);
        taken
    }

    /// When [`Follower::look_again`] has something to do.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.ahead.is_empty()
    }

    fn read_ahead(&mut self, now: u64, taken: &mut Taken) {
        while let Some((&first, &(until, count, _))) = self.ahead.first_key_value() {
            if first > self.next && now < until && self.ahead.len() < MOST_HELD {
                return;
            }
            let Some((_, (_, _, payload))) = self.ahead.pop_first() else { return };
            if first + count > self.next {
                taken.packets.push(self.read(first, count, &payload));
            }
        }
    }

    /// The messages of a packet from the next expected one on.
    fn read(&mut self, first: u64, count: u64, payload: &[u8]) -> Vec<Tick> {
        let is_big = self.protocol == FeedProtocol::Itch50;
        let mut at = if is_big { 20 } else { 40 };
        let mut ticks = Vec::new();
        for sequence in first..first + count {
            let length = if is_big { big(payload, at, 2) } else { little(payload, at, 2) };
            let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else { break };
            let Some(message) = payload.get(at + 2..at + 2 + length) else { break };
            at += 2 + length;
            if sequence >= self.next {
                let tick = if is_big { self.itch(message) } else { self.iex(message) };
                let end = u32::try_from(at).unwrap_or(u32::MAX);
                ticks.extend(tick.map(|tick| Tick { sequence, end, ..tick }));
            }
        }
        self.next = self.next.max(first + count);
        ticks
    }

    /// Nasdaq TotalView-ITCH 5.0, sections 1.3 to 1.5.
    fn itch(&mut self, message: &[u8]) -> Option<Tick> {
        let (locate, id) = (big(message, 1, 2)?, big(message, 11, 8)?);
        let symbol = u16::try_from(locate.checked_sub(1)?).ok()?;
        let before = self.views.get(usize::from(symbol))?.best();
        let (name, shown, quantity) = match message.first()? {
            b'A' => {
                let side = side_of(*message.get(19)?);
                let shown = Shown { symbol, side, price: small(message, 32)?, quantity: small(message, 20)? };
                self.show(id, shown)?;
                ("Add Order - No MPID Attribution", shown, shown.quantity)
            }
            b'E' => ("Order Executed Message", self.reduce(id, small(message, 19)?)?, small(message, 19)?),
            b'X' => ("Order Cancel Message", self.reduce(id, small(message, 19)?)?, small(message, 19)?),
            b'D' => {
                let shown = self.reduce(id, u32::MAX)?;
                ("Order Delete Message", shown, shown.quantity)
            }
            b'U' => {
                let old = self.reduce(id, u32::MAX)?;
                let shown = Shown { price: small(message, 31)?, quantity: small(message, 27)?, ..old };
                self.show(big(message, 19, 8)?, shown)?;
                ("Order Replace Message", shown, shown.quantity)
            }
            b'P' => {
                // The side is always B in this message since 2014: the price tells which side was hit.
                let (price, quantity) = (small(message, 32)?, small(message, 20)?);
                let side = if price == before.ask { Side::Sell } else { Side::Buy };
                ("Trade Message (Non-Cross)", Shown { symbol, side, price, quantity }, quantity)
            }
            _ => return None,
        };
        let best = self.views.get(usize::from(symbol))?.best();
        let is_trade = matches!(message.first(), Some(b'E' | b'P'));
        let Shown { side, price, .. } = shown;
        Some(Tick { sequence: 0, symbol, name, is_trade, is_best: before != best, side, price, quantity, best, end: 0 })
    }

    fn show(&mut self, id: u64, shown: Shown) -> Option<()> {
        let view = self.views.get_mut(usize::from(shown.symbol))?;
        view.uncross(shown.side, shown.price);
        *view.side(shown.side).entry(shown.price).or_default() += u64::from(shown.quantity);
        self.orders.insert(id, shown);
        Some(())
    }

    /// Takes quantity from an order; what it was before. `None` for an order that was never heard of.
    fn reduce(&mut self, id: u64, quantity: u32) -> Option<Shown> {
        let shown = self.orders.get_mut(&id)?;
        let was = *shown;
        let quantity = quantity.min(was.quantity);
        shown.quantity -= quantity;
        if shown.quantity == 0 {
            self.orders.remove(&id);
        }
        self.views.get_mut(usize::from(was.symbol))?.take(was.side, was.price, quantity);
        Some(was)
    }

    /// IEX TOPS 1.6 and DEEP 1.0.
    fn iex(&mut self, message: &[u8]) -> Option<Tick> {
        let kind = *message.first()?;
        let symbol = *self.symbols.get(message.get(10..18)?)?;
        let view = self.views.get_mut(usize::from(symbol))?;
        let tops = self.protocol == FeedProtocol::Tops16;
        let before = if tops { view.quote } else { view.best() };
        let price_at = |at| little(message, at, 8).and_then(|price| u32::try_from(price).ok());
        let quantity_at = |at| little(message, at, 4).and_then(|quantity| u32::try_from(quantity).ok());
        let (name, side, price, quantity) = match kind {
            b'Q' => {
                let quote = Best {
                    bid_quantity: quantity_at(18)?,
                    bid: price_at(22)?,
                    ask: price_at(30)?,
                    ask_quantity: quantity_at(38)?,
                };
                (view.quote_before, view.quote) = (view.quote, quote);
                let is_bid = (before.bid, before.bid_quantity) != (quote.bid, quote.bid_quantity);
                let (side, price, quantity) = if is_bid {
                    (Side::Buy, quote.bid, quote.bid_quantity)
                } else {
                    (Side::Sell, quote.ask, quote.ask_quantity)
                };
                ("Quote Update Message", side, price, quantity)
            }
            b'T' => {
                let price = price_at(22)?;
                // No side in the message: the prices tell. TOPS shows the quote after the trade first.
                let hits_ask = |best: &Best| best.ask > 0 && price >= best.ask;
                let is_ask = hits_ask(&before) || tops && price > before.bid && hits_ask(&view.quote_before);
                let side = if is_ask { Side::Sell } else { Side::Buy };
                ("Trade Report Message", side, price, quantity_at(18)?)
            }
            b'8' | b'5' => {
                let side = if kind == b'8' { Side::Buy } else { Side::Sell };
                let (price, quantity) = (price_at(22)?, quantity_at(18)?);
                if quantity == 0 {
                    view.side(side).remove(&price);
                } else {
                    view.uncross(side, price);
                    view.side(side).insert(price, quantity.into());
                }
                ("Price Level Update Message", side, price, quantity)
            }
            _ => return None,
        };
        let best = if tops { view.quote } else { view.best() };
        let (is_trade, is_best) = (kind == b'T', kind == b'Q' || kind != b'T' && before != best);
        Some(Tick { sequence: 0, symbol, name, is_trade, is_best, side, price, quantity, best, end: 0 })
    }
}

fn side_of(letter: u8) -> Side {
    if letter == b'B' { Side::Buy } else { Side::Sell }
}

/// A number of `length` bytes, the most significant first.
fn big(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    Some(bytes.get(at..at + length)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

/// A number of `length` bytes, the least significant first.
fn little(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    Some(bytes.get(at..at + length)?.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

/// Four bytes, the most significant first.
fn small(bytes: &[u8], at: usize) -> Option<u32> {
    u32::try_from(big(bytes, at, 4)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::feed::{Feed, NEW_YORK_WINTER, Packet};
    use crate::market::Market;
    use crate::scenario::Scenario;

    const NOW: u64 = 1_767_623_400_000_000_000;

    /// The opening and then so many steps of the crowd, a packet each.
    fn packets(protocol: FeedProtocol, steps: usize) -> (Vec<Packet>, Vec<Instrument>) {
        let settings = Scenario::parse("[market]\nsymbols = 3\nrate = 1e4", "test").unwrap().market;
        let mut market = Market::new(&settings, 5, NOW);
        let mut feed = Feed::new(protocol, NOW, NEW_YORK_WINTER);
        let mut packets = Vec::new();
        let mut changes = Vec::new();
        feed.system_event(NOW, b'O');
        for (symbol, instrument) in (0..3).zip(market.instruments.clone()) {
            feed.introduce(NOW, symbol, &instrument);
            market.open(symbol, &mut changes);
        }
        for _ in 0..=steps {
            for change in changes.drain(..) {
                if feed.is_full() {
                    packets.push(feed.packet(NOW));
                }
                feed.change(NOW, &change, &market.instruments[usize::from(change.symbol)]);
            }
            if !feed.is_empty() {
                packets.push(feed.packet(NOW));
            }
            market.step(&mut changes);
        }
        (packets, market.instruments)
    }

    #[test]
    fn what_was_published_is_what_is_read() {
        for protocol in [FeedProtocol::Itch50, FeedProtocol::Tops16, FeedProtocol::Deep10] {
            let (packets, instruments) = packets(protocol, 20_000);
            let mut follower = Follower::new(protocol, &instruments, 0);
            let mut same_side = 0;
            let mut trades = 0;
            for packet in &packets {
                let taken = follower.take(NOW, &packet.payload);
                assert_eq!((taken.missing, taken.packets.len()), (None, 1));
                assert_eq!(taken.packets[0].len(), packet.ticks.len());
                for (is, was) in taken.packets[0].iter().zip(&packet.ticks) {
                    let place = |tick: &Tick| (tick.sequence, tick.symbol, tick.name, tick.is_trade, tick.end);
                    assert_eq!(place(is), place(was), "{protocol:?}");
                    trades += u32::from(is.is_trade);
                    same_side += u32::from(is.is_trade && is.side == was.side);
                    if protocol == FeedProtocol::Itch50 {
                        assert_eq!(
                            (is.is_best, is.best, is.price, is.quantity),
                            (was.is_best, was.best, was.price, was.quantity)
                        );
                        assert_eq!(is.side, was.side);
                    } else if protocol == FeedProtocol::Tops16 && !is.is_trade {
                        assert_eq!((is.best, is.is_best), (was.best, true));
                    }
                }
                if protocol == FeedProtocol::Deep10 {
                    let (is, was) = (taken.packets[0].last(), packet.ticks.last());
                    assert_eq!(is.map(|tick| tick.best), was.map(|tick| tick.best));
                }
            }
            // IEX does not say which side was hit; the prices nearly always do.
            assert!(trades > 1000 && same_side >= trades * 99 / 100, "{protocol:?}: {same_side} of {trades}");
        }
    }

    #[test]
    fn two_lines_give_each_message_once_and_a_gap_is_waited_for_asked_for_and_given_up() {
        let (packets, instruments) = packets(FeedProtocol::Itch50, 100);
        let mut follower = Follower::new(FeedProtocol::Itch50, &instruments, 50);
        let mut read = 0;
        for packet in &packets[..40] {
            read += follower.take(NOW, &packet.payload).packets.len();
            assert!(follower.take(NOW, &packet.payload).packets.is_empty(), "the second line brings nothing new");
        }
        assert_eq!(read, 40);
        let lost = &packets[40];
        let ahead = follower.take(NOW, &packets[41].payload);
        assert_eq!((ahead.packets.len(), ahead.missing), (0, Some((lost.first, lost.count))));
        let ahead = follower.take(NOW, &packets[42].payload);
        assert_eq!((ahead.packets.len(), ahead.missing), (0, None), "asked for once");
        assert_eq!(follower.take(NOW, &lost.payload).packets.len(), 3, "all three, in order");
        assert!(follower.take(NOW, &packets[44].payload).packets.is_empty());
        assert!(follower.is_waiting() && follower.look_again(NOW + 49).packets.is_empty());
        assert_eq!(follower.look_again(NOW + 50).packets.len(), 1, "given up");
        assert!(follower.take(NOW, &packets[43].payload).packets.is_empty(), "too late");
        assert!(follower.take(NOW, b"short").packets.is_empty());
    }
}
