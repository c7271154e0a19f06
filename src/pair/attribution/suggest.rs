//! Links between instruments that the data suggests: orders in B that come shortly behind messages about S more often than by
//! chance. They are reported for a person to judge, and never applied.
//!
//! Chance is what stands before the same requests a little earlier, as in [`super::aggregate`], at all scales of time at once.
//! For each length (256 ns, twice that, …) the stretch before a request is cut into sixteen windows. If S has nothing to
//! do with the request, the last window has a message of S no more often than any other; fourteen of them, all but the
//! one behind the last, say how often that is. As each request is compared with itself, busy and quiet times do not matter.
//!
//! Only requests count before which *all else was silent* for the whole stretch: no message about B, which may well have caused
//! the request and brings with it whatever shares its packet or its burst; no private fill; no other new order in B, which
//! would count the same message twice.
//!
//! A pair is tested at each scale, over trades of S and over all its messages, by the bound of Chernoff for so many
//! hits; of all pairs those stand out that Benjamini and Hochberg leave at a false discovery rate of 1 %. What moves together
//! with a cause is no cause: behind the clearest S of a B, another one has to explain requests that the first does not.

use std::sync::Arc;

use tickscope_model::{SymbolId, Timestamp};

use super::lag::{self, BINS};
use super::windows::{self, MOVED, SCALES, WINDOWS, chance, count, level, scales_of, threshold, window};
use crate::book::{self, Price};
use crate::hash::HashMap;
use crate::merge::{Recent, Symbols};

/// Over trades of the other symbol, and over all of its messages.
const CLASSES: usize = 2;

/// Messages that are looked at for one request.
const STEPS: usize = 2048;
/// Of each symbol's requests every one is looked at, every second one when this many were, every fourth one when as many more …
const TAKEN_AT_ONCE: usize = 2048;
const MOST_TAKEN: usize = 1 << 15;
/// What is remembered at most: symbols of orders, pairs, and messages in the last windows.
const MOST_ORDERS: usize = 1 << 12;
const MOST_PAIRS: usize = 1 << 16;
const MOST_HITS: usize = 1 << 19;

/// A suggestion explains at least so many requests beyond chance, and such a share of those that count.
const LEAST_REQUESTS: f64 = 5.0;
const LEAST_SHARE: f64 = 0.1;
/// Whatever comes up to so many windows behind a cause may be caused by it: latencies have tails.
const TAIL: u64 = 4;
/// See the head of this file.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// Symbol of the orders, and of the messages that they follow.
    pub orders: Arc<str>,
    pub symbol: Arc<str>,
    pub is_trades: bool,
    /// So many requests with a message within `within_ns` before them, so many by chance, of so many.
    pub requests: usize,
    pub expected: f64,
    pub of: usize,
    pub within_ns: u64,
    pub mode_ns: u64,
    pub z: f64,
    /// A condition for `[[trigger.link]]`. For other messages than trades nobody knows it but the trader.
    pub when: Option<String>,
}

/// A request that was looked up.
pub(crate) struct Moment<'a> {
    pub orders: &'a Arc<str>,
    pub symbol: Option<SymbolId>,
    pub point: u16,
    pub time: Timestamp,
    /// So long before it the last private fill came.
    pub fill_ns: u64,
}

/// What orders in one symbol have in common.
struct Orders {
    name: Arc<str>,
    requests: u64,
    last: Option<Timestamp>,
}

/// A request that counts: symbol of the order, and how many scales its silence is long enough for.
struct Taken {
    orders: u16,
    scales: u8,
}

/// The newest messages of a symbol before a request, within the last window of its longest scale.
struct Hit {
    request: u32,
    symbol: SymbolId,
    /// Bins of their lags, by class.
    bins: [u16; CLASSES],
    price: Price,
}

/// A symbol before one request.
#[derive(Clone, Copy)]
struct Near {
    symbol: SymbolId,
    newest: [u64; CLASSES],
    price: Price,
    /// Windows with a message, by class and scale; of the last one `newest` tells.
    windows: [[u16; SCALES]; CLASSES],
}

impl Near {
    #[inline]
    fn note(&mut self, class: usize, lag_ns: u64) {
        self.newest[class] = self.newest[class].min(lag_ns);
        windows::note(&mut self.windows[class], lag_ns);
    }
}

