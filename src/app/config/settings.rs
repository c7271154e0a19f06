//! What is in force for one run: the configuration file, with the command line on top, as typed values.
//! Stages get these values handed over; below `app` nothing reads a file or a variable of its own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use tickscope_model::{Nanos, SegmentKind};
use tickscope_nic::{Driver, Group};

use super::keys::{Key, Table};
use super::live_keys::LiveSetting;
use crate::capture::stamp::{Edge, Trailer};
use crate::pair::attribution::Learning;
use crate::stats::THRESHOLD;

/// Everything a configuration can say that this version uses.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Files to read, in the order of the command line; never empty once `analyze` or `decode` runs.
    pub captures: Vec<Capture>,
    pub taps: Vec<TapSetting>,
    /// Which stamps count, of taps that say nothing of it; `--trailer` without a tap.
    pub trailer: Option<Trailer>,
    pub feeds: Vec<FeedSetting>,
    pub sessions: Vec<SessionSetting>,
    /// The CSV file of [`super::instruments::read`].
    pub instruments: Option<PathBuf>,
    pub trigger: TriggerSetting,
    pub pairing: PairingSetting,
    pub live: LiveSetting,
    /// `[budget]`: how long latencies may be, for marks on the screen.
    pub budgets: Vec<(SegmentKind, Nanos)>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Every value that was given, with its place; `config show` prints it.
    pub entries: Vec<Entry>,
}

/// One file to read, and the name of its tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Given by `NAME=FILE` or the configuration, else made from the file's name. No two captures share one.
    pub name: String,
    /// Whether a person chose the name.
    pub is_named: bool,
    pub input: Input,
}

/// Where a capture's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Stdin,
    File(PathBuf),
}

/// A `[[tap]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapSetting {
    pub name: String,
    /// `D`, `E`, `J` or `K`; without it market data stands at G and orders at K, by vocabulary of INTERFACE.md.
    pub point: Option<char>,
    /// Added to every time of this tap.
    pub offset: Nanos,
    /// Taps of one observation point share this.
    pub group: Option<String>,
    /// Taps of one clock share this; `None` is the clock that files given together share.
    pub clock: Option<String>,
    /// How well that clock is kept.
    pub error: Option<Nanos>,
    /// Which stamps count.
    pub trailer: Option<Trailer>,
    /// Which edge of a frame the stamps mean, where it is not the usual one.
    pub edge: Option<Edge>,
    /// Bits per second of the link.
    pub speed: Option<u64>,
    /// The capture that this entry is about.
    pub file: Option<PathBuf>,
    /// The interface that this entry is about, and how it is captured.
    pub interface: Option<String>,
    pub driver: Driver,
    /// Empty: all of them.
    pub queues: Vec<u32>,
    pub ports: Vec<u16>,
    pub steal: bool,
    pub join: Vec<Group>,
    pub processors: Vec<usize>,
    /// Priority by `SCHED_FIFO`; 0: none.
    pub fifo: u8,
    /// 0: interrupts tell of frames.
    pub busy_poll: Nanos,
}

/// A multicast group from `GROUP` or `GROUP@SOURCE`.
pub fn group(text: &str) -> Option<Group> {
    let (address, source) = match text.split_once('@') {
        Some((address, source)) => (address, Some(source.parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    address.is_multicast().then_some(Group { address, source })
}

/// A `[[feed]]`: what would otherwise be found out about a market-data flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedSetting {
    /// Destination of its datagrams. Present in every setting that passed the check.
    pub group: Option<SocketAddr>,
    /// A `Protocol::name`.
    pub protocol: Option<String>,
    /// Letter of the line.
    pub line: Option<String>,
}

/// A `[[session]]`: likewise for an order-entry conversation. At least one end is present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSetting {
    pub client: Option<Endpoint>,
    pub server: Option<Endpoint>,
    /// A `Protocol::name`.
    pub protocol: Option<String>,
}

/// An address, of one port or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub address: IpAddr,
    pub port: Option<u16>,
}

