//! Text of a configuration file to [`Settings`] and a list of problems, each with line and column.
//! The syntax is TOML's (toml.io, 1.0); what may stand in it is the table [`super::keys`]'s.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::keys::{Key, Kind, Table, all_keys, keys_of};
use super::kinds::{groups, numbers, protocols};
use super::settings::{self, Endpoint, Entry, Origin, Settings};
use super::{duration, live_keys, order_tag};
use crate::pair::LinkRule;

/// Something wrong at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.text)
    }
}

/// Reads a whole file. Relative paths in it are taken from `folder`. The settings hold what was understood;
/// with problems they are for show only.
pub(super) fn parse(source: &str, folder: &Path) -> (Settings, Vec<Problem>) {
    let mut reader = Reader { source, folder, settings: Settings::default(), problems: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(source);
    for error in &errors {
        reader.problem(error.span().unwrap_or(0..0), one_line(error.message()));
    }
    if errors.is_empty() {
        reader.root(root.get_ref());
        reader.relations();
    }
    let Reader { mut settings, mut problems, .. } = reader;
    problems.sort_by_key(|problem| (problem.line, problem.column));
    settings.entries.sort_by_key(|entry| (entry.key.table, entry.index));
    (settings, problems)
}

pub(super) struct Reader<'a> {
    pub(super) source: &'a str,
    pub(super) folder: &'a Path,
    pub(super) settings: Settings,
    pub(super) problems: Vec<Problem>,
}

