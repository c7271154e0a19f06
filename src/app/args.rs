//! The command line: every command and option, in clap's terms. Help, completions and manual pages are made from it.
//! What they promise is INTERFACE.md.
#![allow(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be noise")]
#![allow(rustdoc::broken_intra_doc_links, reason = "likewise: [[tap]] is a table of the configuration")]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use tickscope_decoders::PROTOCOLS;
use tickscope_model::Nanos;

use super::config::settings::metrics_address;
use super::config::{TapArg, TapOffset, TapTrailer, duration};
use super::recording::RecordArgs;
use super::values::{self, CaptureArg, TableOutput, TimeArg, Zone};

/// Tick-to-trade and exchange latency from packet captures
///
/// From captures of market data and order flow, tickscope finds which market-data message made the trading system send
/// each order request, how long that took (tick-to-trade), and how long the exchange took to answer (TCP ACK, ack,
/// reject, fill, cancel and replace acknowledgement). Protocols are recognised from the bytes; no configuration is needed.
#[derive(Debug, Parser)]
#[command(
    name = "tickscope",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = false,
    after_help = values::EXAMPLES_MAIN
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Analyze(Box<AnalyzeArgs>),
    Decode(Box<DecodeArgs>),
    Live(Box<LiveArgs>),
    Tui(Box<super::tui::args::TuiArgs>),
    Sim(SimArgs),
    Score(super::score::ScoreArgs),
    Doctor(DoctorArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
}

/// Report latencies from captures
///
/// Reads the captures, merged by time, and prints a report: each latency with n, min, percentiles, max and mean, by
/// session, symbol and outcome; the slowest orders with their trigger and timeline; the course over time; and an account
/// of every frame, byte, message and order that did not become a latency, with the reason.
#[derive(Args, Debug, Default)]
#[command(after_help = values::EXAMPLES_ANALYZE)]
pub struct AnalyzeArgs {
    #[command(flatten)]
    pub input: InputArgs,

    #[command(flatten)]
    pub output: OutputArgs,

    #[command(flatten)]
    pub pairing: PairingArgs,

    /// Read captures ahead on so many threads, 0 for none [default: one less than processors, at most 4]
    ///
    /// Only captures that are plain files can be read ahead, and only without --filter. The results are the same with any
    /// number.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(0..=256), help_heading = "Speed")]
    pub threads: Option<u16>,

    #[command(flatten)]
    pub selection: SelectionArgs,

    #[command(flatten)]
    pub clock: ClockArgs,

    #[command(flatten)]
    pub display: DisplayArgs,
}

/// Print each decoded message as one line of JSON
///
/// Writes one JSON object a message to standard output, in time order: frame, file, time, flow, protocol, the message's
/// name and its main fields, and under `fields` the whole message with the protocol's own field names.
#[derive(Args, Debug, Default)]
#[command(after_help = values::EXAMPLES_DECODE)]
pub struct DecodeArgs {
    #[command(flatten)]
    pub input: InputArgs,

    /// Print only messages of this protocol; may be given several times
    #[arg(long = "protocol", value_name = "NAME", help_heading = "Selection",
          value_parser = PossibleValuesParser::new(PROTOCOLS.iter().map(|protocol| protocol.name)))]
    pub protocols: Vec<String>,

    #[command(flatten)]
    pub selection: SelectionArgs,

    #[command(flatten)]
    pub clock: ClockArgs,

    #[command(flatten)]
    pub display: DisplayArgs,
}

/// Capture at the NIC, and report latencies while they happen
///
/// Captures frames from interfaces and does with them, as they come, what `analyze` does with captures: the same stages and
/// the same figures, with triggers found by the causal model. Runs until Ctrl-C, SIGTERM or --duration; then nothing more is
/// taken from the interfaces, what is on its way is read, and the last report is written. SIGUSR1 prints the report so far.
/// Every frame is accounted for, by tap and reason.
#[derive(Args, Debug, Default)]
#[command(after_help = values::EXAMPLES_LIVE)]
pub struct LiveArgs {
    /// Capture this interface, under this name; may be given several times
    ///
    /// Behind the interface stand keys of [[tap]], see tickscope-config(5): point=D, driver=xdp, ports=26477+9000, queues=2,
    /// cpus=2+3, join=233.54.12.111, offset=-5us, steal. Lists have "+" between their parts. Taps may be in the
    /// configuration instead, by `interface`.
    #[arg(long = "tap", value_name = "NAME=IF[,KEY=VALUE...]", value_parser = TapArg::parse, help_heading = "Input")]
    pub taps: Vec<TapArg>,

