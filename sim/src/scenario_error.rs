//! What is wrong with a scenario, and where: the file, the line, the column, and the known key that was perhaps meant.

use std::fmt;

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

pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    (line, before.chars().rev().take_while(|&c| c != '\n').count() + 1)
}

/// Where a key is set, as far as can be told without its table.
pub(crate) fn key_position(text: &str, key: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start();
        if bare.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')) {
            return Some(at + line.len() - bare.len());
        }
        at += line.len();
    }
    None
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
    use crate::scenario::{Scenario, scenarios};

    fn complaint(text: &str) -> String {
        Scenario::parse(text, "mine.toml").unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_place_and_the_nearest_key() {
        for (text, says) in [
            ("[market]\nsymbls = 3", "mine.toml:2:1: unknown field `symbls`"),
            ("[market]\nsymbls = 3", "did you mean `symbols`?"),
            ("[market]\n\n  rate = -5.0", "mine.toml:3:3: `rate` is a number of events a second"),
            ("duration = \"5 parsecs\"", "mine.toml:1:12: `parsecs` is no unit of time"),
            ("[trader]\nlatency = { sigma = 0.2 }", "mine.toml:2:11: give `fixed` or `median`"),
            ("[[tap]]\nname = \"a\"\n[[tap]]\nname = \"a\"", "two taps are called `a`"),
            ("[[strategy]]\nkind = \"conditional\"", "a conditional strategy needs `when` and `sell`"),
            ("[[strategy]]\nkind = \"reakt\"", "did you mean `react`?"),
            ("[market]\nprotocol = \"itch51\"", "did you mean `itch50`?"),
            ("[gateway]\naddress = \"x\"", "mine.toml:2:1: `x` is no address"),
            ("[network]\nloss = 2.0", "`loss` is a share"),
            ("not toml", "mine.toml:1:"),
        ] {
            let complaint = complaint(text);
            assert!(complaint.contains(says), "{text:?}: {complaint}");
        }
    }

    #[test]
    fn every_shipped_scenario_is_valid_and_says_what_it_is() {
        for (name, text) in scenarios() {
            let scenario = Scenario::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
            assert!(scenario.title.len() > 20, "{name}");
            assert!(!scenario.strategy.is_empty(), "{name}");
        }
    }
}
