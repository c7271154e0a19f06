//! Where a series of values changes its level, found on the values themselves. The series is turned into ranks, so heavy
//! tails weigh nothing, and cut by seeded binary segmentation (Kovács, Bühlmann, Li, Munk: Biometrika 110, 2023): in each
//! of O(n) intervals of all sizes the split with the largest rank-sum statistic (Mann and Whitney 1947) is looked for, and
//! of those beyond chance the narrowest intervals win (Baranowski, Chen, Fryzlewicz: JRSS-B 81, 2019). O(n log n).
//! What is too short for ranks, which do not see how much higher a few values are, is found by [`runs`].
//!
//! *Beyond chance* is a union bound: the statistic is divided by the long-run spread of the ranks, so that values that
//! follow each other closely count for fewer, and the chance that any split of any interval of a series without a change
//! gets over the threshold is at most the `alpha` that is asked for. (Measured on series with heavy tails: none of 2,000 of
//! independent values at 1 %, none where a value follows the one before with a correlation of 0.6 and there are 600.)

/// Fewer values than these make no piece.
pub(super) const SHORTEST: usize = 8;
/// Each size of intervals is so much smaller than the one before: half in two steps.
const SHRINK: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// The spread of block sums is looked at only where there are so many blocks.
const BLOCKS: usize = 24;
/// What the lower four fifths of the squares of normal values add to their mean square.
const KEPT_SHARE: f64 = 0.352;

/// A run is mostly of high values: at least this share is expected.
const RUN_SHARE: f64 = 0.9;
/// Whether the next value is high may depend on so many before it.
const MEMORY: usize = 3;
/// Runs that are more than this are usual in their series, and tell of it.
const RARE: usize = 3;

/// Ranks of a series, ready to be compared.
pub(super) struct Ranks {
    /// Sums of centred ranks in front of each place.
    sums: Vec<f64>,
    spread: f64,
    threshold: f64,
}

/// An interval's best split.
#[derive(Clone, Copy, Debug)]
struct Split {
    from: usize,
    to: usize,
    at: usize,
    z: f64,
}

impl Ranks {
    pub(super) fn new(values: &[f64], alpha: f64) -> Ranks {
        let scores = centred(values);
        let mut sums = Vec::with_capacity(scores.len() + 1);
        let mut sum = 0.0;
        sums.push(0.0);
        for score in &scores {
            sum += score;
            sums.push(sum);
        }
        let splits: usize = sizes(values.len()).map(|size| 2 * values.len() / size.div_ceil(2).max(1) * size).sum();
        Ranks { spread: long_run_spread(&sums), threshold: quantile(alpha / to_float(splits.max(1))), sums }
    }

    fn n(&self) -> usize {
        self.sums.len() - 1
    }

    fn sum(&self, from: usize, to: usize) -> f64 {
        self.sums[to] - self.sums[from]
    }

    /// How much the ranks of two neighbouring pieces differ, in standard deviations of what chance gives.
    fn z(&self, from: usize, at: usize, to: usize) -> f64 {
        let (left, right) = (to_float(at - from), to_float(to - at));
        let difference = self.sum(from, at) / left - self.sum(at, to) / right;
        (left * right / (left + right)).sqrt() * difference.abs() / self.spread
    }

    fn best_split(&self, from: usize, to: usize) -> Option<Split> {
        let places = from + SHORTEST..(to + 1).saturating_sub(SHORTEST);
        // Nearly all of the search is spent here, so the same as in `z` is compared with one division and no root: with n
        // ranks of the sum S, the left k of them of the sum s, z² is (n s - k S)² / (k (n - k)) but for a factor.
        let (n, whole, before) = (to_float(to - from), self.sum(from, to), self.sums[from]);
        let mut best = (f64::NEG_INFINITY, places.start);
        let mut left = to_float(SHORTEST);
        for (at, sum) in places.clone().zip(self.sums.get(places)?) {
            let difference = n * (sum - before) - left * whole;
            let weight = difference * difference / (left * (n - left));
            if weight > best.0 {
                best = (weight, at);
            }
            left += 1.0;
        }
        let (weight, at) = best;
        (weight > f64::NEG_INFINITY).then(|| Split { from, to, at, z: self.z(from, at, to) })
    }

