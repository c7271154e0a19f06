//! How far one clock is ahead of another, between bounds that causes and effects set: an effect cannot be seen before its
//! cause, so each pair of them, one on each clock, bounds the difference from one side. Differences that a line through
//! time can follow (offset and drift) form a polygon; its extremes are the bounds. Where no line satisfies all, the clock
//! was set in between, and the time is divided there.

use tickscope_model::{Nanos, Timestamp};

/// The difference lies at or below (`Most`), or at or above (`Least`), this many nanoseconds at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub time: Timestamp,
    pub side: BoundSide,
    pub ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundSide {
    Least,
    Most,
}

impl BoundSide {
    /// The same bound of the difference with its sign turned.
    #[must_use]
    pub fn turned(self) -> BoundSide {
        match self {
            BoundSide::Least => BoundSide::Most,
            BoundSide::Most => BoundSide::Least,
        }
    }
}

/// What holds from one time to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    pub from: Timestamp,
    pub to: Timestamp,
    /// The least and the most that it can be at `from` and at `to`.
    pub at_start: (Nanos, Nanos),
    pub at_end: (Nanos, Nanos),
    /// Causes and effects that bound it from below and from above.
    pub least: u64,
    pub most: u64,
}

impl Piece {
    /// The middle between the bounds, which is what is taken for the truth.
    pub fn middle(&self, time: Timestamp) -> Nanos {
        let middle = |(least, most): (Nanos, Nanos)| i128::from(least.0).midpoint(i128::from(most.0));
        let (start, end) = (middle(self.at_start), middle(self.at_end));
        let length = i128::from(self.to.0) - i128::from(self.from.0);
        let at = i128::from(time.0) - i128::from(self.from.0);
        let ns = if length == 0 { start } else { start + (end - start) * at / length };
        Nanos(i64::try_from(ns).unwrap_or(0))
    }

    /// How far the truth is from the middle at most, within the piece. The bounds are convex, so the ends decide.
    pub fn error(&self) -> Nanos {
        let half = |(least, most): (Nanos, Nanos)| (most.0 - least.0 + 1) / 2;
        Nanos(half(self.at_start).max(half(self.at_end)).saturating_add(1))
    }

    /// From the least to the most, at the worse end.
    pub fn width(&self) -> Nanos {
        let width = |(least, most): (Nanos, Nanos)| most.0 - least.0;
        Nanos(width(self.at_start).max(width(self.at_end)))
    }

    /// Nanoseconds a second that the middle moves.
    pub fn drift(&self) -> i64 {
        let length = i128::from(self.to.0) - i128::from(self.from.0);
        let moved = i128::from(self.middle(self.to).0) - i128::from(self.middle(self.from).0);
        if length == 0 { 0 } else { i64::try_from(moved * 1_000_000_000 / length).unwrap_or(0) }
    }
}

/// No oscillator in use drifts more: 100 millionths.
const MOST_DRIFT: f64 = 100_000.0;
/// A clock that is set more often than this is none.
const MOST_PIECES: usize = 8;
/// A piece with fewer bounds of either side says nothing.
const FEWEST: u64 = 2;

/// The pieces in which lines satisfy all bounds; empty where one side is missing.
pub fn pieces(bounds: &[Bound]) -> Vec<Piece> {
    let mut bounds = bounds.to_vec();
    bounds.sort_by_key(|bound| bound.time);
    let mut rest = bounds.as_slice();
    let mut pieces = Vec::new();
    while !rest.is_empty() && pieces.len() < MOST_PIECES {
        let length = longest(rest);
        let (these, others) = rest.split_at(length);
        pieces.extend(piece(these));
        rest = others;
    }
    pieces
}

/// How many of the first bounds one line satisfies.
fn longest(bounds: &[Bound]) -> usize {
    if is_possible(bounds) {
        return bounds.len();
    }
    let (mut good, mut bad) = (1, bounds.len());
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        *(if is_possible(&bounds[..middle]) { &mut good } else { &mut bad }) = middle;
    }
    good
}

