//! The manual, made from the command line's own definition (`clap_mangen`), the table of configuration keys and the
//! program's lists of latencies, flags, losses and protocols. `tests/man.rs` compares it with the files in `man/`.
//! Language: man(7), as groff and mandoc read it.

mod socket;
pub mod tables;
mod tui;

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use tickscope_decoders::{Carrier, PROTOCOLS, Role};
use tickscope_model::{Level, Loss, SegmentKind};

use self::tables::Row;
use super::args::Cli;
use super::config::keys::{Key, Kind, Table, keys_of};
use super::doctor::{INTERFACE_KINDS, MACHINE_KINDS};
use super::values;
use crate::capture::stamp::FORMATS;
use crate::pair::Flag;
use crate::stats::{Culprit, Part, Reason};

/// A file of `man/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// `tickscope-analyze.1`.
    pub file: String,
    pub text: String,
}

/// Of the last change to the words; a date of the build would make every build differ.
const DATE: &str = "2026-11-26";
const MANUAL: &str = "tickscope manual";

/// Every page.
pub fn pages() -> Vec<Page> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = vec![main_page(&root)];
    for command in root.get_subcommands() {
        let extra: fn(&mut Writer) = match command.get_name() {
            "analyze" => analyze_sections,
            "decode" => decode_sections,
            "config" => |page: &mut Writer| page.subcommands(),
            "doctor" => doctor_sections,
            "tui" => tui::sections,
            _ => |_: &mut Writer| (),
        };
        pages.push(command_page(command, extra));
    }
    pages.push(config_file_page());
    pages.push(socket::page());
    pages
}

fn main_page(root: &clap::Command) -> Page {
    let mut page = Writer::open(root);
    page.section("COMMANDS");
    for command in root.get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        page.item(vec![bold(format!("tickscope-{}(1)", command.get_name()))], &about);
    }
    points(&mut page);
    latencies(&mut page);
    protocols(&mut page);
    page.close(values::EXAMPLES_MAIN)
}

fn command_page(command: &clap::Command, extra: fn(&mut Writer)) -> Page {
    let mut page = Writer::open(command);
    extra(&mut page);
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    page.close(&examples)
}

fn analyze_sections(page: &mut Writer) {
    latencies(page);
    analysis(page);
    page.section("FIGURES");
    page.paragraph("Times are nanoseconds since the Unix epoch, UTC; latencies are nanoseconds, both as integers.");
    page.paragraph(
        "n, min, max and mean are exact. Percentiles are those of an HdrHistogram with 3 significant digits: nearest \
         rank, highest equivalent value, never outside [min, max]. A percentile with fewer than 10 samples above it is \
         marked, since it says little. Those of t2t and fill_to_request from p99 up are over sure pairs, see WHICH MESSAGE \
         CAUSED A REQUEST. Negative latencies stay out of the histogram and are counted.",
    );
    page.paragraph(
        "JSON carries beside each time in nanoseconds a text t, seconds.nanoseconds, since many readers of JSON cut \
         integers at 53 bits.",
    );
    stamps(page);
    clocks(page);
    page.section("ORDERS");
    page.paragraph(
        "The file of --orders has a row for each request and session, in time order, with these columns. A latency is \
         empty where the thing did not happen or was not captured. New columns are added at the end.",
    );
    page.paragraph(
        "A request is over when it is filled, rejected, canceled or replaced; what comes more than 10 seconds after that \
         is counted as an orphan. Messages that FIX sends again (PossDupFlag, PossResend) are neither requests nor answers, \
         with one exception: an answer whose first sending was never captured counts from its copy, with the flag resent.",
    );
    page.rows(tables::ORDERS);
    let requests: Vec<&str> = tables::REQUESTS.iter().map(|request| request.request_name()).collect();
    page.paragraph(&format!("Kinds of request: {}.", requests.join(", ")));
    page.paragraph("What decided on a trigger:");
    for method in tables::METHODS {
        page.item(vec![bold(method.name())], tables::method(method));
    }
    page.section("WHICH MESSAGE CAUSED A REQUEST");
    for text in tables::CAUSES {
        page.paragraph(text);
    }
    page.section("SEGMENTS");
    page.paragraph(
        "The file of --segments has a row for each measured latency, in the order of their requests, with these columns. A \
         TCP ACK that rode on the answer has none; a second sighting of a request has a row hop.",
    );
    page.rows(tables::SEGMENTS);
    page.section("FLAGS");
    page.paragraph("Words of the column flags:");
    for flag in Flag::ALL {
        page.item(vec![bold(flag.name())], flag.text());
    }
    losses(page);
}

