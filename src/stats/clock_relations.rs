//! How several clocks are related: what bounds pairs of them, put together. What bounds A and B, and B and C, bounds A and C;
//! so every pair is as tight as its best way over others. One clock of those that are related is their reference, the one
//! with the smallest number, and the others are brought onto it.
//!
//! Where a clock was set, the courses of a pair end, and nothing is known until the next begins: such a gap is blind for
//! figures with the clocks that may have been set. Between gaps lie epochs; in each, every difference is a line, so that
//! bounds at its two ends are enough.

use std::collections::HashMap;

use tickscope_model::{Nanos, Timestamp};

use super::clock_bounds::{Bound, Course, courses};
use super::clock_gaps::{Gap, divide};
use crate::pair::Blind;

/// What bounds the difference of two clocks, by their numbers, the smaller first: second less first, at times of the first.
pub type BoundsOfPairs = HashMap<(usize, usize), Vec<Bound>>;

/// What holds from one time to another, on the clock that is the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    pub from: Timestamp,
    pub to: Timestamp,
    /// One of the clocks was set between the piece in front and this one; else another clock was.
    pub is_set: bool,
    /// The least and the most that it can be at `from` and at `to`.
    pub at_start: (Nanos, Nanos),
    pub at_end: (Nanos, Nanos),
    /// Causes and effects that bound it from below and from above, those by way of other clocks left out.
    pub least: u64,
    pub most: u64,
}

impl Piece {
    /// The middle between the bounds, which is what is taken for the truth; the line goes on in front and behind.
    pub fn middle(&self, time: Timestamp) -> Nanos {
        let middle = |(least, most): (Nanos, Nanos)| i128::from(least.0).midpoint(i128::from(most.0));
        let (start, end) = (middle(self.at_start), middle(self.at_end));
        let length = i128::from(self.to.0) - i128::from(self.from.0);
        let at = i128::from(time.0) - i128::from(self.from.0);
        let ns = if length == 0 { start } else { start + (end - start) * at / length };
        Nanos(i64::try_from(ns).unwrap_or(0))
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

/// What is known of a clock.
#[derive(Clone, Debug, PartialEq)]
pub struct RelatedClock {
    /// The clock that it is related to; itself where that is none.
    pub reference: usize,
    /// How far it is ahead of its reference.
    pub pieces: Vec<Piece>,
}

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct ClockRelations {
    pub clocks: Vec<RelatedClock>,
    /// On the reference of the clocks that each is about.
    pub blind: Vec<Blind>,
    /// How far figures between two clocks may be wrong, once both are brought onto their reference.
    errors: Vec<Vec<Option<Nanos>>>,
}

impl ClockRelations {
    /// `None` where the clocks are not related.
    pub fn error(&self, one: usize, other: usize) -> Option<Nanos> {
        *self.errors.get(one)?.get(other)?
    }
}

/// Relates clocks. `given`: clocks that the user brought onto clock 0, and how far that may be wrong.
pub fn relate(count: usize, bounds: &BoundsOfPairs, given: &[(usize, Nanos)]) -> ClockRelations {
    let mut pairs: Vec<Pair> = bounds.iter().map(|(&clocks, bounds)| Pair::new(clocks, bounds)).collect();
    pairs.retain(|pair| !pair.courses.is_empty());
    pairs.sort_by_key(|pair| pair.clocks);
    let places = places(count, &pairs, given);
    let mut found = ClockRelations {
        clocks: places.iter().map(|place| RelatedClock { reference: place.reference, pieces: Vec::new() }).collect(),
        blind: Vec::new(),
        errors: vec![vec![None; count]; count],
    };
    for reference in 0..count {
        let is_here = |clock: usize| places.get(clock).is_some_and(|place| place.reference == reference);
        if (0..count).filter(|clock| is_here(*clock)).count() > 1 {
            let pairs: Vec<&Pair> = pairs.iter().filter(|pair| is_here(pair.clocks.0)).collect();
            let given = if reference == 0 { given } else { &[] };
            Group { reference, places: &places, pairs, given }.relate(&mut found);
        }
    }
    found
}

/// Two clocks with something that bounds their difference.
pub(super) struct Pair {
    pub clocks: (usize, usize),
    pub courses: Vec<Course>,
    /// Whether bounds lie in front of the first and behind the last course.
    pub is_cut: (bool, bool),
}

impl Pair {
    fn new(clocks: (usize, usize), bounds: &[Bound]) -> Pair {
        let courses = courses(bounds);
        let first = bounds.iter().map(|bound| bound.time).min();
        let last = bounds.iter().map(|bound| bound.time).max();
        let is_cut =
            (courses.first().map(|course| course.from) != first, courses.last().map(|course| course.to) != last);
        Pair { clocks, courses, is_cut }
    }

    /// The least and the most of the whole capture.
    fn range(&self) -> Option<(i64, i64)> {
        let ends = || self.courses.iter().flat_map(|course| [course.at(course.from), course.at(course.to)]).flatten();
        ends().map(|(least, _)| least.0).min().zip(ends().map(|(_, most)| most.0).max())
    }
}

/// Roughly where a clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub reference: usize,
    /// It is ahead of its reference by at least and at most this, at any time.
    pub least: i64,
    pub most: i64,
}

impl Place {
    fn middle(&self) -> i64 {
        self.least.midpoint(self.most)
    }

