//! A request that nothing can change any more becomes a row.

use tickscope_model::{Loss, SegmentKind};

use super::pairer::{Paired, Pairer};
use super::requests::Open;
use super::row::Flag;

impl Pairer {
    /// Puts out a request's row.
    pub(super) fn write(&mut self, mut open: Box<Open>) {
        let row = &open.row;
        let in_range = self.rules.from <= row.t_out && row.t_out < self.rules.to;
        let wanted = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
        if !in_range || !wanted(&self.rules.symbols, &row.symbol) || !wanted(&self.rules.sessions, &row.session) {
            self.losses.add(Loss::OutsideWindow);
            return;
        }
        self.settle_clocks(&mut open);
        let row = &mut open.row;
        if open.ack_frame.is_some_and(|frame| open.report_frames.contains(&frame)) {
            row.flags.set(Flag::AckWithAnswer);
        }
        if row.latency.iter().flatten().any(|latency| latency.0 < 0) {
            row.flags.set(Flag::Negative);
        }
        row.timeline.sort_by_key(|moment| moment.time);
        if open.echo {
            self.hops += 1;
            row.latency.iter_mut().enumerate().for_each(|(at, latency)| {
                if at != SegmentKind::Hop.index() {
                    *latency = None;
                }
            });
        } else {
            if !open.answered {
                row.flags.set(Flag::Unanswered);
                self.losses.add(Loss::Unanswered);
            }
            if row.trigger.is_none() {
                self.losses.add(Loss::Untriggered);
            }
        }
        if row.flags.has(Flag::AckWithAnswer) && row.latency(SegmentKind::TcpAck).is_some() {
            self.losses.add(Loss::AckWithAnswer);
        }
        let negative = row.segments().filter(|(_, latency)| latency.0 < 0).count();
        self.losses.add_many(Loss::Negative, negative as u64);
        self.out.push(Paired { row: open.row, is_echo: open.echo });
    }
}
