//! Books of the symbols that the order flow names: built from orders (ITCH), price levels (DEEP) or best prices (TOPS).
//! A message goes in, and what it did comes out ([`Effect`]). The effects of the newest messages are kept on a
//! [`Tape`], where the look-up of triggers finds them. Other symbols have no book, and cost nothing.

mod levels;
mod orders;
mod tape;

use tickscope_model::{BookChange, Decimal, MarketEvent, MarketKind, Side};

use self::levels::Levels;
use self::orders::{Orders, Resting};
pub use self::tape::{Entry, Exposure, Moved, RATE_CLASSES, Tape};
use crate::prefetch::prefetch;

/// Orders in all books together: some 100 MB. What is added beyond makes its book a partial one.
const MOST_ORDERS: usize = 1 << 21;

/// A price in units of 1e-8; 0 where there is none.
pub type Price = i64;

/// Digits behind the point of a [`Price`].
const SCALE: u8 = 8;

/// A decimal as a price of a book; `None` where it does not fit.
#[inline]
pub fn price_of(decimal: Decimal) -> Option<Price> {
    match decimal.scale {
        4 => decimal.mantissa.checked_mul(10_000),
        _ => i64::try_from(decimal.at_scale(SCALE)?).ok(),
    }
}

/// A price of a book for people.
pub fn decimal_of(price: Price) -> Decimal {
    Decimal::new(price, SCALE).trimmed()
}

/// The best prices and what is shown there; 0 where a side is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Best {
    pub bid: Price,
    pub ask: Price,
    pub bid_quantity: u32,
    pub ask_quantity: u32,
}

impl Best {
    /// The best price that an order of this side would stand beside.
    pub fn own(&self, is_buy: bool) -> Price {
        if is_buy { self.bid } else { self.ask }
    }

    /// The best price that an order of this side would trade against.
    pub fn opposite(&self, is_buy: bool) -> Price {
        self.own(!is_buy)
    }
}

/// What a message did to the best prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Touch {
    /// Nothing.
    #[default]
    Same,
    /// More or less is shown there.
    Quantity,
    /// One of them is another.
    Price,
}

/// What one message did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Side of the resting order or level: buy is true. `None` where it is not known, or both.
    pub side: Option<bool>,
    /// Price of the order, level or trade.
    pub price: Price,
    pub quantity: u32,
    pub touch: Touch,
    pub after: Best,
    /// The smallest difference between two prices that was seen so far.
    pub unit: Price,
    /// The book began in mid-stream, or messages are missing since.
    pub is_partial: bool,
}

/// The books of one run.
#[derive(Default)]
pub struct Books {
    /// Those of each symbol, with the feed of each, mostly one: a message finds its book without a hash.
    by_symbol: Vec<Vec<(usize, Book)>>,
    orders: usize,
    /// Feeds whose books were thrown away: should they go on, their books are not whole.
    ended: Vec<usize>,
}

/// The book of one symbol on one feed.
#[derive(Default)]
struct Book {
    orders: Orders,
    bids: Levels,
    asks: Levels,
    best: Best,
    /// What it was before it last became another: a feed may show what is left first, and then the trade.
    previous: Best,
    unit: Price,
    is_partial: bool,
    /// [`Health::gaps`] of its feed when a message came last.
    gaps: u64,
}

/// What is known of a feed's completeness.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    /// It was captured from its first message on.
    pub is_whole: bool,
    /// Gaps so far.
    pub gaps: u64,
}