    /// A time of this clock on its reference: the earliest and the latest that it can be.
    pub(super) fn on_reference(&self, time: Timestamp) -> (Timestamp, Timestamp) {
        (time.shifted(Nanos(-self.most)), time.shifted(Nanos(-self.least)))
    }

    /// The most likely one.
    pub(super) fn near(&self, time: Timestamp) -> Timestamp {
        time.shifted(Nanos(-self.middle()))
    }
}

/// From each clock that nothing before reached, over all pairs.
fn places(count: usize, pairs: &[Pair], given: &[(usize, Nanos)]) -> Vec<Place> {
    let mut edges: Vec<(usize, usize, i64, i64)> = Vec::new();
    for pair in pairs {
        if let Some((least, most)) = pair.range() {
            edges.push((pair.clocks.0, pair.clocks.1, least, most));
            edges.push((pair.clocks.1, pair.clocks.0, -most, -least));
        }
    }
    edges.extend(
        given.iter().flat_map(|&(clock, error)| [(0, clock, -error.0, error.0), (clock, 0, -error.0, error.0)]),
    );
    let mut places: Vec<Option<Place>> = vec![None; count];
    for reference in 0..count {
        if places[reference].is_some() {
            continue;
        }
        places[reference] = Some(Place { reference, least: 0, most: 0 });
        let mut reached = vec![reference];
        while let Some(clock) = reached.pop() {
            let Some(here) = places[clock] else { continue };
            for &(_, next, least, most) in edges.iter().filter(|edge| edge.0 == clock) {
                if places.get(next).is_some_and(Option::is_none) {
                    let (least, most) = (here.least.saturating_add(least), here.most.saturating_add(most));
                    places[next] = Some(Place { reference, least, most });
                    reached.push(next);
                }
            }
        }
    }
    places.into_iter().flatten().collect()
}

/// The least and the most that each clock can be ahead of each other one at a time: `[one][other]` is other less one.
type Matrix = Vec<Vec<Option<(i64, i64)>>>;

/// A time without a gap, and what holds at its ends; `None` where what holds contradicts itself.
struct Epoch {
    from: Timestamp,
    to: Timestamp,
    ends: Option<(Matrix, Matrix)>,
}

/// Clocks that are related to one of them.
struct Group<'a> {
    reference: usize,
    places: &'a [Place],
    pairs: Vec<&'a Pair>,
    given: &'a [(usize, Nanos)],
}

