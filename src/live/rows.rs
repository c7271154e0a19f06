//! The newest rows, for those who ask for one. Older ones age out, and are counted.

use std::collections::VecDeque;

use tickscope_model::Timestamp;

use crate::stats::Kept;

/// So many rows are kept …
const ROWS: usize = 8192;
/// … with so many candidates together, each of which takes about as much as a tenth of a row.
const CANDIDATES: usize = 8 * ROWS;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Rows {
    kept: VecDeque<Kept>,
    candidates: usize,
    aged_out: u64,
}

impl Rows {
    pub(super) fn extend(&mut self, rows: Vec<Kept>) {
        for row in rows {
            self.candidates += row.candidates.len();
            self.kept.push_back(row);
            while self.kept.len() > ROWS || self.candidates > CANDIDATES {
                let Some(oldest) = self.kept.pop_front() else { break };
                self.candidates -= oldest.candidates.len();
                self.aged_out += 1;
            }
        }
    }

    pub(super) fn newest(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter().rev()
    }

    /// The newest of that ClOrdID, of any session where none is named.
    pub(super) fn find(&self, session: Option<&str>, clordid: &str) -> Option<&Kept> {
        let is_it =
            |kept: &&Kept| *kept.row.clordid == *clordid && session.is_none_or(|session| *kept.row.session == *session);
        self.newest().find(is_it)
    }

    /// How many there are, the time of the oldest, and how many have aged out.
    pub(super) fn kept(&self) -> (usize, Option<Timestamp>, u64) {
        (self.kept.len(), self.kept.front().map(|kept| kept.row.t_out), self.aged_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::summary_tests::row;

    #[test]
    fn the_newest_are_kept_and_the_others_counted() {
        let kept =
            |number: usize| Kept { row: Box::new(row(&format!("{}", number % ROWS), 1)), candidates: Vec::new() };
        let mut rows = Rows::default();
        rows.extend((0..ROWS + 5).map(kept).collect());
        assert_eq!(rows.kept(), (ROWS, Some(Timestamp(1)), 5));
        assert!(rows.find(None, "0").is_some() && rows.find(Some("TRADER->EXCH"), "7").is_some());
        assert!(rows.find(Some("OTHER->EXCH"), "7").is_none() && rows.find(None, "x").is_none());
    }
}
