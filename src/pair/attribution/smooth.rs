//! Counts of latencies, by bin, as a smooth curve: on a logarithmic scale of time the logarithm of the density is as near to a
//! parabola, which is a lognormal distribution, as the counts let it be. Penalised likelihood of Poisson counts, with a penalty on
//! third differences (Eilers and Marx 1996, "Flexible smoothing with B-splines and penalties"), by Newton's method. A steep
//! flank stays steep, which an average over neighbouring bins would fill up from above.

use super::lag;

/// The weight of the penalty: bends are as sharp as some four bins.
const STIFFNESS: f64 = 300.0;
/// So many values are believed to lie on a parabola that is at least so wide, whatever the counts are: what lies in a single
/// bin would be infinitely narrow.
const BELIEF: f64 = 0.5;
const NARROWEST: f64 = 0.15;
/// Steps of Newton's method at most, and when it is done: where a step would make the counts likelier by less than this, in
/// nats. (Far out, where nothing is expected, the logarithms are not well determined, and it would go on for long.)
const STEPS: usize = 60;
const DONE: f64 = 0.005;
/// A step is halved at most so often.
const HALVED: usize = 30;
/// How far the matrix reaches to each side of its diagonal.
const REACH: usize = 3;

/// Makes counts smooth.
pub(super) struct Smoother {
    /// The middle of each bin on the logarithmic scale, and how wide it is there.
    places: Vec<f64>,
    shares: Vec<f64>,
    penalty: Band,
    /// The logarithm of the curve that was found last: the next one is mostly near it.
    logs: Option<Vec<f64>>,
}

impl Smoother {
    /// For counts of so many bins.
    pub(super) fn new(bins: usize) -> Smoother {
        let places: Vec<f64> = (0..bins).map(place).collect();
        Smoother { penalty: penalty(&places), places, shares: (0..bins).map(share).collect(), logs: None }
    }

    pub(super) fn bins(&self) -> usize {
        self.places.len()
    }

    /// The expected counts of the latencies' bins.
    pub(super) fn smooth(&mut self, counts: &[f64]) -> Vec<f64> {
        let total: f64 = counts.iter().sum();
        if counts.len() <= REACH + 1 || total <= 0.0 {
            return counts.to_vec();
        }
        let parabola = self.parabola(counts, total);
        let believed = self.expected(&parabola);
        let scale = BELIEF / believed.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let counts: Vec<f64> = counts.iter().zip(&believed).map(|(count, believed)| count + scale * believed).collect();
        let first = (self.badness(&parabola, &counts), parabola);
        let last = self.logs.take().map(|logs| (self.badness(&logs, &counts), logs));
        let (mut badness, mut logs) = last.filter(|last| last.0 < first.0).unwrap_or(first);
        for _ in 0..STEPS {
            let mut matrix = self.penalty.clone();
            let mut slope = times(&self.penalty, &logs);
            for (at, expected) in self.expected(&logs).iter().enumerate() {
                matrix[at][0] += expected + 1e-9;
                slope[at] += expected - counts[at];
            }
            let step = solve(matrix, slope.clone());
            let gain = 0.5 * slope.iter().zip(&step).map(|(slope, step)| slope * step).sum::<f64>();
            if gain < DONE {
                break;
            }
            let Some((better, least)) = shortened(&logs, &step, |logs| self.badness(logs, &counts), badness) else {
                break;
            };
            (logs, badness) = (better, least);
        }
        let smoothed = self.expected(&logs);
        self.logs = Some(logs);
        smoothed
    }

    /// A parabola around the middle of the counts.
    fn parabola(&self, counts: &[f64], total: f64) -> Vec<f64> {
        let mean = |of: &dyn Fn(f64) -> f64| {
            self.places.iter().zip(counts).map(|(place, count)| count * of(*place)).sum::<f64>() / total
        };
        let middle = mean(&|place| place);
        let spread = mean(&|place| (place - middle).powi(2)).max(NARROWEST * NARROWEST);
        let top = (total / (2.5 * spread.sqrt())).ln();
        self.places.iter().map(|place| top - (place - middle).powi(2) / (2.0 * spread)).collect()
    }

