//! The slowest orders of a run, each with its trigger and whole timeline: what a person looks at first when a tail is
//! long. Two lists, by tick-to-trade and by the exchange's first answer; all other rows are let go.

use tickscope_model::{Nanos, SegmentKind};

use crate::pair::OrderRow;

const ANSWERS: [SegmentKind; 6] = [
    SegmentKind::Ack,
    SegmentKind::Reject,
    SegmentKind::CancelAck,
    SegmentKind::ReplaceAck,
    SegmentKind::FirstFill,
    SegmentKind::FullFill,
];

/// The exchange's first answer to a request: which one, and how long it took.
pub fn first_answer(row: &OrderRow) -> Option<(SegmentKind, Nanos)> {
    ANSWERS
        .iter()
        .filter_map(|&kind| Some((kind, row.latency(kind)?)))
        .filter(|(_, latency)| latency.0 >= 0)
        .min_by_key(|(_, latency)| *latency)
}

/// The rows with the highest values, highest first; of equal ones those that came first.
#[derive(Clone, Debug)]
pub struct Slowest {
    rows: Vec<(Nanos, OrderRow)>,
    limit: usize,
}

impl Slowest {
    pub fn new(limit: usize) -> Slowest {
        Slowest { rows: Vec::new(), limit }
    }

    pub fn offer(&mut self, value: Nanos, row: &OrderRow) {
        let at = self.rows.partition_point(|(known, _)| *known >= value);
        if at < self.limit {
            self.rows.insert(at, (value, row.clone()));
            self.rows.truncate(self.limit);
        }
    }

    pub fn rows(&self) -> impl Iterator<Item = (Nanos, &OrderRow)> {
        self.rows.iter().map(|(value, row)| (*value, row))
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Measured;
    use crate::stats::summary::tests::row;

    #[test]
    fn keeps_the_highest_and_of_equal_ones_the_first() {
        let mut slowest = Slowest::new(3);
        for (index, value) in [5, 9, 1, 9, 7, 9].into_iter().enumerate() {
            slowest.offer(Nanos(value), &row(&format!("{index}"), 0));
        }
        let kept: Vec<(i64, &str)> = slowest.rows().map(|(value, row)| (value.0, &*row.clordid)).collect();
        assert_eq!(kept, [(9, "1"), (9, "3"), (9, "5")]);
    }

    #[test]
    fn the_first_answer_is_the_earliest_and_never_negative() {
        let mut row = row("1", 0);
        row.latency = Measured::default();
        assert_eq!(first_answer(&row), None);
        row.latency.set(SegmentKind::TickToTrade, Nanos(1));
        row.latency.set(SegmentKind::FirstFill, Nanos(30));
        row.latency.set(SegmentKind::Ack, Nanos(40));
        row.latency.set(SegmentKind::Reject, Nanos(-5));
        assert_eq!(first_answer(&row), Some((SegmentKind::FirstFill, Nanos(30))));
    }
}
