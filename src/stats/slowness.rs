//! In which stretches of time one kind of latency was slow: the series of one side, of one session or of all, cut where
//! its level changes ([`super::change`]), and the levels compared. Latencies of several kinds and sessions become one
//! series by dividing each by the median of its kind and session. A stretch counts only where like was slower than like:
//! values are compared with those of the same kind and symbol outside of it, so that other requests than usual are no slowing.

use tickscope_model::{SegmentKind, Timestamp};

use super::change::{Ranks, SHORTEST};
use super::{Sample, Series};
use crate::hash::HashMap;

/// Slow is what is at least so many times the usual level.
pub(super) const SLOW: f64 = 1.5;
/// So many values of a kind and symbol tell what is usual of them.
const LIKE: usize = 4;
/// The usual level is the lowest one that, with those below it, holds this share of the values.
const USUAL_SHARE: f64 = 0.1;
/// Of longer series only so many values are searched for changes.
const SEARCHED: usize = 1 << 17;

/// So many values are enough to see a change.
const TESTABLE: usize = 4 * SHORTEST;

/// Shorter series have no level to be measured by.
fn is_used(series: &Series) -> bool {
    series.samples.len() >= SHORTEST
}

/// Latencies of one side, in time order.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// Time, kind, value, and the natural logarithm of the value by the median of its kind and session.
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    time: Timestamp,
    kind: SegmentKind,
    symbol: u32,
    value_ns: u64,
    level: f64,
}

/// A stretch in which a track was slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// In the middle between a request that was slow and its neighbour that was not.
    pub from: Timestamp,
    pub to: Timestamp,
    /// It was slow from the first value on, or to the last one: the capture does not show where that began or ended.
    pub is_open: (bool, bool),
}

impl Stretch {
    /// Both hold at least half of the shorter one.
    pub(super) fn meets(&self, other: &Stretch) -> bool {
        let (from, to) = (self.from.max(other.from), self.to.min(other.to));
        let length = |one: &Stretch| one.to.0 - one.from.0;
        from <= to && 2 * (to.0 - from.0) >= length(self).min(length(other))
    }

    /// Of two sides that were slow together. Where both tell nearly the same end, the truth lies between; else it was slow as
    /// long as one of them was.
    pub(super) fn joined(&self, other: &Stretch) -> Stretch {
        let length = (self.to.0 - self.from.0).max(other.to.0 - other.from.0);
        let middle = |one: Timestamp, other: Timestamp, outer: Timestamp| {
            let is_near = one.0.abs_diff(other.0) <= length / 10;
            if is_near { Timestamp(u64::midpoint(one.0, other.0)) } else { outer }
        };
        Stretch {
            from: middle(self.from, other.from, self.from.min(other.from)),
            to: middle(self.to, other.to, self.to.max(other.to)),
            is_open: (self.is_open.0 || other.is_open.0, self.is_open.1 || other.is_open.1),
        }
    }

    pub(super) fn holds(&self, time: Timestamp) -> bool {
        self.from <= time && time <= self.to
    }
}