/// Windows with a message, over all requests: by class and scale.
type Windows = [[u32; SCALES]; CLASSES];

/// Looks at requests as they are looked up, and says at the end what was found.
#[derive(Default)]
pub(crate) struct Suggest {
    orders: Vec<Orders>,
    by_name: HashMap<Arc<str>, u16>,
    taken: Vec<Taken>,
    hits: Vec<Hit>,
    pairs: HashMap<(u16, SymbolId), Windows>,
    /// Something did not fit.
    pub is_cut: bool,
    near: Vec<Near>,
    /// Place in `near` and one, by symbol; 0 where it has none.
    places: Vec<u16>,
}

impl Suggest {
    /// A request for a new order was looked up.
    pub(crate) fn look(&mut self, moment: &Moment<'_>, recent: &Recent) {
        let Some(orders) = self.orders_of(moment.orders) else { return };
        let it = &mut self.orders[usize::from(orders)];
        let alone_ns = it.last.map_or(u64::MAX, |last| moment.time.0.saturating_sub(last.0));
        it.last = it.last.max(Some(moment.time));
        let every = 1_u64 << (self.taken.len() / TAKEN_AT_ONCE);
        let is_taken = it.requests.is_multiple_of(every);
        it.requests += 1;
        let silence_ns = alone_ns.min(moment.fill_ns).min(u64::from(WINDOWS) * window(SCALES - 1));
        if !is_taken || scales_of(silence_ns) == 0 || self.is_full() {
            return;
        }
        let silence_ns = self.walk(moment, silence_ns, recent);
        let scales = scales_of(silence_ns);
        if scales > 0 {
            self.take(orders, scales);
        }
        for near in self.near.drain(..) {
            self.places[near.symbol.0 as usize] = 0;
        }
    }

    fn is_full(&mut self) -> bool {
        let is_full = self.taken.len() >= MOST_TAKEN || self.hits.len() >= MOST_HITS;
        self.is_cut |= is_full;
        is_full
    }

    fn orders_of(&mut self, name: &Arc<str>) -> Option<u16> {
        if let Some(&at) = self.by_name.get(name) {
            return Some(at);
        }
        let at = u16::try_from(self.orders.len()).ok().filter(|_| self.orders.len() < MOST_ORDERS);
        self.is_cut |= at.is_none();
        self.by_name.insert(name.clone(), at?);
        self.orders.push(Orders { name: name.clone(), requests: 0, last: None });
        at
    }

    /// Notes what stands before a request, back to the newest message about its own symbol. Returns how far that is.
    fn walk(&mut self, moment: &Moment<'_>, silence_ns: u64, recent: &Recent) -> u64 {
        let mut walk = recent.newest_first(moment.point, moment.time);
        let mut reached_ns = 0;
        for _ in 0..STEPS {
            let Some(passed) = walk.next() else { return reached_ns };
            let lag_ns = moment.time.0.saturating_sub(passed.time.0);
            if lag_ns >= silence_ns {
                return silence_ns;
            }
            if Some(passed.symbol) == moment.symbol {
                return lag_ns;
            }
            reached_ns = lag_ns;
            let near = near(&mut self.places, &mut self.near, passed.symbol);
            near.note(1, lag_ns);
            if passed.is_trade {
                if lag_ns < near.newest[0] {
                    near.price = passed.price;
                }
                near.note(0, lag_ns);
            }
        }
        reached_ns
    }

    /// Counts a request, and what was noted.
    fn take(&mut self, orders: u16, scales: usize) {
        let request = u32::try_from(self.taken.len()).unwrap_or(u32::MAX);
        self.taken.push(Taken { orders, scales: u8::try_from(scales).unwrap_or(u8::MAX) });
        for near in &self.near {
            let pair = (orders, near.symbol);
            if self.pairs.len() >= MOST_PAIRS && !self.pairs.contains_key(&pair) {
                self.is_cut = true;
                continue;
            }
            let counts = self.pairs.entry(pair).or_default();
            for (counts, (windows, newest)) in counts.iter_mut().zip(near.windows.iter().zip(near.newest)) {
                for (scale, (count, windows)) in counts.iter_mut().zip(windows).enumerate().take(scales) {
                    *count += (windows & MOVED).count_ones() + u32::from(newest < window(scale));
                }
            }
            if near.newest[1] < window(scales - 1) {
                let bins = near.newest.map(lag::bin);
                self.hits.push(Hit { request, symbol: near.symbol, bins, price: near.price });
            }
        }
    }
}

