//! The list of orders, and the one that is looked into.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use crate::FrameView;
use crate::filter::{Filter, Wrong};
use crate::rows::{Row, Rows};
use crate::wire::OrderAnswer;

/// So many lines are sorted out; who wants others filters.
const MOST_LINES: usize = 2000;

/// What the list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OrderSort {
    /// The slowest of both first.
    #[default]
    Slowest,
    Newest,
    TickToTrade,
    Answer,
    Confidence,
}

impl OrderSort {
    const ALL: [OrderSort; 5] =
        [OrderSort::Slowest, OrderSort::Newest, OrderSort::TickToTrade, OrderSort::Answer, OrderSort::Confidence];

    pub(crate) fn name(self) -> &'static str {
        match self {
            OrderSort::Slowest => "slowest first (t2t or answer)",
            OrderSort::Newest => "newest first",
            OrderSort::TickToTrade => "t2t, slowest first",
            OrderSort::Answer => "answer, slowest first",
            OrderSort::Confidence => "least sure first",
        }
    }

    pub(crate) fn next(self) -> OrderSort {
        crate::beside(&OrderSort::ALL, self, 1)
    }

    /// Greater comes first.
    fn key(self, row: &Row) -> (i64, u64) {
        let (internal, external) = (row.t2t_ns.unwrap_or(i64::MIN), row.answer_ns().unwrap_or(i64::MIN));
        #[allow(clippy::cast_possible_truncation, reason = "between zero and a thousand")]
        let first = match self {
            OrderSort::Slowest => internal.max(external),
            OrderSort::Newest => 0,
            OrderSort::TickToTrade => internal,
            OrderSort::Answer => external,
            OrderSort::Confidence => -((row.confidence * 1000.0) as i64),
        };
        (first, row.t_out_ns)
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) filter: Filter,
    pub(crate) text: String,
    /// The line while it is written, with what is wrong with it.
    pub(crate) editing: Option<(String, Option<Wrong>)>,
    pub(crate) sort: OrderSort,
    pub(crate) is_reversed: bool,
    /// The lines, and how many requests were selected in all.
    pub(crate) lines: Vec<Arc<Row>>,
    pub(crate) matches: usize,
    /// Of what they were made: version of the rows and the time up to which.
    made_of: Option<(u64, Option<u64>)>,
    made_at: Duration,
    /// Lines that are being made.
    work: Option<Work>,
}

/// Lines that are being made, a slice at a time, so that a key never waits for half a million rows.
#[derive(Debug)]
struct Work {
    of: (u64, Option<u64>),
    /// Where the next slice begins.
    place: u64,
    matches: usize,
    best: Vec<Arc<Row>>,
}

/// Rows that are looked at in one go: some milliseconds.
const SLICE: usize = 4_000;

impl Orders {
    /// They must be made anew: something else than time has changed.
    pub(crate) fn forget_lines(&mut self) {
        (self.made_of, self.work) = (None, None);
    }

    /// Lines are being made; [`Orders::renew`] is to be called again.
    pub(crate) fn is_at_work(&self) -> bool {
        self.work.is_some()
    }

    /// Makes the lines anew where that is needed, a slice at a time. With many requests that is not done each time that one comes.
    pub(crate) fn renew(&mut self, rows: &Rows, until_ns: Option<u64>, now: Duration) {
        if self.work.is_none() {
            let pause = Duration::from_millis(u64::try_from(rows.len()).unwrap_or(0).saturating_sub(10_000) / 100);
            let is_same = self.made_of == Some((rows.version, until_ns));
            if is_same || (self.made_of.is_some() && now.saturating_sub(self.made_at) < pause) {
                return;
            }
            self.work = Some(Work { of: (rows.version, until_ns), place: 0, matches: 0, best: Vec::new() });
        }
        let Some(mut work) = self.work.take() else { return };
        let (sort, is_reversed) = (self.sort, self.is_reversed);
        let order = |one: &Arc<Row>, other: &Arc<Row>| {
            let by = Reverse(sort.key(one)).cmp(&Reverse(sort.key(other)));
            if is_reversed { by.reverse() } else { by }
        };
        let until_ns = work.of.1;
        let (slice, behind) = rows.from(work.place, SLICE);
        for row in slice {
            if until_ns.is_none_or(|until| row.t_out_ns <= until) && self.filter.selects(row) {
                work.matches += 1;
                work.best.push(Arc::clone(row));
            }
        }
        work.place = behind;
        if work.best.len() > MOST_LINES {
            work.best.select_nth_unstable_by(MOST_LINES, order);
            work.best.truncate(MOST_LINES);
        }
        if behind < rows.end() {
            self.work = Some(work);
            return;
        }
        work.best.sort_by(order);
        (self.lines, self.matches) = (work.best, work.matches);
        (self.made_of, self.made_at) = (Some((rows.version, until_ns)), now);
    }
}

