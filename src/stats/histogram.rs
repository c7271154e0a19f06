//! The distribution of one latency: counts in the buckets of an `HdrHistogram` with 3 significant digits, n, min, max
//! and sum exact. A dense `HdrHistogram` costs 221 KB; this one keeps only what was hit, so that every symbol can have its
//! own. Tests hold it against the `hdrhistogram` crate.

use super::buckets::Buckets;

/// Buckets below 2048 are one nanosecond wide; each doubling of the value above that has 1024 buckets.
const HALF: u64 = 1024;

/// A percentile with fewer samples above it than this is marked: it says more about luck than about the system.
pub const FEW: u64 = 10;

/// A quantile as a fraction of integers, so that 0.999 of 1000 samples is sample 999 and not 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantile {
    /// For people: `p99.9`.
    pub label: &'static str,
    /// The key in JSON, without its `_ns`: `p99_9`.
    pub key: &'static str,
    numerator: u64,
    denominator: u64,
}

impl Quantile {
    pub const P50: Quantile = Quantile::new("p50", "p50", 1, 2);
    pub const P90: Quantile = Quantile::new("p90", "p90", 9, 10);
    pub const P99: Quantile = Quantile::new("p99", "p99", 99, 100);
    pub const P99_9: Quantile = Quantile::new("p99.9", "p99_9", 999, 1000);
    pub const P99_99: Quantile = Quantile::new("p99.99", "p99_99", 9999, 10_000);

    pub const fn new(label: &'static str, key: &'static str, numerator: u64, denominator: u64) -> Quantile {
        assert!(denominator > 0 && numerator <= denominator, "a quantile lies between 0 and 1");
        Quantile { label, key, numerator, denominator }
    }

    /// p99 and up.
    pub fn is_tail(self) -> bool {
        self.numerator * 100 >= self.denominator * 99
    }

    /// Which of `n` sorted samples it is, counting from 1: the ceiling of q·n, at least 1.
    pub fn rank(self, n: u64) -> u64 {
        let product = u128::from(self.numerator) * u128::from(n);
        let rank = product.div_ceil(u128::from(self.denominator));
        u64::try_from(rank).expect("q is at most 1, so the rank is at most n").max(1)
    }
}

/// Those that every report shows, in the order of its columns.
pub const QUANTILES: [Quantile; 5] = [Quantile::P50, Quantile::P90, Quantile::P99, Quantile::P99_9, Quantile::P99_99];

/// See the head of this file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: Buckets,
    n: u64,
    min: u64,
    max: u64,
    sum: u128,
}

impl Histogram {
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    pub fn record_many(&mut self, value: u64, count: u64) {
        if count == 0 {
            return;
        }
        self.min = if self.n == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.n += count;
        self.sum += u128::from(value) * u128::from(count);
        self.buckets.add(index_of(value), count);
    }

    /// Adds the samples of another histogram; nothing is lost by it, not even in min, max and mean.
    pub fn merge(&mut self, other: &Histogram) {
        if other.n == 0 {
            return;
        }
        self.min = if self.n == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.n += other.n;
        self.sum += other.sum;
        if other.n == self.n {
            // So far there was nothing here.
            self.buckets.clone_from(&other.buckets);
            return;
        }
        self.buckets.merge(&other.buckets);
    }

    pub fn n(&self) -> u64 {
        self.n
    }

    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Exact; 0 where there is no sample.
    pub fn min(&self) -> u64 {
        self.min
    }

    /// Exact; 0 where there is no sample.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The exact sum over n, rounded half up to a whole nanosecond; 0 where there is no sample.
    pub fn mean(&self) -> u64 {
        if self.n == 0 {
            return 0;
        }
        let n = u128::from(self.n);
        u64::try_from((self.sum + n / 2) / n).unwrap_or(u64::MAX)
    }