fn near<'a>(places: &mut Vec<u16>, all: &'a mut Vec<Near>, symbol: SymbolId) -> &'a mut Near {
    let at = symbol.0 as usize;
    if places.len() <= at {
        places.resize((at + 1).next_power_of_two(), 0);
    }
    if places[at] == 0 {
        let (newest, windows) = ([u64::MAX; CLASSES], [[0; SCALES]; CLASSES]);
        all.push(Near { symbol, newest, price: 0, windows });
        places[at] = u16::try_from(all.len()).expect("one a step");
    }
    &mut all[usize::from(places[at]) - 1]
}

/// A pair at its clearest.
#[derive(Clone, Copy)]
struct Found {
    orders: u16,
    symbol: SymbolId,
    class: usize,
    scale: usize,
    requests: usize,
    of: usize,
    expected: f64,
    /// The logarithm of the probability that it is chance.
    chance: f64,
}

impl Found {
    fn is_meaningful(&self) -> bool {
        let beyond = count(self.requests) - self.expected;
        LEAST_REQUESTS <= count(self.requests) && beyond >= LEAST_SHARE * count(self.of)
    }

    fn z(&self) -> f64 {
        (count(self.requests) - self.expected) / (self.expected + 1.0).sqrt()
    }
}

impl Suggest {
    /// What was found, the clearest first. `is_configured`: whether a link of orders by a symbol is there already.
    pub(crate) fn suggestions(
        &self,
        symbols: &Symbols,
        recent: &Recent,
        is_configured: impl Fn(&str, &str) -> bool,
    ) -> Vec<Suggestion> {
        let hits = self.hits_by_pair();
        let mut explained = vec![false; self.taken.len()];
        let requests = self.requests();
        let all = |(pair, windows): (&(u16, SymbolId), &Windows)| {
            self.clearest(*pair, windows, hits.get(pair)?, &requests[usize::from(pair.0)], &explained)
        };
        let mut found: Vec<Found> = self.pairs.iter().filter_map(all).collect();
        found.sort_by(|one, other| {
            one.chance.total_cmp(&other.chance).then((one.orders, one.symbol).cmp(&(other.orders, other.symbol)))
        });
        let threshold = threshold(found.iter().map(|found| found.chance), self.pairs.len());
        let mut suggestions = Vec::new();
        for first in found.iter().take_while(|found| found.chance <= threshold) {
            let pair = (first.orders, first.symbol);
            let Some(hits) = hits.get(&pair) else { continue };
            let of = &requests[usize::from(pair.0)];
            let again = self.clearest(pair, &self.pairs[&pair], hits, of, &explained);
            let Some(found) = again.filter(|found| found.chance <= threshold && found.is_meaningful()) else {
                continue;
            };
            let reach = lag::bin(TAIL * window(found.scale));
            for hit in hits.iter().filter(|hit| hit.bins[1] < reach) {
                explained[hit.request as usize] = true;
            }
            let suggestion = self.suggestion(first, hits, symbols, recent);
            if !is_configured(&suggestion.orders, &suggestion.symbol) {
                suggestions.push(suggestion);
            }
        }
        suggestions
    }

    fn hits_by_pair(&self) -> HashMap<(u16, SymbolId), Vec<&Hit>> {
        let mut by_pair: HashMap<(u16, SymbolId), Vec<&Hit>> = HashMap::default();
        for hit in &self.hits {
            let orders = self.taken[hit.request as usize].orders;
            by_pair.entry((orders, hit.symbol)).or_default().push(hit);
        }
        by_pair
    }

    /// The requests of each symbol of orders.
    fn requests(&self) -> Vec<Vec<usize>> {
        let mut requests = vec![Vec::new(); self.orders.len()];
        for (at, taken) in self.taken.iter().enumerate() {
            requests[usize::from(taken.orders)].push(at);
        }
        requests
    }

