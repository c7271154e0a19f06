//! A request that nothing can change any more becomes a row and its segments.

use tickscope_model::{Loss, SegmentKind};

use super::clocks::Across;
use super::pairer::{Paired, Pairer};
use super::requests::Open;
use super::row::{Flag, SegmentRow};

impl Pairer {
    /// Writes a request's row and segments.
    pub(super) fn write(&mut self, mut open: Box<Open>) {
        let row = &open.row;
        let in_range = self.rules.from <= row.t_out && row.t_out < self.rules.to;
        let wanted = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
        if !in_range || !wanted(&self.rules.symbols, &row.symbol) || !wanted(&self.rules.sessions, &row.session) {
            self.losses.add(Loss::OutsideWindow);
            return;
        }
        let across = self.settle_clocks(&mut open);
        let row = &mut open.row;
        row.error = across.iter().filter_map(|across| across.error()).max();
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
        self.segments(&open, &across);
        if !open.echo {
            self.out.push(Paired::Row(Box::new(open.row)));
        }
    }

    fn segments(&mut self, open: &Open, across: &[Across]) {
        let row = &open.row;
        for (kind, across) in SegmentKind::ALL.into_iter().zip(across) {
            let Some(latency) = row.latency(kind) else { continue };
            if kind == SegmentKind::TcpAck && row.flags.has(Flag::AckWithAnswer) {
                self.losses.add(Loss::AckWithAnswer);
                continue;
            }
            if latency.0 < 0 {
                self.losses.add(Loss::Negative);
            }
            self.out.push(Paired::Segment(SegmentRow {
                segment: kind,
                time: row.t_out,
                latency,
                tap: row.tap,
                session: row.session.clone(),
                symbol: row.symbol.clone(),
                clordid: row.clordid.clone(),
                request: row.request,
                across: *across,
            }));
        }
    }
}
