//! The reference trader: rules that turn ticks and reports into orders. It decides; sending is the world's business.

use std::collections::{BTreeMap, HashMap};

use crate::book::{Best, Side, TICK};
use crate::encode::feed::Tick;
use crate::encode::fix::{Fields, Received, price_text};
use crate::market::Instrument;
use crate::random::Random;
use crate::scenario::{Kind, On, Scenario, Strategy, Style};

/// A sweep takes what is shown, but not more than this: its own rests are shown, too.
const LARGEST_SWEEP: u32 = 5_000;

/// A request that is ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// `MsgType`: D, F or G.
    pub(crate) kind: &'static str,
    pub(crate) clordid: String,
    pub(crate) orig_clordid: String,
    pub(crate) chain: String,
    pub(crate) symbol: u16,
    pub(crate) side: Side,
    pub(crate) price: u32,
    pub(crate) quantity: u32,
    immediate: bool,
}

impl Order {
    /// The `request` column of the truth.
    pub(crate) fn request_name(&self) -> &'static str {
        match self.kind {
            "D" => "new",
            "G" => "replace",
            _ => "cancel",
        }
    }

    /// The `price` column: a cancel has none.
    pub(crate) fn price_text(&self) -> String {
        if self.kind == "F" { String::new() } else { price_text(self.price) }
    }

    /// The message behind its header.
    pub(crate) fn fields(&self, instruments: &[Instrument], now: u64, digits: u8) -> Fields {
        let mut body = Fields::new().text(11, &self.clordid);
        if self.kind != "D" {
            body = body.text(41, &self.orig_clordid);
        }
        if self.kind != "F" {
            body = body.number(21, 1);
        }
        body = body.text(55, &instruments[usize::from(self.symbol)].symbol);
        body = body.text(54, if self.side == Side::Buy { "1" } else { "2" });
        body = body.time(60, now, digits).number(38, self.quantity.into());
        if self.kind != "F" {
            body = body.text(40, "2").price(44, self.price).text(59, if self.immediate { "3" } else { "0" });
        }
        body
    }
}

/// An order of ours that may still be changed.
#[derive(Clone, Debug)]
struct Working {
    strategy: usize,
    symbol: u16,
    side: Side,
    price: u32,
    quantity: u32,
    chain: String,
    /// The exchange has acknowledged it, and no change of it is on its way.
    is_settled: bool,
}

/// The trader's whole state.
#[derive(Debug)]
pub(crate) struct Trader {
    strategies: Vec<Strategy>,
    /// By strategy: which symbols it looks at; `None`: all.
    symbols: Vec<Option<Vec<u16>>>,
    conditional: Vec<Option<Link>>,
    last: HashMap<(usize, u16), u64>,
    /// By strategy: whether it has looked at a message of this packet.
    looked: Vec<bool>,
    random: Random,
    best: Vec<Best>,
    working: BTreeMap<String, Working>,
    by_symbol: HashMap<u16, Vec<String>>,
    prefix: String,
    next_id: u64,
}

/// A condition across instruments.
#[derive(Debug)]
struct Link {
    when: u16,
    over: Option<u16>,
    /// Twice the middle that `when` has to rise above where there is no second symbol.
    level: u32,
    sell: u16,
    was_true: bool,
}

impl Trader {
    pub(crate) fn new(scenario: &Scenario, seed: u64, instruments: &[Instrument]) -> Trader {
        let index = |name: &String| {
            let at = instruments.iter().position(|one| one.symbol == *name);
            at.map(|at| u16::try_from(at).expect("at most 10000 symbols"))
        };
        let strategies = scenario.strategy.clone();
        let symbols = strategies
            .iter()
            .map(|one| (!one.symbols.is_empty()).then(|| one.symbols.iter().filter_map(index).collect()))
            .collect();
        let conditional = strategies
            .iter()
            .map(|one| {
                let (when, sell) = (index(&one.when)?, index(&one.sell)?);
                let level = instruments[usize::from(when)].price * 2;
                Some(Link { when, over: index(&one.over), level, sell, was_true: true })
            })
            .collect();
        Trader {
            looked: vec![false; strategies.len()],
            strategies,
            symbols,
            conditional,
            last: HashMap::new(),
            random: Random::new(seed, "trader"),
            best: instruments.iter().map(|one| opening_price(one, scenario)).collect(),
            working: BTreeMap::new(),
            by_symbol: HashMap::new(),
            prefix: format!("T{:02}", seed % 100),
            next_id: 1,
        }
    }

