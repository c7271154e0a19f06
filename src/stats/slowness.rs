//! In which stretches of time one kind of latency was slow: the series of one side, of one session or of all, cut where
//! its level changes ([`super::change`]), and the levels compared. Latencies of several kinds and sessions become one
//! series by dividing each by the median of its kind and session. A stretch counts only where like was slower than like:
//! values are compared with those of the same kind and symbol outside of it, so that other requests than usual are no slowing.

use std::ops::Range;

use tickscope_model::{SegmentKind, Timestamp};

use super::change::{self, Ranks, Run, SHORTEST};
use super::{Sample, Series};
use crate::hash::HashMap;

/// Slow is what is at least so many times the usual level.
pub(super) const SLOW: f64 = 1.5;
/// So many values of a kind and symbol tell what is usual of them.
const LIKE: usize = 4;
/// The usual level is the lowest one that, with those below it, holds this share of the values.
const USUAL_SHARE: f64 = 0.1;
/// Short runs are looked for at so many times the level around them.
const SEVERAL: [f64; 2] = [2.0, 4.0];
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

/// Neighbouring values of about the same level, and its median.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: usize,
    to: usize,
    level: f64,
}

impl Piece {
    fn middle(&self) -> usize {
        usize::midpoint(self.from, self.to)
    }
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
    /// It holds at least half of the other one.
    pub(super) fn covers(&self, other: &Stretch) -> bool {
        let (from, to) = (self.from.max(other.from), self.to.min(other.to));
        from <= to && 2 * (to.0 - from.0) >= other.to.0 - other.from.0
    }

    /// They share at least half of the longer one.
    pub(super) fn meets(&self, other: &Stretch) -> bool {
        self.covers(other) && other.covers(self)
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
        let pieces = self.pieces(alpha / 2.0);
        let limit = usual(&pieces, self.points.len()) + SLOW.ln();
        let is_slow = |piece: &Piece| piece.level >= limit;
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let mut at = 0_usize;
        for group in pieces.chunk_by(|one, next| is_slow(one) == is_slow(next)) {
            if group.first().is_some_and(is_slow) {
                spans.extend(self.placed(&pieces, at..at + group.len()));
            }
            at += group.len();
        }
        self.add_short(&mut spans, &pieces, limit, alpha / 2.0);
        let found: Vec<Stretch> = spans.into_iter().filter_map(|span| self.stretch(span)).collect();
        found.iter().copied().filter(|stretch| self.is_like_for_like(stretch, &found)).collect()
    }

    /// Cut where the level changes.
    fn pieces(&self, alpha: f64) -> Vec<Piece> {
        let step = self.points.len().div_ceil(SEARCHED);
        let levels: Vec<f64> = self.points.iter().step_by(step).map(|point| point.level).collect();
        let mut ends = Ranks::new(&levels, alpha).changes();
        ends.push(levels.len());
        let mut from = 0;
        let piece = |end: usize| {
            let level = middle_level(&mut levels[from..end].to_vec());
            let piece = Piece { from: from * step, to: (end * step).min(self.points.len()), level };
            from = end;
            piece
        };
        ends.into_iter().map(piece).collect()
    }

    fn stretch(&self, span: (usize, usize)) -> Option<Stretch> {
        let time = |at: usize| self.points.get(at).map(|point| point.time);
        let middle = |one: Timestamp, other: Timestamp| Timestamp(u64::midpoint(one.0, other.0));
        let (from, to) = span;
        let (first, last) = (time(from)?, time(to.checked_sub(1)?)?);
        let (before, behind) = (from.checked_sub(1).and_then(time), time(to));
        Some(Stretch {
            from: before.map_or(first, |before| middle(before, first)),
            to: behind.map_or(last, |behind| middle(last, behind)),
            is_open: (before.is_none(), behind.is_none()),
        })
    }

    /// Where slow pieces begin and end between their neighbours. Ranks found the change, but a few values that are high for
    /// usual ones look alike to them; here values vote for the level that they are nearer to.
    fn placed(&self, pieces: &[Piece], slow: Range<usize>) -> Option<(usize, usize)> {
        let (first, last) = (pieces.get(slow.start)?, pieces.get(slow.end.checked_sub(1)?)?);
        let (mut from, mut to) = (first.from, last.to);
        if let Some(before) = slow.start.checked_sub(1).and_then(|before| pieces.get(before)) {
            let window: Vec<f64> = self.levels(before.middle(), first.middle()).collect();
            from = before.middle() + edge(&window, first.from - before.middle(), before.level, first.level);
        }
        if let Some(behind) = pieces.get(slow.end) {
            let window: Vec<f64> = self.levels(last.middle(), behind.middle()).rev().collect();
            to = behind.middle() - edge(&window, behind.middle() - last.to, behind.level, last.level);
        }
        Some((from, to))
    }

    fn levels(&self, from: usize, to: usize) -> impl DoubleEndedIterator<Item = f64> {
        self.points.get(from..to).unwrap_or_default().iter().map(|point| point.level)
    }

