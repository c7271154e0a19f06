//! The moments of captures that were read to their end: for each the figures of the requests that were sent up to then, made by
//! adding all rows up once more in time order. Figures do not depend on the order in which rows are added, so those of the end
//! are the report's.

use std::io;

use tickscope_model::Timestamp;

use super::keep::Sorted;
use crate::live::Rows;
use crate::pair::OrderRow;
use crate::stats::{Pace, Summary};

/// So many moments at most, the end being one.
const MOMENTS: u64 = 300;
/// So many samples of counts at most.
const SAMPLES: usize = 8192;

/// How much had come at a time: frames and market-data messages.
#[derive(Default)]
pub(super) struct Samples {
    all: Vec<(Timestamp, [u64; 2])>,
    /// Only every so many looks one is taken.
    every: u64,
    looks: u64,
}

impl Samples {
    pub(super) fn look(&mut self, time: Timestamp, counts: [u64; 2]) {
        self.every = self.every.max(1);
        self.looks += 1;
        if self.looks.is_multiple_of(self.every) && self.all.last().is_none_or(|last| last.0 < time) {
            self.all.push((time, counts));
        }
        if self.all.len() > SAMPLES {
            self.every *= 2;
            let mut is_kept = false;
            self.all.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }

    /// The end.
    pub(super) fn end(&mut self, time: Timestamp, counts: [u64; 2]) {
        self.all.retain(|sample| sample.0 < time);
        self.all.push((time, counts));
    }

    /// At a time between two samples, as much as lies between their counts.
    pub(super) fn at(&self, time: Timestamp, start: Timestamp) -> [u64; 2] {
        let behind = self.all.partition_point(|sample| sample.0 <= time);
        let (from, before) = behind.checked_sub(1).and_then(|at| self.all.get(at)).copied().unwrap_or((start, [0, 0]));
        let Some((to, after)) = self.all.get(behind).copied() else { return before };
        let (span, passed) = (u128::from(to.0.saturating_sub(from.0)), u128::from(time.0.saturating_sub(from.0)));
        let between = |at: usize| {
            let more = u128::from(after[at].saturating_sub(before[at])) * passed;
            before[at] + u64::try_from(more.checked_div(span).unwrap_or(0)).unwrap_or(0)
        };
        [between(0), between(1)]
    }
}

/// Evenly over the time of the captures, without its end.
pub(super) fn moments(first: Timestamp, last: Timestamp) -> Vec<Timestamp> {
    let span = u128::from(last.0.saturating_sub(first.0));
    let moment = |at: u64| first.0 + u64::try_from(span * u128::from(at) / u128::from(MOMENTS)).unwrap_or(0);
    let mut all: Vec<Timestamp> = (1..MOMENTS).map(moment).map(Timestamp).collect();
    all.dedup();
    all.retain(|time| first < *time && *time < last);
    all
}

/// Events a second between two moments.
pub(super) fn pace((from, before): (Timestamp, [u64; 3]), (to, now): (Timestamp, [u64; 3])) -> Pace {
    let mut rates = crate::stats::Rates::default();
    rates.look(from, before);
    rates.look(to, now);
    rates.pace()
}

/// Adds up the rows; see the head of this file.
struct Replay<'a, F> {
    summary: Summary,
    rows: std::iter::Peekable<Box<dyn Iterator<Item = &'a OrderRow> + 'a>>,
    echoes: std::iter::Peekable<std::slice::Iter<'a, OrderRow>>,
    moments: std::iter::Peekable<std::slice::Iter<'a, Timestamp>>,
    take: F,
}

impl<F: FnMut(&Summary, Timestamp) -> io::Result<()>> Replay<'_, F> {
    /// Hands out the moments before a time.
    fn reach(&mut self, time: Timestamp) -> io::Result<()> {
        while let Some(moment) = self.moments.next_if(|moment| **moment < time) {
            while let Some(row) = self.rows.next_if(|row| row.t_out <= *moment) {
                self.summary.figures(row);
            }
            while let Some(row) = self.echoes.next_if(|row| row.t_out <= *moment) {
                self.summary.echo(row);
            }
            (self.take)(&self.summary, *moment)?;
        }
        Ok(())
    }
}