impl Reader<'_> {
    fn root(&mut self, root: &DeTable<'_>) {
        for (name, value) in root {
            match Table::find(None, name.get_ref()) {
                Some(table) => self.tables(table, value),
                None => self.unknown(None, name.get_ref(), name.span()),
            }
        }
    }

    /// `[table]`, or all `[[table]]` of one name.
    fn tables(&mut self, table: Table, value: &Spanned<DeValue<'_>>) {
        match (value.get_ref(), table.is_repeated()) {
            (DeValue::Table(content), false) => self.table(table, 0, content, value.span()),
            (DeValue::Array(all), true) => {
                for (index, one) in all.iter().enumerate() {
                    match one.get_ref() {
                        DeValue::Table(content) => self.table(table, index, content, one.span()),
                        other => {
                            let text = format!("expected a table {}, found {}", table.header(), found(other));
                            self.problem(one.span(), text);
                        }
                    }
                }
            }
            (DeValue::Table(_), true) => {
                self.problem(
                    value.span(),
                    format!("write {} in double brackets: there may be several", table.header()),
                );
            }
            (DeValue::Array(_), false) => {
                self.problem(value.span(), format!("write {} in single brackets: there is only one", table.header()));
            }
            (other, _) => {
                self.problem(value.span(), format!("expected a table {}, found {}", table.header(), found(other)));
            }
        }
    }

    fn table(&mut self, table: Table, index: usize, content: &DeTable<'_>, span: Range<usize>) {
        table.start(&mut self.settings);
        for (name, value) in content {
            if let Some(inner) = Table::find(Some(table), name.get_ref()) {
                self.tables(inner, value);
            } else if let Some(key) = keys_of(table).find(|key| key.name == name.get_ref().as_ref()) {
                self.value(key, index, name.span(), value);
            } else {
                self.unknown(Some(table), name.get_ref(), name.span());
            }
        }
        self.missing(table, index, span);
    }

    fn value(&mut self, key: &'static Key, index: usize, name: Range<usize>, value: &Spanned<DeValue<'_>>) {
        match self.store(&key.kind, value.get_ref()) {
            Ok(()) => {
                let (line, column) = place(self.source, name.start);
                let value = render(value.get_ref());
                self.settings.entries.push(Entry { key, index, value, origin: Origin::File { line, column } });
            }
            Err(text) => self.problem(value.span(), format!("{}: {text}", key.name)),
        }
    }

    /// Checks a value and puts it into the settings; the error says what is expected.
    pub(super) fn store(&mut self, kind: &Kind, value: &DeValue<'_>) -> Result<(), String> {
        let wrong = || format!("expected {}, found {}", kind.expected(), found(value));
        let settings = &mut self.settings;
        match kind {
            Kind::Number(most, set) => match numbers(value, *most).as_deref() {
                Some([number]) if !matches!(value, DeValue::Array(_)) => set(settings, *number),
                _ => return Err(wrong()),
            },
            Kind::Numbers(most, set) => {
                let is_list = matches!(value, DeValue::Array(_));
                set(settings, numbers(value, *most).ok_or_else(wrong)?, is_list);
            }
            Kind::Flag(set) => {
                let DeValue::Boolean(flag) = value else { return Err(wrong()) };
                set(settings, *flag);
            }
            Kind::Groups(set) => set(settings, groups(value).ok_or_else(wrong)?),
            Kind::Choices(choices, set) => {
                let DeValue::Array(list) = value else { return Err(wrong()) };
                set(settings, chosen(list, choices).ok_or_else(wrong)?);
            }
            Kind::OrderTag(set) => set(settings, order_tag::read(value)?.ok_or_else(wrong)?),
            Kind::Fraction(set) => {
                let fraction = number(value).filter(|number| (0.0..=1.0).contains(number)).ok_or_else(wrong)?;
                #[allow(clippy::cast_possible_truncation, reason = "a probability with few digits")]
                set(settings, fraction as f32);
            }
            _ => return self.store_text(kind, value),
        }
        Ok(())
    }

    /// The same for kinds that are texts.
    fn store_text(&mut self, kind: &Kind, value: &DeValue<'_>) -> Result<(), String> {
        let wrong = || format!("expected {}, found {}", kind.expected(), found(value));
        let settings = &mut self.settings;
        let DeValue::String(text) = value else { return Err(wrong()) };
        let text = text.as_ref();
        if text.is_empty() {
            return Err(format!("expected {}, found an empty text", kind.expected()));
        }
        match kind {
            Kind::Text(set) => set(settings, text.to_owned()),
            Kind::Choice(choices, set) => {
                set(settings, choices.iter().copied().find(|&choice| choice == text).ok_or_else(wrong)?);
            }
            Kind::Shift(set) => set(settings, duration::parse(text)?),
            Kind::Span(set) => set(settings, duration::parse_span(text)?),
            Kind::Bytes(_, set) => set(settings, live_keys::parse_size(text)?),
            Kind::Over(_, set) => set(settings, live_keys::parse_over(text)?),
            Kind::Speed(set) => set(settings, speed(text).ok_or_else(wrong)?),
            Kind::File(set) => set(settings, self.folder.join(text)),
            Kind::Socket(set) if text == "none" => set(settings, text.into()),
            Kind::Socket(set) => set(settings, self.folder.join(text)),
            Kind::Listen(set) => set(settings, settings::metrics_address(text).map_err(|_| wrong())?),
            Kind::Address(set) => set(settings, text.parse().map_err(|_| wrong())?),
            Kind::Endpoint(set) => set(settings, Endpoint::parse(text).ok_or_else(wrong)?),
            Kind::Protocol(role, set) => {
                if !protocols(*role).contains(&text) {
                    return Err(wrong());
                }
                set(settings, text.to_owned());
            }
            Kind::Choices(..)
            | Kind::Fraction(_)
            | Kind::OrderTag(_)
            | Kind::Number(..)
            | Kind::Numbers(..)
            | Kind::Flag(_)
            | Kind::Groups(_) => unreachable!("they are no texts"),
        }
        Ok(())
    }

    /// What a table of this kind cannot be without.
    fn missing(&mut self, table: Table, index: usize, span: Range<usize>) {
        let has = |name: &str| self.settings.entry(table, index, name).is_some();
        let text = match table {
            Table::Tap if !has("name") && !has("file") && !has("interface") => {
                "this [[tap]] says of no tap what it says: give name, file or interface"
            }
            Table::Feed if !has("group") => "this [[feed]] says of no feed what it says: give group",
            Table::Session if !has("client") && !has("server") => {
                "this [[session]] says of no conversation what it says: give client, server or both"
            }
            Table::TriggerId if !has("order") || !has("market_data") => {
                "this [[trigger.id]] needs both: give order and market_data"
            }
            Table::TriggerLink if !has("orders") || !has("when") => {
                "this [[trigger.link]] needs both: give orders and when"
            }
            _ => return,
        };
        // A key of this table with a problem of its own is enough to read at once.
        let start = place(self.source, span.start);
        if !self.problems.iter().any(|problem| (problem.line, problem.column) >= start) {
            self.problem(span, text.to_owned());
        }
    }

    /// What values must be to each other.
    fn relations(&mut self) {
        let trigger = &self.settings.trigger;
        if trigger.min > trigger.window {
            let (min, window) = (duration::text(trigger.min), duration::text(trigger.window));
            let text = format!("min: no trigger can be at least {min} and at most {window} (window) old");
            let place = self.place_of(Table::Trigger, 0, "min").or(self.place_of(Table::Trigger, 0, "window"));
            self.problem_at(place.unwrap_or((1, 1)), text);
        }
        let links = self.settings.trigger.links.clone();
        for (index, link) in links.iter().enumerate().filter(|(_, link)| !link.when.is_empty()) {
            if let Err(text) = LinkRule::parse(&link.orders, &link.when) {
                let place = self.place_of(Table::TriggerLink, index, "when").unwrap_or((1, 1));
                self.problem_at(place, format!("when: {text}"));
            }
        }
        let names: Vec<String> = self.settings.taps.iter().map(|tap| tap.name.clone()).collect();
        for (index, name) in names.iter().enumerate() {
            if let Some(first) = names.iter().take(index).position(|other| other == name && !name.is_empty()) {
                let line = self.place_of(Table::Tap, first, "name").map_or(0, |(line, _)| line);
                let place = self.place_of(Table::Tap, index, "name").unwrap_or((1, 1));
                self.problem_at(place, format!("name: there is a tap \"{name}\" already, at line {line}"));
            }
        }
    }

    fn unknown(&mut self, table: Option<Table>, name: &str, span: Range<usize>) {
        let place = table.map_or_else(|| "at the top of the file".to_owned(), |table| format!("in {}", table.header()));
        let homes: Vec<String> = all_keys().filter(|key| key.name == name).map(|key| key.table.header()).collect();
        let known = keys_in(table);
        let hint = if homes.is_empty() {
            match nearest(name, &known) {
                Some(known) => format!("the nearest known one is \"{known}\""),
                None => "nothing may stand there".to_owned(),
            }
        } else {
            format!("it belongs in {}", homes.join(" or "))
        };
        self.problem(span, format!("unknown key \"{name}\" {place}; {hint}"));
    }

    fn place_of(&self, table: Table, index: usize, name: &str) -> Option<(usize, usize)> {
        match self.settings.entry(table, index, name)?.origin {
            Origin::File { line, column } => Some((line, column)),
            Origin::CommandLine(_) => None,
        }
    }

    fn problem(&mut self, span: Range<usize>, text: String) {
        self.problem_at(place(self.source, span.start), text);
    }

    fn problem_at(&mut self, (line, column): (usize, usize), text: String) {
        self.problems.push(Problem { line, column, text });
    }
}

