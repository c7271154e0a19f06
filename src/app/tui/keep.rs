//! The rows of captures, for those who ask for them afterwards. Their number is limited: of more, the slowest and the newest
//! stay, and the others go to a temporary file, from which the figures of earlier moments can still be made. What could have
//! caused a request takes most room, so fewer requests have that.

use std::io;

use tickscope_model::{Nanos, SegmentKind};

use crate::pair::{OrderRow, Paired};
use crate::stats::{Kept, first_answer};
use crate::write::{Replayed, Sorter, Spill};

/// How much is kept.
#[derive(Clone, Copy)]
pub(in crate::app) struct Limits {
    pub rows: usize,
    /// So many of the slowest by tick-to-trade, and as many by the exchange's first answer, are kept whatever their age.
    pub slowest: usize,
    /// Candidates of all kept rows together, each of which takes some 160 bytes.
    pub candidates: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { rows: 500_000, slowest: 10_000, candidates: 1 << 20 }
    }
}

/// See the head of this file.
pub(in crate::app) struct Keep {
    limits: Limits,
    /// In the order in which they came.
    rows: Vec<Paired>,
    candidates: usize,
    gone: Sorter<Replayed>,
    /// How many of these are rows of their own.
    gone_count: u64,
}

/// The same in the order in which requests were sent.
pub(in crate::app) struct Sorted {
    pub rows: Vec<Kept>,
    /// Second sightings of requests, and what was measured behind their rows.
    pub echoes: Vec<OrderRow>,
    /// Those that are not kept.
    pub gone: Sorter<Replayed>,
    pub gone_count: u64,
}

/// A row with a higher value is one of the slowest.
struct Slow {
    t2t: Option<Nanos>,
    answer: Option<Nanos>,
}

impl Keep {
    pub(in crate::app) fn new(limits: Limits) -> Keep {
        Keep { limits, rows: Vec::new(), candidates: 0, gone: Sorter::default(), gone_count: 0 }
    }

    pub(in crate::app) fn push(&mut self, paired: Paired) -> io::Result<()> {
        self.candidates += candidates(&paired.row);
        self.rows.push(paired);
        // To look for those that can go costs a look at all.
        if self.rows.len() > self.limits.rows + self.limits.rows / 8 {
            self.thin()?;
        }
        if self.candidates > self.limits.candidates {
            self.forget_candidates();
        }
        Ok(())
    }

    fn slow(&self) -> Slow {
        let limit = |value: &dyn Fn(&OrderRow) -> Option<Nanos>| {
            let rows = self.rows.iter().filter(|paired| !paired.is_echo);
            let mut values: Vec<Nanos> = rows.filter_map(|paired| value(&paired.row)).collect();
            let place = values.len().checked_sub(self.limits.slowest + 1)?;
            Some(*values.select_nth_unstable(place).1)
        };
        Slow {
            t2t: limit(&|row| row.latency(SegmentKind::TickToTrade)),
            answer: limit(&|row| Some(first_answer(row)?.1)),
        }
    }

    fn sort(&mut self) {
        self.rows.sort_by(|one, other| one.row.compare(&other.row));
    }

    /// Lets the oldest go that are not among the slowest.
    fn thin(&mut self) -> io::Result<()> {
        let slow = self.slow();
        self.sort();
        let mut too_many = self.rows.len().saturating_sub(self.limits.rows);
        let rows = std::mem::take(&mut self.rows);
        self.rows.reserve_exact(self.limits.rows + self.limits.rows / 8 + 1);
        for paired in rows {
            if too_many == 0 || !paired.is_echo && slow.is_slow(&paired.row) {
                self.rows.push(paired);
                continue;
            }
            too_many -= 1;
            self.candidates -= candidates(&paired.row);
            self.gone_count += u64::from(!paired.is_echo);
            self.gone.push(Replayed { row: *paired.row, is_echo: paired.is_echo })?;
        }
        Ok(())
    }

    /// Likewise for what could have caused them, an eighth more than has to go.
    fn forget_candidates(&mut self) {
        let slow = self.slow();
        let most = self.limits.candidates - self.limits.candidates / 8;
        for is_slow in [false, true] {
            for paired in &mut self.rows {
                if self.candidates <= most {
                    return;
                }
                if slow.is_slow(&paired.row) == is_slow {
                    self.candidates -= candidates(&paired.row);
                    paired.row.case = None;
                }
            }
        }
    }

