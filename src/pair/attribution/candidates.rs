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
}

/// A message that could have caused a request. Many are held until the two-pass model is made, so it is kept small.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub tick: Tick,
    pub symbol: SymbolId,
    pub origin: Origin,
    pub touch: Touch,
    pub relation: Relation,
}
const _: () = assert!(size_of::<Candidate>() == 56);

/// A private report of a fill; the same may be a candidate of many requests.
#[derive(Debug)]
pub struct Report {
    pub tick: Tick,
    pub tap: TapId,
    pub session: Arc<str>,
    pub symbol: Arc<str>,
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

/// What could have caused a request.
#[derive(Clone, Copy, Debug)]
pub enum Cause<'a> {
    Market(&'a Candidate),
    Report(&'a Report),
}

impl Cause<'_> {
    pub fn tick(&self) -> &Tick {
        match self {
            Cause::Market(candidate) => &candidate.tick,
            Cause::Report(report) => &report.tick,
        }
    }

    fn touch(&self) -> Touch {
        if let Cause::Market(candidate) = self { candidate.touch } else { Touch::Same }
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
    /// Behind these the private reports.
    pub(crate) reports: Vec<Arc<Report>>,
    /// The same as the model sees it.
    pub(crate) observed: Observed,
    /// What each of the messages did to the book, and how likely each candidate is the cause; only where cases are kept.
    pub effects: Option<Vec<Effect>>,
    pub weights: Vec<f64>,
    /// The best prices when the request was sent.
    pub best: Option<Best>,
    pub is_partial: bool,
    /// When market data was last noticed to be missing before the request.
    pub(crate) gap: Option<Timestamp>,
    pub(crate) is_cross_clock: bool,
    /// The message that an id in the request names.
    pub(crate) by_id: Option<Box<Candidate>>,
}

impl Case {
    /// How many candidates there are.
    pub fn count(&self) -> usize {
        self.candidates.len() + self.reports.len()
    }

    pub fn cause(&self, at: usize) -> Option<Cause<'_>> {
        match at.checked_sub(self.candidates.len()) {
            None => self.candidates.get(at).map(Cause::Market),
            Some(behind) => self.reports.get(behind).map(|report| Cause::Report(report)),
        }
    }

    /// Adds a message, which is older than those of its symbol before it, and what it did to the book. Reports come behind all
    /// messages.
    pub(crate) fn push(&mut self, (candidate, seen): (Candidate, Seen), effect: Option<&Effect>) {
        self.candidates.push(candidate);
        self.observed.candidates.push(seen);
        if let Some(effects) = &mut self.effects {
            effects.push(effect.copied().unwrap_or_default());
        }
    }

    pub(crate) fn push_report(&mut self, report: &Arc<Report>, is_same_symbol: bool, time: Timestamp) {
        self.reports.push(Arc::clone(report));
        self.observed.candidates.push(Seen {
            bin: lag::bin(lag_of(report.tick.time, time)),
            cell: model::report_cell(is_same_symbol),
            relation: model::relation_cell(false, Touch::Same, 2, 0),
            place: 0,
            is_spent: false,
        });
    }

    /// Room for so many more messages and reports, and no more than that: the case may be held for long.
    pub(crate) fn reserve(&mut self, (messages, reports): (usize, usize)) {
        self.candidates.reserve_exact(messages);
        self.reports.reserve_exact(reports);
        self.observed.candidates.reserve_exact(messages + reports);
    }

    /// Class of the local rate of messages.
    pub fn rate(&self) -> u8 {
        self.observed.rate
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
) -> (Candidate, Seen) {
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
    (Candidate { tick, symbol, origin: Origin::Symbol, touch, relation }, seen)
}

fn lag_of(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).0).unwrap_or(0)
}

/// A message that made a configured condition about another symbol true.
pub(crate) fn of_link((tick, symbol): (Tick, SymbolId), effect: &Effect, time: Timestamp) -> (Candidate, Seen) {
    let seen = Seen {
        bin: lag::bin(lag_of(tick.time, time)),
        cell: model::LINK_CELL,
        relation: model::relation_cell(false, Touch::Same, 2, 0),
        place: 0,
        is_spent: false,
    };
    (Candidate { tick, symbol, origin: Origin::Link, touch: effect.touch, relation: Relation::None }, seen)
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
pub(crate) fn place(case: &mut Case) {
    // Frames are numbered by file, and the files of one observation point share their lines.
    let packet = |tick: &Tick| (tick.time, tick.frame, tick.line);
    let group = |cause: &Cause<'_>| (cause.tick().kind == MarketKind::Trade, cause.touch() != Touch::Same);
    let is_like = |one: &Cause<'_>, other: &Cause<'_>| match (group(one), group(other)) {
        ((true, _), (true, _)) => true,
        ((false, one), (_, other)) => one && other,
        _ => false,
    };
    let mut seen = std::mem::take(&mut case.observed.candidates);
    let (mut start, count) = (0, case.count());
    while let Some(first) = case.cause(start) {
        let it = packet(first.tick());
        let is_of_it = |at: &usize| case.cause(*at).is_some_and(|cause| packet(cause.tick()) == it);
        let behind = (start + 1..count).find(|at| !is_of_it(at)).unwrap_or(count);
        for (at, seen) in seen.iter_mut().enumerate().take(behind).skip(start) {
            let Some(cause) = case.cause(at) else { break };
            // Newest first: what stands behind came before.
            let mut earlier = (at + 1..behind).filter_map(|at| case.cause(at));
            let has_like = earlier.any(|one| is_like(&cause, &one));
            let is_tame = group(&cause) == (false, false);
            let place = match (at + 1 == behind, at == start) {
                (true, true) => 0,
                (true, false) => 1,
                (false, _) if !has_like && !is_tame => 2,
                _ => 3,
            };
            seen.place += place;
        }
        start = behind;
    }
    case.observed.candidates = seen;
}

#[cfg(test)]
mod tests {
    use tickscope_model::Nanos;

    use super::*;
    use crate::pair::trigger::report_tick;

    #[test]
    fn packets_of_two_files_may_have_the_same_number() {
        let sent = Timestamp(1_000_000);
        let of = |age: i64, frame: u64| {
            let mut tick = report_tick(sent.shifted(Nanos(-age)), frame, 1);
            (tick.kind, tick.line) = (MarketKind::Trade, 0);
            of_market((tick, SymbolId(1)), None, Wish::default(), sent, &Exposure::default())
        };
        let places = |candidates: Vec<(Candidate, Seen)>| {
            let mut case = Case::default();
            for candidate in candidates {
                case.push(candidate, None);
            }
            place(&mut case);
            case.observed.candidates.iter().map(|seen| seen.place - 4).collect::<Vec<u8>>()
        };
        assert_eq!(places(vec![of(10, 7), of(10, 7)]), [3, 1], "one packet: the first, and another one of its kind");
        assert_eq!(places(vec![of(10, 7), of(900, 7)]), [0, 0], "two packets, each alone");
    }
}