/// What is added up once more.
pub(super) struct Rest {
    echoes: Vec<OrderRow>,
    gone: crate::write::Sorter<crate::write::Replayed>,
}

/// The rows that stay, and what else there is.
pub(super) fn parts(sorted: Sorted) -> (Rows, Rest) {
    let Sorted { rows, echoes, gone, gone_count } = sorted;
    (Rows::of(rows, gone_count), Rest { echoes, gone })
}

impl Rest {
    /// Calls `take` with the figures at each of the moments. `summary` is empty, and has what figures need to know.
    pub(super) fn replay(
        self,
        rows: &Rows,
        summary: Summary,
        moments: &[Timestamp],
        take: impl FnMut(&Summary, Timestamp) -> io::Result<()>,
    ) -> io::Result<()> {
        let all: Box<dyn Iterator<Item = &OrderRow>> = Box::new(rows.oldest().map(|kept| &*kept.row));
        let mut replay = Replay {
            summary,
            rows: all.peekable(),
            echoes: self.echoes.iter().peekable(),
            moments: moments.iter().peekable(),
            take,
        };
        self.gone.each(|replayed| {
            replay.reach(replayed.row.t_out)?;
            if replayed.is_echo {
                replay.summary.echo(&replayed.row);
            } else {
                replay.summary.figures(&replayed.row);
            }
            Ok(())
        })?;
        replay.reach(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::keep::{Keep, Limits};
    use super::*;
    use crate::pair::Paired;
    use crate::stats::Histogram;
    use crate::stats::summary_tests::row;
    use tickscope_model::SegmentKind;

    #[test]
    fn moments_lie_evenly_and_before_the_end() {
        let all = moments(Timestamp(1000), Timestamp(301_000));
        assert_eq!((all.len(), all[0], all[298]), (299, Timestamp(2000), Timestamp(300_000)));
        assert_eq!(moments(Timestamp(5), Timestamp(7)), [Timestamp(6)]);
        assert!(moments(Timestamp(5), Timestamp(5)).is_empty());
    }

    #[test]
    fn counts_between_two_samples_are_in_between() {
        let mut samples = Samples::default();
        samples.look(Timestamp(100), [10, 100]);
        samples.end(Timestamp(300), [30, 100]);
        let at = |time: u64| samples.at(Timestamp(time), Timestamp(0));
        assert_eq!([at(50), at(100), at(200), at(300), at(900)], [[5, 50], [10, 100], [20, 100], [30, 100], [30, 100]]);
        for time in 0..100_000 {
            samples.look(Timestamp(1000 + time), [time, 0]);
        }
        assert!(samples.all.len() <= SAMPLES + 1);
        assert!(samples.at(Timestamp(51_000), Timestamp(0))[0].abs_diff(50_000) < 50);
    }

    #[test]
    fn figures_at_a_moment_are_those_of_the_requests_up_to_then() {
        for most in [1000, 40] {
            let mut keep = Keep::new(Limits { rows: most, slowest: 3, candidates: 10 });
            for at in 0..200_u64 {
                let row = Box::new(row(&format!("{at}"), (at * 37) % 200));
                keep.push(Paired { row, is_echo: false }).unwrap();
            }
            let (rows, rest) = parts(keep.finish().unwrap());
            let moments = [Timestamp(0), Timestamp(99), Timestamp(150), Timestamp(500)];
            let mut found = Vec::new();
            let take = |summary: &Summary, moment: Timestamp| {
                let acks = summary.overall.of(SegmentKind::Ack).map_or(0, Histogram::n);
                let newest = rows.newest_by(moment).next().map_or(0, |kept| kept.row.t_out.0);
                found.push((summary.requests(), acks, newest));
                Ok(())
            };
            rest.replay(&rows, Summary::default(), &moments, take).unwrap();
            let all: Vec<u64> = found.iter().map(|it| it.0).collect();
            assert_eq!(all, [1, 100, 151, 200], "{most}");
            assert!(found.iter().all(|(requests, acks, _)| requests == acks));
            assert_eq!((found[3].2, most == 40 || found[1].2 == 99), (199, true));
        }
    }
}
