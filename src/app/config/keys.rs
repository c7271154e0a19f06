//! The one table of what a configuration file may say. The parser's check for unknown keys, `config show`
//! and the page tickscope-config(5) are all made from it, so they cannot disagree.

use std::net::SocketAddr;
use std::path::PathBuf;

use tickscope_decoders::Role;
use tickscope_model::{Nanos, SegmentKind};
use tickscope_nic::{Driver, Group};

use crate::capture::stamp::{Edge, TRAILERS, Trailer};

use crate::pair::attribution::Learning;

use super::budget_keys::BUDGET_KEYS;
use super::live_keys::LIVE_KEYS;
use super::settings::{
    Books, Endpoint, FeedSetting, IdSetting, LinkSetting, OrderTag, SessionSetting, Settings, TRIGGER_MESSAGES,
    TapSetting,
};

/// One key of one table.
#[derive(Debug)]
pub struct Key {
    pub table: Table,
    pub name: &'static str,
    /// Which values it takes, and where they go.
    pub kind: Kind,
    /// As TOML; empty where absence is a state of its own.
    pub default: &'static str,
    /// What it means, for the manual.
    pub text: &'static str,
    /// As TOML.
    pub example: &'static str,
}

/// A table of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Tap,
    Feed,
    Session,
    Instruments,
    Trigger,
    Pairing,
    Live,
    Budget,
    TriggerId,
    TriggerLink,
}

/// The values of a key. The function puts a value that passed its check into the settings;
/// of a repeated table that is the last one.
#[derive(Debug)]
pub enum Kind {
    Text(fn(&mut Settings, String)),
    Choice(&'static [&'static str], fn(&mut Settings, &'static str)),
    Choices(&'static [&'static str], fn(&mut Settings, Vec<String>)),
    /// A duration of either sign.
    Shift(fn(&mut Settings, Nanos)),
    /// Bits per second.
    Speed(fn(&mut Settings, u64)),
    /// A duration that is not negative.
    Span(fn(&mut Settings, Nanos)),
    /// A whole number up to the first one.
    Number(u64, fn(&mut Settings, u64)),
    /// The same, or a list of them; the flag says which it was.
    Numbers(u64, fn(&mut Settings, Vec<u64>, bool)),
    Flag(fn(&mut Settings, bool)),
    /// A size; what is expected, for messages.
    Bytes(&'static str, fn(&mut Settings, u64)),
    /// Latencies and how long each may be, likewise.
    Over(&'static str, fn(&mut Settings, Vec<(SegmentKind, Nanos)>)),
    /// A list of multicast groups.
    Groups(fn(&mut Settings, Vec<Group>)),
    /// `"9717"` or `{ tag = 11, regex = "…", base = 10 }`.
    OrderTag(fn(&mut Settings, OrderTag)),
    /// 0 to 1.
    Fraction(fn(&mut Settings, f32)),
    /// A path, taken relative to the folder of the configuration file.
    File(fn(&mut Settings, PathBuf)),
    /// The path of a socket, or none.
    Socket(fn(&mut Settings, PathBuf)),
    /// `ip:port`, or a port of this host.
    Listen(fn(&mut Settings, SocketAddr)),
    /// `ip:port`.
    Address(fn(&mut Settings, SocketAddr)),
    /// `ip` or `ip:port`.
    Endpoint(fn(&mut Settings, Endpoint)),
    /// The name of a protocol that tickscope decodes.
    Protocol(Role, fn(&mut Settings, String)),
}

impl Key {
    /// `[[tap]] offset`.
    pub fn path(&self) -> String {
        format!("{} {}", self.table.header(), self.name)
    }
}

impl Table {
    /// Every table, in the order of the manual.
    pub const ALL: &'static [Table] = &[
        Table::Tap,
        Table::Feed,
        Table::Session,
        Table::Instruments,
        Table::Trigger,
        Table::Pairing,
        Table::Live,
        Table::Budget,
        Table::TriggerId,
        Table::TriggerLink,
    ];

    /// The name between the brackets.
    pub fn name(self) -> &'static str {
        match self {
            Table::Tap => "tap",
            Table::Feed => "feed",
            Table::Session => "session",
            Table::Instruments => "instruments",
            Table::Trigger => "trigger",
            Table::Pairing => "pairing",
            Table::Live => "live",
            Table::Budget => "budget",
            Table::TriggerId => "trigger.id",
            Table::TriggerLink => "trigger.link",
        }
    }

