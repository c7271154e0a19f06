//! The statistic behind [`super::suggest`], as pure functions: the stretch of time before a request is cut into windows, at
//! several scales; how unlikely it is that the last one has a message so often by chance; and which of many such
//! findings stand.

use crate::book::Price;

/// The shortest window is two to the power of this in nanoseconds, and the longest 67 ms.
const FIRST_BITS: u32 = 8;
pub(super) const SCALES: usize = 19;
/// Windows of a stretch; of these the moved ones, by their bits.
pub(super) const WINDOWS: u32 = 16;
pub(super) const MOVED: u16 = 0xFFFC;
/// The share of suggestions that may be false.
const FALSE_DISCOVERIES: f64 = 0.01;
/// A level of prices is named where the logarithm of its probability by chance is below this, and at most such a share of the
/// trades before requests are on its other side. They weigh so much more than others that are.
const LEVEL_BY_CHANCE: f64 = -7.0;
const MOST_STRAYS: f64 = 0.1;
const STRAYS_WEIGH: f64 = 2.0;

/// Notes a message in its window of each scale, but for the last one.
#[inline]
pub(super) fn note(windows: &mut [u16; SCALES], lag_ns: u64) {
    // At longer scales it is in the last window, and at shorter ones beyond the first.
    let bits = u64::BITS - lag_ns.leading_zeros();
    let behind = SCALES.min(bits.saturating_sub(FIRST_BITS) as usize);
    for (scale, windows) in windows.iter_mut().enumerate().take(behind).skip(behind.saturating_sub(4)) {
        *windows |= 1_u16.checked_shl(u32::try_from(lag_ns / window(scale)).unwrap_or(WINDOWS)).unwrap_or(0);
    }
}

/// The length of a window.
pub(super) fn window(scale: usize) -> u64 {
    1 << FIRST_BITS << scale
}

/// How many scales have all their windows in a silence.
pub(super) fn scales_of(silence_ns: u64) -> usize {
    let bits = u64::BITS - (silence_ns / u64::from(WINDOWS)).leading_zeros();
    SCALES.min(bits.saturating_sub(FIRST_BITS) as usize)
}

/// The logarithm of a bound for the probability of so many hits or more: Chernoff's, for requests that each have their own
/// probability, of which this share is the mean.
pub(super) fn chance(hits: usize, of: usize, share: f64) -> f64 {
    let (of, seen) = (count(of), count(hits) / count(of));
    if seen <= share || share <= 0.0 {
        return 0.0;
    }
    let others = if seen < 1.0 { (1.0 - seen) * f64::ln((1.0 - seen) / (1.0 - share)) } else { 0.0 };
    -of * (seen * f64::ln(seen / share) + others)
}

/// The greatest of these, in order, that Benjamini and Hochberg let pass among so many tests.
pub(super) fn threshold(sorted: impl Iterator<Item = f64>, tests: usize) -> f64 {
    let passes = |(rank, chance): &(usize, f64)| *chance <= f64::ln(FALSE_DISCOVERIES * count(*rank) / count(tests));
    (1..).zip(sorted).filter(passes).last().map_or(f64::NEG_INFINITY, |(_, chance)| chance)
}

/// The level that trades before requests do not fall below, or rise above, though other trades do: where the shares of all
/// trades and of these that are beyond it differ most. A few of these are no causes, as another trade came behind the cause.
pub(super) fn level(prices: &[Price], all: &[Price]) -> Option<(&'static str, Price)> {
    let share = |prices: &[Price], is_beyond: &dyn Fn(Price) -> bool| {
        count(prices.iter().filter(|price| is_beyond(**price)).count()) / count(prices.len().max(1))
    };
    let mut best = (0.0, None);
    for &level in prices {
        for (sign, is_beyond) in
            [(">=", &(|price| price < level) as &dyn Fn(Price) -> bool), ("<=", &|price| price > level)]
        {
            let (others, strays) = (share(all, is_beyond), share(prices, is_beyond));
            // None of the rest would be beyond it, if they were any trades.
            let is_chance = count(prices.len()) * (1.0 - strays) * f64::ln(1.0 - others) > LEVEL_BY_CHANCE;
            let gain = others - STRAYS_WEIGH * strays;
            if !is_chance && strays <= MOST_STRAYS && gain > best.0 {
                best = (gain, Some((sign, level)));
            }
        }
    }
    best.1
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(super) fn count(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_in_one_window_of_each_scale() {
        let mut windows = [0; SCALES];
        note(&mut windows, 1000);
        // Windows of 256 ns: the fourth; of 512: the second; of longer ones the last, which is not noted.
        assert_eq!((windows[..3].to_vec(), windows[3..].iter().max()), (vec![1 << 3, 1 << 1, 0], Some(&0)));
        for silence in [0, 4095, 4096, 8191, 8192, 1 << 30, u64::MAX] {
            let long_enough = (0..SCALES).filter(|scale| 16 * window(*scale) <= silence).count();
            assert_eq!(scales_of(silence), long_enough, "{silence}");
        }
    }

    #[test]
    fn the_bound_is_exact_where_all_requests_have_a_message() {
        assert!((chance(5, 5, 1.0 / 15.0) - 5.0 * f64::ln(1.0 / 15.0)).abs() < 1e-9);
        assert!(chance(5, 100, 0.05) >= 0.0 && chance(50, 100, 0.3) < f64::ln(1e-3));
        assert!(chance(7, 7, 1.0) >= 0.0, "every window has a message");
    }

    #[test]
    fn of_many_tests_those_pass_that_are_less_likely_than_their_rank() {
        // The second of four has to be below ln 0.005 = -5.3, the first below ln 0.0025.
        assert!((threshold([-9.0, -5.2, -1.0].into_iter(), 4) + 9.0).abs() < 1e-9);
        assert!((threshold([-9.0, -5.4, -1.0].into_iter(), 4) + 5.4).abs() < 1e-9);
        assert!(threshold([-1.0].into_iter(), 4) < -1e9);
    }

    #[test]
    fn a_level_is_named_where_other_trades_are_beyond_it() {
        let all: Vec<Price> = (1..=50).collect();
        let to = |from: Price, to: Price| (from..=to).collect::<Vec<Price>>();
        assert_eq!(level(&to(30, 50), &all), Some((">=", 30)));
        assert_eq!(level(&to(1, 20), &all), Some(("<=", 20)));
        assert_eq!(level(&to(1, 50), &all), None);
        // One of them is there by chance, and may be anything.
        assert_eq!(level(&[to(30, 50), vec![4]].concat(), &all), Some((">=", 30)));
        assert_eq!((level(&[], &all), level(&[7, 8], &[]), level(&[7, 8], &all)), (None, None, None));
    }
}
