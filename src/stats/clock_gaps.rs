//! Gaps: times in which a clock was set, nobody knows when exactly. A pair of clocks shows one between two of its courses;
//! gaps of several pairs at one time are about the clock that the pairs have in common, which was set where all of them
//! overlap.

use tickscope_model::{Nanos, Timestamp};

use super::clock_bounds::Course;
use super::clock_relations::{Pair, Place};

/// On the reference of the clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Those that may have been set.
    pub clocks: Vec<usize>,
}

impl Gap {
    /// Whether the difference of these clocks is another one behind it.
    pub(super) fn concerns(&self, clocks: (usize, usize)) -> bool {
        self.clocks.contains(&clocks.0) || self.clocks.contains(&clocks.1)
    }

    fn of_pair(pair: &Pair, place: Place, from: Timestamp, to: Timestamp) -> Gap {
        let (from, to) = (place.on_reference(from).0, place.on_reference(to).1);
        Gap { from, to, clocks: vec![pair.clocks.0, pair.clocks.1] }
    }
}

/// The gaps of these pairs, and the times between them that something bounds.
pub(super) fn divide(pairs: &[&Pair], places: &[Place]) -> (Vec<Gap>, Vec<(Timestamp, Timestamp)>) {
    let mut gaps: Vec<Gap> = pairs.iter().flat_map(|pair| gaps_of(pair, places[pair.clocks.0])).collect();
    gaps.sort_by_key(|gap| (gap.from, gap.to));
    let gaps = together(gaps);
    let near = |pair: &Pair, course: &Course| {
        let place = places[pair.clocks.0];
        (place.near(course.from), place.near(course.to))
    };
    let all = || pairs.iter().flat_map(|pair| pair.courses.iter().map(move |course| near(pair, course)));
    let Some((first, last)) = all().map(|span| span.0).min().zip(all().map(|span| span.1).max()) else {
        return (gaps, Vec::new());
    };
    let starts = [first].into_iter().chain(gaps.iter().map(|gap| gap.to.max(first)));
    let ends = gaps.iter().map(|gap| gap.from.min(last)).chain([last]);
    let spans = starts.zip(ends).filter(|(start, end)| start <= end).collect();
    (gaps, spans)
}

/// Where the courses of a pair leave off.
fn gaps_of(pair: &Pair, place: Place) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = pair.courses.windows(2).map(|two| between(pair, place, &two[0], &two[1])).collect();
    if pair.is_cut.0
        && let Some(first) = pair.courses.first()
    {
        gaps.push(Gap { from: Timestamp::MIN, ..Gap::of_pair(pair, place, first.from, first.sure_from) });
    }
    if pair.is_cut.1
        && let Some(last) = pair.courses.last()
    {
        gaps.push(Gap { to: Timestamp::MAX, ..Gap::of_pair(pair, place, last.sure_to, last.to) });
    }
    gaps
}

/// From where the one holds for certain to where the other does. A clock that was set back shows some times twice, and
/// nobody can tell which of the two is meant: they belong to the gap. Either clock may be the one that was set.
fn between(pair: &Pair, place: Place, before: &Course, after: &Course) -> Gap {
    let (old, new) = (before.at(before.to), after.at(after.from));
    let set = old.zip(new).map_or(0, |(old, new)| (new.1.0 - old.0.0).max(old.1.0 - new.0.0));
    let (from, to) = (before.sure_to.shifted(Nanos(-set)), after.sure_from.shifted(Nanos(set)));
    Gap::of_pair(pair, place, from, to)
}

/// Gaps that overlap are one. All of them about one clock: it was set where they overlap; else anywhere in them.
fn together(gaps: Vec<Gap>) -> Vec<Gap> {
    let mut groups: Vec<(Timestamp, Vec<Gap>)> = Vec::new();
    for gap in gaps {
        match groups.last_mut() {
            Some((end, group)) if gap.from <= *end => {
                *end = (*end).max(gap.to);
                group.push(gap);
            }
            _ => groups.push((gap.to, vec![gap])),
        }
    }
    groups.into_iter().filter_map(|(_, group)| joined(&group)).collect()
}

fn joined(group: &[Gap]) -> Option<Gap> {
    let first = group.first()?;
    let is_common = |clock: &&usize| group.iter().all(|gap| gap.clocks.contains(clock));
    let common: Vec<usize> = first.clocks.iter().filter(is_common).copied().collect();
    let (from, to) = (group.iter().map(|gap| gap.from).max()?, group.iter().map(|gap| gap.to).min()?);
    if !common.is_empty() && from <= to {
        return Some(Gap { from, to, clocks: common });
    }
    let mut clocks: Vec<usize> = group.iter().flat_map(|gap| gap.clocks.iter().copied()).collect();
    clocks.sort_unstable();
    clocks.dedup();
    let (from, to) = (group.iter().map(|gap| gap.from).min()?, group.iter().map(|gap| gap.to).max()?);
    Some(Gap { from, to, clocks })
}