fn decode_sections(page: &mut Writer) {
    page.section("KEYS");
    page.paragraph("Keys of a line; those behind msg are there where the message has them.");
    page.rows(tables::DECODED);
    protocols(page);
}

fn doctor_sections(page: &mut Writer) {
    page.section("VERDICTS");
    page.rows(tables::VERDICTS);
    page.section("CHECKS");
    page.paragraph("Names are those of JSON, in the order of the output; behind each stands why it matters.");
    for (title, kinds) in [("Of the machine", MACHINE_KINDS), ("Of each interface", INTERFACE_KINDS)] {
        page.subsection(title);
        for kind in kinds {
            page.item(vec![bold(kind.name)], &format!("{}: {}.", kind.title, kind.why));
        }
    }
    page.section("JSON");
    page.paragraph("One object with these keys; those from name on stand in each element of checks.");
    page.rows(tables::DOCTOR);
}

/// The letters that people use for places along the way.
fn points(page: &mut Writer) {
    page.section("POINTS");
    page.paragraph(
        "Letters name the places between the exchange and the trading system: D market data leaves the exchange's \
         gateway; E it reaches the trading host's NIC; G it is decoded and the trading logic starts; J the order leaves \
         the trading host's NIC; K the order crosses the hand-off switch towards the exchange; K' the exchange's answer \
         crosses it on its way back. With no taps named, tick-to-trade is printed as G\u{2192}K (at the capture point).",
    );
}

fn latencies(page: &mut Writer) {
    page.section("LATENCIES");
    page.paragraph(
        "All are integer nanoseconds in files, JSON and metrics; the report shows each line in the unit of its median. Names \
         from order_to_fill on are parts of external latency, which stand in a table of their own.",
    );
    for kind in SegmentKind::ALL {
        page.item(vec![bold(kind.name())], tables::segment(kind));
    }
}

/// The times that devices write into frames.
fn stamps(page: &mut Writer) {
    page.section("STAMPS");
    page.paragraph(
        "A switch or capture device may write its own time into each frame: behind the packet, in front of it, or as a \
         counter that keyframes explain. Who stamped a tap is found out (auto): the first 64 to 256 frames of the tap vote, \
         or all where there are fewer; a form wins that nine tenths of those that could carry it do carry, with checksums \
         that fit, or in at least 16 frames whose stamps keep pace with the capture's clock. A tap with fewer than 64 \
         frames in the first 16 MB of a longer capture is not decided: name its form. A form that is named is read from any \
         number of frames; a stamp that is more than 30 days off the capture's clock then counts only with a checksum that \
         fits, or where at least 16 keep pace, or where the capture's clock itself was never set. A capture's own stamps \
         that are whole microseconds or milliseconds in at least 64 frames at its beginning are taken for that, whatever \
         the file could hold; the report has a note.",
    );
    page.paragraph(
        "A frame without a stamp, or whose stamp is more than 5 seconds off those around it, gets the capture's own time \
         plus the difference of the two clocks at the last stamp; the report counts such frames with their reason. \
         Stamps that are ahead of the capture's clock as TAI is ahead of UTC (37 seconds since 2017) have that taken off, \
         with a warning; the word TAI in a frame alone is not believed.",
    );
    page.paragraph(
        "Times mean the start of a frame where the device stamps that. Those of the end, or of the frame check sequence, are \
         moved to the start where the link's speed is known (the key speed, or if_speed of a pcapng). The report says which \
         edge each tap's times mean; a capture's own times have none that is known, unless edge of [[tap]] says it, and are \
         taken for the start.",
    );
    page.paragraph(
        "tickscope-live(1) looks for stamps where trailer of [[tap]] or --trailer says that there are any. Its taps then have two \
         clocks: that of the device, for taps behind it, and UTC of this host, for the others. Between the two there are figures \
         only where both have the same clock in [[tap]], or an offset is given. Taps behind two devices share a clock unless clock \
         says otherwise. While the first frames of a tap decide, they wait, and with them later frames of other taps: 5 \
         seconds at most, or until a queue is half full. What was decided holds for the whole run.",
    );
    for format in FORMATS {
        let unproven =
            if format.is_proven { "" } else { " Unproven: no capture of others was at hand to test it with." };
        let text = format!("{}. Stamped: {}.{unproven}", format.title, format.edge.text());
        page.item(vec![bold(format.name)], &text);
    }
}