impl Track {
    pub(super) fn new<'a>(series: impl Iterator<Item = &'a Series>) -> Track {
        let series: Vec<&Series> = series.filter(|one| is_used(one)).collect();
        let mut points = Vec::with_capacity(series.iter().map(|series| series.samples.len()).sum());
        for series in series {
            let mut values: Vec<u64> = series.samples.iter().map(|sample| sample.value_ns).collect();
            let usual = logarithm(median(&mut values));
            let point = |&Sample { time, value_ns, symbol }: &Sample| Point {
                time,
                kind: series.kind,
                symbol,
                value_ns,
                level: logarithm(value_ns) - usual,
            };
            points.extend(series.samples.iter().map(point));
        }
        points.sort_by_key(|point| point.time);
        Track { points }
    }

    /// Whether there are enough values to see a change at all.
    pub(super) fn is_testable(&self) -> bool {
        self.points.len() >= TESTABLE
    }

    /// The same of a track that would be made of these.
    pub(super) fn is_enough<'a>(series: impl Iterator<Item = &'a Series>) -> bool {
        series.filter(|one| is_used(one)).map(|series| series.samples.len()).sum::<usize>() >= TESTABLE
    }

    /// The stretches that were slow; `alpha` is the chance of a false alarm.
    pub(super) fn slow(&self, alpha: f64) -> Vec<Stretch> {
        if !self.is_testable() {
            return Vec::new();
        }
        let step = self.points.len().div_ceil(SEARCHED);
        let levels: Vec<f64> = self.points.iter().step_by(step).map(|point| point.level).collect();
        let mut ends: Vec<usize> = Ranks::new(&levels, alpha).changes();
        if ends.is_empty() {
            return Vec::new();
        }
        ends.push(levels.len());
        let mut start = 0;
        let mut pieces: Vec<(usize, usize, f64)> = Vec::new();
        for end in ends {
            pieces.push((start, end, middle_level(&mut levels[start..end].to_vec())));
            start = end;
        }
        let limit = usual(&pieces, levels.len()) + SLOW.ln();
        let mut slow: Vec<(usize, usize)> = Vec::new();
        for (from, to, _) in pieces.into_iter().filter(|(.., level)| *level >= limit) {
            match slow.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                _ => slow.push((from, to)),
            }
        }
        let time = |at: usize| self.points.get(at * step).map(|point| point.time);
        let middle = |one: Timestamp, other: Timestamp| Timestamp(u64::midpoint(one.0, other.0));
        let stretch = |(from, to): (usize, usize)| {
            let (first, last) = (time(from)?, time(to - 1)?);
            let before = from.checked_sub(1).and_then(time);
            let behind = time(to).filter(|_| to < levels.len());
            Some(Stretch {
                from: before.map_or(first, |before| middle(before, first)),
                to: behind.map_or(last, |behind| middle(last, behind)),
                is_open: (before.is_none(), behind.is_none()),
            })
        };
        let found: Vec<Stretch> = slow.into_iter().filter_map(stretch).collect();
        found.iter().copied().filter(|stretch| self.is_like_for_like(stretch, &found)).collect()
    }

    /// Whether values in a stretch are slow beside those of their own kind and symbol outside of all stretches. Symbols with
    /// few values outside are taken together; where too few are left to compare, nothing says that anything slowed.
    fn is_like_for_like(&self, stretch: &Stretch, all: &[Stretch]) -> bool {
        let is_outside = |point: &&Point| !all.iter().any(|other| other.holds(point.time));
        let mut counts: HashMap<(SegmentKind, u32), usize> = HashMap::default();
        for point in self.points.iter().filter(is_outside) {
            *counts.entry((point.kind, point.symbol)).or_default() += 1;
        }
        let stratum = |point: &Point| {
            let is_rare = counts.get(&(point.kind, point.symbol)).is_none_or(|count| *count < LIKE);
            (point.kind, (!is_rare).then_some(point.symbol))
        };
        let mut outside: HashMap<(SegmentKind, Option<u32>), Vec<f64>> = HashMap::default();
        for point in self.points.iter().filter(is_outside) {
            outside.entry(stratum(point)).or_default().push(point.level);
        }
        outside.retain(|_, levels| levels.len() >= LIKE);
        let usual: HashMap<(SegmentKind, Option<u32>), f64> =
            outside.into_iter().map(|(key, mut levels)| (key, middle_level(&mut levels))).collect();
        let inside = self.points.iter().filter(|point| stretch.holds(point.time));
        let mut slower: Vec<f64> = inside.filter_map(|point| Some(point.level - usual.get(&stratum(point))?)).collect();
        slower.len() >= SHORTEST && middle_level(&mut slower) >= SLOW.ln()
    }

    /// Values inside a stretch and outside of all of them, of the kind that is most frequent inside, ascending.
    pub(super) fn compared(&self, stretch: &Stretch, others: &[Stretch]) -> Option<(SegmentKind, Vec<u64>, Vec<u64>)> {
        let mut counts = [0_usize; SegmentKind::ALL.len()];
        for point in self.points.iter().filter(|point| stretch.holds(point.time)) {
            counts[point.kind.index()] += 1;
        }
        let kind = SegmentKind::ALL.into_iter().max_by_key(|kind| (counts[kind.index()], std::cmp::Reverse(*kind)))?;
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for point in self.points.iter().filter(|point| point.kind == kind) {
            if stretch.holds(point.time) {
                inside.push(point.value_ns);
            } else if !others.iter().any(|other| other.holds(point.time)) {
                outside.push(point.value_ns);
            }
        }
        inside.sort_unstable();
        outside.sort_unstable();
        (inside.len() >= SHORTEST && outside.len() >= SHORTEST).then_some((kind, inside, outside))
    }
}

/// The median of some levels, of which there is at least one.
fn middle_level(levels: &mut [f64]) -> f64 {
    let middle = (levels.len() - 1) / 2;
    *levels.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// The usual one of the levels of pieces.
fn usual(pieces: &[(usize, usize, f64)], n: usize) -> f64 {
    let mut sorted = pieces.to_vec();
    sorted.sort_by(|a, b| a.2.total_cmp(&b.2));
    let enough = super::change::to_float(n) * USUAL_SHARE;
    let mut held = 0;
    let found = sorted.iter().find(|(from, to, _)| {
        held += to - from;
        super::change::to_float(held) >= enough
    });
    found.map_or(0.0, |(.., level)| *level)
}

/// The lower one of two in the middle, as everywhere.
pub(super) fn median(values: &mut [u64]) -> u64 {
    if values.is_empty() {
        return 0;
    }
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable(middle).1
}

#[allow(clippy::cast_precision_loss, reason = "a logarithm that is only compared")]
fn logarithm(value_ns: u64) -> f64 {
    (value_ns.max(1) as f64).ln()
}