    fn expected(&self, logs: &[f64]) -> Vec<f64> {
        logs.iter().zip(&self.shares).map(|(log, share)| log.exp() * share).collect()
    }

    /// What is made least: the negative logarithm of the likelihood, and the penalty.
    fn badness(&self, logs: &[f64], counts: &[f64]) -> f64 {
        let (expected, bends) = (self.expected(logs), times(&self.penalty, logs));
        let unlikely = expected.iter().zip(counts).zip(logs).map(|((expected, count), log)| expected - count * log);
        unlikely.sum::<f64>() + bends.iter().zip(logs).map(|(bend, log)| 0.5 * bend * log).sum::<f64>()
    }
}

/// Goes so much of a step, and a half or a quarter of it, that things get better; `None` where they do not.
fn shortened(logs: &[f64], step: &[f64], badness: impl Fn(&[f64]) -> f64, before: f64) -> Option<(Vec<f64>, f64)> {
    let mut scale = 1.0;
    for _ in 0..HALVED {
        let moved: Vec<f64> = logs.iter().zip(step).map(|(log, step)| log - scale * step).collect();
        let after = badness(&moved);
        if after < before {
            return Some((moved, after));
        }
        scale *= 0.5;
    }
    None
}

/// The middle of a bin on the logarithmic scale, and how wide it is there.
#[allow(clippy::cast_precision_loss, reason = "a few digits suffice")]
fn place(bin: usize) -> f64 {
    (lag::middle(bin) as f64).ln()
}

#[allow(clippy::cast_precision_loss, reason = "a few digits suffice")]
pub(super) fn share(bin: usize) -> f64 {
    (lag::start(bin + 1) as f64 / lag::start(bin).max(32) as f64).ln()
}

/// A symmetric matrix near its diagonal: of each row the diagonal and what stands to the right of it.
type Band = Vec<[f64; REACH + 1]>;

/// The square of the third differences, for places a tenth apart, as a matrix.
fn penalty(places: &[f64]) -> Band {
    let mut band = vec![[0.0; REACH + 1]; places.len()];
    for (first, near) in places.windows(REACH + 1).enumerate() {
        // The divided difference, times that of places a tenth apart.
        let factor = |at: usize| {
            let others = (0..=REACH).filter(|other| *other != at);
            6.0 * 0.1_f64.powi(3) / others.map(|other| near[at] - near[other]).product::<f64>()
        };
        for one in 0..=REACH {
            for other in one..=REACH {
                band[first + one][other - one] += STIFFNESS * factor(one) * factor(other);
            }
        }
    }
    band
}

fn times(band: &Band, vector: &[f64]) -> Vec<f64> {
    let mut product = vec![0.0; vector.len()];
    for (row, entries) in band.iter().enumerate() {
        product[row] += entries[0] * vector[row];
        for (right, entry) in entries.iter().enumerate().skip(1).take(vector.len() - row - 1) {
            product[row] += entry * vector[row + right];
            product[row + right] += entry * vector[row];
        }
    }
    product
}