/// Taps that do not share a clock.
fn clocks(page: &mut Writer) {
    page.section("CLOCKS");
    page.paragraph(
        "Captures of one command share a clock unless the configuration gives their taps different ones (clock of [[tap]]). \
         Figures between two clocks need their difference: the offset that is given, or bounds that are found by reading \
         the captures once more in front. Every bound is a cause on one clock and its effect on the other: a request and \
         the public print of its own fill (found by symbol, quantity and price within 5 ms); the oldest market data on the \
         symbol in the 5 ms before that print, which is taken to reach back to what made the system send the request; and \
         packets that both taps saw, whose way past the taps is known. Each tap that shows the market data bounds its own \
         clock; what bounds two pairs of clocks bounds the third, and every pair is as tight as its best way over others. \
         The bounds follow a drift (a line through time). The middle is taken off; figures between the clocks carry \
         half the width, and the ticks of the captures, as their \u{b1}. An order that nothing on its symbol caused and that \
         happens to meet a message within its own way to the exchange would give a wrong bound; such chance is rare, and \
         bounds that contradict each other show it.",
    );
    page.paragraph(
        "Where no line fits, a clock was set. That may have been at any time between the last bound that the time behind \
         contradicts and the first that the time before does, a little more where a clock shows the same times twice. In \
         this gap nothing is known: requests there have no latency between the clocks and the flag cross_clock, packets at \
         two taps are left out, and the report and JSON (unknown of the clock) give its ends. Where several pairs of clocks \
         show it, it is about the clock that they have in common. A step smaller than the width of the bounds cannot be \
         seen.",
    );
    page.paragraph(
        "The drift that the report names is an estimate, that of the middle; beside it stands what is possible within the \
         bounds (in JSON drift_ns_per_s, drift_ns_per_s_min, drift_ns_per_s_max). The clock of a tap in JSON is the name under \
         which clocks relates it, and offset_ns what was added to its times.",
    );
    page.paragraph(
        "Where the difference is not known there is no latency between the clocks: the rows have the flag cross_clock, and are \
         counted. Each latency between two clocks carries its \u{b1} in the report, in JSON (error_ns of its segment and \
         part, and wherever else its figures stand) and in the tables (error_ns); \u{b1}? and null mean that nobody said how well the clocks are kept.",
    );
    page.paragraph(
        "A tap whose clock is 33 to 37 s ahead of the exchange's stamps (of market data and of the answers, of which 64 are \
         compared, whole hours aside), or behind them, is warned about: one of them counts TAI, the other UTC.",
    );
    page.paragraph(
        "Packets that several taps see are joined by a hash of what UDP or TCP carries (and TCP's sequence number), which \
         addresses, ports, VLAN tags and the TTL do not change. The report has their latency by pair of taps, each way; \
         --segments has that of requests, as hop. A packet that several taps saw and one of them twice within a second is \
         counted and not joined. They are looked for where the first 200,000 frames hold any; live in the first 512 packets \
         of each flow and one in 64 of the rest, until taps share the flow: what was overlooked by then is counted.",
    );
}

