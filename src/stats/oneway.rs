//! One-way latencies between us and the exchange, as intervals. No message can arrive before it was sent, so each
//! answered request bounds how far the exchange's clock is ahead of the capture's: at most TransactTime less the
//! request's time, at least SendingTime less the answer's time. Over a window the bounds are the lower hull of the ones and
//! the upper hull of the others, so the clocks may drift against each other at a constant rate; where the hulls cross, a
//! clock was steered or set, and the window is divided until they do not.

use tickscope_model::Timestamp;

use super::Histogram;
use crate::pair::Stamps;

/// A window ends after so much time, or so many requests.
const WINDOW_NS: u64 = 60_000_000_000;
const MOST: usize = 4096;
/// A window with fewer requests than these is not divided any further.
const FEWEST: usize = 8;

/// An answered request.
#[derive(Clone, Copy, Debug)]
struct Trip {
    sent: u64,
    answered: u64,
    /// The exchange's clock ahead of ours: at most this, by the request …
    highest: i64,
    /// … and at least this, by the answer.
    lowest: i64,
    /// What TransactTime and SendingTime may lie behind what they say, and before what the bounds make of them.
    transact_unit: i64,
    sending_unit: i64,
}

/// One-way latencies of one session.
#[derive(Clone, Debug, Default)]
pub struct OneWay {
    trips: Vec<Trip>,
    /// The least and the most that the way to the exchange can have taken, up to its first stamp.
    pub out: (Histogram, Histogram),
    /// … and the way back from its last one.
    pub back: (Histogram, Histogram),
    /// Requests in windows in which no steady clock explains the stamps.
    pub unsteady: u64,
}

/// `one - other`, where that fits.
fn difference(one: u64, other: u64) -> Option<i64> {
    i64::try_from(i128::from(one) - i128::from(other)).ok()
}

impl OneWay {
    pub fn add(&mut self, sent: Timestamp, answered: Timestamp, stamps: &Stamps) {
        let (Some(highest), Some(lowest)) = (
            stamps.transact_ns.checked_add(stamps.transact_unit_ns).and_then(|stamp| difference(stamp, sent.0)),
            difference(stamps.sending_ns, answered.0),
        ) else {
            return;
        };
        let unit = |unit: u64| i64::try_from(unit).unwrap_or(i64::MAX);
        self.trips.push(Trip {
            sent: sent.0,
            answered: answered.0,
            highest,
            lowest,
            transact_unit: unit(stamps.transact_unit_ns),
            sending_unit: unit(stamps.sending_unit_ns),
        });
        let first = self.trips.first().map_or(sent.0, |trip| trip.sent);
        if self.trips.len() >= MOST || sent.0.abs_diff(first) > WINDOW_NS {
            self.finish();
        }
    }

    /// Settles the window at hand.
    pub fn finish(&mut self) {
        let mut trips = std::mem::take(&mut self.trips);
        trips.sort_by_key(|trip| trip.sent);
        self.window(&trips);
    }

    fn window(&mut self, trips: &[Trip]) {
        let highest = hull(trips.iter().map(|trip| (trip.sent, trip.highest)).collect(), 1);
        let lowest = hull(trips.iter().map(|trip| (trip.answered, trip.lowest)).collect(), -1);
        let is_steady =
            |trip: &Trip| [trip.sent, trip.answered].into_iter().all(|time| at(&lowest, time) <= at(&highest, time));
        if !trips.iter().all(is_steady) {
            if trips.len() < 2 * FEWEST {
                self.unsteady += trips.len() as u64;
                return;
            }
            let (one, other) = trips.split_at(trips.len() / 2);
            self.window(one);
            self.window(other);
            return;
        }
        for trip in trips {
            // The request's own bound holds the unit of its stamp already.
            let least = trip.highest - trip.transact_unit - at(&highest, trip.sent);
            let most = trip.highest - at(&lowest, trip.sent);
            record(&mut self.out, least, most);
            let least = at(&lowest, trip.answered) - trip.lowest - trip.sending_unit;
            let most = at(&highest, trip.answered) - trip.lowest;
            record(&mut self.back, least, most);
        }
    }
}

fn record((low, high): &mut (Histogram, Histogram), least: i64, most: i64) {
    if let Ok(most) = u64::try_from(most) {
        low.record(u64::try_from(least).unwrap_or(0));
        high.record(most);
    }
}