    /// Whether a file may hold several.
    pub fn is_repeated(self) -> bool {
        !matches!(self, Table::Instruments | Table::Trigger | Table::Pairing | Table::Live | Table::Budget)
    }

    /// As it stands in a file.
    pub fn header(self) -> String {
        if self.is_repeated() { format!("[[{}]]", self.name()) } else { format!("[{}]", self.name()) }
    }

    /// What it is for, for the manual.
    pub fn text(self) -> &'static str {
        match self {
            Table::Tap => "One capture file, interface of a pcapng, or NIC; what NAME=FILE and --offset say.",
            Table::Feed => "Says of a market-data flow what would otherwise be found out from its bytes.",
            Table::Session => "Says of an order-entry conversation what would otherwise be found out from its bytes.",
            Table::Instruments => "Names of instruments, where orders and market data use different ones.",
            Table::Trigger => "Which market-data messages may have caused a request.",
            Table::Pairing => "How requests wait for their answers.",
            Table::Live => "What tickscope live records, and what it gives others to read while it runs.",
            Table::Budget => {
                "Marks in the histograms and tables of the screen, see tickscope-tui(1): how long a latency may be. --budget on \
                 the command line replaces single ones."
            }
            Table::TriggerId => "The order carries an id of the market-data message that caused it.",
            Table::TriggerLink => "Orders in one instrument caused by market data of another.",
        }
    }

    /// The table of this name within `parent`; of the file itself where there is none.
    pub fn find(parent: Option<Table>, name: &str) -> Option<Table> {
        Table::ALL.iter().copied().find(|table| table.parent() == parent && table.short_name() == name)
    }

    /// The table that this one lies in.
    pub fn parent(self) -> Option<Table> {
        matches!(self, Table::TriggerId | Table::TriggerLink).then_some(Table::Trigger)
    }

    /// The last part of the name.
    pub fn short_name(self) -> &'static str {
        self.name().rsplit('.').next().unwrap_or_default()
    }

    /// A new table of this kind begins in the file.
    pub(super) fn start(self, settings: &mut Settings) {
        match self {
            Table::Tap => settings.taps.push(TapSetting::default()),
            Table::Feed => settings.feeds.push(FeedSetting::default()),
            Table::Session => settings.sessions.push(SessionSetting::default()),
            Table::TriggerId => settings.trigger.ids.push(IdSetting::default()),
            Table::TriggerLink => settings.trigger.links.push(LinkSetting::default()),
            Table::Instruments | Table::Trigger | Table::Pairing | Table::Live | Table::Budget => (),
        }
    }
}

/// What of a market-data message an id may be; a test holds them against the stage's own list.
const MARKET_DATA_IDS: &[&str] = &["sequence", "packet_sequence", "match_number", "quote_entry_id"];

/// A key.
pub(super) const fn key(
    table: Table,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    text: &'static str,
) -> Key {
    Key { table, name, kind, default, text, example }
}

