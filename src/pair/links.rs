//! Conditions on market data of one instrument that cause orders in another: `PEP.trade >= 576.08`, `A.mid > X.mid`. A
//! condition on a trade price causes with every trade that satisfies it; any other when it becomes true.

use std::collections::VecDeque;
use std::fmt;

use tickscope_model::{Decimal, MarketEvent, MarketKind, SymbolId, Timestamp};

use crate::book::{Effect, Price, price_of};
use crate::merge::{Symbols, Tick};

/// Causes of one rule that are kept.
const KEPT: usize = 256;

/// A `[[trigger.link]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRule {
    /// Symbol of the orders.
    pub orders: String,
    left: Operand,
    order: Order,
    right: Right,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Operand {
    symbol: String,
    field: Field,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Trade,
    Bid,
    Ask,
    Mid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Above,
    AtLeast,
    Below,
    AtMost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Right {
    /// Twice the price, as a middle is.
    Price(Price),
    Operand(Operand),
}

impl LinkRule {
    /// Reads a condition; the error says what is expected.
    pub fn parse(orders: &str, when: &str) -> Result<LinkRule, String> {
        let signs = [(">=", Order::AtLeast), ("<=", Order::AtMost), (">", Order::Above), ("<", Order::Below)];
        let wrong = || "expected a condition such as \"PEP.trade >= 576.08\" or \"A.mid > X.mid\"".to_owned();
        let (left, order, right) = signs
            .iter()
            .find_map(|(sign, order)| when.split_once(sign).map(|(left, right)| (left.trim(), *order, right.trim())))
            .ok_or_else(wrong)?;
        let left = Operand::parse(left).ok_or_else(wrong)?;
        let price = Decimal::parse(right.as_bytes()).and_then(price_of).and_then(|price| price.checked_mul(2));
        let right = match price {
            Some(price) => Right::Price(price),
            None => Right::Operand(Operand::parse(right).ok_or_else(wrong)?),
        };
        Ok(LinkRule { orders: orders.to_owned(), left, order, right })
    }

    /// The symbols that the condition is about.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        let right = match &self.right {
            Right::Price(_) => None,
            Right::Operand(operand) => Some(operand.symbol.as_str()),
        };
        std::iter::once(self.left.symbol.as_str()).chain(right)
    }
}

impl Operand {
    fn parse(text: &str) -> Option<Operand> {
        // Symbols may have dots themselves: BRK.A.mid.
        let (symbol, field) = text.rsplit_once('.')?;
        let field = match field {
            "trade" => Field::Trade,
            "bid" => Field::Bid,
            "ask" => Field::Ask,
            "mid" => Field::Mid,
            _ => return None,
        };
        (!symbol.is_empty() && !symbol.contains(char::is_whitespace))
            .then(|| Operand { symbol: symbol.to_owned(), field })
    }

    /// Twice its value behind a message about its symbol.
    fn value(&self, event: &MarketEvent, effect: &Effect) -> Option<Price> {
        let best = effect.after;
        let twice = |price: Price| (price != 0).then(|| price.saturating_mul(2));
        match self.field {
            Field::Trade if event.kind == MarketKind::Trade => twice(effect.price),
            Field::Trade => None,
            Field::Bid => twice(best.bid),
            Field::Ask => twice(best.ask),
            Field::Mid => (best.bid != 0 && best.ask != 0).then(|| best.bid.saturating_add(best.ask)),
        }
    }
}

impl fmt::Display for LinkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbols: Vec<&str> = self.symbols().collect();
        write!(f, "{} by {}", self.orders, symbols.join(", "))
    }
}

/// A message that made a condition true.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caused {
    pub point: u16,
    pub symbol: SymbolId,
    pub tick: Tick,
    pub effect: Effect,
}

/// The number of an operand's symbol, once there is one: names are not looked up for every message.
#[derive(Clone, Copy, Debug, Default)]
struct Number(Option<SymbolId>);

impl Number {
    fn is(&mut self, operand: &Operand, symbol: SymbolId, symbols: &Symbols) -> bool {
        if self.0.is_none() {
            self.0 = symbols.known(operand.symbol.as_bytes());
        }
        self.0 == Some(symbol)
    }
}

#[derive(Debug)]
struct State {
    rule: LinkRule,
    /// Of the left and the right operand.
    numbers: [Number; 2],
    left: Option<Price>,
    right: Option<Price>,
    was_true: Option<bool>,
    causes: VecDeque<Caused>,
    /// All that there were.
    count: u64,
}

/// All rules of a run, and what they have seen.
#[derive(Debug, Default)]
pub struct Links {
    states: Vec<State>,
    /// Causes so far.
    pub count: u64,
}

