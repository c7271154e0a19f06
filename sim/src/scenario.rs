//! Scenarios: what a TOML file may say, its defaults, and errors that name line, column and the nearest known key.
//! `sim/README.md` explains every key.

use serde::Deserialize;

use crate::capture::Format;
use crate::encode::feed::FeedProtocol;
use crate::encode::fix::Version;
use crate::scenario_error::{ScenarioError, key_position, position, syntax_error};
use crate::time::{DAY, Instant, Latency, MILLI, SECOND, Shift, Span};

/// A scenario that ships with tickscope: its name and the text of its file.
pub type Shipped = (&'static str, &'static str);

macro_rules! shipped {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),*] };
}

static SCENARIOS: &[Shipped] = shipped![
    "calm",
    "burst",
    "exchange-slows",
    "trader-slows",
    "both-slow",
    "conditional",
    "fan-out",
    "cancel-replace-storm",
    "rejects",
    "partial-fills",
    "lossy-tap",
    "two-taps-offset",
    "gateway-w2w",
    "mid-session",
    "opening-rush"
];

/// Every scenario that ships, by name.
pub fn scenarios() -> &'static [Shipped] {
    SCENARIOS
}

/// A whole scenario. Every key has a default, so the empty file is the calm scenario without a reason to trade.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// One sentence for people.
    pub title: String,
    pub start: Instant,
    pub duration: Span,
    pub market: Market,
    /// The lines that carry the feed: A, B, …
    pub line: Vec<Line>,
    pub orders: Orders,
    pub network: Network,
    pub trader: Trader,
    pub strategy: Vec<Strategy>,
    pub exchange: Exchange,
    pub gateway: Option<Gateway>,
    pub tap: Vec<Tap>,
}

/// What is published, and how busy the crowd is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Market {
    pub protocol: FeedProtocol,
    pub symbols: u16,
    /// Names of the first symbols; the others get invented ones.
    pub names: Vec<String>,
    /// Their prices at the start; the others get random ones.
    pub prices: Vec<f64>,
    /// Events a second that come of themselves.
    pub rate: f64,
    /// How many further events each event brings on average, below 1.
    pub branching: f64,
    /// For about how long an event makes others more likely.
    pub memory: Span,
    pub rush: Vec<Rush>,
    pub burst: Option<Burst>,
    /// The run ends after this many messages, even before its duration is over; 0: no limit.
    pub messages: u64,
    /// Messages within this time share a packet.
    pub collect: Span,
    /// A packet without messages is sent where the feed was silent for so long.
    pub heartbeat: Span,
    /// How far New York is behind UTC.
    pub west: Span,
    /// `MoldUDP64`: the trader asks for messages that no line brought, and gets them after so long; absent: it does not.
    pub recover: Option<Latency>,
    /// Plays this capture's datagrams instead of an invented market.
    pub replay: Option<Replay>,
}

/// Recorded market data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    pub file: String,
    /// How much faster than recorded.
    #[serde(default = "one")]
    pub speed: f64,
    /// Live: as fast as those keep up who listen at the first line's port on this machine, whatever `speed` says.
    #[serde(default)]
    pub keep_up: bool,
}

fn one() -> f64 {
    1.0
}

/// An interval with more events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rush {
    pub from: Span,
    pub to: Span,
    pub rate: f64,
}

/// Short intervals with many events, at random times.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    pub every: Span,
    pub length: Span,
    pub rate: f64,
}

/// One copy of the feed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Line {
    pub name: String,
    pub group: String,
    /// From the exchange to the trader.
    pub delay: Span,
    /// Up to this much more, by chance; packets stay in order.
    pub jitter: Span,
    /// Share of packets lost between the exchange and any tap.
    pub loss: f64,
}

/// The FIX sessions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Orders {
    pub version: Version,
    pub sender: String,
    pub target: String,
    /// With more than one, the sender's name gets a number.
    pub sessions: u16,
    pub heartbeat: Span,
    /// The connections are cut at these times, and made anew.
    pub drops: Vec<Span>,
    /// How long after a cut the client comes back.
    pub back_after: Span,
    pub client: String,
    pub server: String,
}