    /// The first places of new levels.
    pub(super) fn changes(&self) -> Vec<usize> {
        let n = self.n();
        if n < 2 * SHORTEST || self.spread <= 0.0 {
            return Vec::new();
        }
        let mut found: Vec<Split> = Vec::new();
        for size in sizes(n) {
            let step = (size / 2).max(1);
            for from in (0..n).step_by(step) {
                let to = (from + size).min(n);
                found.extend(self.best_split(from, to).filter(|split| split.z > self.threshold));
                if to == n {
                    break;
                }
            }
        }
        found.sort_by(|a, b| (a.to - a.from).cmp(&(b.to - b.from)).then(b.z.total_cmp(&a.z)));
        let mut changes: std::collections::BTreeSet<usize> = std::collections::BTreeSet::new();
        for split in found {
            // An interval that holds a change already says nothing new: what it saw may be that one.
            if changes.range(split.from + 1..split.to).next().is_none() {
                changes.insert(split.at);
            }
        }
        let changes = self.settled(changes.into_iter().collect());
        self.settled(changes)
    }

    /// Puts each change where it divides the piece between its neighbours best, and drops those that no longer divide it.
    fn settled(&self, mut changes: Vec<usize>) -> Vec<usize> {
        let neighbours = |changes: &[usize], at: usize| {
            let from = at.checked_sub(1).and_then(|before| changes.get(before)).copied().unwrap_or(0);
            (from, changes.get(at + 1).copied().unwrap_or_else(|| self.n()))
        };
        for at in 0..changes.len() {
            let (from, to) = neighbours(&changes, at);
            if let Some(split) = self.best_split(from, to) {
                changes[at] = split.at;
            }
        }
        loop {
            let weakness = |at: usize| {
                let (from, to) = neighbours(&changes, at);
                let at_place = changes[at];
                if from < at_place && at_place < to { self.z(from, at_place, to) } else { 0.0 }
            };
            let weakest = (0..changes.len()).map(|at| (at, weakness(at))).min_by(|a, b| a.1.total_cmp(&b.1));
            match weakest {
                Some((at, z)) if z <= self.threshold => _ = changes.remove(at),
                _ => return changes,
            }
        }
    }
}

/// Where nearly all of several neighbouring values are high.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub from: usize,
    pub to: usize,
    /// Logarithm of how much likelier it is than in the rest of the series.
    pub score: f64,
}

/// Runs that are beyond chance, where chance is that of the rest of the series: the more high values there are just before
/// one, up to [`MEMORY`], the likelier it is high. From each place on, the likelihood ratio of a run to that is a martingale
/// with mean 1, so it gets over n/alpha anywhere with a chance of at most `alpha` (Ville's inequality and a union bound).
pub(super) fn runs(high: &[bool], alpha: f64) -> Vec<Run> {
    let candidates = candidates(high);
    let is_rare = candidates.len() <= RARE;
    let needed = (to_float(high.len()) / alpha).ln();
    let run = |&(from, to): &(usize, usize)| {
        let left_out = if is_rare { candidates.as_slice() } else { &[(from, to)] };
        let score = Chances::outside(high, left_out).score(&high[from..to]);
        (score >= needed).then_some(Run { from, to, score })
    };
    candidates.iter().filter_map(run).collect()
}

/// Runs with enough high values and few low ones; two high ones make up for a low one, and they begin and end with a high one.
fn candidates(high: &[bool]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let (mut from, mut sum, mut best, mut to) = (0, 0_usize, 0, 0);
    for (at, is_high) in high.iter().copied().chain([false]).enumerate() {
        let is_last = at == high.len();
        if is_high {
            from = if sum == 0 { at } else { from };
            sum += 1;
            (best, to) = if sum > best { (sum, at + 1) } else { (best, to) };
        } else {
            sum = if is_last { 0 } else { sum.saturating_sub(2) };
        }
        if sum == 0 {
            if best >= SHORTEST {
                found.push((from, to));
            }
            best = 0;
        }
    }
    found
}

/// How likely a value is high behind none, one, two … high ones.
struct Chances([f64; MEMORY + 1]);

impl Chances {
    /// In a series without some of its parts.
    fn outside(high: &[bool], left_out: &[(usize, usize)]) -> Chances {
        let mut seen = [(0_usize, 0_usize); MEMORY + 1];
        let mut count = |part: &[bool]| {
            for (behind, is_high) in behind(part.iter().copied()) {
                seen[behind].0 += 1;
                seen[behind].1 += usize::from(is_high);
            }
        };
        let mut start = 0;
        for &(from, to) in left_out {
            count(&high[start..from]);
            start = to;
        }
        count(&high[start..]);
        // Where nothing is known, a high one is followed by another one time in four. Each makes the next one likelier.
        let mut least = 0.0;
        Chances([0, 1, 2, 3].map(|behind: usize| {
            let (all, risen) = seen[behind];
            let unknown = if behind == 0 { 1.0 } else { 2.0 };
            least = f64::max(least, (to_float(risen) + 0.5) / (to_float(all) + unknown));
            least
        }))
    }