/// What external latency consists of, and how a verdict is reached.
fn analysis(page: &mut Writer) {
    page.section("EXTERNAL LATENCY, SPLIT");
    page.paragraph(
        "A second table, and external_split in JSON, takes external latency apart. Each part is measured only over the \
         requests for which its condition holds; beside it stands how many others there were, and why not (without).",
    );
    for part in Part::ALL {
        page.item(vec![bold(part.name())], part.text());
    }
    page.section("THE EXCHANGE'S CLOCK");
    page.paragraph(
        "The exchange's clock need not agree with the capture's. No message arrives before it was sent, so each answered \
         request says how far the one can be ahead of the other at most and at least. Over up to a minute these bounds are \
         put together as lower and upper hull, so that a constant drift does no harm, and a one-way latency is given as an \
         interval, never as a point: its two ends are the parts oneway_..._min and oneway_..._max. The interval is as wide \
         as the shortest way there and back together; the units of the stamps widen it. Stamps whose unit is longer than \
         the latency of the answer tell nothing, and requests in a time when no steady clock explains the stamps are \
         counted apart.",
    );
    page.section("VERDICT");
    page.paragraph(
        "The report says in which stretches of time something was slow, and what: a stretch is slow where the median is at \
         least 1.5 times the usual one, which is the lowest level that holds a tenth of the values. Where the level of \
         tick-to-trade (of triggers with a confidence above 0.5), of the exchange's answers without fills, and of TCP \
         acknowledgements changes is found on the single requests: on the ranks of their latencies, by seeded binary \
         segmentation with the rank-sum statistic of Mann and Whitney, whose spread is taken from blocks of the series, so \
         that heavy tails and values that follow each other closely raise no alarm. The thresholds of all tests of one run \
         together allow a false alarm with a chance of at most 1 %. Each side is judged for all sessions together and for \
         each of the 32 busiest alone. A stretch counts only where like was slower than like: beside values of the same kind and \
         symbol outside of it, so that a time with other instruments than usual is none. What is too short for ranks is \
         found by runs: eight or more values, nearly all of them at least 2 or 4 times as high as those around, whose \
         likelihood ratio to what the rest of the series does after none, one, two, or more high values is beyond the same \
         chance; requests that were under way together count once. A stretch begins and ends in the middle between a slow \
         request and its neighbour that was not; of the places for that, the one where most values are nearer to the \
         level on their side. Two sides that were slow are one stretch (both) where they share at least half of the longer \
         one and each was slow over all of it; else each is its own. Names of what slowed:",
    );
    for culprit in Culprit::ALL {
        page.item(vec![bold(culprit.name())], culprit.text());
    }
    page.paragraph(
        "The table over time has, beside the latencies, the rate of market data in messages a second (market_per_second in \
         JSON), of the part of a span that the captures hold.",
    );
    page.section("SLOW ORDERS");
    page.paragraph(
        "The slowest orders each carry what was unusual at their time, with the evidence. None of it is proof, and there \
         may be nothing. The words:",
    );
    for reason in Reason::ALL {
        page.item(vec![bold(reason.name())], reason.text());
    }
}

fn losses(page: &mut Writer) {
    page.section("LOSSES");
    page.paragraph(
        "Everything that came in and did not become a latency is counted under one of these reasons. At each level, \
         what came in is what was used and the sum of its losses.",
    );
    for level in [Level::Frame, Level::Stream, Level::Message, Level::Order] {
        page.subsection(tables::level(level));
        for loss in Loss::ALL.iter().filter(|loss| loss.level() == level) {
            page.item(vec![bold(loss.name())], loss.text());
        }
    }
}

fn protocols(page: &mut Writer) {
    if PROTOCOLS.is_empty() {
        return;
    }
    page.section("PROTOCOLS");
    for protocol in PROTOCOLS {
        let role = match protocol.role {
            Role::MarketData => "market data",
            Role::OrderEntry => "order entry",
        };
        let carrier = match protocol.carrier {
            Carrier::Udp => "UDP",
            Carrier::Tcp => "TCP",
        };
        let text = format!("{} ({role}, {carrier}). Specification: {}", protocol.title, protocol.spec);
        page.item(vec![bold(protocol.name)], &text);
    }
}

