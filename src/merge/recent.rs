//! The newest market-data messages of all symbols together, in the order of arrival, for the question "what else had just
//! come before this order?" ([`crate::pair::attribution::suggest`]). [`super::Ticks`] chains the messages of one symbol; walking
//! its chains for each of hundreds of symbols would cost a cache miss a step, and this costs one write for each message.

use tickscope_model::{SymbolId, Timestamp};

use crate::book::Price;

/// Messages that are remembered: a few milliseconds of the busiest feed, by when a look-up is made, and some before them.
const RING: usize = 1 << 14;
/// Prices that are kept of a symbol's trades.
const PRICES: usize = 64;
/// Symbols whose trades are remembered.
const MOST_SYMBOLS: usize = 1 << 14;

/// A message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    pub time: Timestamp,
    /// Of a trade, where the message says it; else 0.
    pub price: Price,
    pub symbol: SymbolId,
    pub point: u16,
    pub is_trade: bool,
}

/// See the head of this file.
#[derive(Default)]
pub struct Recent {
    ring: Vec<Passed>,
    /// Where the next one goes.
    next: usize,
    prices: Vec<Prices>,
}

/// Prices of a symbol's trades, taken evenly from all of them.
#[derive(Clone, Default)]
struct Prices {
    seen: u32,
    /// One in two to the power of this is taken.
    halvings: u32,
    kept: Vec<Price>,
}

impl Recent {
    #[inline]
    pub fn push(&mut self, passed: Passed) {
        match self.ring.get_mut(self.next) {
            Some(slot) => *slot = passed,
            None => self.ring.push(passed),
        }
        self.next = (self.next + 1) % RING;
        if passed.is_trade && passed.price != 0 {
            self.traded(passed.symbol, passed.price);
        }
    }

    /// Forgets all messages; prices stay.
    pub fn forget(&mut self) {
        self.ring.clear();
        self.next = 0;
    }

    fn traded(&mut self, symbol: SymbolId, price: Price) {
        let at = symbol.0 as usize;
        if at >= MOST_SYMBOLS {
            return;
        }
        if self.prices.len() <= at {
            self.prices.resize((at + 1).next_power_of_two(), Prices::default());
        }
        let prices = &mut self.prices[at];
        if prices.seen.trailing_zeros() >= prices.halvings {
            if prices.kept.len() == PRICES {
                let mut at = 0;
                prices.kept.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                prices.halvings += 1;
            }
            prices.kept.push(price);
        }
        prices.seen = prices.seen.wrapping_add(1);
    }

    /// The messages of a point that are not later than `time`, newest first. Where a capture stepped back in time, some stand
    /// a little out of order.
    pub fn newest_first(&self, point: u16, time: Timestamp) -> impl Iterator<Item = &Passed> {
        let (newer, older) = self.ring.split_at(self.next.min(self.ring.len()));
        let all = newer.iter().rev().chain(older.iter().rev());
        all.filter(move |passed| passed.point == point && passed.time <= time)
    }

    /// Prices of a symbol's trades: all of them, or some hundred evenly taken ones.
    pub fn prices(&self, symbol: SymbolId) -> &[Price] {
        self.prices.get(symbol.0 as usize).map_or(&[], |prices| &prices.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_newest_first_and_prices_are_taken_evenly() {
        let mut recent = Recent::default();
        let total = 2 * RING as u64 + 5;
        for time in 1..=total {
            let price = Price::try_from(time).unwrap();
            let point = u16::from(time % 2 == 0);
            recent.push(Passed { time: Timestamp(time), price, symbol: SymbolId(3), point, is_trade: true });
        }
        let times: Vec<u64> = recent.newest_first(1, Timestamp(total - 2)).map(|passed| passed.time.0).collect();
        assert_eq!((times[0], times[1], times.len()), (total - 3, total - 5, RING / 2 - 1));
        assert_eq!(times.last(), Some(&(total - RING as u64 + 1)));
        let prices = recent.prices(SymbolId(3));
        assert!((PRICES / 2..=PRICES).contains(&prices.len()), "{}", prices.len());
        let step = prices[1] - prices[0];
        assert!(prices.windows(2).all(|pair| pair[1] - pair[0] == step), "{prices:?}");
        assert_eq!(recent.prices(SymbolId(9)), [0; 0]);
    }
}
