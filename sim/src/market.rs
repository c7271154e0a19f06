//! The crowd: instruments, their books, and the orders that keep them moving. Arrivals are a Hawkes process with an
//! exponential kernel (every event makes more events likely for a short while), on top of a rate that scenarios
//! raise for rushes and microbursts.

use std::fmt::Write;

use crate::book::{Book, CROWD, Change, Fill, Resting, Side, TICK};
use crate::encode::fix::price_text;
use crate::random::{Random, exp, to_count, to_float};
use crate::scenario::{Kind, Market as Settings, Strategy};
use crate::time::SECOND;

/// What is known about a symbol before trading begins.
#[derive(Clone, Debug)]
pub(crate) struct Instrument {
    pub symbol: String,
    /// The symbol padded with spaces to eight bytes, as feeds carry it.
    pub padded: [u8; 8],
    /// The exchange's own number: ITCH's stock locate.
    pub exchange_id: u32,
    /// The gateway's own number, for a user's reference data.
    pub internal_id: u32,
    pub lot: u32,
    /// Price at the start, in 1/10000.
    pub price: u32,
}

impl Instrument {
    pub(crate) fn new(index: u16, symbol: &str, price: u32) -> Instrument {
        let mut padded = [b' '; 8];
        for (to, from) in padded.iter_mut().zip(symbol.bytes()) {
            *to = from;
        }
        let index = u32::from(index);
        let symbol = symbol.to_owned();
        Instrument { symbol, padded, exchange_id: index + 1, internal_id: 100_001 + index, lot: 100, price }
    }
}

/// Instruments with invented names, as many as asked for, the named ones first.
pub(crate) fn instruments(settings: &Settings, random: &mut Random) -> Vec<Instrument> {
    const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
    (0..settings.symbols)
        .map(|index| {
            let drawn = random.between(1_000, 30_000);
            let given = settings.prices.get(usize::from(index)).map(|price| to_count(price * 100.0));
            let price = u32::try_from(given.unwrap_or(drawn)).expect("checked by the scenario") * TICK;
            // 7919 has no factor in common with 20^4: every index gives another name.
            let mut number = usize::from(index) * 7919 + 1234;
            let mut invented = String::new();
            for _ in 0..4 {
                invented.push(char::from(LETTERS[number % 20]));
                number /= 20;
            }
            Instrument::new(index, settings.names.get(usize::from(index)).unwrap_or(&invented), price)
        })
        .collect()
}

/// The reference data as a file: symbol, the exchange's id, then what else a user's mapping may want.
pub(crate) fn instruments_csv(scenario: &crate::scenario::Scenario, seed: u64) -> String {
    let settings = &scenario.market;
    let mut text = String::from("symbol,security_id,internal_id,tick_size,lot\n");
    for one in instruments(settings, &mut Random::new(seed, "market")) {
        let _ = writeln!(text, "{},{},{},0.01,{}", one.symbol, one.exchange_id, one.internal_id, one.lot);
    }
    text
}

/// What a user of this trader would say to tickscope: which instruments cause orders in which other ones. `None` where there
/// is nothing to say.
pub(crate) fn config_toml(scenario: &crate::scenario::Scenario, seed: u64) -> Option<String> {
    let instruments = instruments(&scenario.market, &mut Random::new(seed, "market"));
    let mut text = String::new();
    for rule in scenario.strategy.iter().filter(|rule| rule.kind == Kind::Conditional) {
        let level = instruments.iter().find(|one| one.symbol == rule.when).map(|one| price_text(one.price));
        let over = if rule.over.is_empty() { level? } else { format!("{}.mid", rule.over) };
        let Strategy { when, sell, .. } = rule;
        let _ = writeln!(text, "[[trigger.link]]\norders = \"{sell}\"\nwhen = \"{when}.mid > {over}\"");
    }
    (!text.is_empty()).then_some(text)
}