    /// The messages of another packet come.
    pub(crate) fn packet(&mut self) {
        self.looked.fill(false);
    }

    /// What the trader does about one message of the market.
    pub(crate) fn tick(&mut self, now: u64, tick: &Tick) -> Vec<Order> {
        self.best[usize::from(tick.symbol)] = tick.best;
        let mut orders = Vec::new();
        for at in 0..self.strategies.len() {
            if self.strategies[at].kind == Kind::Conditional {
                self.condition(at, tick, &mut orders);
            } else if self.is_concerned(at, now, tick) {
                match self.strategies[at].kind {
                    Kind::React => self.react(at, tick, &mut orders),
                    Kind::Quote => self.quote(at, tick, &mut orders),
                    Kind::Timer | Kind::Conditional => {}
                }
            }
        }
        orders
    }

    fn is_concerned(&mut self, at: usize, now: u64, tick: &Tick) -> bool {
        let strategy = &self.strategies[at];
        let matches = match strategy.on {
            _ if strategy.kind == Kind::Quote => tick.is_best,
            On::Trade => tick.is_trade,
            On::Best => tick.is_best,
            On::Any => true,
        };
        let wanted = self.symbols[at].as_ref().is_none_or(|symbols| symbols.contains(&tick.symbol));
        if !matches || !wanted || strategy.kind == Kind::Timer {
            return false;
        }
        if strategy.first && std::mem::replace(&mut self.looked[at], true) {
            return false;
        }
        let key = (at, tick.symbol);
        let rested = self.last.get(&key).is_none_or(|last| now >= last + strategy.pause.0);
        if !rested || !(strategy.share >= 1.0 || self.random.chance(strategy.share)) {
            return false;
        }
        self.last.insert(key, now);
        true
    }

    fn react(&mut self, at: usize, tick: &Tick, orders: &mut Vec<Order>) {
        let cancel = self.strategies[at].cancel;
        if cancel > 0.0
            && self.random.chance(cancel)
            && let Some(id) = self.settled(at, tick.symbol, None)
        {
            orders.push(self.change(&id, "F", 0));
            return;
        }
        for _ in 0..self.strategies[at].orders {
            let Strategy { style, on, seen, .. } = self.strategies[at];
            if seen.is_some() {
                let side = if style == Style::Join { tick.side } else { tick.side.other() };
                let price = if on == On::Best { tick.best.own(tick.side) } else { tick.price };
                let price = self.near(at, price);
                orders.extend(self.order_at(at, tick.symbol, side, price));
            } else {
                // Follow the trade: what was offered and got traded may soon be dearer.
                orders.extend(self.new_order(at, tick.symbol, tick.side.other()));
            }
        }
    }

    /// With the strategy's share this price, else one some ticks away from it; 0 where there is none.
    fn near(&mut self, at: usize, price: u32) -> u32 {
        let Strategy { seen, away, .. } = self.strategies[at];
        if price == 0 || seen.is_none_or(|seen| self.random.chance(seen)) {
            return price;
        }
        let steps = u32::try_from(self.random.between(1, away.into())).expect("8 bits") * TICK;
        if self.random.chance(0.5) { price + steps } else { price.saturating_sub(steps).max(TICK) }
    }

    /// A new order of a strategy; none where the price it needs is missing.
    fn new_order(&mut self, at: usize, symbol: u16, side: Side) -> Option<Order> {
        let best = self.best[usize::from(symbol)];
        let strategy = &self.strategies[at];
        let price = match strategy.style {
            _ if strategy.kind == Kind::Quote => quote_price(&best, side),
            Style::Take | Style::Sweep => best.opposite(side),
            Style::Join => best.own(side),
        };
        self.order_at(at, symbol, side, price)
    }