/// `[trigger]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggerSetting {
    /// A trigger is at most this old …
    pub window: Nanos,
    /// … and at least this.
    pub min: Nanos,
    /// Names of [`TRIGGER_MESSAGES`].
    pub messages: Vec<String>,
    /// Tails are stated over pairs at least this sure.
    pub confidence: f32,
    pub learning: Learning,
    pub books: Books,
    pub ids: Vec<IdSetting>,
    pub links: Vec<LinkSetting>,
}

/// Whether books of the symbols in the order flow are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Books {
    /// Where captures are small, or a rule needs them.
    #[default]
    Auto,
    Always,
    Never,
}

impl Books {
    /// The names in the configuration.
    pub const NAMES: &[&str] = &["auto", "always", "never"];

    pub fn of(name: &str) -> Books {
        match name {
            "always" => Books::Always,
            "never" => Books::Never,
            _ => Books::Auto,
        }
    }
}

/// A `[[trigger.id]]`; `None` where the file does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdSetting {
    pub order: Option<OrderTag>,
    /// A name of [`crate::pair::Named::NAMES`].
    pub market_data: Option<&'static str>,
}

/// Where a request carries an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderTag {
    pub tag: u32,
    pub regex: Option<String>,
    pub base: u32,
}

/// A `[[trigger.link]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSetting {
    pub orders: String,
    pub when: String,
}

/// Where snapshots are to be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SocketSetting {
    /// Below the folder for such things.
    #[default]
    Default,
    None,
    At(PathBuf),
}

/// `ip:port`, or a port alone: of this host only.
pub fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.trim_start_matches(':').parse::<u16>().ok().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let address = port.or_else(|| text.parse().ok());
    address.ok_or_else(|| format!("expected an address and port, such as 127.0.0.1:9464, or a port, found \"{text}\""))
}

/// `none`, or a path.
pub fn socket(path: PathBuf) -> SocketSetting {
    if path.as_os_str() == "none" { SocketSetting::None } else { SocketSetting::At(path) }
}

/// `[pairing]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairingSetting {
    pub answer_timeout: Nanos,
}

/// What `[trigger] messages` may name: the kinds of market data, and `bbo`, a change of the best price.
pub const TRIGGER_MESSAGES: &[&str] = &["trade", "bbo", "quote", "book", "auction", "status"];

impl Default for TriggerSetting {
    fn default() -> Self {
        let messages = vec!["trade".to_owned(), "bbo".to_owned()];
        TriggerSetting {
            window: Nanos(1_000_000_000),
            min: Nanos(0),
            messages,
            confidence: THRESHOLD,
            learning: Learning::default(),
            books: Books::default(),
            ids: Vec::new(),
            links: Vec::new(),
        }
    }
}

impl Default for PairingSetting {
    fn default() -> Self {
        PairingSetting { answer_timeout: Nanos(10_000_000_000) }
    }
}

/// One value that was given somewhere.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: &'static Key,
    /// Which `[[table]]` of its kind, from 0; 0 for a `[table]`.
    pub index: usize,
    /// The value as TOML.
    pub value: String,
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Line of the configuration file.
    File { line: usize, column: usize },
    /// The option that said it.
    CommandLine(&'static str),
}

impl Settings {
    /// What is said about a tap of this name.
    pub fn tap(&self, name: &str) -> Option<&TapSetting> {
        self.taps.iter().find(|tap| tap.name == name)
    }