/// The lower hull of points (`sign` 1) or the upper one (-1), by time (Andrew's monotone chain, 1979).
fn hull(mut points: Vec<(u64, i64)>, sign: i128) -> Vec<(u64, i64)> {
    points.sort_unstable_by_key(|&(time, value)| (time, i128::from(value) * sign));
    points.dedup_by_key(|point| point.0);
    let mut hull: Vec<(u64, i64)> = Vec::new();
    for point in points {
        while let [.., one, two] = hull.as_slice() {
            let (x1, y1) = (i128::from(two.0 - one.0), i128::from(two.1) - i128::from(one.1));
            let (x2, y2) = (i128::from(point.0 - one.0), i128::from(point.1) - i128::from(one.1));
            // Both differences of time are below 2^63 here and those of values below 2^64, so the products fit.
            if (x1 * y2 - x2 * y1) * sign > 0 {
                break;
            }
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

/// A hull at a time; beyond its ends as at them.
fn at(hull: &[(u64, i64)], time: u64) -> i64 {
    let behind = hull.partition_point(|point| point.0 <= time);
    match (behind.checked_sub(1).and_then(|before| hull.get(before)), hull.get(behind)) {
        (Some(one), Some(two)) => {
            let rise = i128::from(two.1) - i128::from(one.1);
            let along = i128::from(time - one.0) * rise / i128::from(two.0 - one.0);
            i64::try_from(i128::from(one.1) + along).unwrap_or(one.1)
        }
        (Some(only), None) | (None, Some(only)) => only.1,
        (None, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::tests::Random;
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_769_000_000 * SECOND;

    /// Requests with random one-way latencies; the exchange's clock is ahead and drifts. Returns the true ones, too.
    fn trips(seed: u64, unit: u64, drift_ppm: i64, step_at: Option<u64>) -> (OneWay, Vec<(u64, u64)>) {
        let mut random = Random(seed);
        let mut one_way = OneWay::default();
        let mut truth = Vec::new();
        for number in 0..2000 {
            let sent = START + number * SECOND / 10;
            let (out, inside, back) =
                (5_000 + random.bits() % 30_000, 20_000 + random.bits() % 50_000, 7_000 + random.bits() % 9_000);
            let ahead = |time: u64| {
                let step = if step_at.is_some_and(|second| time - START > second * SECOND) { 400_000 } else { 0 };
                let drift = i64::try_from(time - START).expect("minutes") / 1_000_000 * drift_ppm;
                time.checked_add_signed(777_000 + drift + step).expect("far from the end")
            };
            let stamps = Stamps {
                transact_ns: ahead(sent + out) / unit * unit,
                sending_ns: ahead(sent + out + inside) / unit * unit,
                transact_unit_ns: unit,
                sending_unit_ns: unit,
            };
            one_way.add(Timestamp(sent), Timestamp(sent + out + inside + back), &stamps);
            truth.push((out, back));
        }
        one_way.finish();
        (one_way, truth)
    }

    /// The sum of all lower bounds, of the true values, and of all upper bounds: for each value holds what holds for them.
    fn bracket(one_way: &OneWay, truth: &[(u64, u64)]) -> [(u64, u64, u64); 2] {
        let mean = |values: Vec<u64>| values.iter().sum::<u64>() / values.len() as u64;
        let out = mean(truth.iter().map(|(out, _)| *out).collect());
        let back = mean(truth.iter().map(|(_, back)| *back).collect());
        let of = |pair: &(Histogram, Histogram), truth| (pair.0.mean(), truth, pair.1.mean());
        [of(&one_way.out, out), of(&one_way.back, back)]
    }

    #[test]
    fn the_truth_lies_between_the_bounds() {
        for seed in 0..20 {
            for (unit, drift) in [(1, 0), (1, 50), (1, -80), (1000, 20)] {
                let (one_way, truth) = trips(seed, unit, drift, None);
                assert_eq!((one_way.unsteady, one_way.out.0.n()), (0, 2000), "seed {seed}, {unit}, {drift}");
                for (low, truth, high) in bracket(&one_way, &truth) {
                    assert!(low <= truth && truth <= high, "seed {seed}, {unit}, {drift}: {low} {truth} {high}");
                    assert!(high - low <= 18_000 + 2 * unit, "no wider than the shortest ways together: {low} {high}");
                }
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_costs_few_requests() {
        let (one_way, truth) = trips(3, 1, 10, Some(77));
        assert!(one_way.unsteady <= 2 * FEWEST as u64, "{}", one_way.unsteady);
        assert_eq!(one_way.unsteady + one_way.out.0.n(), 2000);
        let [(low, out, high), _] = bracket(&one_way, &truth);
        assert!(low <= out && out <= high);
    }

    #[test]
    fn a_hull_of_a_few_points() {
        let points = vec![(0, 5), (1, 9), (2, 4), (3, 8), (4, 6)];
        assert_eq!(hull(points.clone(), 1), [(0, 5), (2, 4), (4, 6)]);
        assert_eq!(hull(points, -1), [(0, 5), (1, 9), (3, 8), (4, 6)]);
        assert_eq!([at(&[(0, 5), (2, 4)], 1), at(&[(0, 5), (2, 4)], 9), at(&[(2, 4)], 0)], [5, 4, 4]);
    }
}