    #[command(flatten)]
    pub file: FileArgs,

    /// Exit with 3 when data was lost, cut or could not be decoded
    #[arg(long, help_heading = "Input")]
    pub strict: bool,

    /// How what happens is said on stderr
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, help_heading = "Display")]
    pub log: super::log::LogFormat,

    /// End after this time
    ///
    /// A number with a unit: ns, us, ms or s.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_span, help_heading = "Running")]
    pub duration: Option<Nanos>,

    /// Nothing on the terminal but messages and reports: for services
    ///
    /// Without it, and where standard output is a terminal, the screen of tickscope-tui(1) is shown there. Its key q ends the run
    /// at once, as Ctrl-C does, and the report is printed.
    #[arg(long, help_heading = "Running")]
    pub headless: bool,

    /// Memory between each queue of a NIC and the stages, in KiB
    ///
    /// Frames wait there while the stages are busy, or another tap is behind. Where it is full the newest frames are lost,
    /// and counted as queue_full.
    #[arg(long, value_name = "KIB", default_value_t = 65_536, help_heading = "Running",
          value_parser = clap::value_parser!(u32).range(256..=4_194_304))]
    pub buffer: u32,

    /// Unix socket for snapshots and questions, or none; see tickscope-socket(7)
    ///
    /// Replaces `socket` of [live] in the configuration, which says where it is without both.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Running")]
    pub socket: Option<PathBuf>,

    /// Give metrics in OpenMetrics text on this address, or port of this host
    #[arg(long, value_name = "ADDR", value_parser = metrics_address, help_heading = "Running")]
    pub metrics: Option<SocketAddr>,

    #[command(flatten)]
    pub record: RecordArgs,

    #[command(flatten)]
    pub screen: super::tui::args::ScreenArgs,

    #[command(flatten)]
    pub output: OutputArgs,

    #[command(flatten)]
    pub pairing: PairingArgs,

    #[command(flatten)]
    pub selection: SelectionArgs,

    #[command(flatten)]
    pub clock: ClockArgs,

    #[command(flatten)]
    pub display: DisplayArgs,
}

/// Make market data, orders and answers whose truth is known
///
/// Simulates a market, a trader and an exchange, and writes the captures that taps between them would have made,
/// together with what is true (truth.csv) and the instruments (instruments.csv). The same scenario and seed give the same
/// bytes on every machine. With --live the market data goes out over real sockets and the exchange accepts real FIX
/// sessions, for a trader or gateway under test.
#[derive(Args, Debug, Default)]
#[command(after_help = values::EXAMPLES_SIM)]
pub struct SimArgs {
    /// A scenario file (TOML), or the name of a shipped scenario
    #[arg(value_name = "SCENARIO", required_unless_present = "list")]
    pub scenario: Option<String>,

    /// List the shipped scenarios and what each shows
    #[arg(long, conflicts_with_all = ["scenario", "write", "live", "print"])]
    pub list: bool,

    /// Print the scenario's text, to start one of your own from
    #[arg(long, conflicts_with_all = ["write", "live"])]
    pub print: bool,

    /// Seed of all random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Write captures, truth.csv and instruments.csv into this folder
    ///
    /// With --live: truth.csv and instruments.csv only. The truth then says what is known without a capture: which message
    /// caused which request of the reference trader, the latencies drawn, and what the exchange took; what only a tap can
    /// see is empty.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub write: Option<PathBuf>,

