//! By how much packets came later on one line of a feed than on another: of a whole run a bounded number.

use tickscope_model::Timestamp;

use crate::stats::every_second;

/// A packet that a line brought after another one had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    pub time: Timestamp,
    pub line: u16,
    pub delay_ns: u64,
}

/// Lags of a feed over the whole run, at most [`LAGS`]: of more of them every second one is let go, again and again.
#[derive(Default)]
pub struct Lags {
    kept: Vec<Lag>,
    seen: u64,
    halvings: u32,
}

/// See [`Lags`].
const LAGS: usize = 1 << 14;

impl Lags {
    pub(super) fn add(&mut self, lag: Lag) {
        self.seen += 1;
        if !self.seen.is_multiple_of(1 << self.halvings) {
            return;
        }
        if self.kept.len() == LAGS {
            every_second(&mut self.kept);
            self.halvings += 1;
        }
        self.kept.push(lag);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lag> {
        self.kept.iter()
    }
}