fn is_possible(bounds: &[Bound]) -> bool {
    Constraints::new(bounds).is_none_or(|constraints| constraints.extremes(0.0).is_some())
}

fn piece(bounds: &[Bound]) -> Option<Piece> {
    let count = |side: BoundSide| bounds.iter().filter(|bound| bound.side == side).count() as u64;
    let (least, most) = (count(BoundSide::Least), count(BoundSide::Most));
    if least < FEWEST || most < FEWEST {
        return None;
    }
    let (from, to) = (bounds.first()?.time, bounds.last()?.time);
    let constraints = Constraints::new(bounds)?;
    let end = seconds(to, from);
    let (at_start, at_end) = (constraints.extremes(0.0)?, constraints.extremes(end)?);
    Some(Piece { from, to, at_start, at_end, least, most })
}

#[allow(clippy::cast_precision_loss, reason = "differences within a capture, far below 2^53 ns")]
fn seconds(time: Timestamp, from: Timestamp) -> f64 {
    time.since(from).0 as f64 / 1e9
}

/// The bounds that matter: the lower hull of those above, the upper hull of those below. Seconds and nanoseconds.
struct Constraints {
    least: Vec<(f64, f64)>,
    most: Vec<(f64, f64)>,
    /// Nanoseconds that everything is relative to, so that floats are exact enough.
    base: i64,
}

impl Constraints {
    /// `None` where there are no bounds of one side.
    #[allow(clippy::cast_precision_loss, reason = "relative to one of them")]
    fn new(bounds: &[Bound]) -> Option<Constraints> {
        let first = bounds.first()?;
        let base = first.ns;
        let of = |side: BoundSide, sign: f64| {
            let points = bounds.iter().filter(|bound| bound.side == side);
            let points =
                points.map(|bound| (seconds(bound.time, first.time), sign * (bound.ns.saturating_sub(base)) as f64));
            hull(points.collect()).into_iter().map(|(time, ns)| (time, sign * ns)).collect::<Vec<_>>()
        };
        let (least, most) = (of(BoundSide::Least, -1.0), of(BoundSide::Most, 1.0));
        (!least.is_empty() && !most.is_empty()).then_some(Constraints { least, most, base })
    }

    /// The least and the most that a line can be at a time; `None` where there is no line. The extremes of a polygon are
    /// at its corners, which are lines through two bounds, or through one with the greatest drift.
    #[allow(clippy::cast_possible_truncation, reason = "rounded outwards, far inside the range")]
    fn extremes(&self, at: f64) -> Option<(Nanos, Nanos)> {
        let points: Vec<(f64, f64)> = self.least.iter().chain(&self.most).copied().collect();
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut corner = |(time, ns): (f64, f64), drift: f64| {
            if drift.abs() <= MOST_DRIFT && self.holds(ns - drift * time, drift) {
                let value = ns + drift * (at - time);
                (least, most) = (least.min(value), most.max(value));
            }
        };
        for (index, &point) in points.iter().enumerate() {
            corner(point, MOST_DRIFT);
            corner(point, -MOST_DRIFT);
            for &other in points.iter().skip(index + 1) {
                let apart = other.0 - point.0;
                if apart.abs() > 1e-9 {
                    corner(point, (other.1 - point.1) / apart);
                }
            }
        }
        let whole = |value: f64| Nanos(self.base.saturating_add(value as i64));
        (least <= most).then(|| (whole((least - 0.01).floor()), whole((most + 0.01).ceil())))
    }

    fn holds(&self, offset: f64, drift: f64) -> bool {
        // A thousandth of a nanosecond for rounding.
        let value = |time: f64| offset + drift * time;
        self.least.iter().all(|(time, ns)| value(*time) >= ns - 0.001)
            && self.most.iter().all(|(time, ns)| value(*time) <= ns + 0.001)
    }
}