/// `10G`, `25G`, `100M`: bits per second.
fn speed(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.find(|letter: char| !letter.is_ascii_digit())?)?;
    let factor = match unit {
        "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).filter(|speed| *speed > 0)
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
        _ => None,
    }
}

/// The texts of a list, each of which must be a choice, and at least one.
fn chosen(list: &DeArray<'_>, choices: &[&str]) -> Option<Vec<String>> {
    let texts: Option<Vec<String>> = list
        .iter()
        .map(|one| one.get_ref().as_str().filter(|text| choices.contains(text)).map(str::to_owned))
        .collect();
    texts.filter(|texts| !texts.is_empty())
}

/// Names that may stand in a table, or at the top of the file.
fn keys_in(table: Option<Table>) -> Vec<&'static str> {
    let inner = Table::ALL.iter().filter(|inner| inner.parent() == table).map(|inner| inner.short_name());
    table.into_iter().flat_map(keys_of).map(|key| key.name).chain(inner).collect()
}

/// The known word that is most like the given one.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |other: &str| strsim::normalized_damerau_levenshtein(&word.to_lowercase(), other);
    known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

fn found(value: &DeValue<'_>) -> String {
    let kind = match value {
        DeValue::String(_) => "the text",
        DeValue::Integer(_) => "the integer",
        DeValue::Float(_) => "the number",
        DeValue::Boolean(_) => "the boolean",
        DeValue::Datetime(_) => "the date",
        DeValue::Array(_) => "the list",
        DeValue::Table(_) => "the table",
    };
    format!("{kind} {}", render(value))
}

