//! What is wrong with a scenario, and where: the file, the line, the column, and the known key that was perhaps meant.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Why a scenario cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    pub file: String,
    /// From 1; 0 where the error belongs to no place in particular.
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// A known key that resembles the unknown one.
    pub nearest: Option<String>,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ScenarioError {}

pub(crate) fn syntax_error(text: &str, file: &str, error: &toml::de::Error) -> ScenarioError {
    let (line, column) = error.span().map_or((0, 0), |span| position(text, span.start));
    let message = error.message().to_owned();
    // serde says: unknown field `x`, expected one of `a`, `b`.
    let mut quoted = message.split('`').skip(1).step_by(2);
    let nearest = message.starts_with("unknown ").then(|| {
        let wrong = quoted.next()?;
        let best = quoted.min_by_key(|known| distance(wrong, known))?;
        (distance(wrong, best) <= 1 + wrong.len() / 3).then(|| best.to_owned())
    });
    ScenarioError { file: file.to_owned(), line, column, message, nearest: nearest.flatten() }
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    (line, before.chars().rev().take_while(|&c| c != '\n').count() + 1)
}

/// Line and column of what a path like `tap.1.loss` names; of the innermost table on the way where the file is silent
/// about the rest, 0 where it says nothing of it at all.
pub(crate) fn path_position(text: &str, path: &str) -> (usize, usize) {
    let Ok(document) = DeTable::parse(text) else { return (0, 0) };
    let mut steps = path.split('.');
    let first = steps.next().and_then(|step| entry(document.get_ref(), step));
    let Some((mut at, mut value)) = first else { return (0, 0) };
    for step in steps {
        let inner = match value.get_ref() {
            DeValue::Table(table) => entry(table, step),
            DeValue::Array(list) => step.parse::<usize>().ok().and_then(|place| {
                let element = list.get(place)?;
                Some((element.span().start, element))
            }),
            _ => None,
        };
        let Some((start, next)) = inner else { break };
        (at, value) = (start, next);
    }
    position(text, at)
}

/// Where a key of a table stands, and its value.
fn entry<'a, 'text>(table: &'a DeTable<'text>, key: &str) -> Option<(usize, &'a Spanned<DeValue<'text>>)> {
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
    Some((name.span().start, value))
}

