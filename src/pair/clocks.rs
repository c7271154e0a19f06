//! Latencies between two taps on different clocks: how far each may be wrong, and which are none, because nobody knows how
//! the clocks are related.

use tickscope_model::{Loss, Nanos, SegmentKind, TapId};

use super::pairer::{Pairer, Rules};
use super::requests::Open;
use super::row::Flag;

/// The clock of a tap, as far as figures between two taps need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelatedClock {
    /// Taps of one clock have one number.
    pub own: u16,
    /// Taps whose clocks are brought onto each other have one number.
    pub related: u16,
    /// How far a figure between it and the clock that counts may be wrong; `None` where nobody knows.
    pub error: Option<Nanos>,
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

impl Rules {
    /// What a latency between two taps spans; `None` where their clocks are not related.
    fn across(&self, one: TapId, other: TapId) -> Option<Across> {
        let clock = |tap: TapId| self.tap_clocks.get(usize::from(tap.0));
        let (Some(one), Some(other)) = (clock(one), clock(other)) else { return Some(Across::One) };
        if one.own == other.own {
            return Some(Across::One);
        }
        if one.related != other.related {
            return None;
        }
        let error = one.error.zip(other.error).map(|(one, other)| Nanos(one.0.saturating_add(other.0)));
        Some(error.map_or(Across::Unknown, Across::Within))
    }
}

impl Open {
    /// The two taps that a latency lies between; `None` where both ends stand on one clock in any case.
    fn ends(&self, kind: SegmentKind) -> Option<(TapId, TapId)> {
        let request = self.row.tap;
        let report = self.report_frames.first().map(|(tap, _)| *tap);
        let (one, other) = match kind {
            SegmentKind::TickToTrade | SegmentKind::FillToRequest => {
                (self.row.trigger.as_ref().map(|trigger| trigger.tap), Some(request))
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
            SegmentKind::WallToWall | SegmentKind::Hop => (Some(request), self.other_tap),
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

impl Pairer {
    /// Takes away the latencies of a request between clocks that are not related, and says what each other one spans.
    pub(super) fn settle_clocks(&mut self, open: &mut Open) {
        if self.rules.tap_clocks.is_empty() {
            return;
        }
        let mut all = [Across::One; SegmentKind::ALL.len()];
        for kind in SegmentKind::ALL {
            if open.row.latency(kind).is_none() {
                continue;
            }
            let Some((one, other)) = open.ends(kind) else { continue };
            if let Some(across) = self.rules.across(one, other) {
                all[kind.index()] = across;
                continue;
            }
            open.row.latency.forget(kind);
            // One loss a request, however many of its latencies are concerned.
            if !open.echo && !open.row.flags.has(Flag::CrossClock) {
                open.row.flags.set(Flag::CrossClock);
                self.losses.add(Loss::CrossClock);
            }
        }
        let report = open.report_frames.first().map(|(tap, _)| *tap);
        if report.is_some_and(|report| self.rules.across(open.row.tap, report).is_none()) {
            (open.row.parts.answer, open.row.parts.stamps) = (None, None);
        }
        if all.iter().any(|across| *across != Across::One) {
            open.row.error = all.iter().filter_map(|across| across.error()).max();
            open.row.across = Some(Box::new(all));
        }
    }
}

#[cfg(test)]
mod tests {
    use tickscope_model::Timestamp;

    use super::super::trigger::TriggerRule;
    use super::*;

    #[test]
    fn errors_of_two_clocks_add_up() {
        let clock = |own, related, error: Option<i64>| RelatedClock { own, related, error: error.map(Nanos) };
        let tap_clocks = vec![
            clock(0, 0, Some(0)),
            clock(1, 0, Some(30)),
            clock(1, 0, Some(30)),
            clock(2, 0, Some(12)),
            clock(3, 0, None),
            clock(4, 4, None),
        ];
        let trigger = TriggerRule::default();
        let (from, to) = (Timestamp::MIN, Timestamp::MAX);
        let (symbols, sessions, clocks) = (Vec::new(), Vec::new(), Vec::new());
        let rules = Rules { trigger, from, to, symbols, sessions, clocks, tap_clocks };
        for (one, other, expected) in [
            (0, 0, Some(Across::One)),
            (1, 2, Some(Across::One)),
            (0, 1, Some(Across::Within(Nanos(30)))),
            (3, 1, Some(Across::Within(Nanos(42)))),
            (0, 4, Some(Across::Unknown)),
            (0, 5, None),
            (5, 5, Some(Across::One)),
            // A tap that appeared late.
            (0, 9, Some(Across::One)),
        ] {
            assert_eq!(rules.across(TapId(one), TapId(other)), expected, "{one} {other}");
        }
    }
}