impl Books {
    /// A message of a feed about a symbol that has, or will have, a book.
    pub fn apply(&mut self, feed: usize, health: Health, event: &MarketEvent) -> Effect {
        let symbol = event.symbol.0 as usize;
        if self.by_symbol.len() <= symbol {
            self.by_symbol.resize_with((symbol + 1).next_power_of_two(), Vec::new);
        }
        let books = &mut self.by_symbol[symbol];
        let known = books.iter().position(|(of, _)| *of == feed);
        let at = known.unwrap_or_else(|| {
            let is_partial = !health.is_whole || health.gaps > 0 || self.ended.contains(&feed);
            books.push((feed, Book { is_partial, gaps: health.gaps, ..Book::default() }));
            books.len() - 1
        });
        let book = &mut books[at].1;
        if book.gaps != health.gaps {
            book.gaps = health.gaps;
            book.is_partial = true;
        }
        let orders = book.orders.len();
        let has_room = self.orders < MOST_ORDERS;
        let effect = book.apply(event, has_room);
        self.orders = self.orders + book.orders.len() - orders;
        effect
    }

    /// Has the book of a message brought into the cache, if it has one; where several feeds have one, that of the first.
    #[inline]
    pub fn prefetch_book(&self, event: &MarketEvent) {
        if let Some(book) = self.by_symbol.get(event.symbol.0 as usize).and_then(|books| books.first()) {
            prefetch(book, size_of_val(book));
        }
    }

    /// Its order there; the book is in the cache.
    #[inline]
    pub fn prefetch_order(&self, feed: usize, event: &MarketEvent) {
        if let (Some(book), Some(order)) = (self.book(feed, event), order_of(&event.book)) {
            book.orders.prefetch(order);
        }
    }

    /// The level of that order, or of the message.
    #[inline]
    pub fn touch_level(&self, feed: usize, event: &MarketEvent) -> Option<u64> {
        let book = self.book(feed, event)?;
        let resting = || book.orders.get(order_of(&event.book)?).map(|resting| (resting.is_buy, resting.price));
        let (is_buy, price) = match event.book {
            BookChange::Add { side, price, .. } => (side == Side::Buy, price_of(price)?),
            _ => resting()?,
        };
        let levels = if is_buy { &book.bids } else { &book.asks };
        levels.shown(price)
    }

    #[inline]
    fn book(&self, feed: usize, event: &MarketEvent) -> Option<&Book> {
        let books = self.by_symbol.get(event.symbol.0 as usize)?;
        books.iter().find(|(of, _)| *of == feed).map(|(_, book)| book)
    }

    /// A feed has ended: what still stands in its books stands there no more. Once for each feed.
    pub fn forget(&mut self, feed: usize) {
        if !self.ended.contains(&feed) {
            self.by_symbol.iter_mut().for_each(|books| books.retain(|(of, _)| *of != feed));
            let all = self.by_symbol.iter().flatten();
            self.orders = all.map(|(_, book)| book.orders.len()).sum();
            self.ended.push(feed);
        }
    }
}

/// The order that a message is about.
fn order_of(change: &BookChange) -> Option<u64> {
    match *change {
        BookChange::Add { order, .. }
        | BookChange::Execute { order, .. }
        | BookChange::Reduce { order, .. }
        | BookChange::Delete { order }
        | BookChange::Replace { order, .. } => Some(order),
        BookChange::None | BookChange::Level { .. } | BookChange::Quote { .. } => None,
    }
}

impl Book {
    fn apply(&mut self, event: &MarketEvent, has_room: bool) -> Effect {
        let before = self.best;
        let (side, price, quantity) = self.change(event, has_room);
        self.best = self.find_best();
        if before != self.best {
            self.previous = before;
        }
        let touch = match (before, self.best) {
            (before, after) if before == after => Touch::Same,
            (before, after) if (before.bid, before.ask) == (after.bid, after.ask) => Touch::Quantity,
            _ => Touch::Price,
        };
        let side = side.or_else(|| self.quoted_side(before, &event.book));
        let price = if let (BookChange::Quote { .. }, Some(is_buy)) = (&event.book, side) {
            self.best.own(is_buy)
        } else {
            price
        };
        let (after, unit, is_partial) = (self.best, self.unit, self.is_partial);
        Effect { side, price, quantity, touch, after, unit, is_partial }
    }