fn config_file_page() -> Page {
    let mut page = Writer { text: preamble(), file: "tickscope-config.5".into(), commands: Vec::new() };
    page.title("tickscope-config", "5");
    page.section("NAME");
    page.paragraph("tickscope-config - configuration file of tickscope");
    page.section("DESCRIPTION");
    page.paragraph(
        "A TOML file. Every key is optional, and so is the file. An unknown key is an error that names the nearest known \
         one. tickscope config check checks a file; tickscope config show prints what is in force and where each value \
         came from. Options of the command line replace values of the file.",
    );
    page.paragraph(
        "A duration is a text: a number, with a fraction or without, and a unit (ns, us, ms or s), such as \"250us\" or \
         \"1.5ms\". Paths are taken relative to the folder of the configuration file.",
    );
    page.section("TABLES AND KEYS");
    for &table in Table::ALL {
        page.subsection(&table.header());
        page.paragraph(table.text());
        for key in keys_of(table) {
            config_key(&mut page, key);
        }
    }
    stamps(&mut page);
    page.section("INSTRUMENTS FILE");
    page.paragraph(
        "Comma-separated lines symbol,security_id[,alias...]. The security_id may be empty where there is an alias. Fields \
         may be in double quotes. A first line that begins with symbol is a header; lines that begin with # are \
         comments. A name that stands for two instruments is an error.",
    );
    page.literal("symbol,security_id,alias\nINTC,1234\nESZ6,5002,ES DEC26");
    page.section("EXAMPLE");
    page.literal(&example());
    page.close("")
}

fn config_key(page: &mut Writer, key: &Key) {
    let mut sentences = vec![key.text.to_owned()];
    if !matches!(key.kind, Kind::Text(_) | Kind::File(_)) {
        sentences.push(format!("Expected: {}.", key.kind.expected()));
    }
    if !key.default.is_empty() {
        sentences.push(format!("Default: {}.", key.default));
    }
    page.item(vec![bold(key.name), roman(" = "), italic(key.example)], &sentences.join(" "));
}

/// A file with every key that is used.
fn example() -> String {
    let mut tables = Vec::new();
    for &table in Table::ALL {
        let lines: Vec<String> = keys_of(table).map(|key| format!("{} = {}\n", key.name, key.example)).collect();
        if !lines.is_empty() {
            tables.push(format!("{}\n{}", table.header(), lines.concat()));
        }
    }
    tables.join("\n")
}

/// One page under construction.
struct Writer {
    text: String,
    file: String,
    commands: Vec<clap::Command>,
}

impl Writer {
    /// Name, synopsis, description and options of a command.
    fn open(command: &clap::Command) -> Writer {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let mut page = Writer {
            text: preamble(),
            file: format!("{name}.1"),
            commands: command.get_subcommands().cloned().collect(),
        };
        page.title(&name, "1");
        let man = Man::new(command.clone());
        page.rendered(|out| man.render_name_section(out));
        page.section("SYNOPSIS");
        let usage = command.clone().render_usage().to_string();
        let name = command.get_bin_name().unwrap_or(command.get_name());
        let rest = usage.trim_start_matches("Usage: ").trim_start_matches(name).to_owned();
        page.words(vec![bold(name), roman(rest)]);
        page.rendered(|out| man.render_description_section(out));
        page.options(&man, "OPTIONS");
        page
    }

    /// What every page ends with.
    fn close(mut self, examples: &str) -> Page {
        if self.file.ends_with(".1") {
            self.section("EXIT STATUS");
            self.rows(tables::EXITS);
            self.section("ENVIRONMENT");
            self.rows(tables::VARIABLES);
        }
        self.section("FILES");
        self.rows(tables::FILES);
        let examples = examples.strip_prefix("Examples:\n").unwrap_or(examples);
        if !examples.is_empty() {
            self.section("EXAMPLES");
            self.literal(examples);
        }
        self.section("SEE ALSO");
        let all = [
            "tickscope(1)",
            "tickscope-analyze(1)",
            "tickscope-decode(1)",
            "tickscope-live(1)",
            "tickscope-tui(1)",
            "tickscope-doctor(1)",
            "tickscope-config(1)",
            "tickscope-completions(1)",
            "tickscope-config(5)",
            "tickscope-socket(7)",
        ];
        let own = format!("{})", self.file.replace(".1", "(1").replace(".5", "(5").replace(".7", "(7"));
        let others: Vec<&str> = all.into_iter().filter(|&page| page != own).collect();
        self.paragraph(&others.join(", "));
        Page { file: self.file, text: self.text }
    }

    fn title(&mut self, name: &str, section: &str) {
        let source = concat!("tickscope ", env!("CARGO_PKG_VERSION"));
        self.control("TH", &[name.to_uppercase().as_str(), section, DATE, source, MANUAL]);
    }

