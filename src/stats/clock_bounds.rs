//! How far one clock is ahead of another, between bounds that causes and effects set: an effect cannot be seen before its
//! cause, so each pair of them, one on each clock, bounds the difference from one side. Differences that a line through
//! time can follow (offset and drift) form a polygon; its extremes are the bounds. Where no line satisfies all, the clock
//! was set in between, and the time is divided there: [`super::clock_relations`] makes pieces of the courses found here.

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

/// No oscillator in use drifts more: 100 millionths.
const MOST_DRIFT: f64 = 100_000.0;
/// A clock that is set more often than this is none.
const MOST_PIECES: usize = 8;
/// A piece with fewer bounds of either side says nothing.
const FEWEST: u64 = 2;

/// A time in which one line satisfies all bounds of two clocks. Where a clock was set, neither the bounds that would also
/// fit the time before, nor those that would also fit the time behind, tell when that was: they belong to no course.
pub(super) struct Course {
    /// The times of its first and its last bound, on the first clock.
    pub from: Timestamp,
    pub to: Timestamp,
    /// From here to there it holds for certain, whichever of the clocks was set in front and behind.
    pub sure_from: Timestamp,
    pub sure_to: Timestamp,
    /// Causes and effects that bound it from below and from above.
    pub least: u64,
    pub most: u64,
    constraints: Constraints,
}

impl Course {
    fn new(bounds: &[Bound]) -> Option<Course> {
        let count = |side: BoundSide| bounds.iter().filter(|bound| bound.side == side).count() as u64;
        let (least, most) = (count(BoundSide::Least), count(BoundSide::Most));
        if least < FEWEST || most < FEWEST {
            return None;
        }
        let (first, last) = (bounds.first()?, bounds.last()?);
        let constraints = Constraints::new(bounds)?;
        let (from, to) = (first.time, last.time);
        let mut course = Course { from, to, sure_from: from, sure_to: to, least, most, constraints };
        // A bound is a reading of either clock, and each must have been what it was by then.
        let (start, end) = (course.at(from)?, course.at(to)?);
        course.sure_from = from.shifted(Nanos((first.ns - start.0.0).max(0)));
        course.sure_to = to.shifted(Nanos((last.ns - end.1.0).min(0)));
        Some(course)
    }

    /// The least and the most that the difference can be at a time, be it outside of what bounds it.
    pub(super) fn at(&self, time: Timestamp) -> Option<(Nanos, Nanos)> {
        self.constraints.extremes(self.constraints.seconds(time))
    }
}

/// The courses of two clocks; none where one side is missing.
pub(super) fn courses(bounds: &[Bound]) -> Vec<Course> {
    let mut bounds = bounds.to_vec();
    bounds.sort_by_key(|bound| bound.time);
    let mut starts = vec![0];
    let mut start = 0;
    while start < bounds.len() && starts.len() <= MOST_PIECES {
        start += longest(&bounds[start..]);
        starts.push(start);
    }
    // From behind: as much of each as the next one could not also be.
    let mut end = start;
    let mut courses = Vec::new();
    for pair in starts.windows(2).rev() {
        let (first, next) = (pair[0], pair[1]);
        let own_end = if next == start { end } else { first + shared_from(&bounds[first..end], next - first) };
        courses.extend(Course::new(&bounds[first..own_end]));
        end = own_end;
    }
    courses.reverse();
    courses
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

/// The first of the bounds from which on one line satisfies all, which those from `next` on do, and all together do not.
fn shared_from(bounds: &[Bound], next: usize) -> usize {
    let (mut bad, mut good) = (0, next);
    while good - bad > 1 {
        let middle = bad.midpoint(good);
        *(if is_possible(&bounds[middle..]) { &mut good } else { &mut bad }) = middle;
    }
    good
}

fn is_possible(bounds: &[Bound]) -> bool {
    Constraints::new(bounds).is_none_or(|constraints| constraints.extremes(0.0).is_some())
}

#[allow(clippy::cast_precision_loss, reason = "differences within a capture, far below 2^53 ns")]
fn seconds(time: Timestamp, from: Timestamp) -> f64 {
    time.since(from).0 as f64 / 1e9
}

/// The bounds that matter: the lower hull of those above, the upper hull of those below. Seconds and nanoseconds.
struct Constraints {
    least: Vec<(f64, f64)>,
    most: Vec<(f64, f64)>,
    /// Nanoseconds and time that everything is relative to, so that floats are exact enough.
    base: i64,
    start: Timestamp,
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
        (!least.is_empty() && !most.is_empty()).then_some(Constraints { least, most, base, start: first.time })
    }

    fn seconds(&self, time: Timestamp) -> f64 {
        seconds(time, self.start)
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

    fn at(second: u64) -> Timestamp {
        Timestamp(START + second * 1_000_000_000)
    }

    fn bound(second: u64, side: BoundSide, ns: i64) -> Bound {
        Bound { time: at(second), side, ns }
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
            let found = courses(&around(0..60, offset, drift));
            let [course] = found.as_slice() else { panic!("{} courses", found.len()) };
            for second in [0, 59] {
                let (least, most) = course.at(at(u64::try_from(second).unwrap())).unwrap();
                let truth = offset + drift * second;
                assert!(least.0 <= truth && truth <= most.0, "{truth} in {least:?} {most:?}");
                assert!(most.0 - least.0 <= 14_000, "{least:?} {most:?}");
            }
        }
    }

    #[test]
    fn a_constant_difference_is_as_wide_as_its_tightest_bounds() {
        let mut bounds = Vec::new();
        for second in 0..=10 {
            bounds.push(bound(second, BoundSide::Most, 900));
            bounds.push(bound(second, BoundSide::Least, 100));
        }
        let found = courses(&bounds);
        assert_eq!(found.len(), 1);
        // A line may still tilt between the two: 100 at one end and 900 at the other.
        let (least, most) = found[0].at(at(0)).unwrap();
        assert_eq!((least.0.div_euclid(10), most.0 / 10), (9, 90));
        assert_eq!((found[0].least, found[0].most), (11, 11));
    }

    #[test]
    fn bounds_that_fit_both_sides_of_a_step_belong_to_neither() {
        let side = |bounds: Vec<Bound>, side: BoundSide| bounds.into_iter().filter(move |bound| bound.side == side);
        let mut bounds = around(0..30, 1000, 10);
        // Set forwards: lower bounds of the time before fit the time behind, upper ones of the time behind the time before.
        bounds.extend(side(around(30..35, 1000, 10), BoundSide::Least));
        bounds.extend(side(around(35..40, 5_000_000, 10), BoundSide::Most));
        bounds.extend(around(40..60, 5_000_000, 10));
        let found = courses(&bounds);
        let [first, second] = found.as_slice() else { panic!("{} courses", found.len()) };
        // The upper bound of second 29 and the lower one of second 40 are the last and first that tell.
        assert_eq!((first.from, first.to, second.from, second.to), (at(0), at(29), at(40), at(59)));
        assert!(first.sure_to <= first.to && second.from <= second.sure_from);
        let truth = |course: &Course, truth: i64| {
            let (least, most) = course.at(course.to).unwrap();
            assert!(least.0 <= truth && truth <= most.0 && most.0 - least.0 < 20_000, "{least:?} {most:?}");
        };
        truth(first, 1290);
        truth(second, 5_000_590);
    }

    #[test]
    fn one_side_alone_bounds_nothing() {
        let bounds: Vec<Bound> = around(0..9, 0, 0).into_iter().filter(|bound| bound.side == BoundSide::Most).collect();
        assert!(courses(&bounds).is_empty());
        assert!(courses(&[]).is_empty());
    }
}
