//! The resting orders of a book, by number. A table of our own, with open addressing: an order stands at the place of its hash or
//! just behind, so one look at memory finds it, or where it will stand; and that look can be asked for in advance. The standard
//! library's tables need two, the second of which depends on the first.

use std::hash::BuildHasher;

use super::Price;
use crate::hash::RandomState;
use crate::prefetch::prefetch;

/// A table begins with so many places.
const FEWEST: usize = 32;

/// An order that stands in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resting {
    pub(super) is_buy: bool,
    pub(super) price: Price,
    pub(super) quantity: u32,
}

#[derive(Clone, Copy)]
struct Slot {
    number: u64,
    /// `None`: nobody stands here.
    order: Option<Resting>,
}

const FREE: Slot = Slot { number: 0, order: None };
const _: () = assert!(size_of::<Slot>() == 24);

/// See the head of this file.
#[derive(Default)]
pub(super) struct Orders {
    /// A power of two of them, or none; at most five in eight are taken.
    slots: Vec<Slot>,
    count: usize,
    state: RandomState,
}

impl Orders {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Has the place of an order brought into the cache.
    #[inline]
    pub(super) fn prefetch(&self, number: u64) {
        if let Some(slot) = self.slots.get(self.home(number)) {
            prefetch(slot, size_of::<Slot>());
        }
    }

    #[inline]
    pub(super) fn get(&self, number: u64) -> Option<&Resting> {
        self.slots.get(self.place(number))?.order.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Resting> {
        let at = self.place(number);
        self.slots.get_mut(at)?.order.as_mut()
    }

    /// Returns the order that had this number.
    pub(super) fn insert(&mut self, number: u64, order: Resting) -> Option<Resting> {
        if (self.count + 1) * 8 > self.slots.len() * 5 {
            self.grow();
        }
        let at = self.place(number);
        let old = std::mem::replace(&mut self.slots[at], Slot { number, order: Some(order) });
        self.count += usize::from(old.order.is_none());
        old.order
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Resting> {
        let mut free = self.place(number);
        let removed = self.slots.get_mut(free)?.order.take()?;
        self.count -= 1;
        // Whoever stands behind, and not in front of his own place, moves up.
        let mut at = free;
        loop {
            at = self.behind(at);
            let slot = self.slots[at];
            if slot.order.is_none() {
                break;
            }
            let from_home = at.wrapping_sub(self.home(slot.number)) & self.mask();
            if from_home >= at.wrapping_sub(free) & self.mask() {
                self.slots[free] = slot;
                free = at;
            }
        }
        self.slots[free] = FREE;
        Some(removed)
    }

    /// Where an order stands, or will stand: a free place, or none where there are no places at all.
    #[inline]
    fn place(&self, number: u64) -> usize {
        let mut at = self.home(number);
        while self.slots.get(at).is_some_and(|slot| slot.order.is_some() && slot.number != number) {
            at = self.behind(at);
        }
        at
    }

    #[cold]
    fn grow(&mut self) {
        let more = (self.slots.len() * 2).max(FEWEST);
        let old = std::mem::replace(&mut self.slots, vec![FREE; more]);
        for slot in old.into_iter().filter(|slot| slot.order.is_some()) {
            let at = self.place(slot.number);
            self.slots[at] = slot;
        }
    }

    #[inline]
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    #[inline]
    fn home(&self, number: u64) -> usize {
        usize::try_from(self.state.hash_one(number) & self.mask() as u64).expect("below the number of places")
    }

    #[inline]
    fn behind(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_does_what_the_standard_library_does(
            steps in prop::collection::vec((0..4_u8, 0..200_u64, 1..9_u32), 0..600),
        ) {
            let (mut orders, mut model) = (Orders::default(), HashMap::new());
            for (what, number, quantity) in steps {
                let order = Resting { is_buy: quantity % 2 == 0, price: i64::from(quantity), quantity };
                match what {
                    0 | 1 => prop_assert_eq!(orders.insert(number, order), model.insert(number, order)),
                    2 => prop_assert_eq!(orders.remove(number), model.remove(&number)),
                    _ => {
                        let (own, other) = (orders.get_mut(number), model.get_mut(&number));
                        prop_assert_eq!(&own, &other);
                        own.into_iter().chain(other).for_each(|order| order.quantity += 1);
                    }
                }
                prop_assert_eq!(orders.len(), model.len());
            }
            for number in 0..200 {
                prop_assert_eq!(orders.get(number), model.get(&number));
            }
        }
    }
}