/// The lower convex hull of points in the order of time (Andrew's monotone chain).
fn hull(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut hull: Vec<(f64, f64)> = Vec::new();
    for point in points {
        if let Some(last) = hull.last()
            && (point.0 - last.0).abs() < 1e-9
        {
            if point.1 >= last.1 {
                continue;
            }
            hull.pop();
        }
        while let [.., first, second] = hull.as_slice() {
            let cross = (second.0 - first.0) * (point.1 - first.1) - (second.1 - first.1) * (point.0 - first.0);
            if cross > 0.0 {
                break;
            }
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_767_623_400_000_000_000;

    fn bound(second: u64, side: BoundSide, ns: i64) -> Bound {
        Bound { time: Timestamp(START + second * 1_000_000_000), side, ns }
    }

    /// Bounds around a truth that drifts, at least 5 µs off on either side, and at some times exactly that.
    fn around(seconds: std::ops::Range<u64>, offset: i64, drift: i64) -> Vec<Bound> {
        let mut bounds = Vec::new();
        for second in seconds {
            let truth = offset + drift * i64::try_from(second).unwrap();
            let slack = i64::try_from(second * 7919 % 13).unwrap() * 1000;
            bounds.push(bound(second, BoundSide::Most, truth + 5000 + slack));
            bounds.push(bound(second, BoundSide::Least, truth - 5000 - (13_000 - slack)));
        }
        bounds
    }

    #[test]
    fn the_truth_lies_between_the_bounds_whatever_the_drift() {
        for (offset, drift) in [(37_000, 40), (-90_000, -500), (0, 0), (36_999_999_000, 3)] {
            let found = pieces(&around(0..60, offset, drift));
            let [piece] = found.as_slice() else { panic!("{found:?}") };
            for (second, (least, most)) in [(0, piece.at_start), (59, piece.at_end)] {
                let truth = offset + drift * second;
                assert!(least.0 <= truth && truth <= most.0, "{truth} in {least:?} {most:?}");
                assert!(most.0 - least.0 <= 14_000, "{least:?} {most:?}");
                let middle = piece.middle(Timestamp(START + u64::try_from(second).unwrap() * 1_000_000_000));
                assert!(middle.0.abs_diff(truth) <= piece.error().0.unsigned_abs());
            }
            assert!(piece.drift().abs_diff(drift) <= 300, "{}", piece.drift());
        }
    }

    #[test]
    fn a_constant_difference_is_as_wide_as_its_tightest_bounds() {
        let mut bounds = Vec::new();
        for second in 0..=10 {
            bounds.push(bound(second, BoundSide::Most, 900));
            bounds.push(bound(second, BoundSide::Least, 100));
        }
        let found = pieces(&bounds);
        assert_eq!(found.len(), 1);
        // A line may still tilt between the two: 100 at one end and 900 at the other.
        assert_eq!((found[0].at_start.0.0.div_euclid(10), found[0].at_start.1.0 / 10), (9, 90));
        assert_eq!((found[0].least, found[0].most), (11, 11));
    }

    #[test]
    fn a_clock_that_was_set_gives_two_pieces() {
        let mut bounds = around(0..30, 1000, 10);
        bounds.extend(around(30..60, 5_000_000, 10));
        let found = pieces(&bounds);
        assert_eq!(found.len(), 2);
        assert!(found[0].to <= found[1].from);
        let [first, second] = [&found[0], &found[1]].map(|piece| piece.middle(piece.from).0);
        assert!(first.abs() < 20_000 && (second - 5_000_000).abs() < 20_000, "{first} {second}");
    }

    #[test]
    fn one_side_alone_bounds_nothing() {
        let bounds: Vec<Bound> = around(0..9, 0, 0).into_iter().filter(|bound| bound.side == BoundSide::Most).collect();
        assert!(pieces(&bounds).is_empty());
        assert!(pieces(&[]).is_empty());
    }
}