/// A value as TOML on one line.
pub(super) fn render(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quote(text),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(list) => {
            let parts: Vec<String> = list.iter().map(|one| render(one.get_ref())).collect();
            format!("[{}]", parts.join(", "))
        }
        DeValue::Table(table) => {
            let parts: Vec<String> =
                table.iter().map(|(name, one)| format!("{} = {}", name.get_ref(), render(one.get_ref()))).collect();
            format!("{{ {} }}", parts.join(", "))
        }
    }
}

/// A TOML basic string.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control.is_control() => quoted.extend(["\\u", &format!("{:04X}", u32::from(control))]),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Line and column, both from 1, of a byte offset.
fn place(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use tickscope_model::Nanos;

    use super::super::settings::{OrderTag, TriggerSetting};
    use super::*;
    use crate::capture::stamp::Trailer;

    /// The problems of a file, one a line.
    fn problems(source: &str) -> String {
        let (_, problems) = parse(source, Path::new("/etc/tickscope"));
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        for (source, expected) in [
            (
                "[trigger]\nwindwo = \"1s\"\n",
                "2:1: unknown key \"windwo\" in [trigger]; the nearest known one is \"window\"",
            ),
            (
                "[[tap]]\nname = \"a\"\n  ofset = 1\n",
                "3:3: unknown key \"ofset\" in [[tap]]; the nearest known one is \"offset\"",
            ),
            (
                "[[taps]]\nname = \"a\"",
                "1:3: unknown key \"taps\" at the top of the file; the nearest known one is \"tap\"",
            ),
            ("window = \"1s\"", "1:1: unknown key \"window\" at the top of the file; it belongs in [trigger]"),
            ("[trigger]\nline = \"A\"", "2:1: unknown key \"line\" in [trigger]; it belongs in [[feed]]"),
            (
                "[trigger]\nwindow = 5",
                "2:10: window: expected a duration of 0 or more, such as \"250us\" (units: ns, us, ms, s), found the integer 5",
            ),
            (
                "[trigger]\nwindow = \"5\"",
                "2:10: window: \"5\" is not a duration: expected a number with a unit (ns, us, ms or s), such as \"250us\" or \"1.5ms\"",
            ),
            (
                "[trigger]\nwindow = \"-5s\"",
                "2:10: window: \"-5s\" is negative: expected a number with a unit (ns, us, ms or s), such as \"250us\" or \"1.5ms\"",
            ),
            ("[trigger]\nmin = \"2s\"", "2:1: min: no trigger can be at least 2s and at most 1s (window) old"),
            (
                "[trigger]\nmessages = [\"trade\", \"bob\"]",
                "2:12: messages: expected a list of \"trade\", \"bbo\", \"quote\", \"book\", \"auction\", \"status\", found the list [\"trade\", \"bob\"]",
            ),
            (
                "[[tap]]\nname = \"a\"\npoint = \"X\"",
                "3:9: point: expected \"D\", \"E\", \"J\" or \"K\", found the text \"X\"",
            ),
            ("[tap]\nname = \"a\"", "1:1: write [[tap]] in double brackets: there may be several"),
            ("[[trigger]]\n", "1:1: write [trigger] in single brackets: there is only one"),
            ("trigger = true", "1:11: expected a table [trigger], found the boolean true"),
            ("[[tap]]\npoint = \"D\"", "1:1: this [[tap]] says of no tap what it says: give name, file or interface"),
            ("[[feed]]\nline = \"A\"", "1:1: this [[feed]] says of no feed what it says: give group"),
            ("[[tap]]\nname = \"\"", "2:8: name: expected a text, found an empty text"),
            ("[[tap]]\nname = \"a\"\n[[tap]]\nname = \"a\"", "4:1: name: there is a tap \"a\" already, at line 2"),
            (
                "[[feed]]\ngroup = \"239.1.1.1\"",
                "2:9: group: expected an address and port, such as \"233.54.12.111:26477\" or \"[ff02::1]:26477\", found the text \"239.1.1.1\"",
            ),
            ("[trigger]\nconfidence = 1.5", "2:14: confidence: expected a number from 0 to 1, found the number 1.5"),
            (
                "[[trigger.id]]\norder = { tga = 11 }",
                "2:9: order: unknown key \"tga\"; the nearest known one is \"tag\"",
            ),
            (
                "[[trigger.id]]\nordre = \"11\"",
                "2:1: unknown key \"ordre\" in [[trigger.id]]; the nearest known one is \"order\"",
            ),
        ] {
            assert_eq!(problems(source), expected, "{source}");
        }
    }

    #[test]
    fn every_mistake_of_a_file_is_told_in_its_order() {
        let text = problems("[trigger]\nmin = 1\nwindwo = 2\n[[tap]]\nname = 3\n");
        let lines: Vec<&str> = text.lines().map(|line| line.split(": ").next().unwrap_or("")).collect();
        assert_eq!(lines, ["2:7", "3:1", "5:8"]);
    }

    #[test]
    fn broken_syntax_is_told_on_one_line_with_its_place() {
        let text = problems("[trigger]\nwindow = \n");
        assert!(text.starts_with("2:") && text.lines().count() == 1, "{text}");
        assert!(problems("[trigger]\nmin=\"0ns\"\nmin=\"1ns\"\n").starts_with("3:1: duplicate key"));
    }

    #[test]
    fn values_arrive_typed_and_with_their_place() {
        let source = "[[tap]]\nname = 'md'\npoint = \"D\"\noffset = \"-37us\"\ntrailer = \"auto\"\nspeed = \"10G\"\nfile = \"md.pcap\"\n\
                      [[session]]\nclient = \"10.0.0.10\"\nserver = \"10.0.1.20:9876\"\n[trigger]\nwindow = \"250us\"\n\
                      messages = [ # why\n \"quote\" ]\n[[trigger.id]]\norder = { tag = 11, base = 10 }\n\
                      market_data = \"sequence\"\n[pairing]\nanswer_timeout = \"1s\"\n";
        let (settings, problems) = parse(source, Path::new("/etc/tickscope"));
        assert_eq!(problems, []);
        let tap = settings.tap("md").expect("the tap");
        assert_eq!((tap.point, tap.offset), (Some('D'), Nanos(-37_000)));
        assert_eq!((tap.trailer, tap.speed), (Some(Trailer::Auto), Some(10_000_000_000)));
        assert_eq!(tap.file.as_deref(), Some(Path::new("/etc/tickscope/md.pcap")));
        assert_eq!(settings.sessions[0].server, Endpoint::parse("10.0.1.20:9876"));
        assert_eq!(settings.trigger.window, Nanos(250_000));
        assert_eq!(settings.trigger.messages, ["quote"]);
        let entry = settings.entry(Table::Trigger, 0, "messages").expect("an entry");
        assert_eq!((entry.value.as_str(), entry.origin), ("[\"quote\"]", Origin::File { line: 13, column: 1 }));
        assert_eq!(settings.pairing.answer_timeout, Nanos(1_000_000_000));
        assert_eq!(settings.trigger.ids[0].order, Some(OrderTag { tag: 11, regex: None, base: 10 }));
    }

    #[test]
    fn the_table_of_keys_is_true() {
        // Examples of the manual are accepted, and defaults are what the program does.
        for key in all_keys().filter(|key| !matches!(key.kind, Kind::Protocol(..))) {
            let needs = match key.table {
                Table::Tap if key.name != "name" => "name = \"x\"\n",
                Table::Feed if key.name != "group" => "group = \"1.1.1.1:1\"\n",
                Table::Session if key.name != "server" => "server = \"1.1.1.1:1\"\n",
                Table::TriggerId if key.name == "order" => "market_data = \"sequence\"\n",
                Table::TriggerId => "order = \"9717\"\n",
                Table::TriggerLink if key.name == "orders" => "when = \"A.mid > X.mid\"\n",
                Table::TriggerLink => "orders = \"X\"\n",
                _ => "",
            };
            assert_eq!(problems(&format!("{}\n{needs}{} = {}", key.table.header(), key.name, key.example)), "");
            if !key.default.is_empty() {
                let source = format!("{}\n{needs}{} = {}", key.table.header(), key.name, key.default);
                let (given, _) = parse(&source, Path::new(""));
                let (without, _) = parse(&format!("{}\n{needs}", key.table.header()), Path::new(""));
                assert_eq!(
                    (given.taps, given.trigger, given.pairing),
                    (without.taps, without.trigger, without.pairing)
                );
            }
        }
    }

    #[test]
    fn what_the_interface_shows_is_accepted() {
        let source = r#"
[[tap]]                      # as --tap / NAME=FILE and --offset
name = "md"
point = "D"                  # D E J K; default: market data G, orders K
offset = "-37us"             # added to this tap's clock
trailer = "auto"             # none, auto, metamako, exablaze-hpt, arista-7280, …
group = "colo1"              # taps of one observation point
clock = "ptp0"               # taps of different clocks need one of: offset, estimation
error = "100ns"              # how well that clock is kept; shown as ± of cross-clock figures
interface = "eth1"

[[feed]]                     # says what would otherwise be found out
group = "233.54.12.111:26477"
protocol = "itch50"
line = "A"

[[session]]                  # likewise, for order entry
client = "10.0.0.10"
server = "10.0.1.20:9876"
protocol = "fix"

[instruments]
file = "instruments.csv"     # symbol,security_id[,alias…]

[trigger]
window = "1s"                # at most this old …
min = "0ns"                  # … and at least this
messages = ["trade", "bbo"]  # which market-data messages may be triggers
confidence = 0.9             # tails are stated over pairs at least this sure

[pairing]
answer_timeout = "10s"

[[trigger.id]]               # the order carries the market data's own id
order = "9717"               # a FIX tag; or { tag = 11, regex = "-(\\d+)$", base = 10 }
market_data = "sequence"     # sequence, packet_sequence, match_number, quote_entry_id, …

[[trigger.link]]             # orders in one instrument caused by another
orders = "INTC"
when = "PEP.trade >= 576.08"
"#;
        let (settings, mut problems) = parse(source, Path::new(""));
        // A decoder that is not in this build cannot be named.
        problems.retain(|problem| !problem.text.contains("decodes no such protocol"));
        assert_eq!(problems, []);
        assert_eq!((settings.taps.len(), settings.feeds.len(), settings.sessions.len()), (1, 1, 1));
        let trigger = &settings.trigger;
        assert_eq!((trigger.ids.len(), trigger.links.len()), (1, 1));
        let without = TriggerSetting { ids: Vec::new(), links: Vec::new(), ..trigger.clone() };
        assert_eq!(without, TriggerSetting::default());
    }

    #[test]
    fn every_decoded_protocol_can_be_named() {
        for protocol in tickscope_decoders::PROTOCOLS {
            let (table, needs) = match protocol.role {
                tickscope_decoders::Role::MarketData => ("feed", "group = \"1.1.1.1:1\""),
                tickscope_decoders::Role::OrderEntry => ("session", "server = \"1.1.1.1:1\""),
            };
            assert_eq!(problems(&format!("[[{table}]]\n{needs}\nprotocol = \"{}\"", protocol.name)), "");
        }
        let text = problems("[[session]]\nclient = \"1.1.1.1\"\nprotocol = \"fixx\"");
        assert!(text.starts_with("3:12: protocol: expected "), "{text}");
    }
}
