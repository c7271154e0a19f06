//! Times of a tap that become another clock's in the middle of a run: live, where a later vote finds a device's stamps. No
//! latency may lie between a time before and one behind, so requests that are open end there with what they have, nothing
//! that came before causes one that comes later, and the rows that lack something because of that say so.

use tickscope_model::{Nanos, TapId, Timestamp};

use super::attribution::spent::Spent;
use super::pairer::{Pairer, View};
use super::row::{Flag, OrderRow};

/// What the clock of each tap showed when that happened, the newest last.
#[derive(Default)]
pub(super) struct Moves(Vec<Vec<Timestamp>>);

/// So many are remembered: there is one of each tap, and the next one of a tap is as good as any for what follows soon.
const MOST: usize = 64;

impl Moves {
    fn push(&mut self, moved_at: Vec<Timestamp>) {
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(moved_at);
    }

    /// Whether what caused a request of this time may have come before a move.
    fn hide(&self, tap: TapId, time: Timestamp, window: Nanos) -> bool {
        let moments = self.0.iter().filter_map(|moved_at| moved_at.get(usize::from(tap.0)));
        moments.map(|moment| time.since(*moment).0).any(|age| 0 <= age && age <= window.0)
    }
}

impl Pairer {
    /// Times of some tap are another clock's from now on; `moved_at`: what the clock of each tap shows. Ticks, tape and links are
    /// forgotten by whoever has them.
    pub fn times_moved(&mut self, moved_at: Vec<Timestamp>, view: &View<'_>) {
        for open in self.requests.values_mut() {
            if open.written.is_none() && open.done.is_none() {
                open.row.flags.set(Flag::CrossClock);
            }
        }
        while self.finish_some(view) {}
        // Numbers of requests that are closed; by their times those behind them would never be due.
        self.waiting.clear();
        self.closing.clear();
        self.timely.forget();
        self.reports.forget();
        self.spent = Spent::default();
        self.moves.push(moved_at);
    }

    /// Flags a row without a trigger that may have had one before a tap's times moved.
    pub(super) fn mark_moved(&self, row: &mut OrderRow) {
        if row.trigger.is_none() && self.moves.hide(row.tap, row.t_out, self.rules.trigger.window) {
            row.flags.set(Flag::CrossClock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_caused_a_request_may_lie_before_a_move_for_as_long_as_the_window_is() {
        let mut moves = Moves::default();
        moves.push(vec![Timestamp(1000), Timestamp(5000)]);
        for (tap, time, expected) in [
            (0, 999, false),
            (0, 1000, true),
            (0, 1100, true),
            (0, 1101, false),
            (1, 1050, false),
            (1, 5050, true),
            (2, 5050, false),
        ] {
            assert_eq!(moves.hide(TapId(tap), Timestamp(time), Nanos(100)), expected, "{tap} {time}");
        }
        (0..1000).for_each(|_| moves.push(vec![Timestamp(0)]));
        assert_eq!(moves.0.len(), MOST);
    }
}