/// Levenshtein's distance between two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Scenario, attribution_scenarios, scenarios};

    fn complaint(text: &str) -> String {
        Scenario::parse(text, "mine.toml").unwrap_err().to_string()
    }

    /// What is wrong with a file, and the line and column at which it says so.
    const WRONG_FILES: &[(&str, &str)] = &[
        // No TOML, wrong types, unknown and missing keys.
        ("duration = \"1s\"\nnot toml", "2:5: "),
        ("duration = \"1s\"\nduration = \"2s\"", "2:1: duplicate key"),
        ("duration = 5", "1:12: invalid type: integer `5`, expected a string"),
        ("[market]\nsymbols = 70000", "2:11: invalid value: integer `70000`, expected u16"),
        ("[market]\nsymbols = 3\nsymbls = 3", "3:1: unknown field `symbls`"),
        ("[market]\nsymbls = 3", "did you mean `symbols`?"),
        ("[[tap]]\nname = \"a\"\n[[tap]]\nname = \"b\"\nplaze = 0.5", "5:1: unknown field `plaze`"),
        ("[market]\nprotocol = \"itch51\"", "2:12: unknown variant `itch51`"),
        ("[market]\nprotocol = \"itch51\"", "did you mean `itch50`?"),
        ("[[strategy]]\nkind = \"timer\"\n[[strategy]]\nkind = \"reakt\"", "4:8: unknown variant `reakt`"),
        ("[[strategy]]\nkind = \"timer\"\n[[strategy]]\nshare = 0.1", "3:1: missing field `kind`"),
        ("[market]\n\nreplay = { speed = 2.0 }", "3:10: missing field `file`"),
        // Times and latencies.
        ("duration = \"5 parsecs\"", "1:12: `parsecs` is no unit of time"),
        ("duration = \"5\"", "1:12: `5` has no unit"),
        ("duration = \"31000m\"\n[exchange]\npublic_gap = \"900h\"", "3:14: `900h` is longer than 30 days"),
        ("duration = \"0\"", "1:1: `duration` is more than nothing"),
        ("start = \"yesterday\"", "1:9: `yesterday` is no time like"),
        ("start = \"1970-01-01T00:00:00Z\"", "1:1: `start` is at least a day after"),
        ("[trader]\nlatency = { sigma = 0.2 }", "2:11: give `fixed` or `median`"),
        ("[trader]\ndigits = 6\nlatency = { median = \"2us\", sigma = 9.0 }", "3:30: `sigma` is a deviation"),
        ("[network.ack]\nfixed = \"2us\"\n[exchange.latency]\nfixed = \"2us\"\ntail_share = 2.0", "5:1: `tail_share`"),
        (
            "[trader.latency]\nfixed = \"2us\"\n[[trader.latency.slow]]\nfrom = \"1s\"\nto = \"2s\"\n\
             [[trader.latency.slow]]\nfrom = \"3s\"\nto = \"3s\"",
            "8:1: `to` is later than `from`",
        ),
        (
            "[exchange]\nlatency = { fixed = \"2us\", slow = [\n{ from = \"1s\", to = \"2s\" },\n\
             { from = \"1s\", to = \"2s\", factor = -1.0 },\n] }",
            "4:30: `factor` is a number from 0",
        ),
        // The market.
        ("[market]\nrate = 5.0\nsymbols = 0", "3:1: `symbols` is a number from 1 to 10000"),
        ("[market]\n\n  rate = -5.0", "3:3: `rate` is a number of events a second"),
        ("[market]\nrate = nan", "2:1: `rate` is a number of events a second"),
        ("market.branching = 1.0", "1:8: `branching` is at least 0"),
        ("[market]\nheartbeat = \"1us\"", "2:1: `heartbeat` is at least a millisecond"),
        ("[market]\nwest = \"25h\"", "2:1: `west` is at most 24 hours"),
        ("[market]\nsymbols = 1\nnames = [\n\"A\",\n\"B\",\n]", "5:1: more names than `symbols`"),
        ("[market]\nnames = [\"A\", \"B\", \"A\"]", "2:20: `A` stands twice"),
        ("[market]\nnames = [\"A\", \"TOOLONGNAME\"]", "2:15: `TOOLONGNAME` is no symbol"),
        ("[market]\nprices = [\n5.0,\n0.5]", "4:1: `prices` are from 1 to 10000"),
        ("[market]\nsymbols = 1\nprices = [5.0, 6.0]", "3:16: more prices than `symbols`"),
        ("[market]\nburst = { every = \"1s\", length = \"0\", rate = 1.0 }", "2:25: `length` is more than nothing"),
        (
            "[[market.rush]]\nfrom = \"1s\"\nto = \"2s\"\nrate = 1.0\n[[market.rush]]\nfrom = \"1s\"\nto = \"2s\"\nrate = -1.0",
            "8:1: `rate` is a number of events",
        ),
        ("[market]\nrecover = { fixed = \"1us\", tail_share = -1.0 }", "2:28: `tail_share` is a share"),
        ("[market]\nreplay = { file = \"/nowhere/x.pcap\" }", "2:12: /nowhere/x.pcap: No such file"),
        ("[market.replay]\nfile = \"/dev/null\"", "2:1: /dev/null: shorter than the header"),
        // Lines, sessions, network: the second of two is wrong.
        ("[network]\nloss = 2.0", "2:1: `loss` is a share from 0 to 1"),
        ("[[line]]\nloss = 0.1\n[[line]]\nname = \"B\"\nloss = 1.5", "5:1: `loss` is a share"),
        (
            "[[line]]\nloss = 0.1\n[network]\nloss = 0.1\n[[tap]]\nloss = 0.1\n[[tap]]\nname = \"b\"\nloss = 7.0",
            "9:1: `loss`",
        ),
        ("[[line]]\nname = \"A\"\n[[line]]\nname = \"A\"", "4:1: two lines are called `A`"),
        ("[[line]]\nname = \"md\"", "2:1: a line cannot be called `md`"),
        ("[[line]]\ngroup = \"233.1.2.3\"", "2:1: `233.1.2.3` is no group"),
        ("[orders]\nsender = \"A B\"", "2:1: `A B` is no name"),
        ("[orders]\nheartbeat = \"1500ms\"", "2:1: `heartbeat` is a whole number of seconds"),
        ("[orders]\nclient = \"10.0.0.1:65000\"", "2:1: `client` leaves no room"),
        ("[orders]\nsessions = 101", "2:1: `sessions` is a number from 1 to 100"),
        ("[gateway]\naddress = \"x\"", "2:1: `x` is no address"),
        ("[network]\nmss = 99", "2:1: `mss` is a number from 100 to 1448"),
        ("[trader]\ndigits = 10", "2:1: `digits` is a number from 0 to 9"),
        ("[exchange]\nreject = 0.1\nreject_business = 1.1", "3:1: `reject_business` is a share"),
        // Strategies.
        ("[[strategy]]\nkind = \"timer\"\n[[strategy]]\nkind = \"conditional\"", "4:1: a conditional strategy needs"),
        ("[[strategy]]\nkind = \"react\"\nshare = 1\n[[strategy]]\nkind = \"react\"\nshare = 1.5", "6:1: `share`"),
        ("[[strategy]]\nkind = \"react\"\nsymbols = [\"X\"]", "3:12: `X` is not among the market's `names`"),
        ("[[strategy]]\nkind = \"react\"\nwhen = \"X\"", "3:1: `X` is not among"),
        ("[[strategy]]\nkind = \"react\"\norders = 51", "3:1: `orders` is a number from 1 to 50"),
        ("[[strategy]]\nkind = \"react\"\nquantity = 0", "3:1: `quantity` is a number from 1"),
        ("[[strategy]]\nkind = \"timer\"\nevery = \"1ns\"", "3:1: `every` is at least a microsecond"),
        ("[[strategy]]\nkind = \"quote\"\nseen = 0.5", "3:1: `seen` is for react and timer"),
        ("[[strategy]]\nkind = \"react\"\nduring = \"burst\"", "3:1: `during` is for timer"),
        ("[[strategy]]\nkind = \"react\"\naway = 0", "3:1: `away` is a number from 1 to 255"),
        // Taps.
        ("[[tap]]\nname = \"a\"\n[[tap]]\nname = \"a\"", "4:1: two taps are called `a`"),
        ("[[tap]]\n[[tap]]\n", "2:1: two taps are called `tap`"),
        ("[[tap]]\nname = \"a/b\"", "2:1: a tap's name becomes"),
        ("[[tap]]\nsees = [\"md\", \"B\"]", "2:16: `B` is none of md, orders, client"),
        ("[[tap]]\nvlan = 4095", "2:1: `vlan` is a number from 0 to 4094"),
        ("[[tap]]\nresolution = \"0\"", "2:1: `resolution` is at least a nanosecond"),
        ("[[tap]]\ndrift = -2000000", "2:1: `drift` is at most"),
        ("[[tap]]\nlag = \"5us\"", "2:1: `lag` is behind a trailer's time"),
    ];

    #[test]
    fn errors_name_the_line_and_what_is_wrong() {
        for (text, says) in WRONG_FILES {
            let complaint = complaint(text);
            let wanted = if says.starts_with(|c: char| c.is_ascii_digit()) {
                format!("mine.toml:{says}")
            } else {
                (*says).into()
            };
            assert!(complaint.contains(&wanted), "{text}\nwanted: {wanted}\nsaid: {complaint}");
        }
    }

    #[test]
    fn every_shipped_scenario_is_valid_and_says_what_it_is() {
        for (name, text) in scenarios().iter().chain(attribution_scenarios()) {
            let scenario = Scenario::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
            assert!(scenario.title.len() > 20, "{name}");
            assert!(!scenario.strategy.is_empty(), "{name}");
        }
    }
}