    /// The class and scale at which a pair is least likely chance, over requests that nothing else explains.
    fn clearest(
        &self,
        (orders, symbol): (u16, SymbolId),
        windows: &Windows,
        hits: &[&Hit],
        requests: &[usize],
        explained: &[bool],
    ) -> Option<Found> {
        let (mut of, mut seen, mut gone) =
            ([0_usize; SCALES], [[0_usize; SCALES]; CLASSES], [[0_usize; SCALES]; CLASSES]);
        for &request in requests.iter().filter(|request| !explained[**request]) {
            for of in &mut of[..usize::from(self.taken[request].scales)] {
                *of += 1;
            }
        }
        for hit in hits {
            let request = hit.request as usize;
            for class in 0..CLASSES {
                let counts = if explained[request] { &mut gone[class] } else { &mut seen[class] };
                for (scale, count) in counts.iter_mut().enumerate().take(self.taken[request].scales.into()) {
                    *count += usize::from(hit.bins[class] < lag::bin(window(scale)));
                }
            }
        }
        let mut tests = 0.0;
        let mut best: Option<Found> = None;
        for (class, scale) in (0..CLASSES).flat_map(|class| (0..SCALES).map(move |scale| (class, scale))) {
            let (requests, of) = (seen[class][scale], of[scale]);
            if count(of) < LEAST_REQUESTS {
                continue;
            }
            tests += 1.0;
            // If the last window is like the others, it has its share of all windows with a message.
            let with_message = f64::from(windows[class][scale]) - count(gone[class][scale]);
            let share = with_message / f64::from(MOVED.count_ones() + 1) / count(of);
            let chance = chance(requests, of, share);
            let expected = (with_message - count(requests)) / f64::from(MOVED.count_ones());
            let found = Found { orders, symbol, class, scale, requests, of, expected, chance };
            if best.is_none_or(|best| chance < best.chance) {
                best = Some(found);
            }
        }
        best.map(|best| Found { chance: (best.chance + f64::ln(tests)).min(0.0), ..best })
    }

