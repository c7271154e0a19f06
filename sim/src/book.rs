//! A limit order book with price-time priority. Every change to it comes out as a [`Change`], from which the feeds make
//! their messages. Prices are in units of 1/10000, as ITCH and IEX write them.

use std::collections::VecDeque;

/// Whose order it is: 0 is the crowd, anything else a number of the exchange's own list of orders.
pub(crate) type Owner = u32;

/// The crowd: everybody whose orders are not in our capture.
pub(crate) const CROWD: Owner = 0;

/// One cent.
pub(crate) const TICK: u32 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Buy,
    Sell,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }
}

/// Best prices and what is shown there; 0 where a side is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Best {
    pub bid: u32,
    pub bid_quantity: u32,
    pub ask: u32,
    pub ask_quantity: u32,
}

impl Best {
    /// The price an order of this side would trade against.
    pub(crate) fn opposite(&self, side: Side) -> u32 {
        match side {
            Side::Buy => self.ask,
            Side::Sell => self.bid,
        }
    }

    /// The best price of this side.
    pub(crate) fn own(&self, side: Side) -> u32 {
        self.opposite(side.other())
    }

    /// Twice the middle of the spread, so that it stays an integer; `None` where a side is empty.
    pub(crate) fn double_mid(&self) -> Option<u32> {
        (self.bid > 0 && self.ask > 0).then(|| self.bid + self.ask)
    }
}

/// What happened to an order that rests in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Add,
    /// `quantity` was traded; the number of the match.
    Execute {
        matched: u64,
    },
    /// `quantity` was taken away, the rest stays.
    Reduce,
    Delete,
    /// It became the order `new_id`, with the price and quantity of this change; it was at `old_price`.
    Replace {
        new_id: u64,
        old_price: u32,
    },
    /// A trade against an order that is not displayed.
    Hidden {
        matched: u64,
    },
}

/// One change of a book, with what it left behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub symbol: u16,
    pub action: Action,
    pub id: u64,
    pub side: Side,
    pub price: u32,
    pub quantity: u32,
    /// What is left at `price`, and at the old price of a replaced order.
    pub level: u32,
    pub old_level: u32,
    pub before: Best,
    pub after: Best,
}

impl Change {
    /// Whether it adds, replaces or takes away the order of this number.
    pub(crate) fn is_of(&self, id: u64) -> bool {
        match self.action {
            Action::Add | Action::Delete => self.id == id,
            Action::Replace { new_id, .. } => new_id == id,
            Action::Execute { .. } | Action::Reduce | Action::Hidden { .. } => false,
        }
    }

    pub(crate) fn is_trade(&self) -> bool {
        matches!(self.action, Action::Execute { .. } | Action::Hidden { .. })
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Resting {
    pub id: u64,
    pub quantity: u32,
    pub owner: Owner,
}

#[derive(Clone, Debug)]
struct Level {
    price: u32,
    total: u64,
    orders: VecDeque<Resting>,
}

/// A part of an order that traded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    /// Whose order was resting.
    pub owner: Owner,
    pub price: u32,
    pub quantity: u32,
}

/// A level's quantity as feeds can show it.
fn shown(total: u64) -> u32 {
    u32::try_from(total).unwrap_or(u32::MAX)
}

/// The book of one symbol.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    symbol: u16,
    /// Best price last, so that the ends that change most are the cheap ones.
    bids: Vec<Level>,
    asks: Vec<Level>,
    spare: Vec<VecDeque<Resting>>,
    count: usize,
}

impl Book {
    pub(crate) fn new(symbol: u16) -> Book {
        Book { symbol, bids: Vec::new(), asks: Vec::new(), spare: Vec::new(), count: 0 }
    }

    pub(crate) fn best(&self) -> Best {
        let (bid, ask) = (self.bids.last(), self.asks.last());
        Best {
            bid: bid.map_or(0, |level| level.price),
            bid_quantity: bid.map_or(0, |level| shown(level.total)),
            ask: ask.map_or(0, |level| level.price),
            ask_quantity: ask.map_or(0, |level| shown(level.total)),
        }
    }

    fn side(&mut self, side: Side) -> &mut Vec<Level> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// How many orders rest on both sides.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How many price levels a side has.
    pub(crate) fn depth(&self, side: Side) -> usize {
        match side {
            Side::Buy => self.bids.len(),
            Side::Sell => self.asks.len(),
        }
    }

