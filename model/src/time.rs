//! Points in time and differences between them, both in integer nanoseconds.

use std::fmt;

/// Nanoseconds since the Unix epoch, UTC, as written by a capture clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// A signed difference between two timestamps, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);

impl Timestamp {
    /// Earlier than every capture.
    pub const MIN: Timestamp = Timestamp(0);
    /// Later than every capture.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// `self - earlier`, negative where `earlier` is in truth later; saturates at ±292 years.
    pub fn since(self, earlier: Timestamp) -> Nanos {
        let difference = i128::from(self.0) - i128::from(earlier.0);
        let clamped = difference.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Nanos(i64::try_from(clamped).expect("clamped to the range of i64"))
    }

    /// `self + by`; stops at the ends of the range instead of wrapping around.
    #[must_use]
    pub fn shifted(self, by: Nanos) -> Timestamp {
        Timestamp(self.0.saturating_add_signed(by.0))
    }
}

/// `seconds.nanoseconds`, the text form that JSON carries beside each `…_ns` time.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