    /// Exact.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The mean for formats that want a binary fraction.
    #[allow(clippy::cast_precision_loss, reason = "that is what a binary fraction does")]
    pub(super) fn mean_f64(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.sum as f64 / self.n as f64 }
    }

    /// The highest value that counts as equal to the sample of that rank, never outside [min, max].
    pub fn percentile(&self, quantile: Quantile) -> u64 {
        self.at_rank(quantile.rank(self.n))
    }

    pub fn median(&self) -> u64 {
        self.percentile(Quantile::P50)
    }

    fn at_rank(&self, rank: u64) -> u64 {
        self.buckets.at_rank(rank).map_or(self.max, |index| highest_of(index).clamp(self.min, self.max))
    }

    /// How many samples lie above the one that the percentile names.
    pub fn samples_above(&self, quantile: Quantile) -> u64 {
        self.n.saturating_sub(quantile.rank(self.n))
    }

    /// Whether the percentile has to be marked, see [`FEW`].
    pub fn is_few(&self, quantile: Quantile) -> bool {
        self.samples_above(quantile) < FEW
    }

    /// How many samples lie above `value`, to the width of a bucket (0.1 %).
    pub fn count_above(&self, value: u64) -> u64 {
        let limit = index_of(value);
        self.buckets.iter().skip_while(|&(index, _)| index <= limit).map(|(_, count)| count).sum()
    }

    /// p99/p50 in hundredths, rounded half up; `None` where the median is 0.
    pub fn spread(&self) -> Option<u64> {
        ratio_hundredths(self.percentile(Quantile::P99), self.median())
    }

    /// Every bucket that was hit, ascending: its highest value and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().map(|(index, count)| (highest_of(index), count))
    }
}

/// `value / base` in hundredths, rounded half up.
pub(crate) fn ratio_hundredths(value: u64, base: u64) -> Option<u64> {
    let base = u128::from(base);
    let scaled = (u128::from(value) * 200).checked_div(base)?.div_ceil(2);
    u64::try_from(scaled).ok()
}

/// The bucket of a value. The highest possible index is 56319, so that 16 bits hold it.
fn index_of(value: u64) -> u16 {
    let shift = u64::from(53 - (value | (2 * HALF - 1)).leading_zeros());
    let index = shift * HALF + (value >> shift);
    u16::try_from(index).expect("53 shifts of 1024 buckets and 2047 fit in 16 bits")
}