/// The books, and when and how the crowd changes them.
#[derive(Debug)]
pub(crate) struct Market {
    pub instruments: Vec<Instrument>,
    pub books: Vec<Book>,
    /// Fills of orders that are not the crowd's, with their symbol; the exchange takes them from here.
    pub struck: Vec<(u16, Fill)>,
    random: Random,
    arrivals: Arrivals,
    is_even: bool,
    next_id: u64,
    next_match: u64,
}

impl Market {
    pub(crate) fn new(settings: &Settings, seed: u64, start: u64) -> Market {
        let mut random = Random::new(seed, "market");
        let instruments = instruments(settings, &mut random);
        let books = (0..settings.symbols).map(Book::new).collect();
        let arrivals = Arrivals::new(settings, seed, start);
        let is_even = settings.even;
        Market { instruments, books, struck: Vec::new(), random, arrivals, is_even, next_id: 1, next_match: 1 }
    }

    /// The orders that stand in the books when trading begins, symbol by symbol.
    pub(crate) fn open(&mut self, symbol: u16, changes: &mut Vec<Change>) {
        let price = self.instruments[usize::from(symbol)].price;
        for step in 1..=4 {
            for side in [Side::Buy, Side::Sell] {
                let at = if side == Side::Buy { price - step * TICK } else { price + step * TICK };
                let order = self.crowd_order();
                changes.push(self.books[usize::from(symbol)].add(side, at, order));
            }
        }
    }

    /// When the crowd acts next.
    pub(crate) fn next_time(&self) -> u64 {
        self.arrivals.next
    }

    /// Whether a microburst runs.
    pub(crate) fn is_burst(&self, now: u64) -> bool {
        self.arrivals.burst_from <= now && now < self.arrivals.burst_to
    }

    /// The crowd acts once, at [`Market::next_time`], on one symbol.
    pub(crate) fn step(&mut self, changes: &mut Vec<Change>) {
        self.arrivals.advance();
        // The square makes low numbers more active than high ones, as some stocks are more traded than others.
        let unit = self.random.unit();
        let place = if self.is_even { unit } else { unit * unit };
        let symbol = usize::try_from(to_count(place * to_float(self.books.len() as u64) - 0.5)).expect("an index");
        let symbol = symbol.min(self.books.len() - 1);
        let side = if self.random.bits() >> 63 == 1 { Side::Buy } else { Side::Sell };
        let depth = self.books[symbol].depth(side);
        match self.random.below(100) {
            _ if depth < 3 => self.add(symbol, side, changes),
            0..40 if depth < 30 && self.books[symbol].count() < 80 => self.add(symbol, side, changes),
            0..72 => self.take_away(symbol, side, changes),
            72..80 => self.trade(symbol, side, changes),
            80..98 => self.move_order(symbol, side, changes),
            _ => self.trade_hidden(symbol, side, changes),
        }
    }

    pub(crate) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(crate) fn new_match(&mut self) -> u64 {
        self.next_match += 1;
        self.next_match - 1
    }

    fn crowd_order(&mut self) -> Resting {
        let quantity = u32::try_from(self.random.between(1, 9) * 100).expect("small");
        Resting { id: self.new_id(), quantity, owner: CROWD }
    }

    /// A price for a passive order: mostly at or behind the best, sometimes one tick better where there is room.
    fn passive_price(&mut self, symbol: usize, side: Side) -> u32 {
        let best = self.books[symbol].best();
        let reference = self.instruments[symbol].price;
        let own = if best.own(side) > 0 { best.own(side) } else { best.opposite(side) };
        let own = if own > 0 { own } else { reference };
        let behind = match self.random.below(16) {
            0 => -1_i64,
            1..6 => 0,
            draw => i64::try_from(draw).expect("small") / 3,
        };
        let shift = behind * i64::from(TICK) * if side == Side::Buy { -1 } else { 1 };
        let price = u32::try_from((i64::from(own) + shift).max(i64::from(TICK))).unwrap_or(own);
        match (side, best.opposite(side)) {
            (_, 0) => price,
            (Side::Buy, ask) => price.min(ask.saturating_sub(TICK)).max(1),
            (Side::Sell, bid) => price.max(bid + TICK),
        }
    }

