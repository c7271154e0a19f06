//! The first of two readings of captures whose taps stand on different clocks: what bounds the difference of the clocks.
//! Nothing here is an estimate of what is typical; every bound is a cause on one clock and its effect on the other:
//!
//! * a request, and the public print of its own fill: the print cannot come before the request;
//! * the market data that made us send that request: no later than the request. Of what came on the symbol in the 5 ms
//!   before the print, the oldest message is taken, so that the true cause is not before it;
//!   each tap that shows the market data bounds its own clock so;
//! * a packet that both taps saw: towards the exchange it cannot pass the tap that is nearer to it first, nor come back
//!   the other way round ([`super::hops`]).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;

use tickscope_decoders::{Described, Fresh, Sequenced};
use tickscope_model::{
    Decimal, Loss, MarketEvent, MarketKind, Nanos, OrderEvent, OrderKind, SymbolId, TapId, Timestamp,
};

use super::hops::Hops;
use crate::capture::Captured;
use crate::flow::{Arrival, Datagram, Direction, FlowKey, Lane, Seen};
use crate::hash::HashMap;
use crate::merge::{Feeds, Symbols};
use crate::stats::{Bound, BoundSide, BoundsOfPairs};

/// Cause and effect are looked for within this time of each other; clocks further apart are not related like this.
const REACH: u64 = 5_000_000;
/// An order that was filled later than this rested: its fill has nothing to do with what made us send it.
const AT_ONCE: u64 = 2_000_000;
/// So many messages are kept of a symbol at a tap; where more come within the reach, nothing can be said.
const KEPT: usize = 64;
/// Requests that wait for their fill, and bounds of a pair of clocks.
const MOST_REQUESTS: usize = 1 << 16;
const MOST_BOUNDS: usize = 1 << 17;

/// A market-data message that may be cause or effect.
#[derive(Clone, Copy)]
struct Event {
    time: Timestamp,
    kind: MarketKind,
    price: Option<Decimal>,
    quantity: u64,
}

/// The first fill of a request.
#[derive(Clone, Copy)]
struct Fill {
    symbol: SymbolId,
    /// Of the request, and of the fill's report.
    sent: Timestamp,
    time: Timestamp,
    tap: TapId,
    price: Option<Decimal>,
    quantity: u64,
}

/// Conversation and ClOrdID.
type RequestId = (u32, Box<[u8]>);

/// What of a tap matters here.
#[derive(Clone, Debug)]
pub struct TapClock {
    /// Number of its clock.
    pub clock: usize,
    /// Length of its tick.
    pub tick_ns: i64,
    /// How near to the exchange it stands, where the user said so: J and E 0, D and K 1.
    pub nearness: Option<u8>,
}

/// The lane of the first reading.
pub struct ClockLane {
    taps: Vec<TapClock>,
    symbols: Symbols,
    feeds: Feeds,
    stale: bool,
    /// Each tap has its own, in the order of its number.
    events: HashMap<SymbolId, BTreeMap<TapId, VecDeque<Event>>>,
    requests: HashMap<RequestId, (Timestamp, TapId)>,
    order: VecDeque<RequestId>,
    fills: VecDeque<Fill>,
    bounds: BoundsOfPairs,
    /// Sources and targets of requests.
    towards: HashSet<FlowKey>,
    /// Fills whose print could not be told from others.
    pub ambiguous: u64,
}

impl ClockLane {
    pub fn new(taps: Vec<TapClock>, symbols: Symbols) -> ClockLane {
        ClockLane {
            taps,
            symbols,
            feeds: Feeds::new(Vec::new()),
            stale: false,
            events: HashMap::default(),
            requests: HashMap::default(),
            order: VecDeque::new(),
            fills: VecDeque::new(),
            bounds: BoundsOfPairs::default(),
            towards: HashSet::new(),
            ambiguous: 0,
        }
    }