/// Every key, in the order of the manual.
pub static KEYS: &[Key] = &[
    // ── [[tap]] ──
    key(
        Table::Tap,
        "name",
        Kind::Text(|settings, name| settings.last_tap().name = name),
        "",
        "\"md\"",
        "Name of the tap, as NAME=FILE gives it. Without it the tap has the name of its file.",
    ),
    key(
        Table::Tap,
        "point",
        Kind::Choice(&["D", "E", "J", "K"], |settings, point| settings.last_tap().point = point.chars().next()),
        "",
        "\"D\"",
        "Where the tap stands: D exchange hand-off (market data), E the trading host's NIC (market data), \
         J the trading host's NIC (orders), K exchange hand-off (orders). Gives segments their letters; \
         without it market data counts as G and orders as K.",
    ),
    key(
        Table::Tap,
        "offset",
        Kind::Shift(|settings, offset| settings.last_tap().offset = offset),
        "\"0ns\"",
        "\"-37us\"",
        "Added to every time of this tap. --offset on the command line replaces it.",
    ),
    key(
        Table::Tap,
        "group",
        Kind::Text(|settings, group| settings.last_tap().group = Some(group)),
        "",
        "\"colo1\"",
        "Taps with the same group are one observation point: a TCP conversation is joined across them, and A/B lines \
         are arbitrated among them. Without it, taps on which the two directions of one conversation appear are grouped.",
    ),
    key(
        Table::Tap,
        "clock",
        Kind::Text(|settings, clock| settings.last_tap().clock = Some(clock)),
        "",
        "\"ptp0\"",
        "Name of the clock that stamps this tap. Taps without it share one clock. Figures between clocks need the offset of \
         one, or bounds that the captures give; see CLOCKS in tickscope-analyze(1). Live, all taps whose frames carry no \
         stamps of a device have the clock of this host, which has the first name that one of them gives it.",
    ),
    key(
        Table::Tap,
        "file",
        Kind::File(|settings, file| settings.last_tap().file = Some(file)),
        "",
        "\"md.pcap\"",
        "The capture that this entry is about; read when the command line names no CAPTURE.",
    ),
    key(
        Table::Tap,
        "trailer",
        Kind::Choice(TRAILERS, |settings, name| settings.last_tap().trailer = Trailer::named(name)),
        "",
        "\"metamako\"",
        "Which times count: those that a switch or capture device wrote into the frames, in the form of this name (see \
         STAMPS); none: those of the capture file; auto: the first 64 to 256 frames of the tap decide, by what nine tenths \
         of them carry, and is what holds without this key. --trailer on the command line replaces it. Live, the times of NIC \
         and kernel count without this key and --trailer; the frames that decide are those of the first 5 seconds in which \
         the tap has any, at most 256. Where no form wins with auto, frames vote again 10 seconds later and then every minute \
         (at least 64 of them), and one that wins then counts from there on: requests that are open end with what they have, \
         those within the trigger window behind it have no trigger from before it, both with the flag cross_clock, and the \
         report says since when (since_ns).",
    ),
    key(
        Table::Tap,
        "edge",
        Kind::Choice(&["sof", "eof"], |settings, name| settings.last_tap().edge = Edge::named(name)),
        "",
        "\"eof\"",
        "Which edge of a frame its time means, start or end, where it is not what the stamp's maker says. With the speed of \
         the link known, times of the end are moved to the start.",
    ),
    key(
        Table::Tap,
        "speed",
        Kind::Speed(|settings, speed| settings.last_tap().speed = Some(speed)),
        "",
        "\"10G\"",
        "Speed of the link, to move times from one edge of a frame to the other. Without it, what the capture says.",
    ),
    key(
        Table::Tap,
        "error",
        Kind::Span(|settings, error| settings.last_tap().error = Some(error)),
        "",
        "\"100ns\"",
        "How well this tap's clock is kept; shown as \u{b1} of figures across clocks.",
    ),
    key(
        Table::Tap,
        "interface",
        Kind::Text(|settings, name| settings.last_tap().interface = Some(name)),
        "",
        "\"eth1\"",
        "Live: the NIC that this entry is about.",
    ),
    key(
        Table::Tap,
        "driver",
        Kind::Choice(&["auto", "xdp", "afpacket"], |settings, name| {
            settings.last_tap().driver = match name {
                "xdp" => Driver::Xdp,
                "afpacket" => Driver::AfPacket,
                _ => Driver::Auto,
            };
        }),
        "\"auto\"",
        "\"xdp\"",
        "Live: how frames are taken from the NIC. xdp: AF_XDP takes what arrives away from the host, for ports that a tap or \
         mirror feeds; afpacket: AF_PACKET sees both directions of a NIC in use; auto: AF_XDP where the interface carries no \
         address of this host and its driver runs XDP programs, else AF_PACKET.",
    ),
    key(
        Table::Tap,
        "queues",
        Kind::Numbers(1 << 10, |settings, numbers, is_list| {
            let numbers = numbers.into_iter().filter_map(|number| u32::try_from(number).ok());
            settings.last_tap().queues =
                if is_list { numbers.collect() } else { numbers.flat_map(|count| 0..count).collect() };
        }),
        "",
        "4",
        "Live: how many receive queues of the NIC are read (AF_XDP; by AF_PACKET: how many rings), or a list of their numbers. \
         Without it all queues, and one ring.",
    ),
    key(
        Table::Tap,
        "ports",
        Kind::Numbers(65_535, |settings, numbers, _| {
            settings.last_tap().ports = numbers.into_iter().filter_map(|port| u16::try_from(port).ok()).collect();
        }),
        "",
        "[26477]",
        "Live: only frames from or to these ports are taken, of TCP and UDP. Without it all.",
    ),
    key(
        Table::Tap,
        "steal",
        Kind::Flag(|settings, steal| settings.last_tap().steal = steal),
        "false",
        "true",
        "Live: let AF_XDP take frames even from an interface that carries addresses of this host.",
    ),
    key(
        Table::Tap,
        "join",
        Kind::Groups(|settings, groups| settings.last_tap().join = groups),
        "",
        "[\"233.54.12.111\"]",
        "Live: multicast groups that are joined while the tap captures, GROUP or GROUP@SOURCE.",
    ),
    key(
        Table::Tap,
        "cpus",
        Kind::Numbers(1023, |settings, numbers, _| {
            settings.last_tap().processors = numbers.into_iter().filter_map(|one| usize::try_from(one).ok()).collect();
        }),
        "",
        "[2, 3]",
        "Live: the processors on which the tap's receivers run, one each, in turn.",
    ),
    key(
        Table::Tap,
        "fifo",
        Kind::Number(99, |settings, number| settings.last_tap().fifo = u8::try_from(number).unwrap_or(0)),
        "0",
        "10",
        "Live: the tap's receivers run before all ordinary threads, by SCHED_FIFO with this priority; 0: they do not. Needs \
         CAP_SYS_NICE.",
    ),
    key(
        Table::Tap,
        "busy_poll",
        Kind::Span(|settings, time| settings.last_tap().busy_poll = time),
        "",
        "\"20us\"",
        "Live: receivers of AF_XDP poll the NIC themselves, for so long at a time, instead of being told by interrupts \
         (SO_PREFER_BUSY_POLL). Then frames are not left to gather, and each receiver takes a processor of its own. For interfaces \
         with napi_defer_hard_irqs and gro_flush_timeout set. Without it interrupts tell.",
    ),
    // ── [[feed]] ──
    key(
        Table::Feed,
        "group",
        Kind::Address(|settings, group| settings.last_feed().group = Some(group)),
        "",
        "\"233.54.12.111:26477\"",
        "Destination address and port of the feed's datagrams. Needed in every [[feed]].",
    ),
    key(
        Table::Feed,
        "protocol",
        Kind::Protocol(Role::MarketData, |settings, name| settings.last_feed().protocol = Some(name)),
        "",
        "\"itch50\"",
        "Protocol of the feed.",
    ),
    key(
        Table::Feed,
        "line",
        Kind::Text(|settings, line| settings.last_feed().line = Some(line)),
        "",
        "\"A\"",
        "Letter of the line, for feeds that are sent twice.",
    ),
    // ── [[session]] ──
    key(
        Table::Session,
        "client",
        Kind::Endpoint(|settings, end| settings.last_session().client = Some(end)),
        "",
        "\"10.0.0.10\"",
        "The side that sends requests.",
    ),
    key(
        Table::Session,
        "server",
        Kind::Endpoint(|settings, end| settings.last_session().server = Some(end)),
        "",
        "\"10.0.1.20:9876\"",
        "The side that answers. A [[session]] needs client, server or both.",
    ),
    key(
        Table::Session,
        "protocol",
        Kind::Protocol(Role::OrderEntry, |settings, name| settings.last_session().protocol = Some(name)),
        "",
        "\"fix\"",
        "Protocol of the conversation.",
    ),
    // ── [instruments] ──
    key(
        Table::Instruments,
        "file",
        Kind::File(|settings, file| settings.instruments = Some(file)),
        "",
        "\"instruments.csv\"",
        "CSV of symbol,security_id[,alias\u{2026}], see INSTRUMENTS FILE. --instruments on the command line replaces it.",
    ),
    // ── [trigger] ──
    key(
        Table::Trigger,
        "window",
        Kind::Span(|settings, window| settings.trigger.window = window),
        "\"1s\"",
        "\"1s\"",
        "A trigger is at most this much older than its request. --window on the command line replaces it.",
    ),
    key(
        Table::Trigger,
        "min",
        Kind::Span(|settings, min| settings.trigger.min = min),
        "\"0ns\"",
        "\"800ns\"",
        "A trigger is at least this much older than its request: the fastest that the trading system can be.",
    ),
    key(
        Table::Trigger,
        "messages",
        Kind::Choices(TRIGGER_MESSAGES, |settings, messages| settings.trigger.messages = messages),
        "[\"trade\", \"bbo\"]",
        "[\"trade\", \"bbo\"]",
        "Which market-data messages may be triggers: trade prints; quote, a top-of-book update; book, a change of the \
         book; bbo, both of these (how likely a message is that did not touch the best price is learned); auction and \
         imbalance messages; status.",
    ),
    key(
        Table::Trigger,
        "model",
        Kind::Choice(&["two-pass", "causal", "none"], |settings, name| {
            settings.trigger.learning = match name {
                "causal" => Learning::Causal,
                "none" => Learning::None,
                _ => Learning::TwoPass,
            };
        }),
        "\"two-pass\"",
        "\"causal\"",
        "How the model that weighs candidates is learned: two-pass, from the requests of the whole capture (of its first \
         65,536 requests, where there are more); causal, for each request from what came before it, as live; none: no \
         triggers are looked for.",
    ),
    key(
        Table::Trigger,
        "books",
        Kind::Choice(Books::NAMES, |settings, name| settings.trigger.books = Books::of(name)),
        "\"auto\"",
        "\"always\"",
        "Whether books of the symbols in the order flow are kept, for the prices of triggers and the BBO at a request. \
         auto: where the captures have at most 256 MiB together, or come through a pipe, and where [[trigger.id]] or \
         [[trigger.link]] need them. They cost a second look at the captures and every message its time; without them a \
         trigger is weighed by age and type alone.",
    ),
    key(
        Table::Trigger,
        "confidence",
        Kind::Fraction(|settings, confidence| settings.trigger.confidence = confidence),
        "0.9",
        "0.9",
        "Tails are stated over pairs whose trigger_confidence is at least this.",
    ),
    // ── [[trigger.id]] ──
    key(
        Table::TriggerId,
        "order",
        Kind::OrderTag(|settings, tag| settings.last_id().order = Some(tag)),
        "",
        "\"9717\"",
        "Where the order carries the id: a FIX tag, or { tag = 11, regex = \"-(\\\\d+)$\", base = 10 }: the first group of the \
         regular expression, or all that it matches, as a number of that base.",
    ),
    key(
        Table::TriggerId,
        "market_data",
        Kind::Choice(MARKET_DATA_IDS, |settings, name| settings.last_id().market_data = Some(name)),
        "",
        "\"sequence\"",
        "What of the market-data message it is: sequence, its number in its feed; packet_sequence, that of the first \
         message of its packet; match_number, of the trade; quote_entry_id, the reference of the order or quote.",
    ),
    // ── [[trigger.link]] ──
    key(
        Table::TriggerLink,
        "orders",
        Kind::Text(|settings, orders| settings.last_link().orders = orders),
        "",
        "\"INTC\"",
        "Symbol of the orders.",
    ),
    key(
        Table::TriggerLink,
        "when",
        Kind::Text(|settings, when| settings.last_link().when = when),
        "",
        "\"PEP.trade >= 576.08\"",
        "Condition on market data that causes them: SYMBOL.trade, .bid, .ask or .mid, one of > >= < <=, and a price or \
         another such value. A condition on a trade price causes with every trade that satisfies it, any other when it \
         becomes true.",
    ),
];

