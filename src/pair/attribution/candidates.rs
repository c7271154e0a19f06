//! What could have caused a request: its candidates, newest first, each with what the model looks at.

use std::sync::Arc;

use tickscope_model::{MarketKind, OrderKind, SymbolId, TapId, Timestamp};

use super::lag;
use super::model::{self, Observed, Seen};
use crate::book::{Best, Effect, Exposure, Price, Touch};
use crate::merge::Tick;

/// Candidates of one request, at most.
pub(crate) const MOST: usize = 96;
/// So many are always looked at; further ones only while they are not older than what is usual.
pub(crate) const ALWAYS: usize = 24;
/// … and where there is no tape, so that each of them may have to be read from the file once more: enough for a rate.
pub(crate) const ALWAYS_WITHOUT_BOOKS: usize = 3;

/// How a request's price relates to what a message is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relation {
    /// There is no price on one of the two sides.
    #[default]
    None,
    /// It stands at the very price that the message created, changed or took.
    AtMessage,
    /// … at the best price of the other side, as the message left it.
    Opposite,
    /// … at the best price of its own side, as the message left it.
    Own,
    /// … at most four steps from the message's price.
    Near,
    /// … at most sixteen.
    Further,
    /// … elsewhere.
    Far,
}

/// Where a candidate was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Market data about the request's symbol.
    Symbol,
    /// Market data about another symbol, by a configured link.
    Link,
    /// A private report of a fill: the tap that saw it, and whether it was about the same symbol.
    Report { tap: TapId, is_same_symbol: bool },
}

/// A message that could have caused a request.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub tick: Tick,
    pub symbol: SymbolId,
    pub origin: Origin,
    /// Side of the resting order or level (buy is true), its price, and what happened to the best prices.
    pub side: Option<bool>,
    pub price: Price,
    pub touch: Touch,
    /// The best prices behind it.
    pub after: Best,
    pub relation: Relation,
    pub(crate) seen: Seen,
}

impl Candidate {
    /// The message created, changed or took the price at which the request stands.
    pub fn explains_price(&self) -> bool {
        match self.relation {
            Relation::AtMessage => true,
            Relation::Opposite | Relation::Own => self.touch == Touch::Price,
            _ => false,
        }
    }
}

/// What the request itself says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub is_buy: Option<bool>,
    pub price: Option<Price>,
}

/// A request with its candidates.
#[derive(Clone, Debug, Default)]
pub struct Case {
    pub candidates: Vec<Candidate>,
    /// How likely each of them is the cause; only where cases are kept.
    pub weights: Vec<f64>,
    /// Class of the local rate of messages.
    pub rate: u8,
    /// The best prices when the request was sent.
    pub best: Option<Best>,
    pub is_partial: bool,
    /// When market data was last noticed to be missing before the request.
    pub(crate) gap: Option<Timestamp>,
    pub(crate) is_cross_clock: bool,
    pub(crate) role: u8,
    pub(crate) stance: u8,
    /// The message that an id in the request names.
    pub(crate) by_id: Option<Candidate>,
    /// Session and symbol of the private reports among the candidates, whose `symbol` is the place here.
    pub(crate) reports: Vec<(Arc<str>, Arc<str>)>,
}

impl Case {
    pub(crate) fn observed(&self) -> Observed {
        let mut observed = Observed::default();
        self.observe(&mut observed);
        observed
    }

    /// The same into what is there already.
    pub(crate) fn observe(&self, observed: &mut Observed) {
        (observed.role, observed.rate, observed.stance) = (self.role, self.rate, self.stance);
        observed.candidates.clear();
        observed.candidates.extend(self.candidates.iter().map(|candidate| candidate.seen));
    }
}

/// For [`model::ROLES`].
pub(crate) fn role(kind: OrderKind, is_immediate: bool) -> u8 {
    match kind {
        OrderKind::New if is_immediate => 3,
        OrderKind::Replace => 1,
        OrderKind::Cancel | OrderKind::MassCancel => 2,
        _ => 0,
    }
}

/// Where a request's price stands in the book, for [`model::STANCES`].
pub(crate) fn stance(book: &Effect, wish: Wish) -> u8 {
    let (Some(price), Some(is_buy)) = (wish.price.filter(|price| *price != 0), wish.is_buy) else { return 0 };
    let (own, opposite) = (book.after.own(is_buy), book.after.opposite(is_buy));
    if own == 0 || opposite == 0 {
        return 0;
    }
    let steps = (price - own).unsigned_abs().min((price - opposite).unsigned_abs()) / book.unit.unsigned_abs().max(1);
    match price {
        _ if price == opposite => 1,
        _ if price == own => 2,
        _ if own.min(opposite) < price && price < own.max(opposite) => 3,
        _ if steps <= 4 => 4,
        _ if steps <= 16 => 5,
        _ => 6,
    }
}