/// What of an order is shown in the lower half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    #[default]
    Candidates,
    Packets,
}

/// The order that is looked into.
#[derive(Debug)]
pub(crate) struct Drill {
    pub(crate) row: Arc<Row>,
    pub(crate) answer: Option<OrderAnswer>,
    pub(crate) part: Part,
    /// Its frames, or why there are none.
    pub(crate) frames: Option<Result<Vec<FrameView>, String>>,
    /// The frame that is shown, and lines above the window.
    pub(crate) frame: usize,
    pub(crate) above: usize,
    /// Its packets are to be written once they come.
    pub(crate) is_to_be_written: bool,
}

impl Drill {
    pub(crate) fn new(row: Arc<Row>) -> Drill {
        Drill { row, answer: None, part: Part::Candidates, frames: None, frame: 0, above: 0, is_to_be_written: false }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::RowsAnswer;

    fn rows(count: u64) -> Rows {
        let mut rows = Rows::default();
        let row = |number: u64| vec![json!(format!("C{number}")), json!(number), json!(number * 7919 % 1000)];
        rows.extend(&RowsAnswer {
            columns: ["clordid", "t_out_ns", "t2t_ns"].map(str::to_owned).to_vec(),
            rows: (1..=count).map(row).collect(),
            first: Some(1),
            last: count,
            ..RowsAnswer::default()
        });
        rows
    }

    /// To the end.
    fn renewed(orders: &mut Orders, rows: &Rows, until_ns: Option<u64>, now: Duration) {
        orders.renew(rows, until_ns, now);
        while orders.is_at_work() {
            orders.renew(rows, until_ns, now);
        }
    }

    #[test]
    fn the_slowest_come_first_and_time_travel_hides_the_later() {
        let (mut orders, rows) = (Orders::default(), rows(5000));
        renewed(&mut orders, &rows, None, Duration::ZERO);
        assert_eq!((orders.matches, orders.lines.len()), (5000, MOST_LINES));
        assert!(orders.lines.windows(2).all(|two| two[0].t2t_ns >= two[1].t2t_ns));
        orders.forget_lines();
        renewed(&mut orders, &rows, Some(10), Duration::ZERO);
        assert_eq!(orders.matches, 10);
        orders.filter = Filter::parse("clordid:c7").unwrap();
        orders.forget_lines();
        renewed(&mut orders, &rows, Some(10), Duration::ZERO);
        assert_eq!(&*orders.lines[0].clordid, "C7");
    }

    #[test]
    fn many_requests_are_not_sorted_for_each_that_comes() {
        let (mut orders, mut rows) = (Orders::default(), rows(100_000));
        renewed(&mut orders, &rows, None, Duration::ZERO);
        let more = RowsAnswer {
            columns: vec!["clordid".to_owned()],
            rows: vec![vec![json!("new")]],
            first: Some(100_001),
            last: 100_001,
            ..RowsAnswer::default()
        };
        rows.extend(&more);
        renewed(&mut orders, &rows, None, Duration::from_millis(800));
        assert_eq!(orders.matches, 100_000);
        renewed(&mut orders, &rows, None, Duration::from_millis(1100));
        assert_eq!(orders.matches, 100_001);
    }
}