    /// Fills whose surroundings have all been seen by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(fill) = self.fills.front().copied().filter(|fill| fill.time.0 + 2 * REACH < now.0) {
            self.fills.pop_front();
            self.settle(&fill);
        }
    }

    /// What the market data of each tap on another clock says. A print must be the only one like it at its own tap: other
    /// taps show it as well.
    fn settle(&mut self, fill: &Fill) {
        let Some(taps) = self.events.get(&fill.symbol) else { return };
        let clock = |tap: TapId| self.taps.get(usize::from(tap.0)).map(|tap| tap.clock);
        let others = taps.iter().filter(|(tap, _)| clock(**tap) != clock(fill.tap));
        let prints: Vec<(TapId, Option<Print>)> = others.map(|(tap, events)| (*tap, print_of(events, fill))).collect();
        if prints.iter().all(|(_, print)| print.is_none()) {
            self.ambiguous += 1;
        }
        for (tap, print) in prints {
            let Some(print) = print else { continue };
            self.bound((tap, print.time), (fill.tap, fill.sent), BoundSide::Least);
            if let Some(oldest) = print.oldest_cause {
                self.bound((tap, oldest), (fill.tap, fill.sent), BoundSide::Most);
            }
        }
    }

    /// The second tap's clock is ahead of the first's by at least, or at most, the difference of these times.
    fn bound(&mut self, first: (TapId, Timestamp), second: (TapId, Timestamp), side: BoundSide) {
        let tap = |tap: TapId| self.taps.get(usize::from(tap.0));
        let (Some(one), Some(other)) = (tap(first.0), tap(second.0)) else { return };
        // Stamps are cut to whole ticks: each may have been almost a tick later.
        let ns = second.1.since(first.1).0;
        let ns = match side {
            BoundSide::Least => ns - (one.tick_ns - 1),
            BoundSide::Most => ns + (other.tick_ns - 1),
        };
        let (pair, bound) = if one.clock < other.clock {
            ((one.clock, other.clock), Bound { time: first.1, side, ns })
        } else {
            ((other.clock, one.clock), Bound { time: second.1, side: side.turned(), ns: -ns })
        };
        if pair.0 == pair.1 {
            return;
        }
        let bounds = self.bounds.entry(pair).or_default();
        if bounds.len() < MOST_BOUNDS {
            bounds.push(bound);
        }
    }

    /// The end: all bounds of pairs of clocks, those of packets that both saw included.
    pub fn finish(mut self, hops: &Hops) -> BoundsOfPairs {
        self.advance(Timestamp::MAX);
        self.crossings(hops);
        self.bounds
    }

    /// Packets that taps of two clocks saw. Which tap is nearer to the exchange the user says, or the packets do: only one
    /// of the two leaves room for the difference of the clocks.
    fn crossings(&mut self, hops: &Hops) {
        let mut pairs: Vec<(TapId, TapId)> = hops.ways().iter().map(|(way, _)| way.taps).collect();
        pairs.sort_unstable();
        pairs.dedup();
        for taps in pairs {
            let (mut towards, mut from) = (Vec::new(), Vec::new());
            for (way, crossing) in hops.ways().iter().filter(|(way, _)| way.taps == taps) {
                match self.heads_for_exchange(&way.key) {
                    Some(true) => towards.extend(crossing.extremes.iter().copied()),
                    Some(false) => from.extend(crossing.extremes.iter().copied()),
                    None => {}
                }
            }
            let nearness = |tap: TapId| self.taps.get(usize::from(tap.0)).and_then(|tap| tap.nearness);
            let second_is_nearer = match (nearness(taps.0), nearness(taps.1)) {
                (Some(first), Some(second)) if first != second => second > first,
                _ => match (is_room(&towards, &from), is_room(&from, &towards)) {
                    (true, false) => true,
                    (false, true) => false,
                    _ => continue,
                },
            };
            let (later, earlier) = if second_is_nearer { (towards, from) } else { (from, towards) };
            for (time, apart) in later {
                self.bound((taps.0, time), (taps.1, time.shifted(apart)), BoundSide::Most);
            }
            for (time, apart) in earlier {
                self.bound((taps.0, time), (taps.1, time.shifted(apart)), BoundSide::Least);
            }
        }
    }

    /// Whether packets of this direction go to the exchange, where that is known.
    fn heads_for_exchange(&self, key: &FlowKey) -> Option<bool> {
        let back = FlowKey { point: 0, source: key.target, target: key.source };
        if self.towards.contains(key) {
            return Some(true);
        }
        (self.towards.contains(&back) || key.target.address.is_multicast()).then_some(false)
    }
}

/// The public print of a fill at one tap.
struct Print {
    time: Timestamp,
    /// The oldest message that may be what made us send the request, where all that may be are known.
    oldest_cause: Option<Timestamp>,
}