    /// Play on real sockets until the scenario is over or Ctrl-C
    ///
    /// The reference trader trades by the scenario's strategies: it listens to the market data that go out, and talks to
    /// the exchange (or to the gateway, where the scenario has one) over TCP.
    #[arg(long, requires = "md", requires = "fix", help_heading = "Live")]
    pub live: bool,

    /// Where market data goes: an interface, an own address (multicast out of it), or receiver:port
    #[arg(long, value_name = "IF|ADDR", requires = "live", help_heading = "Live")]
    pub md: Option<String>,

    /// Where the mock exchange listens for FIX sessions
    #[arg(long, value_name = "HOST:PORT", requires = "live", help_heading = "Live")]
    pub fix: Option<std::net::SocketAddr>,

    /// Who trades: the scenario's strategies, or a trader of your own, for which nothing is started here
    #[arg(long, value_name = "WHO", value_enum, default_value_t = TraderChoice::Reference, requires = "live", help_heading = "Live")]
    pub trader: TraderChoice,

    /// Where the gateway listens, in scenarios with one [default: --fix's host, the port of the scenario]
    #[arg(long, value_name = "HOST:PORT", requires = "live", help_heading = "Live")]
    pub gateway: Option<std::net::SocketAddr>,

    /// Connect the reference trader to this address: a gateway of your own
    #[arg(long, value_name = "HOST:PORT", requires = "live", conflicts_with = "gateway", help_heading = "Live")]
    pub connect: Option<std::net::SocketAddr>,

    /// Where lost market data are asked for, in scenarios with `recover` [default: --fix's host, any port]
    #[arg(long, value_name = "HOST:PORT", requires = "live", help_heading = "Live")]
    pub recovery: Option<std::net::SocketAddr>,

    /// Serve the instruments as CSV on this address
    #[arg(long, value_name = "HOST:PORT", requires = "live", help_heading = "Live")]
    pub reference: Option<std::net::SocketAddr>,

    /// How much faster than real time the market runs, with --live
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, help_heading = "Live", value_parser = values::speed)]
    pub speed: f64,
}

/// Who sends the orders of a live simulation.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraderChoice {
    #[default]
    Reference,
    Own,
}

/// Check whether this machine is fit to capture, and say what to change
///
/// Looks at the kernel, privileges, clocks and processors, and at each interface: its driver, queues, rings, offloads,
/// stamps and drops. Each check has a verdict (ok, warn, bad, unknown), what was found and where it stands; what is not ok
/// also why it matters and the command that changes it. Nothing is changed, and no privileges are needed: what may not be
/// looked at is unknown. Exits with 4 where something is bad.
#[derive(Args, Debug, Default)]
#[command(after_help = values::EXAMPLES_DOCTOR)]
pub struct DoctorArgs {
    /// Interfaces to check [default: those that are on and have a device]
    ///
    /// Where no interface has a device, as in a container, all Ethernet interfaces that are on. An interface that is named and
    /// down is bad, one that is not named is a warning.
    #[arg(value_name = "IF")]
    pub interfaces: Vec<String>,

    /// Print the checks as one JSON document
    #[arg(long)]
    pub json: bool,

    /// Print only what is not ok
    #[arg(short, long, conflicts_with_all = ["verbose", "json"])]
    pub quiet: bool,

    /// Print of every check why it matters
    #[arg(short, long, conflicts_with = "json")]
    pub verbose: bool,

    /// Colours: auto means on a terminal, and not where NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: When,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// Capture files: pcap or pcapng, plain or .gz, .zst, .xz, .lz4; "-" is standard input
    ///
    /// Several captures are several taps, merged by time. Format and compression are recognised by content, not by name.
    /// NAME=FILE names a tap, for --offset and the configuration; NAME is of letters, digits, "_", "-" and ".". An
    /// argument that is the path of an existing file is that file, even with "=" in it. Without a name, a tap is called
    /// like its file: "md" for md.pcap.zst. A folder is the recording that live --record made in it: all its files are one capture.
    /// May be absent where the configuration names files.
    #[arg(value_name = "CAPTURE", help_heading = None, value_parser = values::capture(), value_hint = ValueHint::FilePath)]
    pub captures: Vec<CaptureArg>,