    /// Logarithm of the likelihood ratio of a run, which begins behind a low value, to chance.
    fn score(&self, run: &[bool]) -> f64 {
        let ratio = |(behind, is_high): (usize, bool)| {
            let chance = self.0[behind];
            if is_high { RUN_SHARE / chance } else { (1.0 - RUN_SHARE) / (1.0 - chance) }
        };
        behind(run.iter().copied()).map(|value| ratio(value).ln()).sum()
    }
}

/// Values, each with the number of high ones just before it, as far as memory goes.
fn behind(values: impl Iterator<Item = bool>) -> impl Iterator<Item = (usize, bool)> {
    values.scan(0, |before, is_high| {
        let behind = *before;
        *before = if is_high { (behind + 1).min(MEMORY) } else { 0 };
        Some((behind, is_high))
    })
}

/// Sizes of the intervals, from all to the smallest that can be split.
fn sizes(n: usize) -> impl Iterator<Item = usize> {
    let mut size = to_float(n);
    std::iter::from_fn(move || {
        let whole = to_count(size.ceil());
        size *= SHRINK;
        (whole >= 2 * SHORTEST).then_some(whole)
    })
}

/// Ranks from -0.5 to 0.5; equal values share their mean rank.
fn centred(values: &[f64]) -> Vec<f64> {
    // Values beside their places: to sort places alone looks each value up again and again.
    let mut order: Vec<(f64, usize)> = values.iter().copied().zip(0..).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut scores = vec![0.0; values.len()];
    let n = to_float(values.len().max(1));
    let mut below = 0;
    for equal in order.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let mean = to_float(below) + to_float(equal.len()) / 2.0;
        for &(_, at) in equal {
            scores[at] = mean / n - 0.5;
        }
        below += equal.len();
    }
    scores
}

/// The standard deviation that a sum of many ranks has for each of them, from differences of neighbouring block sums: few
/// of those have a change between them, and the largest fifth is left out. The largest of several block lengths counts,
/// since values that follow each other closely show only in long blocks; those are few, so their error is taken off first.
fn long_run_spread(sums: &[f64]) -> f64 {
    let n = sums.len() - 1;
    let mut largest: f64 = 0.0;
    let mut length = 1;
    while length == 1 || n / length >= BLOCKS {
        if n < 2 * length {
            break;
        }
        let step = (length / 4).max(1);
        let difference = |at: usize| sums[at + 2 * length] - 2.0 * sums[at + length] + sums[at];
        let mut squares: Vec<f64> = (0..=n - 2 * length).step_by(step).map(|at| difference(at).powi(2)).collect();
        let kept = squares.len() - squares.len() / 5;
        squares.select_nth_unstable_by(kept - 1, f64::total_cmp);
        let variance = squares[..kept].iter().sum::<f64>() / to_float(squares.len()) / KEPT_SHARE;
        let error = if length == 1 { 0.0 } else { (2.0 * to_float(length) / to_float(n)).sqrt() };
        largest = largest.max(variance / 2.0 / to_float(length) / (1.0 + error));
        length *= 2;
    }
    largest.sqrt()
}

