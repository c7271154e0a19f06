//! Ticks of a capture clock to nanoseconds, in integers: pcapng's `if_tsresol` (a power of ten or of two) and
//! `if_tsoffset` (whole seconds), pcapng draft-ietf-opsawg-pcapng, section 4.2.
//! Finer stamps are rounded down.

use std::fmt;

use tickscope_model::Timestamp;

/// How long a tick lasts, and where tick 0 lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    unit: Unit,
    /// Seconds to be added.
    offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// A tick is this many nanoseconds.
    Nanoseconds(u64),
    /// This many ticks are a nanosecond.
    PerNanosecond(u128),
    /// A tick is 2^-n seconds.
    Binary(u32),
    /// Ticks too short to ever add up to a nanosecond: 10^-n seconds with a large n.
    Vanishing,
}

/// What pcap's classic form and pcapng without `if_tsresol` count in.
pub(super) const MICROSECONDS: u8 = 6;

impl Clock {
    pub(super) fn new(resolution: u8, offset: i64) -> Clock {
        let exponent = u32::from(resolution & 0x7f);
        let unit = if resolution & 0x80 != 0 {
            Unit::Binary(exponent)
        } else if exponent <= 9 {
            Unit::Nanoseconds(10_u64.pow(9 - exponent))
        } else {
            10_u128.checked_pow(exponent - 9).map_or(Unit::Vanishing, Unit::PerNanosecond)
        };
        Clock { unit, offset }
    }

    /// The length of a tick in nanoseconds, rounded up: no latency is known better.
    pub(super) fn tick_ns(&self) -> u64 {
        match self.unit {
            Unit::Nanoseconds(factor) => factor,
            Unit::Binary(shift @ 0..30) => 1_000_000_000_u64.div_ceil(1 << shift),
            Unit::PerNanosecond(_) | Unit::Binary(_) | Unit::Vanishing => 1,
        }
    }

    /// The time of a tick; stops at the ends of the range.
    #[inline]
    pub(super) fn time(&self, ticks: u64) -> Timestamp {
        if let Unit::Nanoseconds(factor) = self.unit
            && self.offset == 0
            && let Some(nanoseconds) = ticks.checked_mul(factor)
        {
            return Timestamp(nanoseconds);
        }
        self.time_slow(ticks)
    }

    fn time_slow(&self, ticks: u64) -> Timestamp {
        let ticks = u128::from(ticks);
        let nanoseconds = match self.unit {
            Unit::Nanoseconds(factor) => ticks * u128::from(factor),
            Unit::PerNanosecond(divisor) => ticks / divisor,
            Unit::Binary(shift) => (ticks * 1_000_000_000) >> shift,
            Unit::Vanishing => 0,
        };
        let offset = i128::from(self.offset) * 1_000_000_000;
        // Fewer than 2^94 nanoseconds, so the cast to i128 cannot fail.
        let shifted = i128::try_from(nanoseconds).unwrap_or(i128::MAX).saturating_add(offset);
        Timestamp(u64::try_from(shifted.max(0)).unwrap_or(u64::MAX))
    }
}

/// The length of a tick, as the report prints it: `1 µs`, `1 ns`, `100 ps`, `2^-32 s`.
impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Nanoseconds(factor @ 1_000_000_000..) => write!(f, "{} s", factor / 1_000_000_000),
            Unit::Nanoseconds(factor @ 1_000_000..) => write!(f, "{} ms", factor / 1_000_000),
            Unit::Nanoseconds(factor @ 1_000..) => write!(f, "{} µs", factor / 1_000),
            Unit::Nanoseconds(factor) => write!(f, "{factor} ns"),
            Unit::PerNanosecond(divisor @ ..=1000) => write!(f, "{} ps", 1000 / divisor),
            Unit::PerNanosecond(divisor) => write!(f, "1e-{} s", divisor.ilog10() + 9),
            Unit::Binary(shift) => write!(f, "2^-{shift} s"),
            Unit::Vanishing => f.write_str("below 1e-47 s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resolution: u8, offset: i64, ticks: u64, expected: u64, text: &str) {
        let clock = Clock::new(resolution, offset);
        assert_eq!(clock.time(ticks).0, expected, "resolution {resolution:#x}, offset {offset}, ticks {ticks}");
        assert_eq!(clock.to_string(), text);
    }

    #[test]
    fn powers_of_ten_and_of_two_are_exact() {
        check(6, 0, 1_340_954_905_298_858, 1_340_954_905_298_858_000, "1 µs");
        check(0, 0, 1_500_000_000, 1_500_000_000_000_000_000, "1 s");
        check(3, 0, 1_500_000_000_001, 1_500_000_000_001_000_000, "1 ms");
        check(7, 0, 15_000_000_000_000_001, 1_500_000_000_000_000_100, "100 ns");
        check(9, 0, 1_500_000_000_000_000_001, 1_500_000_000_000_000_001, "1 ns");
        check(12, 0, 1_999, 1, "1 ps");
        check(10, 0, 15_000_000_000_000_000_009, 1_500_000_000_000_000_000, "100 ps");
        check(19, 0, u64::MAX, 1_844_674_407, "1e-19 s");
        check(127, 0, u64::MAX, 0, "below 1e-47 s");
        // 2^-32 s, as ERF cards count: half a second and one tick.
        check(0x80 | 32, 0, (1_500_000_000 << 32) | 0x8000_0001, 1_500_000_000_500_000_000, "2^-32 s");
        check(0x80, 0, 7, 7_000_000_000, "2^-0 s");
        check(0xff, 0, u64::MAX, 0, "2^-127 s");
    }

    #[test]
    fn the_offset_is_added_and_the_range_has_ends() {
        check(9, 1, 5, 1_000_000_005, "1 ns");
        check(6, -1, 1_500_000, 500_000_000, "1 µs");
        check(6, -2, 1_500_000, 0, "1 µs");
        check(0, 0, u64::MAX, u64::MAX, "1 s");
        check(9, i64::MAX, u64::MAX, u64::MAX, "1 ns");
        check(9, i64::MIN, u64::MAX, 0, "1 ns");
    }
}
