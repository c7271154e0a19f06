//! A first look at the order flow of captures that can be read twice: which symbols do its requests name? Only those need
//! books, from the first message on, so this must be known before the captures are read for good.

use std::collections::BTreeSet;
use std::ops::Range;

use tickscope_decoders::{Described, Fresh, Sequenced};
use tickscope_model::{Loss, MarketEvent, OrderEvent, SymbolId};

use super::{Configured, Pipeline};
use crate::capture::{Captured, Merged};
use crate::flow::{Arrival, Datagram, Direction, Lane, Seen};

/// Names that are remembered; more than any venue lists.
const MOST_NAMES: usize = 1 << 16;

/// The names of symbols and instruments in the requests of these captures, read to their end.
pub fn symbols(mut captures: Merged, configured: Configured, points: Vec<u16>) -> BTreeSet<Box<[u8]>> {
    let mut pipeline = Pipeline::new(configured, None, points);
    pipeline.skip_datagrams();
    let mut names = Names::default();
    while let Some(captured) = captures.next() {
        pipeline.frame(&captured, &mut names);
    }
    pipeline.finish(&captures, &mut names);
    names.0
}

/// A lane that keeps nothing but names.
#[derive(Default)]
struct Names(BTreeSet<Box<[u8]>>);

impl Lane for Names {
    fn frame(&mut self, _captured: &Captured<'_>) {}

    fn wants_fields(&self) -> bool {
        false
    }

    fn symbol(&mut self, _name: &[u8]) -> SymbolId {
        SymbolId::default()
    }

    fn sequenced(&mut self, _at: &Datagram<'_>, _unit: &Sequenced<'_>) -> Option<Fresh> {
        None
    }

    fn market(&mut self, _at: &Datagram<'_>, _event: &MarketEvent) {}

    fn market_other(&mut self, _at: &Datagram<'_>) {}

    fn datagram_described(&mut self, _at: &Datagram<'_>, _message: Described) {}

    fn order(&mut self, _direction: &Direction<'_>, _seen: &Seen, event: &OrderEvent<'_>) {
        if !event.kind.is_request() {
            return;
        }
        for name in [event.symbol, event.security_id] {
            if !name.is_empty() && self.0.len() < MOST_NAMES && !self.0.contains(name) {
                self.0.insert(name.into());
            }
        }
    }

    fn order_described(&mut self, _direction: &Direction<'_>, _seen: &Seen, _message: Described) {}

    fn acknowledged(&mut self, _direction: &Direction<'_>, _place: u64, _arrival: Arrival) {}

    fn stream_gap(&mut self, _direction: &Direction<'_>) {}

    fn retransmitted(&mut self, _direction: &Direction<'_>, _places: Range<u64>) {}

    fn loss(&mut self, _loss: Loss, _count: u64) {}

    fn stray(&mut self, _loss: Loss, _count: u64) {}
}
