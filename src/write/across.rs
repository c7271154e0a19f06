//! The ± of figures whose ends stand on different clocks: one line for a table, or beside a single figure.

use tickscope_model::SegmentKind;

use super::screen::latency;
use crate::pair::Across;
use crate::stats::{Piece, Summary};

/// `±37.313 µs`, `±?` where nobody said how well the clocks are kept, nothing within one clock.
pub(super) fn plus_minus(across: Across) -> Option<String> {
    match across {
        Across::One => None,
        Across::Within(error) => Some(format!("±{}", latency(error.0.unsigned_abs()))),
        Across::Unknown => Some("±?".into()),
    }
}

/// The same with a blank in front, to put behind a figure.
pub(super) fn behind(across: Across) -> String {
    plus_minus(across).map_or(String::new(), |text| format!(" {text}"))
}

/// For below a table: `across clocks: each figure of t2t ±37.313 µs, of ack ±?`; nothing where there is nothing to say.
pub(super) fn caption(summary: &Summary, kinds: &[SegmentKind]) -> Option<String> {
    let of = |kind: &SegmentKind| Some(format!("of {} {}", kind.name(), plus_minus(summary.across(*kind))?));
    let texts: Vec<String> = kinds.iter().filter_map(of).collect();
    (!texts.is_empty()).then(|| format!("across clocks: each figure {}", texts.join(", ")))
}

/// The least and the most that two clocks can drift, in nanoseconds a second: from the one end of the bounds to the other.
pub(super) fn drift_bounds(piece: &Piece) -> Option<(i64, i64)> {
    let length = i128::from(piece.to.0) - i128::from(piece.from.0);
    let rise = |to: i64, from: i64| (i128::from(to) - i128::from(from)) * 1_000_000_000;
    let least = rise(piece.at_end.0.0, piece.at_start.1.0);
    let most = rise(piece.at_end.1.0, piece.at_start.0.0);
    if length <= 0 {
        return None;
    }
    // Rounded outwards, so that what is possible lies in between.
    let least = i64::try_from(least.div_euclid(length)).ok()?;
    let most = i64::try_from(-(-most).div_euclid(length)).ok()?;
    Some((least, most))
}

#[cfg(test)]
mod tests {
    use tickscope_model::{Nanos, Timestamp};

    use super::*;

    #[test]
    fn drift_lies_between_the_steepest_lines_through_the_bounds() {
        let piece = |to: u64| Piece {
            from: Timestamp(0),
            to: Timestamp(to),
            at_start: (Nanos(-100), Nanos(200)),
            at_end: (Nanos(0), Nanos(301)),
            least: 2,
            most: 2,
            is_set: false,
        };
        assert_eq!(drift_bounds(&piece(2_000_000_000)), Some((-100, 201)), "-200/2 and 401/2, rounded up");
        assert_eq!(drift_bounds(&piece(0)), None);
    }

    #[test]
    fn the_error_stands_behind_its_figure() {
        let texts = [Across::One, Across::Within(Nanos(37_313)), Across::Unknown].map(behind);
        assert_eq!(texts, ["", " ±37.313 µs", " ±?"]);
    }
}