impl Group<'_> {
    fn relate(&self, found: &mut ClockRelations) {
        let (gaps, spans) = divide(&self.pairs, self.places);
        let epoch = |&(from, to): &(Timestamp, Timestamp)| Epoch { from, to, ends: self.tighten(&gaps, from, to) };
        let epochs: Vec<Epoch> = spans.iter().map(epoch).collect();
        for clock in self.others() {
            if let Some(related) = found.clocks.get_mut(clock)
                && !self.given.iter().any(|(given, _)| *given == clock)
            {
                related.pieces = self.pieces(clock, &epochs, &gaps);
            }
        }
        let all: Vec<usize> = self.others().chain([self.reference]).collect();
        found.blind.extend(self.unknown(&epochs));
        found.blind.extend(gaps.into_iter().map(|gap| Blind { from: gap.from, to: gap.to, clocks: gap.clocks }));
        if epochs.iter().all(|epoch| epoch.ends.is_none()) {
            // Nothing is left that relates them.
            self.others().for_each(|clock| found.clocks[clock].reference = clock);
            return;
        }
        for &one in &all {
            for &other in all.iter().filter(|other| **other != one) {
                found.errors[one][other] = self.error(found, (one, other), &epochs);
            }
        }
    }

    /// Those that are brought onto the reference.
    fn others(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.places.len())
            .filter(|clock| *clock != self.reference && self.places[*clock].reference == self.reference)
    }

    /// All pairs at both ends of an epoch, each by its best way over others.
    fn tighten(&self, gaps: &[Gap], from: Timestamp, to: Timestamp) -> Option<(Matrix, Matrix)> {
        let count = self.places.len();
        let mut ends = [vec![vec![None; count]; count], vec![vec![None; count]; count]];
        for pair in &self.pairs {
            let place = self.places[pair.clocks.0];
            let Some(course) = course_of(pair, place, gaps, from, to) else { continue };
            // Times of the pair's first clock are known as well as that clock is; so much more may a drift have moved it.
            let own = [from, to].map(|time| course.at(time.shifted(Nanos(place.middle()))));
            let [Some(start), Some(end)] = own else { continue };
            let more = drifted(start, end, to.since(from), place.most - place.least);
            for (matrix, (least, most)) in ends.iter_mut().zip([start, end]) {
                enter(matrix, pair.clocks, (least.0 - more, most.0 + more));
            }
        }
        for matrix in &mut ends {
            self.given.iter().for_each(|&(clock, error)| enter(matrix, (0, clock), (-error.0, error.0)));
            if !shortest_ways(matrix) {
                return None;
            }
        }
        let [start, end] = ends;
        Some((start, end))
    }

    /// How far a clock is ahead of the reference, epoch by epoch.
    fn pieces(&self, clock: usize, epochs: &[Epoch], gaps: &[Gap]) -> Vec<Piece> {
        let clocks = (self.reference, clock);
        let direct = self.pairs.iter().find(|pair| pair.clocks == clocks);
        let mut pieces: Vec<Piece> = Vec::new();
        for epoch in epochs {
            let Some((start, end)) = &epoch.ends else { continue };
            let (Some(at_start), Some(at_end)) = (start[clocks.0][clocks.1], end[clocks.0][clocks.1]) else { continue };
            let nanos = |(least, most): (i64, i64)| (Nanos(least), Nanos(most));
            let course =
                direct.and_then(|pair| course_of(pair, self.places[self.reference], gaps, epoch.from, epoch.to));
            let (least, most) = course.map_or((0, 0), |course| (course.least, course.most));
            let (at_start, at_end) = (nanos(at_start), nanos(at_end));
            let Epoch { from, to, .. } = *epoch;
            let is_between = |gap: &Gap, last: &Piece| last.to <= gap.from && gap.to <= from && gap.concerns(clocks);
            let is_set = pieces.last().is_some_and(|last| gaps.iter().any(|gap| is_between(gap, last)));
            pieces.push(Piece { from, to, is_set, at_start, at_end, least, most });
        }
        pieces
    }

    /// Epochs in which a clock is not related, though it is in others; the first and the last go on for ever.
    fn unknown(&self, epochs: &[Epoch]) -> Vec<Blind> {
        let mut blind = Vec::new();
        for (number, epoch) in epochs.iter().enumerate() {
            let is_known =
                |clock: &usize| matches!(&epoch.ends, Some((start, _)) if start[self.reference][*clock].is_some());
            let clocks: Vec<usize> = self.others().filter(|clock| !is_known(clock)).collect();
            if !clocks.is_empty() {
                let from = if number == 0 { Timestamp::MIN } else { epoch.from };
                let to = if number + 1 == epochs.len() { Timestamp::MAX } else { epoch.to };
                blind.push(Blind { from, to, clocks });
            }
        }
        blind
    }

    /// How far the difference of two middles is from the truth at most: at the ends of epochs, since all are lines between.
    fn error(&self, found: &ClockRelations, (one, other): (usize, usize), epochs: &[Epoch]) -> Option<Nanos> {
        let middle = |clock: usize, epoch: &Epoch, time: Timestamp| {
            if clock == self.reference || self.given.iter().any(|(given, _)| *given == clock) {
                return Some(0);
            }
            let pieces = &found.clocks.get(clock)?.pieces;
            let piece = pieces.iter().find(|piece| piece.from <= epoch.from && epoch.to <= piece.to);
            piece.map(|piece| piece.middle(time).0)
        };
        let mut worst = None;
        for epoch in epochs {
            let Some((start, end)) = &epoch.ends else { continue };
            for (time, matrix) in [(epoch.from, start), (epoch.to, end)] {
                if let Some((least, most)) = matrix[one][other]
                    && let (Some(first), Some(second)) = (middle(one, epoch, time), middle(other, epoch, time))
                {
                    worst = worst.max(Some((most - (second - first)).max(second - first - least)));
                }
            }
        }
        // One for the middle's rounding.
        worst.map(|worst| Nanos(worst.saturating_add(1)))
    }
}