    /// An entry that was given, by table, position and key.
    pub fn entry(&self, table: Table, index: usize, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.table == table && entry.index == index && entry.key.name == name)
    }

    /// Replaces or adds a value that another source than the file gave.
    pub(super) fn set_entry(&mut self, entry: Entry) {
        let same = |old: &&mut Entry| std::ptr::eq(old.key, entry.key) && old.index == entry.index;
        match self.entries.iter_mut().find(same) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }

    /// Which configured taps are no tap of this run; the caller, who opened the captures, knows their names.
    /// A `[[tap]]` of another day's captures is no mistake; of `--offset` see `ClockArgs::check_taps`.
    pub fn absent_taps<'a>(&'a self, taps: &[&str]) -> Vec<&'a TapSetting> {
        self.taps.iter().filter(|tap| !tap.name.is_empty() && !taps.contains(&tap.name.as_str())).collect()
    }

    pub(super) fn last_tap(&mut self) -> &mut TapSetting {
        self.taps.last_mut().expect("Table::start pushed a tap before its keys are set")
    }

    pub(super) fn last_feed(&mut self) -> &mut FeedSetting {
        self.feeds.last_mut().expect("Table::start pushed a feed before its keys are set")
    }

    pub(super) fn last_id(&mut self) -> &mut IdSetting {
        self.trigger.ids.last_mut().expect("Table::start pushed an id before its keys are set")
    }

    pub(super) fn last_link(&mut self) -> &mut LinkSetting {
        self.trigger.links.last_mut().expect("Table::start pushed a link before its keys are set")
    }

    pub(super) fn last_session(&mut self) -> &mut SessionSetting {
        self.sessions.last_mut().expect("Table::start pushed a session before its keys are set")
    }
}

impl Capture {
    /// A name from the file's name without folders and endings: `md.pcap.zst` is `md`.
    pub fn default_name(input: &Input) -> String {
        let Input::File(path) = input else { return "stdin".to_owned() };
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let mut stem = name.as_str();
        for ending in [".gz", ".zst", ".xz", ".lz4", ".pcapng", ".pcap", ".cap"] {
            stem = stem.strip_suffix(ending).filter(|rest| !rest.is_empty()).unwrap_or(stem);
        }
        stem.to_owned()
    }
}

impl Input {
    /// Standard input and pipes are not.
    pub fn is_readable_twice(&self) -> bool {
        self.path().is_some_and(|path| path.is_file() || path.is_dir())
    }

    pub fn path(&self) -> Option<&Path> {
        match self {
            Input::Stdin => None,
            Input::File(path) => Some(path),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Stdin => f.write_str("standard input"),
            Input::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Endpoint {
    /// Whether an end of a conversation is this one.
    pub fn holds(&self, address: SocketAddr) -> bool {
        self.address == address.ip() && self.port.is_none_or(|port| port == address.port())
    }

    /// `10.0.0.10`, `10.0.1.20:9876`, `::1`, `[::1]:9876`.
    pub fn parse(text: &str) -> Option<Endpoint> {
        if let Ok(whole) = text.parse::<SocketAddr>() {
            return Some(Endpoint { address: whole.ip(), port: Some(whole.port()) });
        }
        text.parse().ok().map(|address| Endpoint { address, port: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_named_after_its_file() {
        for (path, expected) in [
            ("md.pcap", "md"),
            ("/data/md.eth1.pcapng.zst", "md.eth1"),
            (".pcap", ".pcap"),
            ("cap", "cap"),
            ("x.csv", "x.csv"),
        ] {
            assert_eq!(Capture::default_name(&Input::File(path.into())), expected);
        }
        assert_eq!(Capture::default_name(&Input::Stdin), "stdin");
    }

    #[test]
    fn an_endpoint_without_port_holds_every_port() {
        let end: SocketAddr = "10.0.0.10:5001".parse().expect("an address");
        assert!(Endpoint::parse("10.0.0.10").expect("an address").holds(end));
        assert!(Endpoint::parse("10.0.0.10:5001").expect("an address").holds(end));
        assert!(!Endpoint::parse("10.0.0.10:5002").expect("an address").holds(end));
        assert_eq!(Endpoint::parse("[::1]:80").expect("an address").port, Some(80));
        assert!(Endpoint::parse("exchange:80").is_none());
    }
}
