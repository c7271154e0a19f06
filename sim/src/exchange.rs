//! The mock exchange behind the session layer: requests in, reports out, matched against the published books. It reads
//! no clock and no socket, so that the simulated and the live exchange are the same one.

use std::collections::HashMap;

use crate::book::{Change, Fill, Resting, Side};
use crate::encode::fix::{Fields, Received, Version, parse_price, price_text};
use crate::market::Market;
use crate::random::Random;
use crate::scenario::Exchange as Settings;

/// Which latency of a request a report answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ack,
    Reject,
    Fill { is_last: bool },
    CancelAck,
    ReplaceAck,
}

/// A message towards a client.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub session: usize,
    pub kind: &'static str,
    pub body: Fields,
    /// The request that it answers, if it answers one.
    pub answers: Option<(String, Answer)>,
    /// A session-level reject is sent by the session: its tag and reason.
    pub session_reject: Option<(u32, u32)>,
}

/// Everything that one request or market event led to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub reports: Vec<Report>,
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug)]
struct Order {
    session: usize,
    version: Version,
    /// The `ClOrdID` that reports name now.
    clordid: String,
    symbol: u16,
    side: Side,
    side_text: String,
    price: u32,
    quantity: u32,
    filled: u32,
    /// Price times quantity of all fills.
    turnover: u64,
    is_open: bool,
    book_id: u64,
    /// The number that reports and market data share, where they share one; else 0.
    reference: u64,
}

impl Order {
    /// `OrderID` (37) of the order at this place of the list.
    fn id(&self, at: usize) -> String {
        if self.reference > 0 { self.reference.to_string() } else { format!("E{:08}", at + 1) }
    }
}

/// The exchange's own state.
#[derive(Debug)]
pub(crate) struct Exchange {
    settings: Settings,
    random: Random,
    orders: Vec<Order>,
    by_id: HashMap<(usize, String), usize>,
    symbols: HashMap<String, u16>,
    next_exec: u64,
}

/// Digits of the second in `TransactTime`.
const DIGITS: u8 = 6;