/// The course of a pair that an epoch belongs to: none of the gaps between them is the pair's.
fn course_of<'a>(pair: &'a Pair, place: Place, gaps: &[Gap], from: Timestamp, to: Timestamp) -> Option<&'a Course> {
    let middle = |from: Timestamp, to: Timestamp| from.0.midpoint(to.0);
    let epoch = middle(from, to);
    let is_reached = |course: &&Course| {
        let own = middle(place.near(course.from), place.near(course.to));
        !gaps.iter().any(|gap| {
            let gap_at = middle(gap.from, gap.to);
            gap.concerns(pair.clocks) && (own.min(epoch) < gap_at && gap_at < own.max(epoch))
        })
    };
    pair.courses.iter().find(is_reached)
}

/// How far a line between these bounds may move in `within` nanoseconds, at most by as much as any clock drifts.
fn drifted(start: (Nanos, Nanos), end: (Nanos, Nanos), length: Nanos, within: i64) -> i64 {
    let half = i128::from(within) / 2 + 1;
    let most = half / 10_000 + 1;
    let steepest = i128::from((end.1.0 - start.0.0).abs().max((end.0.0 - start.1.0).abs()));
    let moved = if length.0 == 0 { most } else { (steepest * half / i128::from(length.0) + 1).min(most) };
    if within == 0 { 0 } else { i64::try_from(moved).unwrap_or(i64::MAX / 4) }
}

/// What bounds a pair, in both directions.
fn enter(matrix: &mut Matrix, (one, other): (usize, usize), (least, most): (i64, i64)) {
    for (from, to, least, most) in [(one, other, least, most), (other, one, -most, -least)] {
        let known = matrix[from][to].unwrap_or((i64::MIN, i64::MAX));
        matrix[from][to] = Some((known.0.max(least), known.1.min(most)));
    }
}

/// The algorithm of Floyd and Warshall. False where bounds contradict each other.
fn shortest_ways(matrix: &mut Matrix) -> bool {
    let count = matrix.len();
    for over in 0..count {
        for one in 0..count {
            for other in 0..count {
                if one != other
                    && let (Some(first), Some(second)) = (matrix[one][over], matrix[over][other])
                {
                    let sum = (first.0.saturating_add(second.0), first.1.saturating_add(second.1));
                    enter(matrix, (one, other), sum);
                }
            }
        }
    }
    matrix.iter().flatten().flatten().all(|(least, most)| least <= most)
}

#[cfg(test)]
mod tests {
    use super::super::clock_bounds::BoundSide;
    use super::*;

    const START: u64 = 1_767_623_400_000_000_000;

    fn at(second: u64) -> Timestamp {
        Timestamp(START + second * 1_000_000_000)
    }

    /// Bounds of a difference that is another one behind a step, so many nanoseconds off on either side, every so many seconds.
    fn around(truth: impl Fn(u64) -> i64, slack: i64, every: usize) -> Vec<Bound> {
        let pair = |second: u64| {
            let least = Bound { time: at(second), side: BoundSide::Least, ns: truth(second) - slack };
            [least, Bound { side: BoundSide::Most, ns: truth(second) + slack, ..least }]
        };
        (0..=60).step_by(every).flat_map(pair).collect()
    }

    fn holds(piece: &Piece, truth: i64) {
        for (least, most) in [piece.at_start, piece.at_end] {
            assert!(least.0 <= truth && truth <= most.0, "{truth} in {piece:?}");
        }
    }