    /// Side, price and quantity of what the message is about.
    fn change(&mut self, event: &MarketEvent, has_room: bool) -> (Option<bool>, Price, u32) {
        match event.book {
            BookChange::None => {
                let price = event.price.and_then(price_of).unwrap_or(0);
                let quantity = u32::try_from(event.quantity).unwrap_or(u32::MAX);
                (self.maker(event.kind, price), price, quantity)
            }
            BookChange::Add { order, side, price, quantity } => {
                let Some(price) = price_of(price) else { return (None, 0, quantity) };
                self.add(order, side == Side::Buy, price, quantity, has_room);
                (Some(side == Side::Buy), price, quantity)
            }
            BookChange::Execute { order, quantity, price } => {
                let (side, own) = self.take(order, quantity);
                (side, price.and_then(price_of).unwrap_or(own), quantity)
            }
            BookChange::Reduce { order, quantity } => {
                let (side, price) = self.take(order, quantity);
                (side, price, quantity)
            }
            BookChange::Delete { order } => {
                let quantity = self.orders.get(order).map_or(0, |resting| resting.quantity);
                let (side, price) = self.take(order, u32::MAX);
                (side, price, quantity)
            }
            BookChange::Replace { order, new, price, quantity } => {
                let (side, _) = self.take(order, u32::MAX);
                let price = price_of(price).unwrap_or(0);
                if let Some(is_buy) = side {
                    self.add(new, is_buy, price, quantity, has_room);
                }
                (side, price, quantity)
            }
            BookChange::Level { side, price, quantity } => {
                let Some(price) = price_of(price) else { return (None, 0, quantity) };
                let is_buy = side == Side::Buy;
                if quantity > 0 {
                    self.measure(is_buy, price);
                    self.uncross(is_buy, price);
                }
                self.levels(is_buy).set(price, quantity.into());
                (Some(is_buy), price, quantity)
            }
            BookChange::Quote { bid, ask } => {
                for (is_buy, (price, quantity)) in [(true, bid), (false, ask)] {
                    let Some(price) = price_of(price) else { continue };
                    let best = self.best.own(is_buy);
                    if quantity > 0 {
                        self.measure(is_buy, price);
                    }
                    let levels = self.levels(is_buy);
                    levels.set(best, 0);
                    levels.set(price, quantity.into());
                }
                (None, 0, 0)
            }
        }
    }

    /// The side of a trade that does not say it: that of the best price at which it happened, now or just before.
    fn maker(&self, kind: MarketKind, price: Price) -> Option<bool> {
        let side = |best: Best| match best {
            Best { bid, ask, .. } if bid >= ask => None,
            Best { bid, .. } if price <= bid => Some(true),
            Best { ask, .. } if price >= ask => Some(false),
            _ => None,
        };
        if kind != MarketKind::Trade || price == 0 {
            return None;
        }
        side(self.best).or_else(|| side(self.previous))
    }

    /// The side that changed, where a quote changed one of them.
    fn quoted_side(&self, before: Best, change: &BookChange) -> Option<bool> {
        let BookChange::Quote { .. } = change else { return None };
        let bid = (before.bid, before.bid_quantity) != (self.best.bid, self.best.bid_quantity);
        let ask = (before.ask, before.ask_quantity) != (self.best.ask, self.best.ask_quantity);
        (bid != ask).then_some(bid)
    }

    fn add(&mut self, order: u64, is_buy: bool, price: Price, quantity: u32, has_room: bool) {
        if !has_room {
            self.is_partial = true;
            return;
        }
        self.measure(is_buy, price);
        self.uncross(is_buy, price);
        self.levels(is_buy).add(price, quantity.into());
        if let Some(old) = self.orders.insert(order, Resting { is_buy, price, quantity }) {
            // The reference was in use: its end is among what is missing.
            self.levels(old.is_buy).take(old.price, old.quantity.into());
            self.is_partial = true;
        }
    }