    fn add(&mut self, symbol: usize, side: Side, changes: &mut Vec<Change>) {
        let price = self.passive_price(symbol, side);
        let order = self.crowd_order();
        changes.push(self.books[symbol].add(side, price, order));
    }

    fn pick(&mut self, symbol: usize, side: Side) -> Option<(u32, Resting)> {
        let draw = self.random.bits();
        let (level, place) = ((draw & 7) * (draw >> 3 & 7) / 7, draw >> 32);
        let level = usize::try_from(level).expect("at most 7") % self.books[symbol].depth(side);
        let picked = self.books[symbol].peek(side, level, usize::try_from(place).expect("32 bits"))?;
        (picked.1.owner == CROWD).then_some(picked)
    }

    fn take_away(&mut self, symbol: usize, side: Side, changes: &mut Vec<Change>) {
        let Some((price, order)) = self.pick(symbol, side) else { return self.add(symbol, side, changes) };
        let part = order.quantity > 100 && self.random.chance(0.2);
        let quantity = if part { 100 } else { order.quantity };
        changes.extend(self.books[symbol].reduce(side, price, order.id, quantity));
    }

    fn move_order(&mut self, symbol: usize, side: Side, changes: &mut Vec<Change>) {
        let Some((old_price, order)) = self.pick(symbol, side) else { return self.add(symbol, side, changes) };
        let price = self.passive_price(symbol, side);
        let new = Resting { id: self.new_id(), ..order };
        changes.extend(self.books[symbol].replace(side, old_price, order.id, price, new));
    }

    /// An aggressive order of the crowd. It may hit orders of ours; the exchange reports those fills.
    fn trade(&mut self, symbol: usize, side: Side, changes: &mut Vec<Change>) {
        let mut quantity = u32::try_from(self.random.between(1, 12) * 50).expect("small");
        let limit = self.books[symbol].best().opposite(side);
        while quantity > 0 {
            let matched = self.new_match();
            let Some((change, fill)) = self.books[symbol].hit(side, limit, quantity, matched) else { break };
            quantity -= fill.quantity;
            if fill.owner != CROWD {
                self.struck.push((change.symbol, fill));
            }
            changes.push(change);
        }
    }

    fn trade_hidden(&mut self, symbol: usize, side: Side, changes: &mut Vec<Change>) {
        let price = self.books[symbol].best().own(side);
        let quantity = u32::try_from(self.random.between(1, 300)).expect("small");
        let (id, matched) = (self.new_id(), self.new_match());
        changes.push(self.books[symbol].hidden(side, price, quantity, id, matched));
    }
}

/// The times at which the crowd acts.
#[derive(Debug)]
struct Arrivals {
    random: Random,
    next: u64,
    start: u64,
    /// What earlier events added to the rate, as of `next`.
    excitation: f64,
    branching: f64,
    decay: f64,
    rate: f64,
    /// From, to, events a second.
    rushes: Vec<(u64, u64, f64)>,
    burst: Option<(f64, u64, f64)>,
    /// The microburst that runs or comes next.
    burst_from: u64,
    burst_to: u64,
}

impl Arrivals {
    fn new(settings: &Settings, seed: u64, start: u64) -> Arrivals {
        let rushes = settings.rush.iter().map(|rush| (start + rush.from.0, start + rush.to.0, rush.rate)).collect();
        let burst = settings
            .burst
            .as_ref()
            .filter(|_| settings.replay.is_none())
            .map(|burst| (to_float(burst.every.0), burst.length.0, burst.rate));
        let mut arrivals = Arrivals {
            random: Random::new(seed, "arrivals"),
            next: start,
            start,
            excitation: 0.0,
            branching: settings.branching,
            decay: 1e9 / to_float(settings.memory.0.max(1)),
            rate: if settings.replay.is_some() { 0.0 } else { settings.rate },
            rushes,
            burst,
            burst_from: 0,
            burst_to: 0,
        };
        arrivals.next_burst();
        arrivals.advance();
        arrivals
    }