    /// A new order at a price; none where that is 0.
    fn order_at(&mut self, at: usize, symbol: u16, side: Side, price: u32) -> Option<Order> {
        if price == 0 {
            return None;
        }
        let (best, strategy) = (self.best[usize::from(symbol)], &self.strategies[at]);
        let style = if strategy.kind == Kind::Quote { Style::Join } else { strategy.style };
        let shown = if side == Side::Buy { best.ask_quantity } else { best.bid_quantity };
        let quantity =
            if style == Style::Sweep { shown.min(LARGEST_SWEEP) + strategy.quantity } else { strategy.quantity };
        let immediate = style == Style::Take;
        let clordid = self.new_id();
        let chain = clordid.clone();
        let working = Working { strategy: at, symbol, side, price, quantity, chain: chain.clone(), is_settled: false };
        self.insert(&clordid, working);
        Some(Order { kind: "D", clordid, orig_clordid: String::new(), chain, symbol, side, price, quantity, immediate })
    }

    fn new_id(&mut self) -> String {
        let id = format!("{}-{:06}", self.prefix, self.next_id);
        self.next_id += 1;
        id
    }

    fn insert(&mut self, id: &str, working: Working) {
        self.by_symbol.entry(working.symbol).or_default().push(id.to_owned());
        self.working.insert(id.to_owned(), working);
    }

    fn remove(&mut self, id: &str) -> Option<Working> {
        let working = self.working.remove(id)?;
        if let Some(ids) = self.by_symbol.get_mut(&working.symbol) {
            ids.retain(|known| known != id);
        }
        Some(working)
    }

    /// The oldest order of a strategy on a symbol that can be changed.
    fn settled(&self, at: usize, symbol: u16, side: Option<Side>) -> Option<String> {
        let ids = self.by_symbol.get(&symbol)?;
        let matches = |id: &&String| {
            let known = self.working.get(*id);
            known.is_some_and(|one| one.strategy == at && one.is_settled && side.is_none_or(|side| one.side == side))
        };
        ids.iter().find(matches).cloned()
    }

    /// A cancel or replace of a working order.
    fn change(&mut self, id: &str, kind: &'static str, price: u32) -> Order {
        let clordid = self.new_id();
        let working = self.working.get_mut(id).expect("only working orders are changed");
        working.is_settled = false;
        Order {
            kind,
            clordid,
            orig_clordid: id.to_owned(),
            chain: working.chain.clone(),
            symbol: working.symbol,
            side: working.side,
            price,
            quantity: working.quantity,
            immediate: false,
        }
    }

    fn quote(&mut self, at: usize, tick: &Tick, orders: &mut Vec<Order>) {
        for side in [Side::Buy, Side::Sell] {
            let price = quote_price(&tick.best, side);
            let ids = self.by_symbol.get(&tick.symbol);
            let mine = ids.into_iter().flatten().find_map(|id| {
                let one = self.working.get(id)?;
                (one.strategy == at && one.side == side).then(|| (id.clone(), one.price, one.is_settled))
            });
            match mine {
                _ if price == 0 => {}
                None => orders.extend(self.new_order(at, tick.symbol, side)),
                Some((id, old, true)) if old != price => {
                    let withdraws = self.random.chance(self.strategies[at].cancel);
                    orders.push(if withdraws { self.change(&id, "F", 0) } else { self.change(&id, "G", price) });
                }
                Some(_) => {}
            }
        }
    }

