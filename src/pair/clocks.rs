//! Latencies between two taps on different clocks: how far each may be wrong, and which are none, because nobody knows how
//! the clocks are related.

use tickscope_model::{Loss, Nanos, SegmentKind, TapId, Timestamp};

use super::pairer::Pairer;
use super::requests::Trail;
use super::row::{Flag, OrderRow};

/// The clocks of the taps, as far as figures between two taps need them.
#[derive(Clone, Debug, Default)]
pub struct TapClocks {
    /// The number of each tap's clock; nothing where all have one.
    pub of_tap: Vec<usize>,
    /// What a figure between two clocks spans, by their numbers; `None` where they are not related.
    pub between: Vec<Vec<Option<Across>>>,
    pub blind: Vec<Blind>,
}

/// A time in which figures with some clocks mean nothing: one of them was set, nobody knows when exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    pub from: Timestamp,
    pub to: Timestamp,
    pub clocks: Vec<usize>,
}

impl TapClocks {
    /// What a latency between two moments spans; `None` where the clocks of their taps are not related then.
    pub fn across(&self, one: (TapId, Timestamp), other: (TapId, Timestamp)) -> Option<Across> {
        let across = self.between_taps(one.0, other.0)?;
        if across == Across::One {
            return Some(across);
        }
        let clocks = [one, other].map(|(tap, _)| self.of_tap.get(usize::from(tap.0)));
        let is_blind = |blind: &Blind| {
            let is_then = |(_, time): &(TapId, Timestamp)| blind.from <= *time && *time <= blind.to;
            clocks.iter().flatten().any(|clock| blind.clocks.contains(clock)) && [one, other].iter().any(is_then)
        };
        (!self.blind.iter().any(is_blind)).then_some(across)
    }

    /// Whether some clock is related to this tap's, and not at this time.
    fn is_blind(&self, tap: TapId, time: Timestamp) -> bool {
        (0..self.of_tap.len())
            .filter_map(|other| u16::try_from(other).ok().map(TapId))
            .any(|other| self.between_taps(tap, other).is_some() && self.across((tap, time), (other, time)).is_none())
    }

    /// The same at the times when the clocks are related.
    pub fn between_taps(&self, one: TapId, other: TapId) -> Option<Across> {
        let clock = |tap: TapId| self.of_tap.get(usize::from(tap.0));
        let (Some(&one), Some(&other)) = (clock(one), clock(other)) else { return Some(Across::One) };
        if one == other { Some(Across::One) } else { *self.between.get(one)?.get(other)? }
    }
}

/// What a latency spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Across {
    /// One clock: it is as good as that.
    #[default]
    One,
    /// Two, and it is wrong by at most this.
    Within(Nanos),
    /// Two, and nobody said how well they are kept.
    Unknown,
}

impl Across {
    /// The ±, where there is one to tell.
    pub fn error(self) -> Option<Nanos> {
        if let Across::Within(error) = self { Some(error) } else { None }
    }
}

impl Trail {
    /// The taps and times that a latency lies between; `None` where both ends stand on one clock in any case.
    fn ends(&self, row: &OrderRow, kind: SegmentKind) -> Option<[(TapId, Timestamp); 2]> {
        let latency = row.latency(kind)?;
        let (one, other) = self.taps(row, kind)?;
        // The time of the request is the one that the row has.
        let other_time = if ends_with_request(kind) { Nanos(-latency.0) } else { latency };
        let (request, apart) = (row.t_out, row.t_out.shifted(other_time));
        Some(if ends_with_request(kind) { [(one, apart), (other, request)] } else { [(one, request), (other, apart)] })
    }