/// A message about the request's symbol, or about a linked one.
pub(crate) fn of_market(
    (tick, symbol): (Tick, SymbolId),
    effect: Option<&Effect>,
    wish: Wish,
    time: Timestamp,
    exposure: &Exposure,
) -> Candidate {
    let effect = effect.copied().unwrap_or_default();
    let class = exposure.class_of(tick.code, tick.kind);
    let is_trade = tick.kind == MarketKind::Trade;
    let side = match (effect.side, wish.is_buy) {
        (Some(one), Some(other)) => u8::from(one != other),
        _ => 2,
    };
    let relation = relation(&effect, wish);
    let touch = effect.touch;
    let seen = Seen {
        bin: lag::bin(lag_of(tick.time, time)),
        cell: model::cell(class, touch, side),
        relation: model::relation_cell(is_trade, touch, side, relation as u8),
        place: model::place_cell(is_trade, touch),
        is_spent: false,
    };
    let Effect { side, price, after, .. } = effect;
    Candidate { tick, symbol, origin: Origin::Symbol, side, price, touch, after, relation, seen }
}

fn lag_of(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).0).unwrap_or(0)
}

/// A private report.
pub(crate) fn of_report(tick: Tick, tap: TapId, is_same_symbol: bool, time: Timestamp) -> Candidate {
    let seen = Seen {
        bin: lag::bin(lag_of(tick.time, time)),
        cell: model::report_cell(is_same_symbol),
        relation: model::relation_cell(false, Touch::Same, 2, 0),
        place: 0,
        is_spent: false,
    };
    let origin = Origin::Report { tap, is_same_symbol };
    let (symbol, after, touch, relation) = (SymbolId::default(), Best::default(), Touch::Same, Relation::None);
    Candidate { tick, symbol, origin, side: None, price: 0, touch, after, relation, seen }
}

/// A message that made a configured condition about another symbol true.
pub(crate) fn of_link((tick, symbol): (Tick, SymbolId), effect: &Effect, time: Timestamp) -> Candidate {
    let Effect { side, price, touch, after, .. } = *effect;
    let seen = Seen {
        bin: lag::bin(lag_of(tick.time, time)),
        cell: model::LINK_CELL,
        relation: model::relation_cell(false, Touch::Same, 2, 0),
        place: 0,
        is_spent: false,
    };
    let (origin, relation) = (Origin::Link, Relation::None);
    Candidate { tick, symbol, origin, side, price, touch, after, relation, seen }
}

fn relation(effect: &Effect, wish: Wish) -> Relation {
    let Some(price) = wish.price.filter(|price| *price != 0) else { return Relation::None };
    if effect.price == price {
        return Relation::AtMessage;
    }
    if let Some(is_buy) = wish.is_buy {
        if effect.after.opposite(is_buy) == price {
            return Relation::Opposite;
        }
        if effect.after.own(is_buy) == price {
            return Relation::Own;
        }
    }
    if effect.price == 0 {
        return Relation::None;
    }
    let steps = (effect.price - price).unsigned_abs() / effect.unit.unsigned_abs().max(1);
    match steps {
        0..=4 => Relation::Near,
        5..=16 => Relation::Further,
        _ => Relation::Far,
    }
}

/// Says of each candidate where it stands among the messages of its packet.
pub(crate) fn place(candidates: &mut [Candidate]) {
    // Frames are numbered by file, and the files of one observation point share their lines.
    let packet = |candidate: &Candidate| (candidate.tick.time, candidate.tick.frame, candidate.tick.line);
    let group = |candidate: &Candidate| (candidate.tick.kind == MarketKind::Trade, candidate.touch != Touch::Same);
    let is_like = |one: &Candidate, other: &Candidate| match (group(one), group(other)) {
        ((true, _), (true, _)) => true,
        ((false, one), (_, other)) => one && other,
        _ => false,
    };
    let mut start = 0;
    while start < candidates.len() {
        let it = packet(&candidates[start]);
        let behind =
            candidates[start..].iter().position(|one| packet(one) != it).map_or(candidates.len(), |at| start + at);
        for at in start..behind {
            // Newest first: what stands behind came before.
            let earlier = &candidates[at + 1..behind];
            let has_like = earlier.iter().any(|one| is_like(&candidates[at], one));
            let is_tame = group(&candidates[at]) == (false, false);
            let place = match (earlier.is_empty(), at == start) {
                (true, true) => 0,
                (true, false) => 1,
                (false, _) if !has_like && !is_tame => 2,
                _ => 3,
            };
            candidates[at].seen.place += place;
        }
        start = behind;
    }
}

#[cfg(test)]
mod tests {
    use tickscope_model::{Nanos, TapId};

    use super::*;
    use crate::pair::trigger::report_tick;

    #[test]
    fn packets_of_two_files_may_have_the_same_number() {
        let sent = Timestamp(1_000_000);
        let of = |age: i64, frame: u64| {
            let mut tick = report_tick(sent.shifted(Nanos(-age)), frame, 1);
            (tick.kind, tick.line) = (MarketKind::Trade, 0);
            let seen = Seen { place: 4, ..of_report(tick, TapId(0), true, sent).seen };
            Candidate { seen, ..of_report(tick, TapId(0), true, sent) }
        };
        let places = |mut candidates: Vec<Candidate>| {
            place(&mut candidates);
            candidates.iter().map(|candidate| candidate.seen.place - 4).collect::<Vec<u8>>()
        };
        assert_eq!(places(vec![of(10, 7), of(10, 7)]), [3, 1], "one packet: the first, and another one of its kind");
        assert_eq!(places(vec![of(10, 7), of(900, 7)]), [0, 0], "two packets, each alone");
    }
}
