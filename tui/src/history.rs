//! Snapshots of the last while, so that one can step back. Of the newest minute all are kept, of the time before one a second, and
//! of a capture all that there are. What lies between two of them is the difference of their buckets.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::wire::{Figures, Snapshot};

/// Snapshots beyond these are forgotten, the oldest first: some fifteen minutes of a daemon, and more than a capture has.
const MOST: usize = 1500;
const SECOND_NS: u64 = 1_000_000_000;
/// So long all are kept.
const ALL_NS: u64 = 60 * SECOND_NS;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct History {
    moments: VecDeque<Arc<Snapshot>>,
    /// These are thinned out already.
    thinned: usize,
    /// Moments that were kept and are not any more.
    pub(crate) forgotten: u64,
}

impl History {
    pub(crate) fn push(&mut self, snapshot: Arc<Snapshot>) {
        // A daemon that was started again counts from the beginning; its figures cannot be taken from those before.
        if self.moments.back().is_some_and(|last| snapshot.number <= last.number || snapshot.t_ns < last.t_ns) {
            *self = History::default();
        }
        let (newest_ns, is_live) = (snapshot.t_ns, !snapshot.of_capture);
        self.moments.push_back(snapshot);
        if is_live {
            self.thin(newest_ns.saturating_sub(ALL_NS));
        }
        if self.moments.len() > MOST {
            self.moments.pop_front();
            self.thinned = self.thinned.saturating_sub(1);
            self.forgotten += 1;
        }
    }

