//! The newest rows, for those who ask for one or for all. Older ones age out, and are counted. Each has a number: from 1, in
//! the order in which they came.

use std::collections::VecDeque;

use tickscope_model::Timestamp;

use crate::stats::Kept;
use crate::write::Numbered;

/// So many rows are kept …
const ROWS: usize = 8192;
/// … with so many candidates together, each of which takes about as much as a tenth of a row.
const CANDIDATES: usize = 8 * ROWS;

/// See the head of this file.
#[derive(Default)]
pub struct Rows {
    kept: VecDeque<Kept>,
    candidates: usize,
    aged_out: u64,
}

impl Rows {
    /// Rows that stay, behind so many that are gone.
    pub fn of(kept: Vec<Kept>, aged_out: u64) -> Rows {
        let candidates = kept.iter().map(|kept| kept.candidates.len()).sum();
        Rows { kept: kept.into(), candidates, aged_out }
    }

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

    pub fn oldest(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter()
    }

    pub fn newest(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter().rev()
    }

    /// The newest of those that were sent by then, where rows are in the order in which they were sent.
    pub fn newest_by(&self, time: Timestamp) -> impl Iterator<Item = &Kept> {
        let count = self.kept.partition_point(|kept| kept.row.t_out <= time);
        self.kept.range(..count).rev()
    }

    /// Those behind a number, so many at most, the oldest first.
    pub fn after(&self, number: u64, most: usize) -> Numbered<'_> {
        let missed = self.aged_out.saturating_sub(number);
        let start = usize::try_from(number.saturating_sub(self.aged_out)).unwrap_or(usize::MAX).min(self.kept.len());
        let rows: Vec<&Kept> = self.kept.range(start..).take(most).collect();
        let last = self.aged_out + self.kept.len() as u64;
        let first = (!rows.is_empty()).then_some(self.aged_out + start as u64 + 1);
        Numbered { rows, first, last, missed }
    }

    /// The newest of that ClOrdID, of any session where none is named.
    pub fn find(&self, session: Option<&str>, clordid: &str) -> Option<&Kept> {
        let is_it =
            |kept: &&Kept| *kept.row.clordid == *clordid && session.is_none_or(|session| *kept.row.session == *session);
        self.newest().find(is_it)
    }

    /// How many there are, the time of the oldest, and how many have aged out.
    pub fn kept(&self) -> (usize, Option<Timestamp>, u64) {
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

    #[test]
    fn rows_have_numbers_that_stay_theirs() {
        let kept = |number: u64| Kept { row: Box::new(row(&format!("{number}"), number)), candidates: Vec::new() };
        let rows = Rows::of((4..=8).map(kept).collect(), 3);
        for (after, most, expected, first, missed) in [
            (0, 2, &["4", "5"][..], Some(4), 3),
            (2, 1, &["4"], Some(4), 1),
            (3, 9, &["4", "5", "6", "7", "8"], Some(4), 0),
            (6, 9, &["7", "8"], Some(7), 0),
            (8, 9, &[], None, 0),
            (u64::MAX, 9, &[], None, 0),
        ] {
            let found = rows.after(after, most);
            let names: Vec<&str> = found.rows.iter().map(|kept| &*kept.row.clordid).collect();
            assert_eq!(
                (names.as_slice(), found.first, found.missed, found.last),
                (expected, first, missed, 8),
                "{after}"
            );
        }
        assert_eq!(rows.newest_by(Timestamp(6)).map(|kept| kept.row.t_out.0).collect::<Vec<_>>(), [6, 5, 4]);
        let empty = Rows::default();
        let none = empty.after(0, 9);
        assert_eq!((none.rows.len(), none.first, none.last, none.missed), (0, None, 0, 0));
    }
}