    /// Takes so much, or all, of an order away; its side and price, as far as the order is known.
    fn take(&mut self, order: u64, quantity: u32) -> (Option<bool>, Price) {
        let Some(resting) = self.orders.get_mut(order) else {
            self.is_partial = true;
            return (None, 0);
        };
        let taken = quantity.min(resting.quantity);
        resting.quantity -= taken;
        let Resting { is_buy, price, quantity: left } = *resting;
        if left == 0 {
            self.orders.remove(order);
        }
        self.levels(is_buy).take(price, taken.into());
        (Some(is_buy), price)
    }

    fn levels(&mut self, is_buy: bool) -> &mut Levels {
        if is_buy { &mut self.bids } else { &mut self.asks }
    }

    /// The smallest step of prices, from the distance to the best one.
    fn measure(&mut self, is_buy: bool, price: Price) {
        let best = self.best.own(is_buy);
        let step = (price - best).abs();
        if best != 0 && step != 0 && (self.unit == 0 || step < self.unit) {
            self.unit = step;
        }
    }

    /// A book that misses messages keeps orders that are long gone; what is newer is right.
    fn uncross(&mut self, is_buy: bool, price: Price) {
        if self.is_partial {
            self.levels(!is_buy).drop_through(!is_buy, price);
        }
    }