/// The way between trader and exchange (or each leg of it, with a gateway).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// One way.
    pub delay: Span,
    pub mss: u16,
    /// From the arrival of data to the ACK, where no data of its own takes it along.
    pub ack: Latency,
    /// Share of TCP frames lost on the wire, half of them before and half of them behind the tap.
    pub loss: f64,
    /// Share of TCP frames that overtake the one before.
    pub reorder: f64,
    /// Share of messages sent in two segments.
    pub cut: f64,
    /// Share of messages that wait for the next one, to share a segment.
    pub coalesce: f64,
    /// … but not longer than this.
    pub coalesce_wait: Span,
    /// How long a sender waits before it repeats what was not acknowledged.
    pub resend_after: Span,
}

/// The reference trader.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trader {
    /// From the last byte of the trigger's frame to the order's frame.
    pub latency: Latency,
    /// Digits of the second in `SendingTime` and `TransactTime`.
    pub digits: u8,
}

/// What makes the trader act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sends orders when a message on a symbol says something.
    React,
    /// One symbol's middle rises over another's: orders in a third.
    Conditional,
    /// Keeps a quote on both sides, and moves it with every change of the best price.
    Quote,
    /// Orders that nothing in the market caused.
    Timer,
}

/// What a reaction looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    Trade,
    Best,
    Any,
}

/// How an order is priced, and how long it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// Immediate or cancel, at the opposite best price.
    Take,
    /// A day order at its own side's best price.
    Join,
    /// A day order so large, at the opposite best price, that a rest of it stays in the book.
    Sweep,
}

/// One rule of the trader.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    pub kind: Kind,
    /// On which symbols; none: on all.
    #[serde(default)]
    pub symbols: Vec<String>,
    #[serde(default = "on_trade")]
    pub on: On,
    /// Share of the matching messages that it reacts to.
    #[serde(default = "one")]
    pub share: f64,
    /// Not again on the same symbol within this time: a trader's own trades are ticks, too.
    #[serde(default = "millisecond")]
    pub pause: Span,
    #[serde(default = "take")]
    pub style: Style,
    #[serde(default = "hundred")]
    pub quantity: u32,
    /// Orders for one tick.
    #[serde(default = "one_order")]
    pub orders: u16,
    /// Share of resting orders that it cancels when a later message on the symbol comes.
    #[serde(default)]
    pub cancel: f64,
    /// Conditional: the symbol that rises …
    #[serde(default)]
    pub when: String,
    /// … over this symbol's middle; without it, over its own middle at the start.
    #[serde(default)]
    pub over: String,
    /// Conditional: which instrument is sold then.
    #[serde(default)]
    pub sell: String,
    /// Timer: mean time between orders.
    #[serde(default = "second")]
    pub every: Span,
}

fn on_trade() -> On {
    On::Trade
}
fn take() -> Style {
    Style::Take
}
fn hundred() -> u32 {
    100
}
fn one_order() -> u16 {
    1
}
fn millisecond() -> Span {
    Span(MILLI)
}
fn second() -> Span {
    Span(SECOND)
}

/// Whether something public is seen before or after the private report of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Public {
    Before,
    After,
}

/// The mock exchange.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exchange {
    /// From the last byte of a request's frame to the first answer's frame.
    pub latency: Latency,
    /// From one report of a request to the next.
    pub report_gap: Latency,
    /// Share of new orders that are rejected.
    pub reject: f64,
    /// Share of cancels and replaces that are rejected.
    pub reject_change: f64,
    /// Share of requests rejected by the session layer, and by the business layer.
    pub reject_session: f64,
    pub reject_business: f64,
    /// Share of resting orders that the exchange cancels by itself some time later.
    pub unsolicited: f64,
    /// Share of requests answered by a pending state first.
    pub pending: f64,
    pub public: Public,
    pub public_gap: Span,
}

/// A gateway between trader and exchange.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// From the last byte of what it gets to the frame that it passes on.
    pub latency: Latency,
    /// Its name towards the exchange and towards the client.
    pub name: String,
    pub address: String,
}

/// Which direction of the TCP conversations a tap sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Both,
    /// Towards the exchange.
    Out,
    /// From the exchange.
    In,
}