    /// The price and one resting order, `level` levels behind the best and `place` orders behind its first.
    pub(crate) fn peek(&self, side: Side, level: usize, place: usize) -> Option<(u32, Resting)> {
        let levels = match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        };
        let level = levels.get(levels.len().checked_sub(level + 1)?)?;
        let order = level.orders.get(place % level.orders.len())?;
        Some((level.price, *order))
    }

    /// Where the level of this price is, or would have to be.
    fn find(&mut self, side: Side, price: u32) -> Result<usize, usize> {
        // Most changes are near the best price: look from there.
        let levels = self.side(side);
        for (at, level) in levels.iter().enumerate().rev() {
            if level.price == price {
                return Ok(at);
            }
            let behind = if side == Side::Buy { level.price < price } else { level.price > price };
            if behind {
                return Err(at + 1);
            }
        }
        Err(0)
    }

    fn insert(&mut self, side: Side, price: u32, order: Resting) -> u32 {
        let at = match self.find(side, price) {
            Ok(at) => at,
            Err(at) => {
                let orders = self.spare.pop().unwrap_or_default();
                self.side(side).insert(at, Level { price, total: 0, orders });
                at
            }
        };
        let level = &mut self.side(side)[at];
        level.total += u64::from(order.quantity);
        level.orders.push_back(order);
        let total = shown(level.total);
        self.count += 1;
        total
    }

    /// Takes `quantity` from an order (all of it removes it); gives back what is left of the order and of its level.
    fn take(&mut self, side: Side, price: u32, id: u64, quantity: u32) -> Option<(Resting, u32)> {
        let at = self.find(side, price).ok()?;
        let level = &mut self.side(side)[at];
        let place = level.orders.iter().position(|order| order.id == id)?;
        let order = &mut level.orders[place];
        let quantity = quantity.min(order.quantity);
        order.quantity -= quantity;
        let left = *order;
        level.total -= u64::from(quantity);
        if left.quantity == 0 {
            level.orders.remove(place);
        }
        let total = shown(level.total);
        let is_empty = level.orders.is_empty();
        self.count -= usize::from(left.quantity == 0);
        if is_empty {
            let level = self.side(side).remove(at);
            self.spare.push(level.orders);
        }
        Some((left, total))
    }

    fn change(&self, action: Action, id: u64, side: Side, price: u32, quantity: u32, before: Best) -> Change {
        let after = self.best();
        Change { symbol: self.symbol, action, id, side, price, quantity, level: 0, old_level: 0, before, after }
    }

    /// A new order that does not cross.
    pub(crate) fn add(&mut self, side: Side, price: u32, order: Resting) -> Change {
        let before = self.best();
        let level = self.insert(side, price, order);
        Change { level, ..self.change(Action::Add, order.id, side, price, order.quantity, before) }
    }

    /// Takes away a part, or all, of an order.
    pub(crate) fn reduce(&mut self, side: Side, price: u32, id: u64, quantity: u32) -> Option<Change> {
        let before = self.best();
        let (left, level) = self.take(side, price, id, quantity)?;
        let action = if left.quantity == 0 { Action::Delete } else { Action::Reduce };
        Some(Change { level, ..self.change(action, id, side, price, quantity, before) })
    }

    /// Moves an order to another price or size; it loses its place. The new price must not cross.
    pub(crate) fn replace(
        &mut self,
        side: Side,
        old_price: u32,
        id: u64,
        price: u32,
        order: Resting,
    ) -> Option<Change> {
        let before = self.best();
        let (_, old_level) = self.take(side, old_price, id, u32::MAX)?;
        let level = self.insert(side, price, order);
        let old_level = if old_price == price { level } else { old_level };
        let action = Action::Replace { new_id: order.id, old_price };
        Some(Change { level, old_level, ..self.change(action, id, side, price, order.quantity, before) })
    }

    /// Trades against one resting order at the best price, if `limit` allows; `None` where nothing is left to trade with.
    pub(crate) fn hit(&mut self, taker: Side, limit: u32, quantity: u32, matched: u64) -> Option<(Change, Fill)> {
        let maker = taker.other();
        let (price, resting) = self.peek(maker, 0, 0)?;
        let allowed = if taker == Side::Buy { price <= limit } else { price >= limit };
        if !allowed || quantity == 0 {
            return None;
        }
        let before = self.best();
        let traded = quantity.min(resting.quantity);
        let (_, level) = self.take(maker, price, resting.id, traded)?;
        let change = self.change(Action::Execute { matched }, resting.id, maker, price, traded, before);
        let fill = Fill { owner: resting.owner, price, quantity: traded };
        Some((Change { level, ..change }, fill))
    }

    /// A trade with an order that nobody saw; the book stays as it is.
    pub(crate) fn hidden(&self, side: Side, price: u32, quantity: u32, id: u64, matched: u64) -> Change {
        self.change(Action::Hidden { matched }, id, side, price, quantity, self.best())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resting(id: u64, quantity: u32) -> Resting {
        Resting { id, quantity, owner: CROWD }
    }

    #[test]
    fn price_then_time() {
        let mut book = Book::new(3);
        book.add(Side::Sell, 10_200, resting(1, 100));
        book.add(Side::Sell, 10_100, resting(2, 100));
        book.add(Side::Sell, 10_100, resting(3, 50));
        let change = book.add(Side::Buy, 10_000, resting(4, 70));
        assert_eq!(change.after, Best { bid: 10_000, bid_quantity: 70, ask: 10_100, ask_quantity: 150 });
        let fills: Vec<_> = std::iter::from_fn(|| book.hit(Side::Buy, 10_100, 120, 9)).collect();
        assert_eq!(
            fills.iter().map(|(change, fill)| (change.id, fill.quantity)).collect::<Vec<_>>(),
            [(2, 100), (3, 50)]
        );
        assert_eq!(book.best().ask, 10_200);
        assert!(book.hit(Side::Sell, 10_001, 1, 9).is_none());
    }

    #[test]
    fn changes_say_what_is_left_of_the_level() {
        let mut book = Book::new(0);
        book.add(Side::Buy, 500, resting(1, 10));
        assert_eq!(book.add(Side::Buy, 500, resting(2, 5)).level, 15);
        let change = book.reduce(Side::Buy, 500, 1, 4).unwrap();
        assert_eq!((change.action, change.level), (Action::Reduce, 11));
        let change = book.replace(Side::Buy, 500, 1, 400, resting(3, 8)).unwrap();
        assert_eq!((change.level, change.old_level), (8, 5));
        let change = book.reduce(Side::Buy, 400, 3, 8).unwrap();
        assert_eq!((change.action, change.level, book.depth(Side::Buy)), (Action::Delete, 0, 1));
        assert!(book.reduce(Side::Buy, 400, 3, 8).is_none());
    }
}
