//! The price levels of one side.

use std::collections::BTreeMap;

use super::Price;

/// What is shown at each price; no level is empty.
#[derive(Default)]
pub(super) struct Levels(BTreeMap<Price, u64>);

/// Levels of one side beyond these are not kept: no market has them, damaged prices do.
const MOST_LEVELS: usize = 1 << 16;

impl Levels {
    pub(super) fn add(&mut self, price: Price, quantity: u64) {
        if quantity > 0 && (self.0.len() < MOST_LEVELS || self.0.contains_key(&price)) {
            *self.0.entry(price).or_default() += quantity;
        }
    }

    pub(super) fn take(&mut self, price: Price, quantity: u64) {
        if let Some(shown) = self.0.get_mut(&price) {
            *shown = shown.saturating_sub(quantity);
            if *shown == 0 {
                self.0.remove(&price);
            }
        }
    }

    pub(super) fn set(&mut self, price: Price, quantity: u64) {
        self.0.remove(&price);
        self.add(price, quantity);
    }

    /// Drops what an order of the other side at this price would have traded with.
    pub(super) fn drop_through(&mut self, is_buy: bool, price: Price) {
        if is_buy {
            drop(self.0.split_off(&price));
        } else {
            self.0 = self.0.split_off(&(price + 1));
        }
    }

    pub(super) fn highest(&self) -> Option<(Price, u64)> {
        self.0.last_key_value().map(|(&price, &quantity)| (price, quantity))
    }

    pub(super) fn lowest(&self) -> Option<(Price, u64)> {
        self.0.first_key_value().map(|(&price, &quantity)| (price, quantity))
    }
}
