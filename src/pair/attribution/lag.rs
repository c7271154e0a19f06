//! Bins for the time from a message to a request: eight to an octave, so that a bin is a tenth wide at any scale.

/// The first bin holds everything below this.
const FIRST_NS: u64 = 64;
const FIRST_BITS: u32 = FIRST_NS.trailing_zeros();
/// From 64 ns to more than an hour.
pub(crate) const BINS: usize = 1 + 8 * 36;

/// The bin of a lag.
#[inline]
pub(crate) fn bin(lag_ns: u64) -> u16 {
    if lag_ns < FIRST_NS {
        return 0;
    }
    let bits = u64::BITS - 1 - lag_ns.leading_zeros();
    let eighth = (lag_ns >> (bits - 3)) & 7;
    let bin = 1 + u64::from(bits - FIRST_BITS) * 8 + eighth;
    u16::try_from(bin.min(BINS as u64 - 1)).expect("at most 288")
}

/// Where a bin begins.
pub(crate) fn start(bin: usize) -> u64 {
    match bin.checked_sub(1) {
        None => 0,
        Some(above) => (8 + (above as u64 & 7)) << (above / 8) << (FIRST_BITS - 3),
    }
}

/// The middle of a bin.
pub(crate) fn middle(bin: usize) -> u64 {
    start(bin).midpoint(start(bin + 1))
}

/// How wide a bin is.
#[allow(clippy::cast_precision_loss, reason = "a bin's width has few digits")]
pub(crate) fn width(bin: usize) -> f64 {
    (start(bin + 1) - start(bin)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_follow_each_other() {
        for at in 1..BINS {
            assert_eq!(
                (bin(start(at)), bin(start(at) - 1)),
                (u16::try_from(at).unwrap(), u16::try_from(at - 1).unwrap())
            );
        }
        assert_eq!((bin(0), bin(63), bin(64), bin(u64::MAX)), (0, 0, 1, 288));
        assert!((width(0) - 64.0).abs() < 1e-9 && (width(1) - 8.0).abs() < 1e-9);
    }
}
