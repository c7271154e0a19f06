//! Scenarios: what a TOML file may say, its defaults, and errors that name line, column and the nearest known key.
//! `sim/README.md` explains every key.

use serde::Deserialize;

use crate::capture::Format;
use crate::encode::feed::FeedProtocol;
use crate::encode::fix::Version;
use crate::scenario_error::{ScenarioError, path_position, syntax_error};
use crate::time::{Instant, Latency, MILLI, SECOND, Shift, Span};

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

/// Scenarios that judge how triggers are found; not for showing.
static ATTRIBUTION: &[Shipped] = shipped![
    "attribution-10",
    "attribution-100",
    "attribution-1000",
    "attribution-10000",
    "attribution-50000",
    "attribution-burst"
];

/// The scenarios for everybody, by name.
pub fn scenarios() -> &'static [Shipped] {
    SCENARIOS
}

/// The scenarios that judge how triggers are found, by name. Files that nobody may tune anything to: they stay as they are.
pub fn attribution_scenarios() -> &'static [Shipped] {
    ATTRIBUTION
}

/// The text of a scenario that ships, of whichever list.
pub fn shipped(name: &str) -> Option<&'static str> {
    scenarios().iter().chain(attribution_scenarios()).find(|(known, _)| *known == name).map(|(_, text)| *text)
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
    /// All symbols are equally busy; else the first ones more than the last.
    pub even: bool,
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
    /// In these intervals it takes longer.
    pub late: Vec<Late>,
}

/// An interval in which a line is late.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Late {
    pub from: Span,
    pub to: Span,
    pub add: Span,
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
    /// Listens to the line of this name only; without it, to whichever is first.
    pub line: String,
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

/// When a timer acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum During {
    #[default]
    Always,
    /// Only while a microburst runs, so that its orders stand among those that the burst caused.
    Burst,
    /// Only while none runs.
    Quiet,
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
    /// Of the matching messages of a packet it looks only at the first.
    #[serde(default)]
    pub first: bool,
    /// Not again on the same symbol within this time: a trader's own trades are ticks, too.
    #[serde(default = "millisecond")]
    pub pause: Span,
    #[serde(default = "take")]
    pub style: Style,
    /// Share of its orders that stand at the very price of the message that they react to (of a best-price change: at
    /// the new best price): `take` trades against it, `join` joins it. The others are priced some ticks away from
    /// there. Without it, orders stand at the best price that `style` says. A timer's orders have that one instead of
    /// a message's.
    pub seen: Option<f64>,
    /// With `seen`: the other orders are so many ticks away at most, in either direction.
    #[serde(default = "four")]
    pub away: u8,
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
    /// Timer: mean time between orders, which come at random (a Poisson process): no regularity tells them.
    #[serde(default = "second")]
    pub every: Span,
    /// Timer: acts only in microbursts, or only between them.
    #[serde(default)]
    pub during: During,
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
fn four() -> u8 {
    4
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
    /// `OrderID` (37) is the number under which market data shows the order.
    pub public_ids: bool,
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
    /// Reads a scenario; `file` only names it in errors. A recording that it replays must be there.
    pub fn parse(text: &str, file: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| syntax_error(text, file, &error))?;
        let scenario = scenario.completed();
        scenario.check().map_err(|wrong| {
            let (line, column) = path_position(text, &wrong.path);
            ScenarioError { file: file.to_owned(), line, column, message: wrong.message, nearest: None }
        })?;
        Ok(scenario)
    }

    /// The shipped scenario of this name.
    pub fn shipped(name: &str) -> Option<Scenario> {
        let text = shipped(name)?;
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
}