    fn find_best(&self) -> Best {
        let (bid, ask) = (self.bids.highest(), self.asks.lowest());
        let shown = |quantity: u64| u32::try_from(quantity).unwrap_or(u32::MAX);
        Best {
            bid: bid.map_or(0, |(price, _)| price),
            bid_quantity: bid.map_or(0, |(_, quantity)| shown(quantity)),
            ask: ask.map_or(0, |(price, _)| price),
            ask_quantity: ask.map_or(0, |(_, quantity)| shown(quantity)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tickscope_model::SymbolId;

    use super::*;

    fn event(book: BookChange) -> MarketEvent {
        MarketEvent {
            symbol: SymbolId(1),
            kind: MarketKind::Book,
            code: b'A',
            side: None,
            price: None,
            quantity: 0,
            sequence: 1,
            reference: 0,
            exchange_ns: 0,
            book,
        }
    }

    fn cents(price: i64) -> Decimal {
        Decimal::new(price, 2)
    }

    const WHOLE: Health = Health { is_whole: true, gaps: 0 };

    /// A change, the best prices behind it, and what happened to them.
    type Step = (BookChange, (i64, u32, i64, u32), Touch);

    /// Applies changes to a book and gives bid, its quantity, ask, its quantity (in cents) and what happened to them.
    fn check(health: Health, changes: &[Step]) -> Vec<Effect> {
        let mut books = Books::default();
        let mut effects = Vec::new();
        for (at, &(change, expected, touch)) in changes.iter().enumerate() {
            let effect = books.apply(0, health, &event(change));
            let best = effect.after;
            let cents = |price: Price| price / 1_000_000;
            let found = (cents(best.bid), best.bid_quantity, cents(best.ask), best.ask_quantity);
            assert_eq!((found, effect.touch), (expected, touch), "change {at}");
            effects.push(effect);
        }
        effects
    }

    #[test]
    fn orders_make_levels() {
        use BookChange::{Add, Delete, Execute, Reduce, Replace};
        let add = |order, side, price, quantity| Add { order, side, price: cents(price), quantity };
        let effects = check(
            WHOLE,
            &[
                (add(1, Side::Buy, 1000, 100), (1000, 100, 0, 0), Touch::Price),
                (add(2, Side::Sell, 1002, 50), (1000, 100, 1002, 50), Touch::Price),
                (add(3, Side::Buy, 999, 70), (1000, 100, 1002, 50), Touch::Same),
                (add(4, Side::Buy, 1000, 30), (1000, 130, 1002, 50), Touch::Quantity),
                (Execute { order: 1, quantity: 100, price: None }, (1000, 30, 1002, 50), Touch::Quantity),
                (Reduce { order: 4, quantity: 10 }, (1000, 20, 1002, 50), Touch::Quantity),
                (Delete { order: 4 }, (999, 70, 1002, 50), Touch::Price),
                (Replace { order: 2, new: 5, price: cents(1001), quantity: 40 }, (999, 70, 1001, 40), Touch::Price),
            ],
        );
        let facts = |at: usize| (effects[at].side, effects[at].price / 1_000_000, effects[at].quantity);
        assert_eq!(
            (facts(4), facts(6), facts(7)),
            ((Some(true), 1000, 100), (Some(true), 1000, 20), (Some(false), 1001, 40))
        );
        assert!(effects.iter().all(|effect| !effect.is_partial));
        assert_eq!(effects[7].unit, 1_000_000);
    }

    #[test]
    fn levels_and_quotes_say_what_is_left() {
        use BookChange::{Level, Quote};
        let level = |side, price, quantity| Level { side, price: cents(price), quantity };
        check(
            WHOLE,
            &[
                (level(Side::Sell, 1002, 50), (0, 0, 1002, 50), Touch::Price),
                (level(Side::Sell, 1001, 10), (0, 0, 1001, 10), Touch::Price),
                (level(Side::Sell, 1001, 0), (0, 0, 1002, 50), Touch::Price),
                (level(Side::Sell, 1005, 0), (0, 0, 1002, 50), Touch::Same),
            ],
        );
        let quote = |bid, ask| Quote { bid: (cents(bid), 5), ask: (cents(ask), 6) };
        let effects = check(
            WHOLE,
            &[
                (quote(1000, 1001), (1000, 5, 1001, 6), Touch::Price),
                (quote(1000, 1003), (1000, 5, 1003, 6), Touch::Price),
            ],
        );
        assert_eq!((effects[1].side, effects[1].price), (Some(false), 1_003_000_000));
    }

    #[test]
    fn a_book_that_began_in_mid_stream_says_so_and_does_not_stay_crossed() {
        use BookChange::{Add, Delete};
        let add = |order, side, price| Add { order, side, price: cents(price), quantity: 10 };
        let effects = check(
            Health::default(),
            &[
                (add(1, Side::Sell, 1000), (0, 0, 1000, 10), Touch::Price),
                (Delete { order: 77 }, (0, 0, 1000, 10), Touch::Same),
                (add(2, Side::Buy, 1003), (1003, 10, 0, 0), Touch::Price),
            ],
        );
        assert!(effects.iter().all(|effect| effect.is_partial));
    }

    #[test]
    fn a_gap_makes_a_book_partial() {
        let mut books = Books::default();
        let add = event(BookChange::Add { order: 1, side: Side::Buy, price: cents(1), quantity: 1 });
        assert!(!books.apply(0, WHOLE, &add).is_partial);
        assert!(books.apply(0, Health { gaps: 1, ..WHOLE }, &add).is_partial);
        books.apply(1, WHOLE, &add);
        books.forget(0);
        let count: usize = books.by_symbol.iter().map(Vec::len).sum();
        assert_eq!((books.orders, count), (1, 1), "that of the other feed");
        assert!(books.apply(0, WHOLE, &add).is_partial, "what stood there before is not known any more");
    }

    #[test]
    fn a_trade_that_does_not_say_its_side_has_that_of_its_price() {
        let mut books = Books::default();
        let quote = BookChange::Quote { bid: (cents(1000), 5), ask: (cents(1002), 6) };
        books.apply(0, WHOLE, &event(quote));
        let trade =
            |price| MarketEvent { kind: MarketKind::Trade, price: Some(cents(price)), ..event(BookChange::None) };
        let mut side = |price| books.apply(0, WHOLE, &trade(price)).side;
        assert_eq!((side(1000), side(1001), side(1002)), (Some(true), None, Some(false)));
        // The quote came first, and the trade that took what was offered behind it.
        let dearer = BookChange::Quote { bid: (cents(1000), 5), ask: (cents(1004), 6) };
        books.apply(0, WHOLE, &event(dearer));
        let mut side = |price| books.apply(0, WHOLE, &trade(price)).side;
        assert_eq!((side(1002), side(1001)), (Some(false), None));
    }
}
