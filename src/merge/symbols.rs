//! One table of symbols for the run: a name is looked up when it is new, then its number travels.
//! A user's file of instruments makes several names one.

use std::collections::HashSet;
use std::sync::Arc;

use tickscope_model::SymbolId;

use crate::hash::HashMap;

/// Names that can be watched before they have numbers: more than any venue lists.
const MOST_WATCHED: usize = 1 << 16;

/// Names that get a number; all others share one. No market has as many, but bytes that are none may look like names.
const MOST_SYMBOLS: usize = 1 << 20;
const OTHERS: &[u8] = b"(all others)";

/// Names and numbers of instruments.
#[derive(Default)]
pub struct Symbols {
    names: Vec<Arc<str>>,
    numbers: HashMap<Box<[u8]>, SymbolId>,
    /// Names that are watched and have no number yet, and the numbers that are.
    watched_names: HashSet<Box<[u8]>>,
    watched: Vec<bool>,
}

impl Symbols {
    /// Declares that all these names are the first one's instrument (symbol, security id, aliases).
    pub fn declare<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let mut names = names.into_iter().filter(|name| !name.is_empty());
        let Some(first) = names.next() else { return };
        let number = self.number(first.as_bytes());
        for name in names {
            self.numbers.insert(name.as_bytes().into(), number);
        }
    }

    /// The number of a name; a new one if it has none. Padding (spaces and NULs at the end) does not count.
    pub fn number(&mut self, name: &[u8]) -> SymbolId {
        let name = trimmed(name);
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = SymbolId(u32::try_from(self.names.len()).expect("fewer than 2^32 symbols"));
        if self.names.len() > MOST_SYMBOLS {
            return SymbolId(number.0 - 1);
        }
        let name = if self.names.len() == MOST_SYMBOLS { OTHERS } else { name };
        self.names.push(String::from_utf8_lossy(name).into());
        self.numbers.insert(name.into(), number);
        if !self.watched_names.is_empty() && self.watched_names.remove(name) {
            self.watch_number(number);
        }
        number
    }

    /// The order flow names this one: its book is wanted. At most 65,536 of them wait for a number.
    pub fn watch(&mut self, name: &[u8]) {
        let name = trimmed(name);
        match self.numbers.get(name) {
            _ if name.is_empty() => {}
            Some(&number) => self.watch_number(number),
            None if self.watched_names.len() < MOST_WATCHED => _ = self.watched_names.insert(name.into()),
            None => {}
        }
    }

    fn watch_number(&mut self, number: SymbolId) {
        let place = number.0 as usize;
        if self.watched.len() <= place {
            self.watched.resize(place + 1, false);
        }
        self.watched[place] = true;
    }

    #[inline]
    pub fn is_watched(&self, number: SymbolId) -> bool {
        self.watched.get(number.0 as usize).copied().unwrap_or(false)
    }

    /// The number of a name, if it has one.
    pub fn known(&self, name: &[u8]) -> Option<SymbolId> {
        self.numbers.get(trimmed(name)).copied()
    }

    /// The name that a number was made for.
    pub fn name(&self, number: SymbolId) -> Arc<str> {
        self.names.get(number.0 as usize).cloned().unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

fn trimmed(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|&byte| byte != b' ' && byte != 0).map_or(0, |last| last + 1);
    name.split_at(end).0
}
