//! The price levels of one side.

use std::collections::BTreeMap;

use super::Price;

/// What is shown at each price; no level is empty.
#[derive(Default)]
pub(super) struct Levels {
    levels: BTreeMap<Price, u64>,
    /// The lowest and the highest, which are asked for after every message.
    ends: Option<[(Price, u64); 2]>,
}

/// Levels of one side beyond these are not kept: no market has them, damaged prices do.
const MOST_LEVELS: usize = 1 << 16;

impl Levels {
    pub(super) fn add(&mut self, price: Price, quantity: u64) {
        if quantity > 0 && (self.levels.len() < MOST_LEVELS || self.levels.contains_key(&price)) {
            let shown = self.levels.entry(price).or_default();
            *shown += quantity;
            let level = (price, *shown);
            let [lowest, highest] = self.ends.get_or_insert([level; 2]);
            if price <= lowest.0 {
                *lowest = level;
            }
            if price >= highest.0 {
                *highest = level;
            }
        }
    }

    pub(super) fn take(&mut self, price: Price, quantity: u64) {
        if let Some(shown) = self.levels.get_mut(&price) {
            *shown = shown.saturating_sub(quantity);
            if *shown == 0 {
                self.levels.remove(&price);
            }
            self.changed(price);
        }
    }

    pub(super) fn set(&mut self, price: Price, quantity: u64) {
        self.levels.remove(&price);
        self.changed(price);
        self.add(price, quantity);
    }

    /// Drops what an order of the other side at this price would have traded with.
    pub(super) fn drop_through(&mut self, is_buy: bool, price: Price) {
        let Some([lowest, highest]) = self.ends else { return };
        if is_buy && price <= highest.0 {
            drop(self.levels.split_off(&price));
        } else if !is_buy && lowest.0 <= price {
            self.levels = self.levels.split_off(&(price + 1));
        } else {
            return;
        }
        self.find_ends();
    }

    pub(super) fn shown(&self, price: Price) -> Option<u64> {
        self.levels.get(&price).copied()
    }

    pub(super) fn highest(&self) -> Option<(Price, u64)> {
        self.ends.map(|[_, highest]| highest)
    }

    pub(super) fn lowest(&self) -> Option<(Price, u64)> {
        self.ends.map(|[lowest, _]| lowest)
    }

    /// The level at this price is another one, or gone.
    fn changed(&mut self, price: Price) {
        if self.ends.is_some_and(|[lowest, highest]| price == lowest.0 || price == highest.0) {
            self.find_ends();
        }
    }

    fn find_ends(&mut self) {
        let level = |(&price, &quantity): (&Price, &u64)| (price, quantity);
        let lowest = self.levels.first_key_value().map(level);
        self.ends = lowest.and_then(|lowest| Some([lowest, self.levels.last_key_value().map(level)?]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_ends_are_those_of_all_levels(
            steps in prop::collection::vec((0..5_u8, 0..12_i64, 0..4_u64), 0..60),
        ) {
            let mut levels = Levels::default();
            for (what, price, quantity) in steps {
                match what {
                    0 | 1 => levels.add(price, quantity),
                    2 => levels.take(price, quantity),
                    3 => levels.set(price, quantity),
                    _ => levels.drop_through(quantity % 2 == 0, price),
                }
                let of = |level: Option<(&Price, &u64)>| level.map(|(price, quantity)| (*price, *quantity));
                prop_assert_eq!(levels.lowest(), of(levels.levels.first_key_value()));
                prop_assert_eq!(levels.highest(), of(levels.levels.last_key_value()));
                prop_assert!(levels.levels.values().all(|quantity| *quantity > 0));
            }
        }
    }
}