/// The value that a standard normal one exceeds, up or down, with this probability; a little more (Mills' ratio), so that
/// tests err on the calm side.
pub(super) fn quantile(probability: f64) -> f64 {
    let tail = |z: f64| 2.0 * (-z * z / 2.0).exp() / (z * (2.0 * std::f64::consts::PI).sqrt());
    let (mut low, mut high) = (0.5, 40.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if tail(middle) > probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[allow(clippy::cast_precision_loss, reason = "counts of values in memory are far below 2^53")]
pub(super) fn to_float(count: usize) -> f64 {
    count as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive size of at most n")]
fn to_count(size: f64) -> usize {
    size as usize
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `SplitMix64` (public domain algorithm): the same numbers on every run and machine.
    pub(in crate::stats) struct Random(pub u64);

    impl Random {
        pub(in crate::stats) fn bits(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }

        #[allow(clippy::cast_precision_loss, reason = "noise")]
        pub(in crate::stats) fn normal(&mut self) -> f64 {
            let uniform = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            let (u, v) = (uniform(self.bits()), uniform(self.bits()));
            (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
        }

        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "noise")]
        pub(in crate::stats) fn lognormal(&mut self, median_ns: f64, sigma: f64) -> u64 {
            (median_ns * (sigma * self.normal()).exp()) as u64
        }
    }

    #[test]
    fn ranks_of_a_textbook_example() {
        // {4,5,6} against {1,2,3}: rank sum 15, mean 10.5; a rank of a sixth each, centred.
        let ranks = Ranks::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.01);
        assert!((ranks.sum(3, 6) * 6.0 - 4.5).abs() < 1e-9);
        assert_eq!(centred(&[7.0, 7.0, 7.0]), [0.0; 3]);
    }

    #[test]
    fn quantiles_of_the_normal_distribution() {
        // Tables: 1.96 and 3.89 for 5 % and 0.01 % on both sides; the bound lies a little above.
        assert!((1.96..2.1).contains(&quantile(0.05)) && (3.89..3.93).contains(&quantile(0.0001)));
    }

    /// Heavy tails, values that depend on the one before (`rho`), and a level between the two places.
    fn series(seed: u64, n: usize, rho: f64, (from, to, level): (usize, usize, f64)) -> Vec<f64> {
        let mut random = Random(seed);
        let mut before = 0.0;
        let mut value = |at: usize| {
            before = rho * before + (1.0 - rho * rho).sqrt() * random.normal();
            let tail = if random.bits().is_multiple_of(50) { 4.0 } else { 0.0 };
            0.5 * before + tail + if (from..to).contains(&at) { level } else { 0.0 }
        };
        (0..n).map(&mut value).collect()
    }

    #[test]
    fn series_without_a_change_have_none() {
        for rho in [0.0, 0.3, 0.6] {
            let alarms: usize = (0..150)
                .map(|seed| usize::from(!Ranks::new(&series(seed, 600, rho, (0, 0, 0.0)), 0.01).changes().is_empty()))
                .sum();
            assert_eq!(alarms, 0, "rho {rho}");
        }
    }

    #[test]
    fn a_level_is_found_within_few_values() {
        for seed in 0..60 {
            for (n, from, to) in [(200, 80, 120), (3000, 1000, 2000), (3000, 0, 500), (3000, 2950, 3000)] {
                let changes = Ranks::new(&series(seed, n, 0.0, (from, to, 2.5)), 0.01).changes();
                let expected: Vec<usize> = [from, to].into_iter().filter(|at| (1..n).contains(at)).collect();
                assert_eq!(changes.len(), expected.len(), "seed {seed} {n} {from} {to}: {changes:?}");
                for (found, wanted) in changes.iter().zip(expected) {
                    assert!(found.abs_diff(wanted) <= 8, "seed {seed}: {found} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn equal_values_have_no_change() {
        assert!(Ranks::new(&[3.0; 500], 0.01).changes().is_empty());
        assert!(Ranks::new(&[], 0.01).changes().is_empty());
    }

    /// Which of some values are high: `#` is.
    fn high(text: &str) -> Vec<bool> {
        text.bytes().map(|byte| byte == b'#').collect()
    }

    #[test]
    fn runs_are_what_the_rest_of_the_series_does_not_do() {
        let calm = "..".repeat(500);
        let tails = ".......#................".repeat(40);
        let clusters = format!("{}{}", "#".repeat(9), ".".repeat(90)).repeat(10);
        for (before, run, expected) in [
            (&calm, "#######", 0),
            (&calm, "########", 1),
            (&calm, "######.#####", 1),
            (&tails, "#######", 0),
            (&tails, "##########", 1),
            (&clusters, "###########", 0),
        ] {
            let text = format!("{before}{run}{before}");
            let found = runs(&high(&text), 0.001);
            let places: Vec<(usize, usize)> = found.iter().map(|run| (run.from, run.to)).collect();
            assert_eq!(places, vec![(before.len(), before.len() + run.len()); expected], "{run} in {}", &before[..24]);
        }
    }

    #[test]
    fn high_values_in_clusters_are_no_run() {
        // One in fifty is high; clusters of so many on average.
        for mean in [1, 2, 3] {
            let alarms = |seed: u64| {
                let mut random = Random(seed);
                let mut is_high = false;
                let mut next = || {
                    let odds = if is_high { mean } else { 50 * mean };
                    is_high ^= mean == 1 && is_high || random.bits().is_multiple_of(odds);
                    is_high
                };
                let series: Vec<bool> = std::iter::repeat_with(&mut next).take(3000).collect();
                runs(&series, 0.01).len()
            };
            let alarms: usize = (0..200).map(alarms).sum();
            assert!(alarms <= 4, "clusters of {mean}: {alarms}");
        }
    }
}