    /// The commands below this one, each with its options.
    fn subcommands(&mut self) {
        self.section("COMMANDS");
        for command in std::mem::take(&mut self.commands) {
            self.subsection(command.get_bin_name().unwrap_or(command.get_name()));
            let about = command.get_long_about().or_else(|| command.get_about());
            self.paragraph(&about.map(ToString::to_string).unwrap_or_default());
            self.options(&Man::new(command.disable_help_flag(true)), "");
        }
    }

    /// The options of a command under one section, their groups below it; with no name as part of the section at hand.
    fn options(&mut self, man: &Man, section: &str) {
        let mut text = Vec::new();
        man.render_options_section(&mut text).expect("writing to memory does not fail");
        let text = String::from_utf8(text).expect("clap_mangen writes UTF-8");
        // mandoc's lint has words about a break before an empty line.
        let text = text.replace(".br\n\n.br\n", ".sp\n");
        for line in text.strip_prefix(preamble().as_str()).unwrap_or(&text).lines() {
            match line.strip_prefix(".SH ").map(|name| name.trim_matches('"')) {
                Some("OPTIONS") if section.is_empty() => (),
                Some("OPTIONS") => self.section(section),
                Some(group) => self.subsection(&capitalized(group)),
                None => self.append(&format!("{line}\n")),
            }
        }
    }

    /// Takes over what `clap_mangen` wrote.
    fn rendered(&mut self, render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) {
        let mut text = Vec::new();
        render(&mut text).expect("writing to memory does not fail");
        let text = String::from_utf8(text).expect("clap_mangen writes UTF-8");
        self.append(&text);
    }

    /// One control line or line of text.
    fn line(&mut self, write: impl FnOnce(&mut Roff)) {
        let mut roff = Roff::new();
        write(&mut roff);
        self.append(&roff.render());
    }

    /// Each piece comes with roff's preamble, of which a page needs one. Letters beyond ASCII become escapes, since
    /// groff alone, without its preprocessor, does not read UTF-8.
    fn append(&mut self, text: &str) {
        let text = text.strip_prefix(preamble().as_str()).unwrap_or(text);
        for letter in text.chars() {
            if letter.is_ascii() {
                self.text.push(letter);
            } else {
                self.text.extend(["\\[u", &format!("{:04X}", u32::from(letter)), "]"]);
            }
        }
    }

    fn control(&mut self, name: &str, arguments: &[&str]) {
        self.line(|roff| {
            roff.control(name, arguments.iter().copied());
        });
    }

    fn words(&mut self, words: Vec<Inline>) {
        self.line(|roff| {
            roff.text(words);
        });
    }

    fn section(&mut self, name: &str) {
        self.control("SH", &[name]);
    }

    fn subsection(&mut self, name: &str) {
        self.control("SS", &[name]);
    }

    fn paragraph(&mut self, text: &str) {
        self.break_paragraph();
        self.words(vec![roman(text)]);
    }

    /// A new paragraph, but for behind a heading, which has begun one.
    fn break_paragraph(&mut self) {
        let last = self.text.trim_end().rsplit('\n').next().unwrap_or_default();
        if !last.starts_with(".SH") && !last.starts_with(".SS") {
            self.control("PP", &[]);
        }
    }

    fn item(&mut self, head: Vec<Inline>, text: &str) {
        self.control("TP", &[]);
        self.words(head);
        self.words(vec![roman(text)]);
    }

    fn rows(&mut self, rows: &[Row]) {
        for &(name, text) in rows {
            self.item(vec![bold(name)], text);
        }
    }

    /// Lines that are not filled.
    fn literal(&mut self, text: &str) {
        self.break_paragraph();
        self.control("nf", &[]);
        for line in text.trim_end().lines() {
            self.words(vec![roman(line)]);
        }
        self.control("fi", &[]);
    }
}

/// What the roff crate puts in front of every text: a string that keeps apostrophes straight.
fn preamble() -> String {
    Roff::new().render()
}

/// `CLOCKS AND TIME`, as `clap_mangen` writes headings, to `Clocks and time`.
fn capitalized(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let mut letters = lower.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