impl Links {
    pub fn new(rules: &[LinkRule]) -> Links {
        let state = |rule: &LinkRule| State {
            rule: rule.clone(),
            numbers: [Number::default(); 2],
            left: None,
            right: match rule.right {
                Right::Price(price) => Some(price),
                Right::Operand(_) => None,
            },
            was_true: None,
            causes: VecDeque::new(),
            count: 0,
        };
        Links { states: rules.iter().map(state).collect(), count: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// How often a rule's condition caused.
    pub fn causes_of(&self, rule: &LinkRule) -> u64 {
        self.states.iter().filter(|state| state.rule == *rule).map(|state| state.count).sum()
    }

    /// A message about a symbol that has a book.
    pub fn see(&mut self, point: u16, tick: &Tick, event: &MarketEvent, effect: &Effect, symbols: &Symbols) {
        for state in &mut self.states {
            let mut concerns = false;
            if state.numbers[0].is(&state.rule.left, event.symbol, symbols) {
                // A middle that is not there leaves the condition as it was.
                state.left = state.rule.left.value(event, effect).or(state.left);
                concerns = state.rule.left.field != Field::Trade || event.kind == MarketKind::Trade;
            }
            if let Right::Operand(operand) = &state.rule.right
                && state.numbers[1].is(operand, event.symbol, symbols)
            {
                state.right = operand.value(event, effect).or(state.right);
                concerns |= operand.field != Field::Trade || event.kind == MarketKind::Trade;
            }
            let (Some(left), Some(right), true) = (state.left, state.right, concerns) else { continue };
            let is_true = match state.rule.order {
                Order::Above => left > right,
                Order::AtLeast => left >= right,
                Order::Below => left < right,
                Order::AtMost => left <= right,
            };
            let rises = is_true && state.was_true == Some(false);
            state.was_true = Some(is_true);
            if rises || is_true && state.rule.left.field == Field::Trade {
                if state.causes.len() == KEPT {
                    state.causes.pop_front();
                }
                state.causes.push_back(Caused { point, symbol: event.symbol, tick: *tick, effect: *effect });
                state.count += 1;
                self.count += 1;
            }
        }
    }

    /// No cause so far is one of what comes from now on.
    pub fn forget_causes(&mut self) {
        self.states.iter_mut().for_each(|state| state.causes.clear());
    }

    /// What could have caused an order in this symbol, newest first.
    pub(super) fn newest_first(&self, symbol: &str, time: Timestamp) -> impl Iterator<Item = &Caused> {
        let states = self.states.iter().filter(move |state| state.rule.orders == symbol);
        states.flat_map(|state| state.causes.iter().rev()).filter(move |caused| caused.tick.time <= time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Best;
    use tickscope_model::BookChange;

    fn seen(when: &str, messages: &[(&str, MarketKind, i64, i64)]) -> Vec<u64> {
        let mut symbols = Symbols::default();
        let mut links = Links::new(&[LinkRule::parse("INTC", when).unwrap()]);
        for (&(name, kind, bid, ask), at) in messages.iter().zip(1..) {
            let symbol = symbols.number(name.as_bytes());
            let cent = |cents: i64| cents * 1_000_000;
            let after = Best { bid: cent(bid), ask: cent(ask), ..Best::default() };
            let effect = Effect { price: cent(bid), after, ..Effect::default() };
            let tick = Tick { time: Timestamp(at), sequence: at, frame: at, line: 0, code: b'A', kind, place: None };
            let event = MarketEvent {
                symbol,
                kind,
                code: b'A',
                side: None,
                price: None,
                quantity: 0,
                sequence: at,
                reference: 0,
                exchange_ns: 0,
                book: BookChange::None,
            };
            links.see(0, &tick, &event, &effect, &symbols);
        }
        let mut times: Vec<u64> = links.newest_first("INTC", Timestamp(99)).map(|caused| caused.tick.time.0).collect();
        times.reverse();
        times
    }

    #[test]
    fn every_trade_that_satisfies_a_condition_on_its_price_causes() {
        use MarketKind::{Book, Trade};
        let messages =
            [("PEP", Trade, 57_607, 0), ("PEP", Trade, 57_608, 0), ("PEP", Book, 57_609, 0), ("PEP", Trade, 57_610, 0)];
        assert_eq!(seen("PEP.trade >= 576.08", &messages), [2, 4]);
    }

    #[test]
    fn other_conditions_cause_when_they_become_true() {
        use MarketKind::Quote;
        let messages = [
            ("X", Quote, 100, 102),
            ("A", Quote, 99, 101),
            ("A", Quote, 101, 103),
            ("A", Quote, 101, 105),
            ("X", Quote, 104, 106),
            ("X", Quote, 100, 102),
            ("B", Quote, 1, 2),
        ];
        assert_eq!(seen("A.mid > X.mid", &messages), [3, 6]);
        assert_eq!(seen("X.bid < 1.02", &messages), [6]);
    }

    #[test]
    fn a_condition_that_is_none_says_what_is_expected() {
        for when in ["", "PEP", "PEP.trade", "PEP.last > 1", "PEP.trade > ", ".mid > 1", "PEP.trade = 5"] {
            assert!(LinkRule::parse("INTC", when).is_err(), "{when}");
        }
        let rule = LinkRule::parse("INTC", "BRK.A.mid <= X.mid").unwrap();
        assert_eq!(rule.symbols().collect::<Vec<_>>(), ["BRK.A", "X"]);
    }
}
