//! How far each tap's clock is ahead of the exchange's own stamps: of market data, and of the answers to orders. The way from
//! the exchange is in it, so it is no offset to go by; but a clock that counts TAI where the other counts UTC shows. Whole
//! hours are left out, since some stamps count from a midnight.

use tickscope_model::{Nanos, TapId, Timestamp};

use crate::stats::ExchangeAhead;

/// So many stamps of a tap are compared.
const SAMPLES: usize = 64;
const HOUR: i128 = 3_600_000_000_000;

/// See the head of this file.
#[derive(Default)]
pub struct ExchangeClocks {
    /// By [`TapId`].
    taps: Vec<Vec<i64>>,
}

impl ExchangeClocks {
    /// Whether a tap has too few samples yet.
    #[inline]
    pub fn wants(&self, tap: TapId) -> bool {
        self.taps.get(usize::from(tap.0)).is_none_or(|samples| samples.len() < SAMPLES)
    }

    /// Something that the exchange stamped with `stamp_ns` was seen at `time`.
    #[cold]
    pub fn compare(&mut self, tap: TapId, time: Timestamp, stamp_ns: u64) {
        let at = usize::from(tap.0);
        if stamp_ns == 0 {
            return;
        }
        if self.taps.len() <= at {
            self.taps.resize_with(at + 1, Vec::new);
        }
        let apart = (i128::from(time.0) - i128::from(stamp_ns)).rem_euclid(HOUR);
        let nearest = if apart * 2 > HOUR { apart - HOUR } else { apart };
        if let (Some(samples), Ok(nearest)) = (self.taps.get_mut(at), i64::try_from(nearest)) {
            samples.push(nearest);
        }
    }

    /// What the samples of a tap say.
    pub fn ahead(&self, tap: TapId) -> Option<ExchangeAhead> {
        let mut samples = self.taps.get(usize::from(tap.0))?.clone();
        samples.sort_unstable();
        let median = *samples.get(samples.len().checked_sub(1)? / 2)?;
        let near = samples.iter().filter(|sample| sample.abs_diff(median) <= 500_000_000).count();
        Some(ExchangeAhead { median: Nanos(median), n: samples.len(), is_steady: near * 10 >= samples.len() * 9 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_769_000_400_000_000_000;

    #[test]
    fn whole_hours_do_not_count() {
        // The stamp, and by how much the tap is ahead of it.
        for (stamp, expected) in [
            (NOON - 37_000_000_000, 37_000_000_000_i64),
            (NOON + 37_000_000_000, -37_000_000_000),
            // Since midnight in New York: 2026-01-21 13:00 UTC is 08:00 there.
            (8 * 3_600_000_000_000 - 5_000, 5_000),
            (NOON - 12_000, 12_000),
        ] {
            let mut clocks = ExchangeClocks::default();
            let time = Timestamp(1_769_000_400_000_000_000);
            (0..100).for_each(|_| {
                if clocks.wants(TapId(2)) {
                    clocks.compare(TapId(2), time, stamp);
                }
            });
            let ahead = clocks.ahead(TapId(2)).expect("samples");
            assert_eq!((ahead.median.0, ahead.n, ahead.is_steady), (expected, SAMPLES, true), "{stamp}");
            assert!(clocks.ahead(TapId(1)).is_none() && clocks.wants(TapId(1)));
        }
    }
}