/// The highest value that falls in a bucket.
fn highest_of(index: u16) -> u64 {
    let index = u64::from(index);
    let shift = (index / HALF).saturating_sub(1);
    let low = (index - shift * HALF) << shift;
    low + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for &value in values {
            histogram.record(value);
        }
        histogram
    }

    #[test]
    fn rank_is_exact_where_binary_fractions_are_not() {
        assert_eq!(Quantile::P99_9.rank(1000), 999);
        assert_eq!(Quantile::P99_9.rank(1001), 1000);
        assert_eq!(Quantile::P99.rank(100), 99);
        assert_eq!(Quantile::P99_99.rank(10_000), 9999);
        assert_eq!(Quantile::new("p7", "p7", 7, 100).rank(100), 7);
        assert_eq!(Quantile::P50.rank(1), 1);
        assert_eq!(Quantile::new("p0", "p0", 0, 1).rank(5), 1);
        assert_eq!(Quantile::new("p100", "p100", 1, 1).rank(u64::MAX), u64::MAX);
    }

    #[test]
    fn edges_of_buckets() {
        for (value, highest) in
            [(0, 0), (1, 1), (2047, 2047), (2048, 2049), (2049, 2049), (4095, 4095), (4096, 4099), (u64::MAX, u64::MAX)]
        {
            assert_eq!(highest_of(index_of(value)), highest, "{value}");
        }
    }

    #[test]
    fn percentiles_stay_within_min_and_max() {
        let one = of(&[1_000_001]);
        assert_eq!(QUANTILES.map(|quantile| one.percentile(quantile)), [1_000_001; 5]);
        assert_eq!(Histogram::default().percentile(Quantile::P99), 0);
    }

    #[test]
    fn the_tail_begins_at_p99() {
        assert_eq!(QUANTILES.map(Quantile::is_tail), [false, false, true, true, true]);
    }

    #[test]
    fn few_samples_are_those_with_less_than_ten_above() {
        let thousand = of(&(1..=1000).collect::<Vec<u64>>());
        assert_eq!(thousand.samples_above(Quantile::P99), 10);
        assert!(!thousand.is_few(Quantile::P99));
        assert!(thousand.is_few(Quantile::P99_9));
        assert!(!of(&(1..=20).collect::<Vec<u64>>()).is_few(Quantile::P50));
        assert!(of(&(1..=19).collect::<Vec<u64>>()).is_few(Quantile::P50));
    }

    #[test]
    fn mean_is_exact_for_sums_beyond_64_bits() {
        let mut histogram = Histogram::default();
        histogram.record_many(u64::MAX, 3);
        assert_eq!(histogram.mean(), u64::MAX);
        assert_eq!(of(&[1, 2]).mean(), 2);
        assert_eq!(of(&[1, 1, 2]).mean(), 1);
    }

    #[test]
    fn ratio_rounds_half_up() {
        assert_eq!(ratio_hundredths(471, 100), Some(471));
        assert_eq!(ratio_hundredths(1, 8), Some(13));
        assert_eq!(ratio_hundredths(2, 3), Some(67));
        assert_eq!(ratio_hundredths(1, 3), Some(33));
        assert_eq!(ratio_hundredths(5, 0), None);
        assert_eq!(ratio_hundredths(0, 5), Some(0));
    }

    #[test]
    fn count_above_leaves_out_the_value_itself() {
        assert_eq!(of(&[1, 2, 3, 3, 4]).count_above(3), 1);
        assert_eq!(of(&[1, 2]).count_above(7), 0);
    }

    /// Nanoseconds up to some three hours, small values as likely as large ones.
    fn latency() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 0..5000_u64, 0..2_000_000_u64, 0..10_000_000_000_000_u64]
    }

    proptest! {
        #[test]
        fn agrees_with_hdrhistogram(values in prop::collection::vec(latency(), 1..400), numerator in 0..=10_000_u64) {
            let mine = of(&values);
            let mut theirs = hdrhistogram::Histogram::<u64>::new(3).expect("3 digits");
            for &value in &values {
                theirs.record(value).expect("it resizes");
            }
            let quantile = Quantile::new("", "", numerator, 10_000);
            let rank = quantile.rank(mine.n());
            // Half a sample below the rank: whatever the rounding of f64, the ceiling is the rank.
            #[allow(clippy::cast_precision_loss, reason = "few samples")]
            let nudged = (rank as f64 - 0.5) / values.len() as f64;
            let expected = theirs.value_at_quantile(nudged);
            let (min, max) = (*values.iter().min().expect("not empty"), *values.iter().max().expect("not empty"));
            prop_assert_eq!(mine.percentile(quantile), expected.clamp(min, max));
            prop_assert_eq!((mine.min(), mine.max(), mine.n()), (min, max, values.len() as u64));
            let counted: Vec<(u64, u64)> = theirs.iter_recorded()
                .map(|step| (theirs.highest_equivalent(step.value_iterated_to()), step.count_at_value())).collect();
            prop_assert_eq!(mine.buckets().collect::<Vec<_>>(), counted);
        }

        #[test]
        fn merged_is_the_histogram_of_all(one in prop::collection::vec(latency(), 0..100), other in prop::collection::vec(latency(), 0..100)) {
            let mut merged = of(&one);
            merged.merge(&of(&other));
            prop_assert_eq!(merged, of(&[one, other].concat()));
        }

        #[test]
        fn order_does_not_matter(mut values in prop::collection::vec(any::<u64>(), 0..100)) {
            let before = of(&values);
            values.reverse();
            prop_assert_eq!(before, of(&values));
        }
    }
}