    #[command(flatten)]
    pub file: FileArgs,

    /// Exit with 3 when data was lost, cut or could not be decoded
    ///
    /// The output is the same as without it. So is the exit of a run that Ctrl-C ended early.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Input")]
pub struct FileArgs {
    /// Configuration file
    ///
    /// Without it the first of these that exists is read: $TICKSCOPE_CONFIG, ./tickscope.toml (not as root),
    /// $XDG_CONFIG_HOME/tickscope/config.toml (or ~/.config/tickscope/config.toml), /etc/tickscope/config.toml. See
    /// tickscope-config(5).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Pairing")]
pub struct PairingArgs {
    /// Look for a trigger at most this long before its request [default: 1s]
    ///
    /// A number with a unit: ns, us, ms or s. Replaces `window` of [trigger] in the configuration.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_span, allow_hyphen_values = true)]
    pub window: Option<Nanos>,

    /// CSV file of instruments: symbol,security_id[,alias...]
    ///
    /// Needed where orders name instruments differently from the market data. With the causal model the listed instruments
    /// have books from the beginning on, others from the first request on that names them. Replaces `file` of [instruments]
    /// in the configuration.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub instruments: Option<PathBuf>,
}

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print the report as one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Write a row for each request: .csv, .jsonl or .parquet; "-" for CSV on standard output
    ///
    /// The format goes by the ending of the name. With "-" the report itself is not printed. Columns: tickscope-analyze(1), ORDERS.
    #[arg(long, value_name = "FILE", value_parser = values::table_output, value_hint = ValueHint::FilePath)]
    pub orders: Option<TableOutput>,

    /// Write a row for each measured latency: .csv, .jsonl or .parquet; "-" for CSV on standard output
    ///
    /// The format goes by the ending of the name. With "-" the report itself is not printed. Columns: tickscope-analyze(1), SEGMENTS.
    #[arg(long, value_name = "FILE", value_parser = values::table_output, value_hint = ValueHint::FilePath)]
    pub segments: Option<TableOutput>,

    /// Write an HdrHistogram percentile file for each latency into this folder
    ///
    /// Files are called by their latency, such as t2t.hgrm; values are nanoseconds. The folder is made where it is missing.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub hgrm: Option<PathBuf>,

    /// Write an HdrHistogram log: one tagged, compressed histogram for each latency and interval
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub hlog: Option<PathBuf>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selection")]
pub struct SelectionArgs {
    /// Read only packets that match this filter: the usual part of tcpdump's syntax
    ///
    /// host, net, port and portrange, each with src or dst, ip or ip6, tcp or udp; ip, ip6, tcp, udp, proto, vlan [ID], len
    /// and its comparisons, less, greater; and, or, not and parentheses. It is applied to the innermost packet, behind VLAN
    /// tags and tunnels, and after fragments are put together; numbers only, no names. As in tcpdump, `and` and `or` bind
    /// equally strong, from left to right.
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,

    /// Count only what happened at or after this time
    ///
    /// RFC 3339 (2026-03-02T09:30:00Z; without a zone in that of --tz), HH:MM[:SS[.frac]] on the day of the first
    /// frame in the zone of --tz, seconds since the epoch (1772443800.5), or nanoseconds since the epoch
    /// (1772443800500000000). Earlier frames are still read, so that streams and books are complete at that time.
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub from: Option<TimeArg>,

    /// Count only what happened before this time; forms as for --from
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub to: Option<TimeArg>,

    /// Only this symbol; may be given several times, or several with commas
    #[arg(long = "symbol", value_name = "SYM", value_delimiter = ',')]
    pub symbols: Vec<String>,

    /// Only this session, as the column `session` names it ("SENDER->TARGET"); may be given several times
    #[arg(long = "session", value_name = "S")]
    pub sessions: Vec<String>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Clocks and time")]
pub struct ClockArgs {
    /// Time zone of printed times and of --from and --to: UTC, local, Area/City or +HH:MM
    ///
    /// Files and JSON carry UTC whatever is given here.
    #[arg(long, value_name = "ZONE", value_parser = values::zone, default_value = "UTC", allow_hyphen_values = true)]
    pub tz: Zone,