    #[test]
    fn clocks_are_as_tight_as_their_best_way() {
        let bounds = BoundsOfPairs::from([
            ((0, 1), around(|_| 37_000, 40_000, 1)),
            ((0, 2), around(|_| 9_000, 30_000, 1)),
            ((1, 2), around(|_| -28_000, 2, 1)),
        ]);
        let found = relate(3, &bounds, &[]);
        assert!(found.blind.is_empty(), "{:?}", found.blind);
        for (clock, truth) in [(1, 37_000), (2, 9_000)] {
            let [piece] = found.clocks[clock].pieces.as_slice() else { panic!("{:?}", found.clocks[clock]) };
            holds(piece, truth);
            // A line may tilt; directly the first would have 40,000 on either side.
            assert!((59_000..61_100).contains(&piece.width().0), "{piece:?}");
        }
        let errors = [(0, 1), (0, 2), (1, 2), (2, 1)].map(|(one, other)| found.error(one, other).unwrap().0);
        assert!(errors[0] < 31_000 && errors[1] < 31_000 && errors[2] < 12 && errors[2] == errors[3], "{errors:?}");
        // The same without anything that relates the last to the first.
        let chain = bounds.into_iter().filter(|(pair, _)| *pair != (0, 2)).collect();
        let found = relate(3, &chain, &[]);
        holds(&found.clocks[2].pieces[0], 9_000);
        assert!(found.error(1, 2).unwrap().0 < 12, "{:?}", found.errors);
    }

    #[test]
    fn between_the_last_and_the_first_that_tell_a_set_clock_is_unknown() {
        let step = |second| if second < 27 { 37_000 } else { 537_000 };
        let bounds = BoundsOfPairs::from([((0, 1), around(step, 40_000, 5))]);
        let found = relate(2, &bounds, &[]);
        let [first, second] = found.clocks[1].pieces.as_slice() else { panic!("{:?}", found.clocks) };
        holds(first, 37_000);
        holds(second, 537_000);
        let [blind] = found.blind.as_slice() else { panic!("{:?}", found.blind) };
        // A little more on either side: by as much as the clock may have been set, and as long as cause and effect lie apart.
        assert!(at(24) < blind.from && blind.from <= at(25) && at(30) <= blind.to && blind.to < at(31), "{blind:?}");
        assert_eq!((first.to, second.from), (blind.from, blind.to));
    }

    #[test]
    fn who_was_set_is_the_clock_that_pairs_have_in_common() {
        let step = |second| if second < 27 { 37_000 } else { 537_000 };
        let bounds = BoundsOfPairs::from([
            ((0, 1), around(step, 40_000, 5)),
            ((1, 2), around(|second| 9_000 - step(second), 2, 1)),
            ((0, 2), around(|_| 9_000, 40_000, 1)),
        ]);
        let found = relate(3, &bounds, &[]);
        let [blind] = found.blind.as_slice() else { panic!("{:?}", found.blind) };
        assert_eq!(blind.clocks, [1]);
        assert!(at(25) <= blind.from && blind.from <= at(26) && at(27) <= blind.to && blind.to <= at(28), "{blind:?}");
        let set = |clock: usize| found.clocks[clock].pieces.iter().map(|piece| piece.is_set).collect::<Vec<bool>>();
        assert_eq!((set(1), set(2)), (vec![false, true], vec![false, false]));
        found.clocks[2].pieces.iter().for_each(|piece| holds(piece, 9_000));
        assert!(found.error(1, 2).unwrap().0 < 100, "{:?}", found.errors);
    }

    #[test]
    fn what_contradicts_itself_relates_nothing() {
        let bounds = BoundsOfPairs::from([
            ((0, 1), around(|_| 0, 100, 1)),
            ((1, 2), around(|_| 0, 100, 1)),
            ((0, 2), around(|_| 5_000, 100, 1)),
        ]);
        let found = relate(3, &bounds, &[]);
        assert!(found.clocks.iter().enumerate().all(|(number, clock)| clock.reference == number), "{found:?}");
        assert_eq!((found.error(0, 1), found.error(0, 2)), (None, None));
    }

    #[test]
    fn clocks_without_a_way_to_the_first_have_a_reference_of_their_own() {
        let bounds = BoundsOfPairs::from([((1, 2), around(|_| 500, 2, 1))]);
        let found = relate(4, &bounds, &[(3, Nanos(250))]);
        let references: Vec<usize> = found.clocks.iter().map(|clock| clock.reference).collect();
        assert_eq!(references[..3], [0, 1, 1]);
        assert!(found.error(0, 1).is_none() && found.error(1, 2).is_some());
        // What the user gave is a way, too.
        let bounds = BoundsOfPairs::from([((1, 2), around(|_| 500, 2, 1))]);
        let found = relate(3, &bounds, &[(1, Nanos(250))]);
        assert_eq!(found.clocks[2].reference, 0);
        holds(&found.clocks[2].pieces[0], 500);
        assert!((250..260).contains(&found.error(0, 2).unwrap().0), "{:?}", found.errors);
    }
}