    pub(in crate::app) fn finish(mut self) -> io::Result<Sorted> {
        if self.rows.len() > self.limits.rows {
            self.thin()?;
        }
        self.sort();
        let (mut rows, mut echoes) = (Vec::with_capacity(self.rows.len()), Vec::new());
        for Paired { row, is_echo } in self.rows {
            if is_echo {
                echoes.push(*row);
            } else {
                rows.push(Kept { row, candidates: Vec::new() });
            }
        }
        Ok(Sorted { rows, echoes, gone: self.gone, gone_count: self.gone_count })
    }
}

fn candidates(row: &OrderRow) -> usize {
    row.case.as_ref().map_or(0, |case| case.count())
}

impl Slow {
    fn is_slow(&self, row: &OrderRow) -> bool {
        let is_above = |value: Option<Nanos>, limit: Option<Nanos>| match (value, limit) {
            (Some(value), Some(limit)) => value > limit,
            // There are no more than may be kept.
            (Some(_), None) => true,
            (None, _) => false,
        };
        is_above(row.latency(SegmentKind::TickToTrade), self.t2t)
            || is_above(first_answer(row).map(|(_, latency)| latency), self.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::attribution::{Candidate, Case};
    use crate::stats::summary_tests::row;

    /// Rows that were sent every 10 ns, and closed in an order of their own; each seventh is slow.
    fn rows(count: u64) -> Vec<Paired> {
        let times = (0..count).map(|at| (at * 7) % count);
        times
            .map(|at| {
                let mut row = row(&format!("{at}"), at * 10);
                let slow = if at % 7 == 0 { 1_000_000 } else { 0 };
                row.latency.set(SegmentKind::Ack, Nanos(i64::try_from(1000 + slow + at).unwrap()));
                Paired { row: Box::new(row), is_echo: at % 10 == 9 }
            })
            .collect()
    }

    #[test]
    fn the_slowest_and_the_newest_stay_and_the_others_can_be_added_up() {
        let limits = Limits { rows: 100, slowest: 20, candidates: 1000 };
        let mut keep = Keep::new(limits);
        rows(1000).into_iter().try_for_each(|paired| keep.push(paired)).unwrap();
        let Sorted { rows, echoes, gone, gone_count } = keep.finish().unwrap();
        assert!(rows.len() + echoes.len() <= 101, "{} {}", rows.len(), echoes.len());
        assert!(rows.windows(2).all(|two| two[0].row.t_out <= two[1].row.t_out));
        let slow = rows.iter().filter(|kept| kept.row.t_out.0 / 10 % 7 == 0);
        assert!(slow.count() >= 20);
        assert!(rows.iter().rev().take(50).all(|kept| kept.row.t_out.0 >= 8000), "the newest are there");
        assert_eq!(rows.len() as u64 + gone_count, 900);
        let (mut count, mut last) = (0, 0);
        gone.each(|replayed| {
            assert!(last <= replayed.row.t_out.0);
            (count, last) = (count + u64::from(!replayed.is_echo), replayed.row.t_out.0);
            Ok(())
        })
        .unwrap();
        assert_eq!(count, gone_count);
    }

    #[test]
    fn candidates_are_forgotten_before_rows() {
        let mut keep = Keep::new(Limits { rows: 1000, slowest: 1, candidates: 100 });
        for (at, mut paired) in rows(100).into_iter().enumerate() {
            let tick = crate::merge::Tick {
                time: paired.row.t_out,
                sequence: 1,
                frame: 1,
                line: 0,
                code: b'P',
                kind: tickscope_model::MarketKind::Trade,
                place: None,
            };
            let candidate = Candidate {
                tick,
                symbol: tickscope_model::SymbolId(1),
                origin: crate::pair::attribution::Origin::Symbol,
                touch: crate::book::Touch::Same,
                relation: crate::pair::attribution::Relation::None,
            };
            let case = Case { candidates: vec![candidate; 1 + at % 5], ..Case::default() };
            paired.row.case = Some(Box::new(case));
            keep.push(paired).unwrap();
        }
        let Sorted { rows, .. } = keep.finish().unwrap();
        assert_eq!(rows.len(), 90);
        let kept: usize = rows.iter().map(|kept| candidates(&kept.row)).sum();
        assert!((50..=100).contains(&kept), "{kept}");
        let slowest = rows.iter().max_by_key(|kept| first_answer(&kept.row)).unwrap();
        assert!(slowest.row.case.is_some());
    }
}