    /// Adds spans that are too short for ranks: runs of values several times as high as those around them, outside of the
    /// spans that are known.
    fn add_short(&self, spans: &mut Vec<(usize, usize)>, pieces: &[Piece], limit: f64, alpha: f64) {
        let alone = self.alone(spans);
        let mut runs: Vec<Run> = Vec::new();
        for times in SEVERAL {
            let mut piece = 0;
            let is_high = |&at: &usize| {
                while pieces[piece].to <= at {
                    piece += 1;
                }
                self.points[at].level >= (pieces[piece].level + times.ln()).max(limit)
            };
            let high: Vec<bool> = alone.iter().map(is_high).collect();
            runs.extend(change::runs(&high, alpha / change::to_float(SEVERAL.len())));
        }
        runs.sort_by(|a, b| b.score.total_cmp(&a.score));
        for run in runs {
            let (from, to) = (alone[run.from], alone[run.to - 1] + 1);
            if spans.iter().all(|span| to < span.0 || span.1 < from) {
                spans.push((from, to));
            }
        }
        spans.sort_unstable();
    }

    /// Values outside of the spans whose request was sent when the one before was over: those that were under way together
    /// waited in one queue, and say the same thing once.
    fn alone(&self, spans: &[(usize, usize)]) -> Vec<usize> {
        let mut spans = spans.iter().peekable();
        let mut last: Option<Point> = None;
        let is_alone = |at: &usize| {
            while spans.next_if(|span| span.1 <= *at).is_some() {}
            let point = self.points[*at];
            let is_apart = last.is_none_or(|last| point.time.0 - last.time.0 > last.value_ns.min(point.value_ns));
            let is_known = spans.peek().is_some_and(|span| span.0 <= *at);
            if is_apart && !is_known {
                last = Some(point);
            }
            is_apart && !is_known
        };
        (0..self.points.len()).filter(is_alone).collect()
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

/// How many values at the beginning of a window belong to the outer level. Each votes with its distances to both levels, so
/// that the sum is largest where they part (maximum likelihood for errors of Laplace's distribution, of which one value far
/// away weighs no more than one at the level itself). Between them may lie a ramp: the inner level is that of the values
/// next to the edge, taken again where it moves.
fn edge(window: &[f64], first: usize, outer: f64, inner: f64) -> usize {
    let mut at = first;
    for _ in 0..3 {
        let Some(next) = window.get(at..(at + 2 * SHORTEST).min(window.len())).filter(|next| !next.is_empty()) else {
            break;
        };
        let inner = inner.min(middle_level(&mut next.to_vec())).max(outer + SLOW.ln());
        let (mut sum, mut best) = (0.0, (0.0, 0));
        for (value, number) in window.iter().zip(1..) {
            sum += (value - inner).abs() - (value - outer).abs();
            if sum >= best.0 {
                best = (sum, number);
            }
        }
        at = best.1;
    }
    at
}

/// The usual one of the levels of pieces.
fn usual(pieces: &[Piece], n: usize) -> f64 {
    let mut sorted = pieces.to_vec();
    sorted.sort_by(|a, b| a.level.total_cmp(&b.level));
    let enough = change::to_float(n) * USUAL_SHARE;
    let mut held = 0;
    let found = sorted.iter().find(|piece| {
        held += piece.to - piece.from;
        change::to_float(held) >= enough
    });
    found.map_or(0.0, |piece| piece.level)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_lie_where_values_are_nearer_to_the_other_level() {
        // Usual is 20 and slow is 200 or more; the place that ranks found, and the one that is right.
        let rows: [(usize, usize, &[u32]); 4] = [
            // High for usual ones (issue 4: seed 117 of trader-slows).
            (5, 9, &[20, 18, 22, 25, 19, 36, 27, 34, 30, 200, 190, 210, 205, 198, 202, 204, 199, 201]),
            // The first slow ones were left out.
            (8, 5, &[20, 18, 22, 25, 19, 195, 205, 200, 190, 210, 200, 195]),
            // A ramp belongs to what is slow, though it is nearer to usual than to the peak.
            (6, 5, &[20, 18, 22, 25, 19, 60, 62, 58, 61, 63, 59, 60, 61, 62, 60, 200, 900, 910, 900, 890, 905]),
            // One slow among usual ones, and one usual among slow ones.
            (6, 7, &[20, 18, 22, 500, 25, 19, 21, 200, 190, 20, 205, 198, 202, 204]),
        ];
        for (first, expected, values_us) in rows {
            let window: Vec<f64> = values_us.iter().map(|value| f64::from(*value).ln()).collect();
            let inner = window.last().copied().unwrap_or_default();
            assert_eq!(edge(&window, first, 20_f64.ln(), inner), expected, "{values_us:?}");
        }
    }

    #[test]
    fn stretches_meet_where_they_share_most_of_the_longer_one() {
        let stretch = |(from, to)| Stretch { from: Timestamp(from), to: Timestamp(to), is_open: (false, false) };
        for (one, other, expected) in [
            ((50, 70), (50, 70), true),
            ((50, 70), (52, 75), true),
            ((50, 70), (60, 62), false),
            ((50, 70), (61, 90), false),
            ((50, 70), (80, 90), false),
        ] {
            assert_eq!(stretch(one).meets(&stretch(other)), expected, "{one:?} {other:?}");
            assert_eq!(stretch(other).meets(&stretch(one)), expected, "{other:?} {one:?}");
        }
        assert!(stretch((50, 70)).covers(&stretch((60, 62))) && !stretch((60, 62)).covers(&stretch((50, 70))));
    }
}