    /// Add this to the times of a tap: md=+37us, ord=-1.5ms; may be given several times
    ///
    /// A number with a unit: ns, us, ms or s. Replaces `offset` of the tap's [[tap]] in the configuration.
    #[arg(long = "offset", value_name = "TAP=DURATION", value_parser = values::offset, allow_hyphen_values = true)]
    pub offsets: Vec<TapOffset>,

    /// Take the times that a device wrote into the frames: md=metamako, ord=none, or auto for all
    ///
    /// auto (the default but for live): the first frames of a tap decide, by what nine tenths of them carry; a vote that no format
    /// wins is reported, and the capture's times count. none (the default of live): the times of the capture file, or of NIC and
    /// kernel. Else: metamako, exablaze-hpt, exalink, arista-7280, and, unproven (no capture of others was at hand
    /// to test them with): arista-7150, ixia, cpacket, vss, ttag, broadcom, expcap, erf. Without TAP= it is for every tap
    /// that has none of its own. Replaces `trailer` of the tap's [[tap]] in the configuration.
    #[arg(long = "trailer", value_name = "[TAP=]FORMAT", value_parser = values::trailer)]
    pub trailers: Vec<TapTrailer>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Display")]
pub struct DisplayArgs {
    /// Say less: no warnings and no progress
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say more on stderr: which configuration is in force, what was found where
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Colours: auto means on a terminal, and not where NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: When,

    /// No progress bar; there is one only where stderr is a terminal
    #[arg(long)]
    pub no_progress: bool,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    #[default]
    Auto,
    Always,
    Never,
}

/// Check or show the configuration
#[derive(Args, Debug)]
#[command(after_help = values::EXAMPLES_CONFIG, arg_required_else_help = true)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Check a configuration file: one line for each problem, exit code 1 where there is one
    ///
    /// Also checks the instruments file that it names, and names keys that are right and that this version does not use.
    Check {
        /// The file; without it, the one that `analyze` would read
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Print the values in force, as TOML, and where each came from
    Show(ShowArgs),
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The file; without it, the one that `analyze` would read
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// As for `analyze`: what is in force with this option
    #[arg(long = "offset", value_name = "TAP=DURATION", value_parser = values::offset, allow_hyphen_values = true)]
    pub offsets: Vec<TapOffset>,

    /// As for `analyze`: what is in force with this option
    #[arg(long = "trailer", value_name = "[TAP=]FORMAT", value_parser = values::trailer)]
    pub trailers: Vec<TapTrailer>,

    /// As for `analyze`: what is in force with this option
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_span, allow_hyphen_values = true)]
    pub window: Option<Nanos>,

    /// As for `analyze`: what is in force with this option
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub instruments: Option<PathBuf>,
}

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(after_help = values::EXAMPLES_COMPLETIONS)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

impl OutputArgs {
    /// Whether the report itself goes to standard output; a table that was asked for there takes its place.
    pub fn prints_report(&self) -> bool {
        !self.tables().any(|(_, table)| table.path.is_none())
    }

    /// Both tables, with the name of their option.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, &TableOutput)> {
        let both = [("--orders", &self.orders), ("--segments", &self.segments)];
        both.into_iter().filter_map(|(option, table)| Some((option, table.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::capture::stamp::FORMATS;

    #[test]
    fn the_help_names_every_stamp_and_which_are_unproven() {
        let mut command = Cli::command();
        let analyze = command.find_subcommand_mut("analyze").expect("a command");
        let trailer = analyze.get_arguments().find(|one| one.get_long() == Some("trailer")).expect("an option");
        let help = trailer.get_long_help().expect("a text").to_string();
        let (proven, unproven) = help.split_once("unproven").expect("the word");
        for format in FORMATS {
            let part = if format.is_proven { proven } else { unproven };
            assert!(part.contains(format.name), "{}", format.name);
        }
    }

    #[test]
    fn clap_finds_no_mistake_in_the_definition() {
        Cli::command().debug_assert();
    }
}