    fn suggestion(&self, found: &Found, hits: &[&Hit], symbols: &Symbols, recent: &Recent) -> Suggestion {
        let within = lag::bin(window(found.scale));
        let hits: Vec<&&Hit> = hits.iter().filter(|hit| hit.bins[found.class] < within).collect();
        let mut bins = vec![0_u32; BINS];
        for hit in &hits {
            bins[usize::from(hit.bins[found.class])] += 1;
        }
        // Of equal ones the shortest.
        let mode = (0..BINS).rev().max_by_key(|bin| bins[*bin]).unwrap_or(0);
        let symbol = symbols.name(found.symbol);
        let is_trades = found.class == 0;
        let prices: Vec<Price> = hits.iter().map(|hit| hit.price).filter(|price| *price != 0).collect();
        let level = level(&prices, recent.prices(found.symbol));
        let when = is_trades.then(|| match level {
            Some((sign, price)) => format!("{symbol}.trade {sign} {}", book::decimal_of(price)),
            None => format!("{symbol}.trade > 0"),
        });
        Suggestion {
            orders: self.orders[usize::from(found.orders)].name.clone(),
            symbol,
            is_trades,
            requests: found.requests,
            expected: found.expected,
            of: found.of,
            within_ns: window(found.scale),
            mode_ns: lag::middle(mode),
            z: found.z(),
            when,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Passed;

    const MICRO: u64 = 1_000;
    const MILLI: u64 = 1_000_000;

    /// Draws numbers.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }

        /// Times of a stream over ten seconds; one in four messages brings six more within 200 µs.
        fn stream(&mut self, mean_ns: u64) -> Vec<u64> {
            let (mut times, mut time) = (Vec::new(), 0);
            while time < 10_000 * MILLI {
                time += 1 + self.below(2 * mean_ns);
                times.push(time);
                if self.below(4) == 0 {
                    times.extend((0..6).map(|_| time + self.below(200 * MICRO)));
                }
            }
            times
        }
    }

    /// What was on the wire: messages as time, symbol, price of a trade or 0; and orders in symbol 0.
    #[derive(Default)]
    struct Wire {
        messages: Vec<(u64, u32, Price)>,
        orders: Vec<u64>,
    }

    impl Wire {
        /// Messages about six symbols that have nothing to do with each other.
        fn busy(random: &mut Random) -> Wire {
            let mut wire = Wire::default();
            for symbol in 0..6 {
                for time in random.stream(8 * MILLI) {
                    wire.messages.push((time, symbol, i64::try_from(random.below(3) / 2 * 100).unwrap()));
                }
            }
            wire
        }

        /// The same, and trades of symbol 1 at 1.00 to 1.09, of which those from 1.05 on cause orders.
        fn linked(random: &mut Random) -> Wire {
            let mut wire = Wire::busy(random);
            wire.messages.retain(|message| message.1 != 1);
            let trades: Vec<(u64, i64)> = random.stream(20 * MILLI).into_iter().zip((0..10).cycle()).collect();
            wire.messages.extend(trades.iter().map(|(time, cents)| (*time, 1, 100_000_000 + cents * 1_000_000)));
            wire.follow(random, trades.into_iter().filter(|(_, cents)| *cents >= 5).map(|(time, _)| time));
            wire.orders.extend(random.stream(80 * MILLI));
            wire
        }

        /// Orders in symbol 0 that messages cause, some 12 µs later.
        fn follow(&mut self, random: &mut Random, causes: impl Iterator<Item = u64>) {
            self.orders.extend(causes.map(|time| time + 10 * MICRO + random.below(4 * MICRO)));
        }

        fn times(&self, symbol: u32) -> Vec<u64> {
            self.messages.iter().filter(|message| message.1 == symbol).map(|message| message.0).collect()
        }

        fn found(mut self, is_configured: bool) -> Vec<Suggestion> {
            let (mut symbols, mut recent, mut suggest) = (Symbols::default(), Recent::default(), Suggest::default());
            for name in ["B", "S1", "S2", "S3", "S4", "S5"] {
                symbols.number(name.as_bytes());
            }
            self.messages.sort_unstable();
            self.orders.sort_unstable();
            let mut messages = self.messages.iter().peekable();
            let orders: Arc<str> = "B".into();
            for &time in &self.orders {
                while let Some(&(at, symbol, price)) = messages.next_if(|message| message.0 <= time) {
                    let (symbol, is_trade) = (SymbolId(symbol), price != 0);
                    recent.push(Passed { time: Timestamp(at), price, symbol, point: 0, is_trade });
                }
                let (time, symbol) = (Timestamp(time), Some(SymbolId(0)));
                suggest.look(&Moment { orders: &orders, symbol, point: 0, time, fill_ns: u64::MAX }, &recent);
            }
            assert!(!suggest.is_cut);
            suggest.suggestions(&symbols, &recent, |_, _| is_configured)
        }
    }

    #[test]
    fn a_link_is_found_with_the_price_from_which_on_trades_cause_orders() {
        let found = Wire::linked(&mut Random(1)).found(false);
        let [only] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!((&*only.orders, &*only.symbol, only.is_trades), ("B", "S1", true));
        assert!((10 * MICRO..15 * MICRO).contains(&only.mode_ns) && only.z > 10.0, "{only:?}");
        assert_eq!(only.when.as_deref(), Some("S1.trade >= 1.05"));
        assert_eq!(Wire::linked(&mut Random(1)).found(true), []);
    }

    #[test]
    fn streams_that_have_nothing_to_do_with_each_other_give_no_link() {
        for seed in 0..20 {
            let mut random = Random(seed);
            let mut wire = Wire::busy(&mut random);
            wire.orders = random.stream(5 * MILLI);
            assert_eq!(wire.found(false), [], "{seed}");
        }
    }

    #[test]
    fn what_shares_packets_or_bursts_with_the_own_trigger_is_no_cause() {
        for seed in 0..20 {
            let mut random = Random(seed);
            let mut wire = Wire::busy(&mut random);
            let own = wire.times(0);
            wire.messages.extend(own.iter().map(|time| (*time, 1, 0)));
            wire.messages.extend(own.iter().map(|time| (time + random.below(30 * MICRO), 2, 0)));
            wire.follow(&mut random, own.into_iter());
            assert_eq!(wire.found(false), [], "{seed}");
        }
    }

    #[test]
    fn what_moves_together_with_a_cause_is_no_cause_either() {
        for seed in 0..20 {
            let mut random = Random(seed);
            let mut wire = Wire::linked(&mut random);
            let causes = wire.times(1);
            wire.messages.extend(causes.iter().map(|time| (*time, 2, 0)));
            let found: Vec<Arc<str>> = wire.found(false).into_iter().map(|found| found.symbol).collect();
            assert_eq!(found, ["S1".into()], "{seed}");
        }
    }
}