/// Keys of all tables.
pub fn all_keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(LIVE_KEYS).chain(BUDGET_KEYS)
}

/// Keys of one table, in the order of the manual.
pub fn keys_of(table: Table) -> impl Iterator<Item = &'static Key> {
    all_keys().filter(move |key| key.table == table)
}

/// A key of the table, which must exist: for values that the command line gives.
pub(super) fn known(table: Table, name: &str) -> &'static Key {
    keys_of(table).find(|key| key.name == name).expect("a key that the code names is in KEYS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_stands_twice_and_none_is_without_words() {
        for (at, key) in all_keys().enumerate() {
            assert!(all_keys().skip(at + 1).all(|other| other.path() != key.path()), "{}", key.path());
            assert!(!key.text.is_empty() && !key.example.is_empty(), "{}", key.path());
        }
        assert!(Table::ALL.iter().all(|&table| keys_of(table).next().is_some()));
    }

    #[test]
    fn ids_of_market_data_are_those_that_the_stage_knows() {
        assert_eq!(MARKET_DATA_IDS, crate::pair::Named::NAMES.map(|(name, _)| name));
    }

    #[test]
    fn tables_are_found_where_they_lie() {
        assert_eq!(Table::find(None, "tap"), Some(Table::Tap));
        assert_eq!(Table::find(Some(Table::Trigger), "id"), Some(Table::TriggerId));
        assert_eq!(Table::find(None, "id"), None);
        assert_eq!(Table::find(Some(Table::Tap), "tap"), None);
    }
}