    fn next_burst(&mut self) {
        if let Some((every, length, _)) = self.burst {
            let from = self.burst_to.max(self.start) + to_count(every * self.random.exponential());
            (self.burst_from, self.burst_to) = (from, from + length);
        }
    }

    /// The rate that scenarios give for this moment, and until when it holds.
    fn base(&mut self, now: u64) -> (f64, u64) {
        while self.burst.is_some() && self.burst_to <= now {
            self.next_burst();
        }
        let mut rate = self.rate;
        let mut until = u64::MAX;
        let burst = self.burst.map(|(_, _, rate)| (self.burst_from, self.burst_to, rate));
        for (from, to, more) in self.rushes.iter().copied().chain(burst) {
            if from <= now && now < to {
                rate += more;
                until = until.min(to);
            } else if now < from {
                until = until.min(from);
            }
        }
        (rate, until)
    }

    /// Goes to the next event (Ogata's thinning; between events the rate only falls, so its value now is the bound).
    fn advance(&mut self) {
        loop {
            let (base, until) = self.base(self.next);
            let bound = base + self.excitation;
            let wait = if bound > 0.0 { to_count(self.random.exponential() / bound * 1e9).max(1) } else { u64::MAX };
            let candidate = self.next.saturating_add(wait);
            if candidate == u64::MAX && until == u64::MAX {
                self.next = u64::MAX;
                return;
            }
            if candidate >= until {
                self.decay_to(until);
                continue;
            }
            self.decay_to(candidate);
            if self.excitation >= bound - base || self.random.unit() * bound < base + self.excitation {
                // Each event brings `branching` further ones on average, within about 1/decay.
                self.excitation += self.branching * self.decay;
                return;
            }
        }
    }

    fn decay_to(&mut self, time: u64) {
        if self.excitation > 0.0 {
            let elapsed = to_float(time - self.next) / to_float(SECOND);
            self.excitation *= if elapsed * self.decay > 40.0 { 0.0 } else { exp(-elapsed * self.decay) };
        }
        self.next = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn the_rate_is_base_over_one_minus_branching() {
        let text = "[market]\nrate = 1000.0\nbranching = 0.5\nmemory = \"2ms\"";
        let settings = Scenario::parse(text, "test").unwrap().market;
        let mut arrivals = Arrivals::new(&settings, 1, 0);
        let mut events = 0_u32;
        while arrivals.next < 100 * SECOND {
            events += 1;
            arrivals.advance();
        }
        assert!((190_000..210_000).contains(&events), "{events}");
    }

    #[test]
    fn a_market_without_events_has_no_next_one() {
        let settings = Scenario::parse("[market]\nrate = 0.0\nbranching = 0.0", "test").unwrap().market;
        assert_eq!(Arrivals::new(&settings, 1, 5).next, u64::MAX);
    }

    #[test]
    fn books_never_cross_and_prices_stay_positive() {
        let settings = Scenario::parse("[market]\nsymbols = 3\nrate = 1e5", "test").unwrap().market;
        let mut market = Market::new(&settings, 5, 0);
        let mut changes = Vec::new();
        for symbol in 0..3 {
            market.open(symbol, &mut changes);
        }
        for _ in 0..100_000 {
            market.step(&mut changes);
            for change in changes.drain(..) {
                let best = change.after;
                assert!(best.ask == 0 || best.bid < best.ask, "{change:?}");
                assert!(change.price > 0 && change.quantity > 0, "{change:?}");
            }
        }
    }

    #[test]
    fn names_are_all_different() {
        let settings = Scenario::parse("[market]\nsymbols = 10000", "test").unwrap().market;
        let names: std::collections::HashSet<String> =
            instruments(&settings, &mut Random::new(1, "x")).into_iter().map(|one| one.symbol).collect();
        assert_eq!(names.len(), 10_000);
    }
}