/// Where a timestamp stands beside the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Trailer {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "metamako")]
    Metamako,
    #[serde(rename = "exablaze-hpt")]
    ExablazeHpt,
    #[serde(rename = "arista-7280")]
    Arista7280,
}

/// A capture point and its faults.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tap {
    pub name: String,
    /// `md` (all lines, and requests for lost messages), a line's name, `orders`, `client` (the leg before a gateway).
    pub sees: Vec<String>,
    /// How far from the exchange, as a share of the way to the trader: 0 at the exchange, 1 at the trader.
    pub place: f64,
    pub direction: Direction,
    /// Taps of one group are one observation point.
    pub group: String,
    pub offset: Shift,
    /// Nanoseconds that its clock gains in a second.
    pub drift: i64,
    pub resolution: Span,
    /// Frames are cut to so many bytes; 0: never.
    pub snaplen: u32,
    /// A VLAN tag; 0: none.
    pub vlan: u16,
    pub trailer: Trailer,
    /// With a trailer: the capture file's own time comes later than the trailer's, by up to this.
    pub lag: Span,
    /// Share of frames that the tap loses, and delivers twice.
    pub loss: f64,
    pub duplicate: f64,
    /// The capture begins so long after the start.
    pub from: Span,
    pub format: Format,
}

impl Scenario {
    /// Reads a scenario; `file` only names it in errors.
    pub fn parse(text: &str, file: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| syntax_error(text, file, &error))?;
        let scenario = scenario.completed();
        scenario.check().map_err(|(key, message)| {
            let at = key_position(text, key);
            let (line, column) = at.map_or((0, 0), |at| position(text, at));
            ScenarioError { file: file.to_owned(), line, column, message, nearest: None }
        })?;
        Ok(scenario)
    }

    /// The shipped scenario of this name.
    pub fn shipped(name: &str) -> Option<Scenario> {
        let (name, text) = scenarios().iter().find(|(known, _)| *known == name)?;
        Some(Scenario::parse(text, name).expect("a test parses every shipped scenario"))
    }

    /// One line and one tap where the file names none.
    fn completed(mut self) -> Scenario {
        if self.line.is_empty() {
            self.line.push(Line::default());
        }
        if self.tap.is_empty() {
            self.tap.push(Tap::default());
        }
        self
    }

    /// What types cannot say. The key is the one whose line the error shows.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let market = &self.market;
        if market.symbols == 0 || market.symbols > 10_000 {
            return Err(("symbols", "`symbols` is a number from 1 to 10000".into()));
        }
        if market.names.len() > usize::from(market.symbols) {
            return Err(("names", "more names than symbols".into()));
        }
        if market.prices.iter().any(|price| !(1.0..=10_000.0).contains(price)) {
            return Err(("prices", "`prices` are between 1 and 10000".into()));
        }
        if let Some(name) = market.names.iter().find(|name| name.is_empty() || name.len() > 8 || !name.is_ascii()) {
            return Err(("names", format!("`{name}` is no symbol: 1 to 8 ASCII letters")));
        }
        if let Some(replay) = &market.replay {
            if !(0.001..=1e6).contains(&replay.speed) {
                return Err(("speed", "`speed` is a factor from 0.001 to 1e6".into()));
            }
            if self.strategy.iter().any(|strategy| strategy.kind != Kind::Timer) {
                return Err((
                    "replay",
                    "with `replay`, only timer strategies: recorded messages are not decoded here".into(),
                ));
            }
        }
        if !(0.0..0.99).contains(&market.branching) {
            return Err(("branching", "`branching` is at least 0 and below 0.99".into()));
        }
        if !(0.0..=1e8).contains(&market.rate) {
            return Err(("rate", "`rate` is a number of events a second from 0 to 1e8".into()));
        }
        if self.duration.0 == 0 || self.duration.0 > 30 * DAY {
            return Err(("duration", "`duration` is more than nothing and at most 30 days".into()));
        }
        if !(100..=1448).contains(&self.network.mss) {
            return Err(("mss", "`mss` is a number from 100 to 1448".into()));
        }
        if self.trader.digits > 9 {
            return Err(("digits", "`digits` is a number from 0 to 9".into()));
        }
        self.check_network()?;
        self.check_taps()?;
        self.check_strategies()
    }

    fn check_network(&self) -> Result<(), (&'static str, String)> {
        let share = |key: &'static str, value: f64| {
            if (0.0..=1.0).contains(&value) { Ok(()) } else { Err((key, format!("`{key}` is a share from 0 to 1"))) }
        };
        if let Some(gateway) = &self.gateway {
            let address = &gateway.address;
            parse_address(address).ok_or(("address", format!("`{address}` is no address like 10.0.0.30:9800")))?;
        }
        for line in &self.line {
            share("loss", line.loss)?;
            parse_address(&line.group)
                .ok_or(("group", format!("`{}` is no group like 233.54.12.111:26477", line.group)))?;
        }
        for (key, address) in [("client", &self.orders.client), ("server", &self.orders.server)] {
            parse_address(address).ok_or((key, format!("`{address}` is no address like 10.0.0.10:41000")))?;
        }
        if !(1..=100).contains(&self.orders.sessions) {
            return Err(("sessions", "`sessions` is a number from 1 to 100".into()));
        }
        let network = &self.network;
        for (key, value) in [
            ("loss", network.loss),
            ("reorder", network.reorder),
            ("cut", network.cut),
            ("coalesce", network.coalesce),
            ("reject", self.exchange.reject),
            ("reject_change", self.exchange.reject_change),
            ("reject_session", self.exchange.reject_session),
            ("reject_business", self.exchange.reject_business),
            ("unsolicited", self.exchange.unsolicited),
            ("pending", self.exchange.pending),
        ] {
            share(key, value)?;
        }
        Ok(())
    }

    fn check_taps(&self) -> Result<(), (&'static str, String)> {
        for (index, tap) in self.tap.iter().enumerate() {
            for (key, value) in [("place", tap.place), ("loss", tap.loss), ("duplicate", tap.duplicate)] {
                if !(0.0..=1.0).contains(&value) {
                    return Err((key, format!("`{key}` is a share from 0 to 1")));
                }
            }
            if tap.name.is_empty() || tap.name.contains(['/', '\\', ',']) {
                return Err((
                    "name",
                    "a tap's name becomes the name of its file: not empty, no slash, no comma".into(),
                ));
            }
            if self.tap[..index].iter().any(|other| other.name == tap.name) {
                return Err(("name", format!("two taps are called `{}`", tap.name)));
            }
            for seen in &tap.sees {
                let known = ["md", "orders", "client"].contains(&seen.as_str());
                if !known && !self.line.iter().any(|line| line.name == *seen) {
                    return Err(("sees", format!("`{seen}` is none of md, orders, client and the lines' names")));
                }
            }
        }
        Ok(())
    }

    fn check_strategies(&self) -> Result<(), (&'static str, String)> {
        let known = |symbol: &String| symbol.is_empty() || self.market.names.contains(symbol);
        for strategy in &self.strategy {
            if !(0.0..=1.0).contains(&strategy.share) {
                return Err(("share", "`share` is a share from 0 to 1".into()));
            }
            if !(1..=50).contains(&strategy.orders) {
                return Err(("orders", "`orders` is a number from 1 to 50".into()));
            }
            if strategy.quantity == 0 {
                return Err(("quantity", "`quantity` is at least 1".into()));
            }
            let named = [(&strategy.when, "when"), (&strategy.over, "over"), (&strategy.sell, "sell")];
            if let Some((symbol, key)) = named.iter().find(|(symbol, _)| !known(symbol)) {
                return Err((key, format!("`{symbol}` is not among the market's `names`")));
            }
            if let Some(symbol) = strategy.symbols.iter().find(|symbol| !known(symbol)) {
                return Err(("symbols", format!("`{symbol}` is not among the market's `names`")));
            }
            if strategy.kind == Kind::Conditional && (strategy.when.is_empty() || strategy.sell.is_empty()) {
                return Err(("kind", "a conditional strategy needs `when` and `sell`".into()));
            }
        }
        Ok(())
    }
}

/// `address:port`.
pub(crate) fn parse_address(text: &str) -> Option<([u8; 4], u16)> {
    let address: std::net::SocketAddrV4 = text.parse().ok()?;
    Some((address.ip().octets(), address.port()))
}