    fn condition(&mut self, at: usize, tick: &Tick, orders: &mut Vec<Order>) {
        let Some(link) = &mut self.conditional[at] else { return };
        if tick.symbol != link.when && Some(tick.symbol) != link.over {
            return;
        }
        let left = self.best[usize::from(link.when)].double_mid();
        let right = link.over.map_or(Some(link.level), |over| self.best[usize::from(over)].double_mid());
        let (Some(left), Some(right)) = (left, right) else { return };
        let is_true = left > right;
        let rises = is_true && !link.was_true;
        link.was_true = is_true;
        let sold = link.sell;
        if rises {
            orders.extend(self.new_order(at, sold, Side::Sell));
        }
    }

    /// An order that nothing in the market caused.
    pub(crate) fn timer(&mut self, at: usize) -> Option<Order> {
        let symbol = match &self.symbols[at] {
            Some(symbols) => *symbols.get(self.random.index(symbols.len().max(1)))?,
            None => u16::try_from(self.random.index(self.best.len())).expect("at most 10000 symbols"),
        };
        let side = if self.random.chance(0.5) { Side::Buy } else { Side::Sell };
        let Strategy { seen, style, .. } = self.strategies[at];
        if seen.is_none() {
            return self.new_order(at, symbol, side);
        }
        let best = self.best[usize::from(symbol)];
        let price = self.near(at, if style == Style::Join { best.own(side) } else { best.opposite(side) });
        self.order_at(at, symbol, side, price)
    }

    /// Time until a timer strategy acts next.
    pub(crate) fn wait(&mut self, at: usize) -> u64 {
        let every = self.strategies[at].every.0;
        crate::random::to_count(crate::random::to_float(every) * self.random.exponential()).max(1)
    }

    /// A report, or a reject of a request with this `ClOrdID`.
    pub(crate) fn report(&mut self, message: &Received, rejected: Option<&str>) {
        let id = message.text(11).to_owned();
        let orig = message.text(41).to_owned();
        match (message.kind(), message.text(150)) {
            ("8", "0") => {
                if let Some(working) = self.working.get_mut(&id) {
                    working.is_settled = true;
                }
            }
            ("8", "F" | "1" | "2") if message.text(39) == "2" => _ = self.remove(&id),
            ("8", "8") => _ = self.remove(&id),
            ("8", "4") => {
                self.remove(&id);
                self.remove(&orig);
            }
            ("8", "5") => {
                if let Some(mut working) = self.remove(&orig) {
                    working.is_settled = true;
                    working.price = message.find(44).and_then(crate::encode::fix::parse_price).unwrap_or(working.price);
                    self.insert(&id, working);
                }
            }
            ("9", _) if ["2", "4", "8"].contains(&message.text(39)) => _ = self.remove(&orig),
            ("9", _) => self.settle(&orig),
            ("3" | "j", _) => {
                if let Some(id) = rejected {
                    self.remove(id);
                }
            }
            _ => {}
        }
    }

    /// A change of this order came to nothing.
    pub(crate) fn settle(&mut self, id: &str) {
        if let Some(working) = self.working.get_mut(id) {
            working.is_settled = true;
        }
    }

    /// A request could not be sent: as if it had never been thought of.
    pub(crate) fn forget(&mut self, order: &Order) {
        self.remove(&order.clordid);
        self.settle(&order.orig_clordid);
    }
}

/// What is known before the first message: nothing, but of recorded market data, which nobody reads here, a price to
/// trade at.
fn opening_price(instrument: &Instrument, scenario: &Scenario) -> Best {
    if scenario.market.replay.is_none() {
        return Best::default();
    }
    let (bid, ask) = (instrument.price - TICK, instrument.price + TICK);
    Best { bid, bid_quantity: 100, ask, ask_quantity: 100 }
}

/// At the best price, or one tick behind it where the other side shows more.
fn quote_price(best: &Best, side: Side) -> u32 {
    let (own, other) = match side {
        Side::Buy => (best.bid_quantity, best.ask_quantity),
        Side::Sell => (best.ask_quantity, best.bid_quantity),
    };
    match (best.own(side), side) {
        (0, _) => 0,
        (price, _) if own >= other => price,
        (price, Side::Buy) => price.saturating_sub(TICK).max(TICK),
        (price, Side::Sell) => price + TICK,
    }
}