    fn thin(&mut self, before_ns: u64) {
        while self.moments.get(self.thinned).is_some_and(|moment| moment.t_ns < before_ns) {
            let second = |at: usize| self.moments.get(at).map(|moment| moment.t_ns / SECOND_NS);
            let is_further = self.thinned > 0 && second(self.thinned) == second(self.thinned - 1);
            if is_further {
                self.moments.remove(self.thinned);
            } else {
                self.thinned += 1;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.moments.len()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Arc<Snapshot>> {
        self.moments.get(at)
    }

    pub(crate) fn last(&self) -> Option<&Arc<Snapshot>> {
        self.moments.back()
    }

    /// The newest moment that is not after that time; the first where all are.
    pub(crate) fn at_time(&self, t_ns: u64) -> usize {
        self.moments.partition_point(|moment| moment.t_ns <= t_ns).saturating_sub(1)
    }

    /// The newest moment that is not after that time, if there is one.
    pub(crate) fn until(&self, t_ns: u64) -> Option<&Arc<Snapshot>> {
        self.get(self.at_time(t_ns)).filter(|moment| moment.t_ns <= t_ns)
    }

    /// Moments at the ends of `columns` equal parts of the time from `from_ns` to `to_ns`: for each the last one in it, and
    /// nothing where there is none.
    fn columns(&self, from_ns: u64, to_ns: u64, columns: usize) -> Vec<Option<&Arc<Snapshot>>> {
        let span = u128::from(to_ns.saturating_sub(from_ns));
        (1..=columns)
            .map(|column| {
                let bound = |part: usize| from_ns + u64::try_from(span * part as u128 / columns as u128).unwrap_or(0);
                let (begin, end) = (bound(column - 1), bound(column));
                self.until(end).filter(|found| found.t_ns > begin)
            })
            .collect()
    }
}

/// A stretch of time in columns, each with the last moment in it.
pub(crate) struct Columns<'a> {
    moments: Vec<Option<&'a Arc<Snapshot>>>,
    /// From which the first one counts.
    before: Option<&'a Arc<Snapshot>>,
}

impl<'a> Columns<'a> {
    pub(crate) fn new(history: &'a History, (from_ns, to_ns): (u64, u64), columns: usize) -> Columns<'a> {
        Columns { moments: history.columns(from_ns, to_ns, columns), before: history.until(from_ns) }
    }

    /// What each column has added to the buckets of a segment.
    pub(crate) fn added(&self, segment: &str) -> Vec<Option<Vec<(u64, u64)>>> {
        self.each(|now, before| added(before.map_or(&[], |before| before.buckets(segment)), now.buckets(segment)))
    }

    /// What each column has added to the one before it that there is. Where there are more columns than moments, each moment fills
    /// those that belong to it.
    pub(crate) fn each<T: Clone>(&self, added: impl Fn(&Snapshot, Option<&Snapshot>) -> T) -> Vec<Option<T>> {
        let mut before = self.before;
        let mut values: Vec<Option<T>> = Vec::with_capacity(self.moments.len());
        let wide = self.moments.len() / self.moments.iter().flatten().count().max(1);
        for moment in &self.moments {
            let value = moment.map(|now| added(now, before.replace(now).map(|before| &**before)));
            if value.is_some() {
                let free = values.iter().rev().take_while(|value| value.is_none()).count();
                let begin = values.len() - free.min(wide);
                values[begin..].fill(value.clone());
            }
            values.push(value);
        }
        values
    }
}

/// What was added to the buckets between two moments. Both are ascending, and the later one has all buckets of the earlier.
pub(crate) fn added(before: &[(u64, u64)], now: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut before = before.iter().peekable();
    let mut all = Vec::new();
    for (value, count) in now {
        while before.peek().is_some_and(|(earlier, _)| earlier < value) {
            before.next();
        }
        let had = before.peek().filter(|(earlier, _)| earlier == value).map_or(0, |(_, count)| *count);
        if *count > had {
            all.push((*value, count - had));
        }
    }
    all
}

/// The value that so many samples of a thousand thousand do not exceed, by the highest value of its bucket.
pub(crate) fn percentile(buckets: &[(u64, u64)], millionths: u64) -> u64 {
    let n: u64 = buckets.iter().map(|(_, count)| count).sum();
    let rank = (u128::from(n) * u128::from(millionths)).div_ceil(1_000_000).max(1);
    let mut seen: u128 = 0;
    for (value, count) in buckets {
        seen += u128::from(*count);
        if seen >= rank {
            return *value;
        }
    }
    buckets.last().map_or(0, |(value, _)| *value)
}

/// Figures of what was added between two moments. They rest on buckets alone, which are a sixteenth of a power of two wide.
pub(crate) fn figures_between(before: Option<&Figures>, now: &Figures) -> Figures {
    let Some(before) = before else { return now.clone() };
    let buckets = added(&before.buckets, &now.buckets);
    let n = now.n.saturating_sub(before.n);
    let sum = |figures: &Figures| u128::from(figures.mean_ns) * u128::from(figures.n);
    let mean = sum(now).saturating_sub(sum(before)).checked_div(u128::from(n)).unwrap_or(0);
    let [p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns] =
        [500_000, 900_000, 990_000, 999_000, 999_900].map(|millionths| percentile(&buckets, millionths));
    let few = [("p50", 2), ("p90", 10), ("p99", 100), ("p99_9", 1_000), ("p99_99", 10_000)];
    Figures {
        n,
        min_ns: buckets.first().map_or(0, |(value, _)| *value),
        p50_ns,
        p90_ns,
        p99_ns,
        p99_9_ns,
        p99_99_ns,
        max_ns: buckets.last().map_or(0, |(value, _)| *value),
        mean_ns: u64::try_from(mean).unwrap_or(u64::MAX),
        p99_over_p50: ratio(p99_ns, p50_ns),
        few: few.into_iter().filter(|(_, one_in)| n / one_in < 10).map(|(name, _)| name.to_owned()).collect(),
        tails_over: None,
        letters: now.letters.clone(),
        negative: now.negative.saturating_sub(before.negative),
        buckets,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(above: u64, below: u64) -> Option<f64> {
    (below > 0).then(|| (above as f64 / below as f64 * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(number: u64, t_ns: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot { number, t_ns, ..Snapshot::default() })
    }

    #[test]
    fn an_hour_of_ten_a_second_is_bounded_and_the_newest_minute_is_whole() {
        let mut history = History::default();
        for number in 1..=36_000 {
            history.push(moment(number, number * SECOND_NS / 10));
        }
        assert!(history.len() <= MOST, "{}", history.len());
        let newest = history.last().unwrap().t_ns;
        let at = history.at_time(newest - ALL_NS + 1);
        assert_eq!(history.len() - at, 601);
        assert!(newest - history.get(0).unwrap().t_ns > 850 * SECOND_NS);
    }

    #[test]
    fn a_daemon_that_was_started_again_begins_anew() {
        let mut history = History::default();
        history.push(moment(7, 10));
        history.push(moment(1, 20));
        assert_eq!(history.len(), 1);
    }

    #[test]
    fn columns_have_the_last_moment_of_each() {
        let mut history = History::default();
        (1..=4).for_each(|number| history.push(moment(number, number * 10)));
        let found: Vec<_> = history.columns(0, 60, 3).iter().map(|it| it.map(|it| it.number)).collect();
        assert_eq!(found, [Some(2), Some(4), None]);
    }

    #[test]
    fn what_lies_between_two_moments_is_their_difference() {
        let before = Figures { n: 3, mean_ns: 10, buckets: vec![(5, 1), (15, 2)], ..Figures::default() };
        let now = Figures { n: 5, mean_ns: 14, buckets: vec![(5, 1), (15, 3), (31, 1)], ..Figures::default() };
        let between = figures_between(Some(&before), &now);
        assert_eq!((between.n, between.mean_ns, between.max_ns), (2, 20, 31));
        assert_eq!(between.buckets, [(15, 1), (31, 1)]);
        assert_eq!((between.p50_ns, between.p99_ns), (15, 31));
        assert!(between.is_few("p50"));
    }
}
