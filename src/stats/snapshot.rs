//! The figures of a run that goes on, at one moment: what a screen or a scraper is given. A copy that is cheap to make, so
//! that the engine can go on while others write it out.

use std::collections::VecDeque;
use std::sync::Arc;

use tickscope_model::Timestamp;

use super::{Asked, Group, Summary, Verdict};
use crate::pair::{OrderRow, Trigger};

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// From 1.
    pub number: u64,
    /// By the host's clock, UTC.
    pub time: Timestamp,
    /// When the run began.
    pub start: Timestamp,
    /// The run is over: these are the numbers of the report.
    pub is_last: bool,
    /// It is of captures that were read to their end, as of a time in them.
    pub of_capture: bool,
    /// Of the whole run up to then. Its groups and time table are empty.
    pub summary: Summary,
    /// Where taps, feeds, conversations and the account stand, if not in `summary`: of captures these are known at the end only.
    pub whole: Option<Arc<Summary>>,
    /// The busiest sessions, the busiest first.
    pub busiest: Vec<Group>,
    /// The sessions that came first, in that order: these stay the same.
    pub earliest: Vec<Group>,
    /// The groups that somebody asked for.
    pub groups: Vec<Asked>,
    /// How many sessions, order-entry conversations and feeds there are in all.
    pub session_count: u64,
    pub conversation_count: u64,
    pub feed_count: u64,
    /// Market-data messages so far.
    pub market_messages: u64,
    pub pace: Pace,
    /// Which side slowed, as far as that was found out already.
    pub slowness: Option<Arc<Slowness>>,
    /// Snapshots that were not handed on, and rows that are not kept, since whoever takes them was behind.
    pub skipped: u64,
    pub rows_skipped: u64,
    /// Processor time of the whole process; `None` where nobody measures it.
    pub processor_ns: Option<u64>,
    /// What the engine has spent on snapshots, and on how many.
    pub spent_ns: u64,
    pub made: u64,
}

/// Which side slowed, as it was at a moment: it takes longer to find out than between two snapshots.
#[derive(Debug)]
pub struct Slowness {
    pub time: Timestamp,
    /// What it was found in.
    pub summary: Summary,
    pub verdict: Verdict,
}

impl Slowness {
    pub fn find(time: Timestamp, summary: Summary) -> Slowness {
        let verdict = Verdict::of(&summary);
        Slowness { time, summary, verdict }
    }
}

/// Events a second, over the last second or so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The time that it is taken over; 0 where there is none yet.
    pub over_ns: u64,
    pub frames_per_s: u64,
    pub market_messages_per_s: u64,
    pub requests_per_s: u64,
}

/// A row that is kept for those who ask for it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub row: Box<OrderRow>,
    /// Newest first, each with how likely it is the cause.
    pub candidates: Vec<Trigger>,
}

/// Counts of frames, market-data messages and requests at moments of the last second.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    counts: VecDeque<(Timestamp, [u64; 3])>,
}

/// [`Pace`] is taken over so long, and the time to the look before that.
const PACE_NS: u64 = 1_000_000_000;
/// Looks that are kept, should the clock stand still.
const LOOKS: usize = 64;

impl Rates {
    pub fn look(&mut self, now: Timestamp, counts: [u64; 3]) {
        let is_old = |look: &(Timestamp, _)| now.0.saturating_sub(look.0.0) >= PACE_NS;
        while self.counts.len() >= LOOKS || self.counts.get(1).is_some_and(is_old) {
            self.counts.pop_front();
        }
        self.counts.push_back((now, counts));
    }

    pub fn pace(&self) -> Pace {
        let (Some((from, before)), Some((to, now))) = (self.counts.front(), self.counts.back()) else {
            return Pace::default();
        };
        let over_ns = to.0.saturating_sub(from.0);
        let per_second = |at: usize| {
            let scaled = u128::from(now[at].saturating_sub(before[at])) * 1_000_000_000;
            let rounded = (scaled + u128::from(over_ns / 2)).checked_div(u128::from(over_ns)).unwrap_or(0);
            u64::try_from(rounded).unwrap_or(u64::MAX)
        };
        Pace {
            over_ns,
            frames_per_s: per_second(0),
            market_messages_per_s: per_second(1),
            requests_per_s: per_second(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_ten_looks() {
        let mut rates = Rates::default();
        assert_eq!(rates.pace(), Pace::default());
        rates.look(Timestamp(0), [0, 0, 0]);
        assert_eq!(rates.pace(), Pace::default(), "one look is no time");
        for tenth in 1..=30_u64 {
            rates.look(Timestamp(tenth * 100_000_000), [tenth * 100, tenth * 3, tenth.saturating_sub(25)]);
        }
        let pace = Pace { over_ns: 1_000_000_000, frames_per_s: 1000, market_messages_per_s: 30, requests_per_s: 5 };
        assert_eq!(rates.pace(), pace);
    }
}