/// Solves a positive definite system by Cholesky's method without roots.
fn solve(mut band: Band, mut vector: Vec<f64>) -> Vec<f64> {
    let length = vector.len();
    for row in 0..length {
        let pivot = band[row][0].max(1e-12);
        let entries = band[row];
        for below in 1..=REACH.min(length - row - 1) {
            let factor = entries[below] / pivot;
            for right in below..=REACH.min(length - row - 1) {
                band[row + below][right - below] -= factor * entries[right];
            }
            vector[row + below] -= factor * vector[row];
        }
    }
    for row in (0..length).rev() {
        let right = (1..=REACH.min(length - row - 1)).map(|right| band[row][right] * vector[row + right]).sum::<f64>();
        vector[row] = (vector[row] - right) / band[row][0].max(1e-12);
    }
    vector
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn smooth(counts: &[f64]) -> Vec<f64> {
        Smoother::new(counts.len()).smooth(counts)
    }

    /// Expected counts of so many lognormal values.
    fn lognormal(total: f64, median: f64, sigma: f64) -> Vec<f64> {
        let height = total / (sigma * (2.0 * std::f64::consts::PI).sqrt());
        let at = |bin: usize| share(bin) * height * (-((place(bin) - median.ln()) / sigma).powi(2) / 2.0).exp();
        (0..200).map(at).collect()
    }

    #[test]
    fn a_lognormal_distribution_is_left_as_it_is() {
        for total in [30.0, 1000.0, 100_000.0] {
            let counts = lognormal(total, 10_000.0, 0.5);
            let smoothed = smooth(&counts);
            for bin in usize::from(lag::bin(2000))..usize::from(lag::bin(50_000)) {
                let (smooth, count) = (smoothed[bin], counts[bin]);
                assert!((smooth / count - 1.0).abs() < 0.02, "{total} bin {bin}: {smooth} of {count}");
            }
        }
    }

    proptest! {
        /// What stands far from everything else, or at the end, must not draw the curve away.
        #[test]
        fn the_curve_has_as_much_as_there_is(
            strays in prop::collection::vec((0..200_usize, 0.0..20.0), 0..8),
            (total, median, sigma) in (1.0..10_000.0, 500.0..1e9, 0.01..2.0),
        ) {
            let mut counts = lognormal(total, median, sigma);
            for (at, count) in &strays {
                counts[*at] += count;
            }
            let (smoothed, expected) = (smooth(&counts).iter().sum::<f64>(), counts.iter().sum::<f64>());
            prop_assert!((smoothed - BELIEF - expected).abs() < 0.01 * expected + 0.01, "{smoothed} of {expected}");
        }

        /// The curve does not depend on the one before it, from which it is looked for.
        #[test]
        fn there_is_one_best_curve(
            (total, median, sigma) in (10.0..10_000.0, 500.0..1e9, 0.05..2.0),
            (other_total, other_median, other_sigma) in (10.0..10_000.0, 500.0..1e9, 0.05..2.0),
        ) {
            let counts = lognormal(total, median, sigma);
            let mut used = Smoother::new(counts.len());
            used.smooth(&lognormal(other_total, other_median, other_sigma));
            for (one, other) in used.smooth(&counts).iter().zip(smooth(&counts)) {
                // Much nearer than what luck makes of such counts.
                prop_assert!((one - other).abs() < 0.2 * (other + 0.1).sqrt(), "{one} {other}");
            }
        }
    }

    #[test]
    fn noise_goes_and_what_the_counts_say_stays() {
        // Every second bin has all of what belongs into two.
        let even = lognormal(10_000.0, 10_000.0, 0.5);
        let of = |at: usize| if at.is_multiple_of(2) { even[at] + even[at + 1] } else { 0.0 };
        let smoothed = smooth(&(0..198).map(of).collect::<Vec<f64>>());
        assert!((smoothed.iter().sum::<f64>() - BELIEF - 10_000.0).abs() < 1.0, "as many as there are");
        for bin in usize::from(lag::bin(5000))..usize::from(lag::bin(20_000)) {
            assert!((smoothed[bin] / even[bin] - 1.0).abs() < 0.15, "bin {bin}: {} of {}", smoothed[bin], even[bin]);
        }
        // Two humps with a valley between them.
        let both = lognormal(5000.0, 2000.0, 0.3)
            .iter()
            .zip(lognormal(5000.0, 200_000.0, 0.3))
            .map(|(one, other)| one + other)
            .collect::<Vec<f64>>();
        let smoothed = smooth(&both);
        let at = |lag: u64| usize::from(lag::bin(lag));
        let (top, valley) = (smoothed[at(2000)] / both[at(2000)], smoothed[at(20_000)]);
        assert!((top - 1.0).abs() < 0.1 && valley < 0.2, "{top} {valley}");
        assert_eq!(smooth(&[0.0; 50]), [0.0; 50]);
    }
}