/// Why a request is turned down: tag 103 or 102, and the text.
type Refusal = (u64, &'static str);

impl Exchange {
    pub(crate) fn new(settings: &Settings, seed: u64, market: &Market) -> Exchange {
        let names = market.instruments.iter().enumerate();
        let symbols = names.map(|(at, one)| (one.symbol.clone(), u16::try_from(at).expect("at most 10000"))).collect();
        Exchange {
            settings: settings.clone(),
            random: Random::new(seed, "exchange"),
            orders: Vec::new(),
            by_id: HashMap::new(),
            symbols,
            next_exec: 1,
        }
    }

    /// A pending state to be sent first, where this request gets one.
    pub(crate) fn pending(&mut self, now: u64, session: usize, version: Version, message: &Received) -> Option<Report> {
        if !self.random.chance(self.settings.pending) {
            return None;
        }
        let status = match message.kind() {
            "D" => "A",
            "F" => "6",
            "G" => "E",
            _ => return None,
        };
        let mut body = Fields::new().text(37, "NONE").text(11, message.text(11));
        if status != "A" {
            body = body.text(41, message.text(41));
        }
        body = self.exec_id(body, version).text(150, status).text(39, status);
        body = body.text(55, message.text(55)).text(54, message.text(54));
        body = body.text(38, message.find(38).unwrap_or("0")).number(151, 0).number(14, 0).number(6, 0);
        body = body.time(60, now, DIGITS);
        Some(Report { session, kind: "8", body, answers: None, session_reject: None })
    }

    /// Takes one application message of a client, and matches it.
    pub(crate) fn request(
        &mut self,
        now: u64,
        session: usize,
        version: Version,
        message: &Received,
        market: &mut Market,
    ) -> Outcome {
        let mut out = Outcome::default();
        if self.refused_early(now, session, message, &mut out) {
            return out;
        }
        match message.kind() {
            "D" => self.new_order(now, session, version, message, market, &mut out),
            "F" => self.cancel(now, session, version, message, market, &mut out),
            "G" => self.replace(now, session, version, message, market, &mut out),
            _ => unreachable!("other kinds were refused"),
        }
        out
    }

    /// Session and business rejects: missing fields, unknown kinds, and what the scenario asks for.
    fn refused_early(&mut self, _now: u64, session: usize, message: &Received, out: &mut Outcome) -> bool {
        let id = message.text(11).to_owned();
        let answers = (!id.is_empty()).then(|| (id.clone(), Answer::Reject));
        let needed: &[u32] = match message.kind() {
            "D" => &[11, 55, 54, 38, 40],
            "F" => &[11, 41, 55, 54],
            "G" => &[11, 41, 55, 54, 38, 40],
            _ => {
                out.reports.push(business_reject(session, message, answers, "unsupported message type", 3));
                return true;
            }
        };
        let missing = needed.iter().find(|&&tag| message.find(tag).is_none()).copied();
        let refused =
            if missing.is_some() { missing } else { self.random.chance(self.settings.reject_session).then_some(0) };
        if let Some(tag) = refused {
            // Reason 1: required tag missing; 99 (4.4 and later) or 5 otherwise: the value is not liked.
            let reason = if missing.is_some() { 1 } else { 5 };
            let session_reject = Some((tag, reason));
            out.reports.push(Report { session, kind: "3", body: Fields::new(), answers, session_reject });
            return true;
        }
        if self.random.chance(self.settings.reject_business) {
            out.reports.push(business_reject(session, message, answers, "application not available", 4));
            return true;
        }
        false
    }

    fn new_order(
        &mut self,
        now: u64,
        session: usize,
        version: Version,
        message: &Received,
        market: &mut Market,
        out: &mut Outcome,
    ) {
        let side_text = message.text(54);
        let mut order = Order {
            session,
            version,
            clordid: message.text(11).to_owned(),
            symbol: 0,
            side: if side_text == "1" { Side::Buy } else { Side::Sell },
            side_text: side_text.to_owned(),
            price: 0,
            quantity: 0,
            filled: 0,
            turnover: 0,
            is_open: false,
            book_id: 0,
            reference: 0,
        };
        let key = (session, order.clordid.clone());
        let at = self.orders.len();
        if let Err((reason, text)) = self.fill_in(&mut order, message) {
            let mut fields = self.execution(now, at, &order, "8", "8", market, None);
            fields = fields.number(103, reason).text(58, text);
            Self::report(out, session, fields, Some((order.clordid.clone(), Answer::Reject)));
            return;
        }
        order.is_open = true;
        order.reference = self.reference(market);
        let acknowledged = self.execution(now, at, &order, "0", "0", market, None);
        Self::report(out, session, acknowledged, Some((order.clordid.clone(), Answer::Ack)));
        self.by_id.insert(key, at);
        self.orders.push(order);
        // TimeInForce 3: immediate or cancel. 1 in 40 marks a market order.
        let rests = message.text(59) != "3" && message.text(40) != "1";
        self.work(now, at, rests, market, out);
    }

    /// Symbol, price and quantity of a new order, or why it is turned down.
    fn fill_in(&mut self, order: &mut Order, message: &Received) -> Result<(), Refusal> {
        order.symbol = *self.symbols.get(message.text(55)).ok_or((1, "unknown symbol"))?;
        order.quantity = whole(message.text(38)).ok_or((99, "quantity is no whole number"))?;
        order.price = match message.text(40) {
            "1" if order.side == Side::Buy => u32::MAX,
            "1" => 0,
            "2" => parse_price(message.text(44)).filter(|&price| price > 0).ok_or((99, "price is missing or wrong"))?,
            _ => return Err((11, "order type is not supported")),
        };
        if self.by_id.contains_key(&(order.session, order.clordid.clone())) {
            return Err((6, "duplicate ClOrdID"));
        }
        if self.random.chance(self.settings.reject) {
            return Err((0, "rejected by the scenario"));
        }
        Ok(())
    }

    /// Trades an order against the book; a rest stays there or is cancelled.
    fn work(&mut self, now: u64, at: usize, rests: bool, market: &mut Market, out: &mut Outcome) {
        let Order { symbol, side, price, .. } = self.orders[at];
        loop {
            let left = self.orders[at].quantity - self.orders[at].filled;
            let matched = market.new_match();
            let Some((change, fill)) = market.books[usize::from(symbol)].hit(side, price, left, matched) else { break };
            out.changes.push(change);
            self.fill(now, at, &fill, market, out);
            if let Some(owner) = self.own(&fill) {
                self.fill(now, owner, &fill, market, out);
            }
        }
        let left = self.orders[at].quantity - self.orders[at].filled;
        if left == 0 {
            return;
        }
        if rests {
            let id = self.number_in_book(at, market);
            self.orders[at].book_id = id;
            let owner = u32::try_from(at + 1).expect("fewer than 2^32 orders");
            let resting = Resting { id, quantity: left, owner };
            out.changes.push(market.books[usize::from(symbol)].add(side, price, resting));
        } else {
            self.orders[at].is_open = false;
            let order = self.orders[at].clone();
            let fields = self.execution(now, at, &order, "4", "4", market, None);
            Self::report(out, order.session, fields, None);
        }
    }

    /// A number for an order, where reports carry that of market data.
    fn reference(&self, market: &mut Market) -> u64 {
        if self.settings.public_ids { market.new_id() } else { 0 }
    }

    fn number_in_book(&self, at: usize, market: &mut Market) -> u64 {
        let reference = self.orders[at].reference;
        if reference > 0 { reference } else { market.new_id() }
    }

    /// Under which number market data shows the order that a request is about; 0 where it does not.
    pub(crate) fn public_reference(&self, session: usize, message: &Received) -> u64 {
        let named = [message.text(11), message.text(41)];
        let at = named.iter().find_map(|id| self.by_id.get(&(session, (*id).to_owned())));
        at.map(|&at| &self.orders[at]).map_or(0, |order| order.book_id.max(order.reference))
    }

    fn own(&self, fill: &Fill) -> Option<usize> {
        let at = usize::try_from(fill.owner).ok()?.checked_sub(1)?;
        (at < self.orders.len()).then_some(at)
    }

    /// The crowd traded with orders of ours.
    pub(crate) fn struck(&mut self, now: u64, market: &mut Market) -> Outcome {
        let mut out = Outcome::default();
        for (_, fill) in std::mem::take(&mut market.struck) {
            if let Some(at) = self.own(&fill) {
                self.fill(now, at, &fill, market, &mut out);
            }
        }
        out
    }

    fn fill(&mut self, now: u64, at: usize, fill: &Fill, market: &Market, out: &mut Outcome) {
        let order = &mut self.orders[at];
        order.filled += fill.quantity;
        order.turnover += u64::from(fill.quantity) * u64::from(fill.price);
        let is_last = order.filled >= order.quantity;
        order.is_open &= !is_last;
        let order = order.clone();
        let status = if is_last { "2" } else { "1" };
        let kind = if order.version == Version::Fix42 { status } else { "F" };
        let fields = self.execution(now, at, &order, kind, status, market, Some(fill));
        Self::report(out, order.session, fields, Some((order.clordid.clone(), Answer::Fill { is_last })));
    }

    fn cancel(
        &mut self,
        now: u64,
        session: usize,
        version: Version,
        message: &Received,
        market: &mut Market,
        out: &mut Outcome,
    ) {
        let at = match self.open_order(session, message) {
            Ok(at) => at,
            Err(refusal) => return self.refuse_change(now, session, version, message, refusal, out),
        };
        let Order { symbol, side, price, book_id, .. } = self.orders[at];
        out.changes.extend(market.books[usize::from(symbol)].reduce(side, price, book_id, u32::MAX));
        self.orders[at].is_open = false;
        let id = message.text(11).to_owned();
        let named = Order { clordid: id.clone(), ..self.orders[at].clone() };
        let fields = self.execution(now, at, &named, "4", "4", market, None).text(41, message.text(41));
        Self::report(out, session, fields, Some((id, Answer::CancelAck)));
    }

    fn replace(
        &mut self,
        now: u64,
        session: usize,
        version: Version,
        message: &Received,
        market: &mut Market,
        out: &mut Outcome,
    ) {
        let found = self.open_order(session, message).and_then(|at| {
            let price = parse_price(message.text(44)).filter(|&price| price > 0).ok_or((2, "price is wrong"))?;
            let quantity = whole(message.text(38)).ok_or((2, "quantity is wrong"))?;
            if quantity <= self.orders[at].filled {
                Err((0, "already filled so far"))
            } else {
                Ok((at, price, quantity))
            }
        });
        let (at, price, quantity) = match found {
            Ok(found) => found,
            Err(refusal) => return self.refuse_change(now, session, version, message, refusal, out),
        };
        let old = self.orders[at].clone();
        let id = message.text(11).to_owned();
        let reference = self.reference(market);
        let order = &mut self.orders[at];
        order.reference = reference;
        id.clone_into(&mut order.clordid);
        (order.price, order.quantity) = (price, quantity);
        let named = order.clone();
        self.by_id.insert((session, id.clone()), at);
        let status = match version {
            Version::Fix42 => "5",
            _ if named.filled > 0 => "1",
            _ => "0",
        };
        let fields = self.execution(now, at, &named, "5", status, market, None).text(41, message.text(41));
        Self::report(out, session, fields, Some((id, Answer::ReplaceAck)));
        let book = &mut market.books[usize::from(old.symbol)];
        let opposite = book.best().opposite(old.side);
        let crosses = opposite > 0 && if old.side == Side::Buy { price >= opposite } else { price <= opposite };
        if crosses {
            out.changes.extend(book.reduce(old.side, old.price, old.book_id, u32::MAX));
            self.work(now, at, true, market, out);
        } else {
            let new_id = self.number_in_book(at, market);
            let owner = u32::try_from(at + 1).expect("fewer than 2^32 orders");
            let resting = Resting { id: new_id, quantity: quantity - named.filled, owner };
            let book = &mut market.books[usize::from(old.symbol)];
            out.changes.extend(book.replace(old.side, old.price, old.book_id, price, resting));
            self.orders[at].book_id = new_id;
        }
    }

    /// The order that a cancel or replace means, if it can still be changed.
    fn open_order(&mut self, session: usize, message: &Received) -> Result<usize, Refusal> {
        let at = self.by_id.get(&(session, message.text(41).to_owned())).copied().ok_or((1, "unknown order"))?;
        if !self.orders[at].is_open || self.orders[at].book_id == 0 {
            return Err((0, "too late"));
        }
        if self.random.chance(self.settings.reject_change) {
            return Err((2, "rejected by the scenario"));
        }
        Ok(at)
    }

    fn refuse_change(
        &mut self,
        now: u64,
        session: usize,
        version: Version,
        message: &Received,
        (reason, text): Refusal,
        out: &mut Outcome,
    ) {
        let known = self.by_id.get(&(session, message.text(41).to_owned())).copied();
        let status = match known.map(|at| &self.orders[at]) {
            None => "8",
            Some(order) if order.filled >= order.quantity => "2",
            Some(order) if !order.is_open => "4",
            Some(order) if order.filled > 0 => "1",
            Some(_) => "0",
        };
        let id = message.text(11).to_owned();
        let order_id = known.map_or("NONE".to_owned(), |at| self.orders[at].id(at));
        let mut body = Fields::new().text(37, &order_id).text(11, &id).text(41, message.text(41)).text(39, status);
        // FIX 4.2 knows only 0 to 3 as reasons, later versions the same and more.
        let reason = if version == Version::Fix42 && reason > 3 { 2 } else { reason };
        body = body.text(434, if message.kind() == "F" { "1" } else { "2" }).number(102, reason);
        body = body.text(58, text).time(60, now, DIGITS);
        let answers = Some((id, Answer::Reject));
        out.reports.push(Report { session, kind: "9", body, answers, session_reject: None });
    }

    /// The exchange takes one of its clients' resting orders away, if there is one.
    pub(crate) fn cancel_unasked(&mut self, now: u64, clordid: &str, session: usize, market: &mut Market) -> Outcome {
        let mut out = Outcome::default();
        let found = self.by_id.get(&(session, clordid.to_owned())).copied();
        let Some(at) = found.filter(|&at| self.orders[at].is_open && self.orders[at].book_id > 0) else { return out };
        let order = self.orders[at].clone();
        let book = &mut market.books[usize::from(order.symbol)];
        out.changes.extend(book.reduce(order.side, order.price, order.book_id, u32::MAX));
        self.orders[at].is_open = false;
        let fields = self.execution(now, at, &order, "4", "4", market, None);
        Self::report(&mut out, order.session, fields.text(58, "cancelled by the exchange"), None);
        out
    }

    /// Whether this order rests and is one of those that the exchange will cancel by itself.
    pub(crate) fn will_cancel(&mut self, session: usize, clordid: &str) -> bool {
        let known = self.by_id.get(&(session, clordid.to_owned()));
        let rests = known.is_some_and(|&at| self.orders[at].is_open && self.orders[at].book_id > 0);
        rests && self.random.chance(self.settings.unsolicited)
    }

    fn report(out: &mut Outcome, session: usize, body: Fields, answers: Option<(String, Answer)>) {
        out.reports.push(Report { session, kind: "8", body, answers, session_reject: None });
    }

    fn exec_id(&mut self, body: Fields, version: Version) -> Fields {
        let body = body.text(17, &format!("X{:08}", self.next_exec));
        self.next_exec += 1;
        // ExecTransType 0 (new) is required up to FIX 4.2 and unknown afterwards.
        if version == Version::Fix42 { body.number(20, 0) } else { body }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one message")]
    fn execution(
        &mut self,
        now: u64,
        at: usize,
        order: &Order,
        kind: &str,
        status: &str,
        market: &Market,
        fill: Option<&Fill>,
    ) -> Fields {
        let leaves = if ["4", "8"].contains(&kind) { 0 } else { order.quantity.saturating_sub(order.filled) };
        let average = order.turnover.checked_div(u64::from(order.filled)).unwrap_or(0);
        let symbol = market.instruments.get(usize::from(order.symbol)).map_or("", |one| one.symbol.as_str());
        let mut body = Fields::new().text(37, &order.id(at)).text(11, &order.clordid);
        body = self.exec_id(body, order.version).text(150, kind).text(39, status);
        body = body.text(55, symbol).text(54, &order.side_text).number(38, order.quantity.into());
        if order.price > 0 && order.price < u32::MAX {
            body = body.price(44, order.price);
        }
        if let Some(fill) = fill {
            body = body.number(32, fill.quantity.into()).price(31, fill.price);
        }
        body = body.number(151, leaves.into()).number(14, order.filled.into());
        body = body.text(6, &price_text(u32::try_from(average).unwrap_or(0)));
        body.time(60, now, DIGITS)
    }
}

fn business_reject(
    session: usize,
    message: &Received,
    answers: Option<(String, Answer)>,
    text: &str,
    reason: u64,
) -> Report {
    let mut body = Fields::new().number(45, message.sequence()).text(372, message.kind());
    if let Some((id, _)) = &answers {
        body = body.text(379, id);
    }
    body = body.number(380, reason).text(58, text);
    Report { session, kind: "j", body, answers, session_reject: None }
}

/// A quantity: a positive whole number, perhaps written with zeros behind a point.
fn whole(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let fits = part.bytes().all(|byte| byte == b'0');
    whole.parse().ok().filter(|&quantity| quantity > 0 && fits && quantity < 100_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::fix::{Framer, Header, encode};
    use crate::scenario::Scenario;

    fn message(kind: &str, body: &Fields) -> Received {
        let header = Header {
            version: Version::Fix44,
            kind,
            sender: "C",
            target: "S",
            sequence: 2,
            sending: 0,
            first_sent: None,
            digits: 3,
        };
        let mut framer = Framer::default();
        framer.push(&encode(&header, &body.0));
        framer.pop().unwrap()
    }

    fn order(id: &str, symbol: &str, side: &str, quantity: u64, price: u32) -> Fields {
        let body = Fields::new().text(11, id).text(55, symbol).text(54, side).number(38, quantity);
        body.text(40, "2").price(44, price)
    }

    fn setup() -> (Exchange, Market, String, u32) {
        let scenario = Scenario::parse("", "test").unwrap();
        let mut market = Market::new(&scenario.market, 1, 0);
        let mut changes = Vec::new();
        market.open(0, &mut changes);
        let (symbol, price) = (market.instruments[0].symbol.clone(), market.instruments[0].price);
        (Exchange::new(&scenario.exchange, 1, &market), market, symbol, price)
    }

    fn answers(outcome: &Outcome) -> Vec<(String, Answer)> {
        outcome.reports.iter().filter_map(|report| report.answers.clone()).collect()
    }

    #[test]
    fn fills_replaces_and_cancels_name_the_right_request() {
        let (mut exchange, mut market, symbol, price) = setup();
        let mut ask =
            |kind: &str, body: Fields| exchange.request(0, 0, Version::Fix44, &message(kind, &body), &mut market);
        // More than the whole offered side: several fills, and the rest stays.
        let got = answers(&ask("D", order("A", &symbol, "1", 10_000, price + 500)));
        assert_eq!(got[0], ("A".into(), Answer::Ack));
        assert!(got.len() > 4 && got[1..].iter().all(|one| *one == ("A".into(), Answer::Fill { is_last: false })));
        let got = answers(&ask("G", order("B", &symbol, "1", 9_990, price - 500).text(41, "A")));
        assert_eq!(got, [("B".into(), Answer::ReplaceAck)]);
        let got = answers(&ask("F", order("C", &symbol, "1", 1, price).text(41, "B")));
        assert_eq!(got, [("C".into(), Answer::CancelAck)]);
        let got = answers(&ask("F", order("D", &symbol, "1", 1, price).text(41, "B")));
        assert_eq!(got, [("D".into(), Answer::Reject)]);
        let got = answers(&ask("D", order("A", &symbol, "1", 1, price)));
        assert_eq!(got, [("A".into(), Answer::Reject)], "a ClOrdID can be used once");
    }

    #[test]
    fn immediate_or_cancel_leaves_nothing_behind() {
        let (mut exchange, mut market, symbol, price) = setup();
        let body = order("A", &symbol, "1", 100, price - 1000).text(59, "3");
        let outcome = exchange.request(0, 0, Version::Fix44, &message("D", &body), &mut market);
        assert_eq!(answers(&outcome), [("A".into(), Answer::Ack)]);
        assert_eq!(outcome.reports.len(), 2, "the cancel that nobody asked for is no answer");
        assert!(outcome.changes.is_empty());
    }

    #[test]
    fn a_missing_field_is_a_session_reject_and_an_unknown_kind_a_business_reject() {
        let (mut exchange, mut market, symbol, price) = setup();
        let outcome = exchange.request(0, 0, Version::Fix44, &message("D", &Fields::new().text(11, "A")), &mut market);
        assert_eq!(outcome.reports[0].session_reject, Some((55, 1)));
        let outcome =
            exchange.request(0, 0, Version::Fix44, &message("V", &order("B", &symbol, "1", 1, price)), &mut market);
        assert_eq!(outcome.reports[0].kind, "j");
    }
}