/// `None` where there is none, or where several look like it.
fn print_of(events: &VecDeque<Event>, fill: &Fill) -> Option<Print> {
    let is_print = |event: &&Event| {
        event.kind == MarketKind::Trade
            && event.quantity == fill.quantity
            && event.time.0.abs_diff(fill.time.0) <= REACH
            && (event.price.is_none() || fill.price.is_none() || event.price == fill.price)
    };
    let mut prints = events.iter().filter(is_print);
    let (Some(&Event { time, .. }), None) = (prints.next(), prints.next()) else { return None };
    let is_cause = |event: &&Event| event.time < time && time.since(event.time).0.unsigned_abs() <= REACH;
    // What fell out of memory may have been a cause.
    let is_complete = events.len() < KEPT || events.front().is_some_and(|event| event.time.0 + REACH < time.0);
    let oldest_cause = events.iter().filter(is_cause).map(|event| event.time).min().filter(|_| is_complete);
    Some(Print { time, oldest_cause })
}

/// Whether all of these differences lie above all of those: the delays of both ways are then not negative.
fn is_room(above: &[(Timestamp, Nanos)], below: &[(Timestamp, Nanos)]) -> bool {
    let least = above.iter().map(|(_, apart)| *apart).min();
    let most = below.iter().map(|(_, apart)| *apart).max();
    matches!((least, most), (Some(least), Some(most)) if most <= least)
}

/// A whole number of shares or contracts.
fn whole(quantity: Decimal) -> Option<u64> {
    let trimmed = quantity.trimmed();
    u64::try_from(trimmed.mantissa).ok().filter(|_| trimmed.scale == 0)
}

impl Lane for ClockLane {
    fn frame(&mut self, _captured: &Captured<'_>) {}

    fn wants_fields(&self) -> bool {
        false
    }

    fn symbol(&mut self, name: &[u8]) -> SymbolId {
        self.symbols.number(name)
    }

    fn sequenced(&mut self, at: &Datagram<'_>, unit: &Sequenced<'_>) -> Option<Fresh> {
        // Each tap is a point here: what one has from a line the other may have from another.
        let key = FlowKey { point: at.tap.0, ..*at.key };
        let taps = u32::try_from(self.taps.len()).unwrap_or(1);
        let flow = at.flow.saturating_mul(taps).saturating_add(u32::from(at.tap.0));
        let verdict = self.feeds.packet(&Datagram { key: &key, flow, ..*at }, unit);
        self.stale = verdict.stale;
        (!verdict.copy).then_some(verdict.fresh)
    }

    fn market(&mut self, at: &Datagram<'_>, event: &MarketEvent) {
        if self.stale {
            return;
        }
        let MarketEvent { kind, price, quantity, .. } = *event;
        let events = self.events.entry(event.symbol).or_default().entry(at.tap).or_default();
        if events.len() >= KEPT {
            events.pop_front();
        }
        events.push_back(Event { time: at.time, kind, price, quantity });
    }

    fn market_other(&mut self, _at: &Datagram<'_>) {}

    fn datagram_described(&mut self, _at: &Datagram<'_>, _message: Described) {}

    fn order(&mut self, direction: &Direction<'_>, seen: &Seen, event: &OrderEvent<'_>) {
        if event.is_copy || event.is_damaged || event.clordid.is_empty() {
            return;
        }
        let id = (direction.conversation, Box::from(event.clordid));
        if event.kind == OrderKind::New {
            self.towards.insert(FlowKey { point: 0, ..*direction.key });
            if self.order.len() >= MOST_REQUESTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.requests.remove(&oldest);
            }
            self.order.push_back(id.clone());
            self.requests.insert(id, (seen.time, seen.tap));
        } else if event.kind == OrderKind::Fill
            && let Some((sent, tap)) = self.requests.remove(&id)
            && seen.time.0.abs_diff(sent.0) <= AT_ONCE
            && let Some(symbol) = self.symbols.known(event.symbol)
            && let Some(quantity) = event.last_quantity.and_then(whole)
        {
            self.fills.push_back(Fill { symbol, sent, time: seen.time, tap, price: event.last_price, quantity });
        }
    }

    fn order_described(&mut self, _direction: &Direction<'_>, _seen: &Seen, _message: Described) {}

    fn acknowledged(&mut self, _direction: &Direction<'_>, _place: u64, _arrival: Arrival) {}

    fn stream_gap(&mut self, _direction: &Direction<'_>) {}

    fn retransmitted(&mut self, _direction: &Direction<'_>, _places: Range<u64>) {}

    fn loss(&mut self, _loss: Loss, _count: u64) {}
}