    fn taps(&self, row: &OrderRow, kind: SegmentKind) -> Option<(TapId, TapId)> {
        let request = row.tap;
        let report = self.report_frames.first().map(|(tap, _)| *tap);
        let (one, other) = match kind {
            SegmentKind::TickToTrade | SegmentKind::FillToRequest => {
                (row.trigger.as_ref().map(|trigger| trigger.tap), Some(request))
            }
            SegmentKind::TcpAck => (Some(request), self.ack_frame.map(|(tap, _)| tap)),
            SegmentKind::Ack
            | SegmentKind::Reject
            | SegmentKind::FirstFill
            | SegmentKind::FullFill
            | SegmentKind::CancelAck
            | SegmentKind::ReplaceAck
            | SegmentKind::OrderToFill
            | SegmentKind::WireResidual => (Some(request), report),
            // Of the later of two rows.
            SegmentKind::WallToWall | SegmentKind::Hop => (self.other_tap, Some(request)),
            SegmentKind::OrderToMd => (Some(request), self.public_tap),
            SegmentKind::PrivateFirst | SegmentKind::PublicFirst => (report, self.public_tap),
            // Between two reports, or by the exchange's own clock.
            SegmentKind::AckToFill
            | SegmentKind::InExchange
            | SegmentKind::GatewayIn
            | SegmentKind::Matching
            | SegmentKind::GatewayOut => (None, None),
        };
        one.zip(other)
    }
}

/// Whether the request is a latency's end, and not its beginning.
fn ends_with_request(kind: SegmentKind) -> bool {
    use SegmentKind::{FillToRequest, Hop, TickToTrade, WallToWall};
    matches!(kind, TickToTrade | FillToRequest | WallToWall | Hop)
}

impl Pairer {
    /// Takes away the latencies of a request between clocks that are not related, and says what each other one spans.
    pub(super) fn settle_clocks(&mut self, row: &mut OrderRow, trail: &Trail) {
        if self.rules.tap_clocks.of_tap.is_empty() {
            return;
        }
        let mut all = [Across::One; SegmentKind::ALL.len()];
        for kind in SegmentKind::ALL {
            if row.latency(kind).is_none() {
                continue;
            }
            let Some([one, other]) = trail.ends(row, kind) else { continue };
            if let Some(across) = self.rules.tap_clocks.across(one, other) {
                all[kind.index()] = across;
                continue;
            }
            row.latency.forget(kind);
            if kind == SegmentKind::TickToTrade {
                (row.t2t_min, row.t2t_max) = (None, None);
            }
            self.flag_cross_clock(row, trail);
        }
        // What caused it may be a message that seems to have come behind it.
        if row.trigger.is_none() && self.rules.tap_clocks.is_blind(row.tap, row.t_out) {
            self.flag_cross_clock(row, trail);
        }
        let report = trail.report_frames.first().map(|(tap, _)| (*tap, row.t_out));
        let request = (row.tap, row.t_out);
        if report.is_some_and(|report| self.rules.tap_clocks.across(request, report).is_none()) {
            (row.parts.answer, row.parts.stamps) = (None, None);
        }
        if all.iter().any(|across| *across != Across::One) {
            row.error = all.iter().filter_map(|across| across.error()).max();
            row.across = Some(Box::new(all));
        }
    }

    /// Flags a request; one loss, however many of its latencies are concerned.
    fn flag_cross_clock(&mut self, row: &mut OrderRow, trail: &Trail) {
        if !trail.echo && !row.flags.has(Flag::CrossClock) {
            row.flags.set(Flag::CrossClock);
            self.losses.add(Loss::CrossClock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_between_clocks_span_what_their_relation_is_then() {
        let (none, within) = (None, |ns| Some(Across::Within(Nanos(ns))));
        let between = vec![
            vec![none, within(30), Some(Across::Unknown), none],
            vec![within(30), none, within(4), none],
            vec![Some(Across::Unknown), within(4), none, none],
            vec![none; 4],
        ];
        let blind = vec![Blind { from: Timestamp(100), to: Timestamp(200), clocks: vec![1] }];
        let clocks = TapClocks { of_tap: vec![0, 1, 1, 2, 3], between, blind };
        for (one, other, expected) in [
            ((0, 50), (0, 90), Some(Across::One)),
            ((1, 50), (2, 150), Some(Across::One)),
            ((0, 50), (1, 99), within(30)),
            ((0, 201), (2, 250), within(30)),
            ((0, 50), (1, 100), None),
            ((1, 199), (3, 300), None),
            ((3, 300), (1, 300), within(4)),
            ((0, 150), (3, 160), Some(Across::Unknown)),
            ((0, 50), (4, 50), None),
            // A tap that appeared late.
            ((0, 50), (9, 150), Some(Across::One)),
        ] {
            let moment = |(tap, time): (u16, u64)| (TapId(tap), Timestamp(time));
            assert_eq!(clocks.across(moment(one), moment(other)), expected, "{one:?} {other:?}");
        }
    }
}
