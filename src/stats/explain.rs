//! Why a slow order may have been slow: whatever was unusual at its time, each with its evidence. None of it is proof.

use tickscope_model::{Nanos, SegmentKind, Timestamp};

use super::{Culprit, Slow, Summary, Verdict};
use crate::pair::{Across, Flag, OrderRow};

/// Market data came in a burst where its tenth of a second held at least so many times what is usual.
const BURST: u64 = 3;
/// Nobody sent anything while so many requests would have been usual, by the clock and by the market data that came: where
/// requests come by chance, each of the two is rarer than 1 in 20,000.
const PAUSE: u64 = 10;

macro_rules! reasons {
    ($($variant:ident = $name:literal, $text:literal;)*) => {
        /// What was unusual.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $(#[doc = $text] $variant),* }
        impl Reason {
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),*];
            pub fn name(self) -> &'static str { match self { $(Reason::$variant => $name),* } }
            /// What it means, for the manual.
            pub fn text(self) -> &'static str { match self { $(Reason::$variant => $text),* } }
        }
    };
}

reasons! {
    SlowTime = "slow_time", "it lies in a stretch of time in which the verdict found latencies of its kind slow";
    Microburst = "microburst",
        "the tenth of a second of its trigger or of itself held at least three times the market-data messages that such \
         a time usually holds (the median of those with any)";
    Retransmission = "retransmission", "TCP sent bytes of the request again";
    MdGap = "md_gap", "market data is missing between its trigger and the request";
    CaptureLoss = "capture_loss", "bytes of its conversation, or of a frame of the request, are missing in the capture";
    Batch = "batch", "other requests stood before it in the same TCP segment, and were worked on first";
    Candidates = "candidates",
        "several market-data messages, at different times, could have caused it: the latency may be a shorter one";
    Pause = "pause",
        "no request of any session had been sent for the time in which ten are sent on average, although market data came \
         that on average brings ten, and for at least half of the latency. If requests come by chance, that is rarer than 1 \
         in 20,000; a garbage collector makes such pauses, and so does a trader who waits";
}

/// A reason with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    SlowTime(Culprit),
    /// Market-data messages in its tenth of a second, and usually.
    Microburst {
        most: u64,
        usual: u64,
    },
    Retransmission,
    MdGap,
    /// Whether bytes of the conversation are missing, or else the end of a frame.
    CaptureLoss {
        is_gap: bool,
    },
    /// Its place in its TCP segment.
    Batch(u16),
    /// How long before the request the newest and the oldest candidate came, and what both of that span.
    Candidates {
        least: Nanos,
        most: Nanos,
        across: Across,
    },
    /// No request for so long, the average time between two, the market-data messages meanwhile, and how many there are on
    /// average for each request.
    Pause {
        quiet_ns: u64,
        mean_ns: u64,
        messages: u64,
        mean_messages: u64,
    },
}

impl Explanation {
    pub fn reason(&self) -> Reason {
        match self {
            Explanation::SlowTime(..) => Reason::SlowTime,
            Explanation::Microburst { .. } => Reason::Microburst,
            Explanation::Retransmission => Reason::Retransmission,
            Explanation::MdGap => Reason::MdGap,
            Explanation::CaptureLoss { .. } => Reason::CaptureLoss,
            Explanation::Batch(..) => Reason::Batch,
            Explanation::Candidates { .. } => Reason::Candidates,
            Explanation::Pause { .. } => Reason::Pause,
        }
    }
}

/// Market-data messages in each tenth of a second; of a run longer than a day the first day.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    /// In time order: when, and how many.
    slots: Vec<(Timestamp, u64)>,
}

/// Slots that are kept: 16 MiB.
const SLOTS: usize = 1 << 20;
/// Width of a slot.
pub(super) const SLOT_NS: u64 = 100_000_000;

impl Rates {
    pub(super) fn add(&mut self, time: Timestamp, count: u64) {
        let slot = Timestamp(time.0 / SLOT_NS * SLOT_NS);
        match self.slots.last_mut() {
            Some(last) if last.0 == slot => last.1 += count,
            _ => {
                if self.slots.len() < SLOTS {
                    self.slots.push((slot, count));
                }
            }
        }
    }

    fn at(&self, time: Timestamp) -> u64 {
        let slot = Timestamp(time.0 / SLOT_NS * SLOT_NS);
        let from = self.slots.partition_point(|(known, _)| *known < slot);
        self.slots.get(from).filter(|(known, _)| *known == slot).map_or(0, |(_, count)| *count)
    }

    /// Messages from one time to another, of tenths of a second that lie partly in it their share.
    fn between(&self, from: Timestamp, to: Timestamp) -> u64 {
        let first = self.slots.partition_point(|(slot, _)| slot.0 + SLOT_NS <= from.0);
        let slots = self.slots.iter().skip(first).take_while(|(slot, _)| *slot < to);
        let share = |(slot, count): &(Timestamp, u64)| {
            let inside = to.0.min(slot.0 + SLOT_NS).saturating_sub(from.0.max(slot.0));
            u128::from(*count) * u128::from(inside)
        };
        u64::try_from(slots.map(share).sum::<u128>() / u128::from(SLOT_NS)).unwrap_or(u64::MAX)
    }

    fn total(&self) -> u64 {
        self.slots.iter().map(|(_, count)| count).sum()
    }

    fn usual(&self) -> u64 {
        super::slowness::median(&mut self.slots.iter().map(|(_, count)| *count).collect::<Vec<u64>>())
    }
}

/// Everything that was unusual about an order whose latency of this kind is this long.
pub fn explanations(
    row: &OrderRow,
    (kind, latency): (SegmentKind, Nanos),
    summary: &Summary,
    verdict: &Verdict,
) -> Vec<Explanation> {
    let is_internal = kind.is_inferred();
    let mut found = Vec::new();
    found.extend(slow_time(row, is_internal, verdict));
    let usual = summary.rates.usual();
    let begin = row.trigger.as_ref().map_or(row.t_out, |trigger| trigger.time);
    let most = summary.rates.at(begin).max(summary.rates.at(row.t_out));
    if usual > 0 && most >= usual.saturating_mul(BURST) {
        found.push(Explanation::Microburst { most, usual });
    }
    if row.flags.has(Flag::Retransmitted) && !is_internal {
        found.push(Explanation::Retransmission);
    }
    if row.flags.has(Flag::MdGap) && is_internal {
        found.push(Explanation::MdGap);
    }
    if row.flags.has(Flag::Gap) || row.flags.has(Flag::Truncated) {
        found.push(Explanation::CaptureLoss { is_gap: row.flags.has(Flag::Gap) });
    }
    if row.parts.batch > 1 && !is_internal {
        found.push(Explanation::Batch(row.parts.batch));
    }
    // Messages of one packet came at one time: whichever it was, the latency is the same.
    if is_internal
        && let (Some(least), Some(most)) = (row.t2t_min, row.t2t_max)
        && least < most
    {
        found.push(Explanation::Candidates { least, most, across: row.across_of(kind) });
    }
    if is_internal {
        found.extend(pause(row, latency, summary));
    }
    found
}

/// A stretch of the verdict in which latencies of this side were slow, not only those of the other.
fn slow_time(row: &OrderRow, is_internal: bool, verdict: &Verdict) -> Option<Explanation> {
    let is_its_side = |slow: &Slow| {
        let sides = if is_internal { [&slow.internal, &None] } else { [&slow.external, &slow.network] };
        sides.into_iter().flatten().any(|compared| compared.is_slow)
    };
    let holds = |slow: &&Slow| {
        let is_its_session = slow.session.as_ref().is_none_or(|named| *named == row.session);
        slow.from <= row.t_out && row.t_out <= slow.to && is_its_session && is_its_side(slow)
    };
    verdict.slow.iter().find(holds).map(|slow| Explanation::SlowTime(slow.culprit))
}

/// No request of any session for long, while messages came that would usually have brought some.
fn pause(row: &OrderRow, latency: Nanos, summary: &Summary) -> Option<Explanation> {
    let quiet = row.parts.quiet?;
    let (quiet_ns, mean_ns) = (u64::try_from(quiet.0).ok()?, summary.mean_gap()?);
    let messages = summary.rates.between(row.t_out.shifted(Nanos(-quiet.0)), row.t_out);
    let mean_messages = summary.rates.total().checked_div(summary.requests())?;
    let is_long = quiet_ns >= mean_ns.saturating_mul(PAUSE) && quiet.0.saturating_mul(2) >= latency.0;
    let is_missed = messages > 0 && messages >= mean_messages.saturating_mul(PAUSE);
    (is_long && is_missed).then_some(Explanation::Pause { quiet_ns, mean_ns, messages, mean_messages })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Compared;
    use super::super::summary_tests::row;
    use super::*;

    const ACK: SegmentKind = SegmentKind::Ack;
    const T2T: SegmentKind = SegmentKind::TickToTrade;

    /// A request and twenty messages each tenth of a second, and one burst.
    fn usual() -> Summary {
        let mut summary = Summary::default();
        for slot in 0..50 {
            summary.market(Timestamp(slot * SLOT_NS), if slot == 20 { 90 } else { 20 });
            summary.order(&row(&slot.to_string(), slot * SLOT_NS));
        }
        summary
    }

    fn words(row: &OrderRow, kind: SegmentKind, (summary, verdict): (&Summary, &Verdict)) -> Vec<&'static str> {
        let found = explanations(row, (kind, Nanos(1_000_000)), summary, verdict);
        found.into_iter().map(|it| it.reason().name()).collect()
    }

    #[test]
    fn what_is_unusual_is_said_and_nothing_else() {
        let (summary, calm) = (&usual(), &Verdict::default());
        assert_eq!(words(&row("a", 10 * SLOT_NS), ACK, (summary, calm)), [""; 0]);
        let mut slow = row("b", 20 * SLOT_NS + 7);
        assert_eq!(words(&slow, ACK, (summary, calm)), ["microburst"]);
        slow.t_out = Timestamp(15 * SLOT_NS);
        slow.flags.set(Flag::Retransmitted);
        slow.flags.set(Flag::MdGap);
        slow.flags.set(Flag::Gap);
        slow.parts.batch = 3;
        (slow.t2t_min, slow.t2t_max) = (Some(Nanos(1)), Some(Nanos(9)));
        slow.parts.quiet = Some(Nanos(1_100_000_000));
        assert_eq!(words(&slow, ACK, (summary, calm)), ["retransmission", "capture_loss", "batch"]);
        assert_eq!(words(&slow, T2T, (summary, calm)), ["md_gap", "capture_loss", "candidates", "pause"]);
    }

    #[test]
    fn candidates_of_one_time_explain_nothing() {
        let mut slow = row("a", 10 * SLOT_NS);
        (slow.t2t_min, slow.t2t_max) = (Some(Nanos(74_769)), Some(Nanos(74_769)));
        assert_eq!(words(&slow, T2T, (&usual(), &Verdict::default())), [""; 0]);
    }

    #[test]
    fn a_pause_is_rare_by_the_clock_and_by_what_the_market_did() {
        let mut slow = row("a", 15 * SLOT_NS);
        let calm = Verdict::default();
        slow.parts.quiet = Some(Nanos(900_000_000));
        assert_eq!(words(&slow, T2T, (&usual(), &calm)), [""; 0], "nine requests in 900 ms are usual");
        slow.parts.quiet = Some(Nanos(1_100_000_000));
        assert_eq!(words(&slow, T2T, (&usual(), &calm)), ["pause"]);
        // The market was as quiet as we were: nothing was left undone.
        let mut quiet = Summary::default();
        for slot in 0..50 {
            quiet.market(Timestamp(slot * SLOT_NS), if (4..15).contains(&slot) { 1 } else { 20 });
            quiet.order(&row(&slot.to_string(), slot * SLOT_NS));
        }
        assert_eq!(words(&slow, T2T, (&quiet, &calm)), [""; 0]);
        assert_eq!(words(&slow, T2T, (&Summary::default(), &calm)), [""; 0]);
    }

    #[test]
    fn messages_between_two_times_are_counted_by_their_share_of_a_slot() {
        let mut rates = Rates::default();
        (0..10).for_each(|slot| rates.add(Timestamp(slot * SLOT_NS), 100));
        let between = |from: u64, to: u64| rates.between(Timestamp(from), Timestamp(to));
        assert_eq!(between(0, 10 * SLOT_NS), 1000);
        assert_eq!(between(SLOT_NS / 2, 2 * SLOT_NS), 150);
        assert_eq!(between(SLOT_NS / 4, SLOT_NS / 2), 25);
        assert_eq!((between(20 * SLOT_NS, 30 * SLOT_NS), rates.total()), (0, 1000));
    }

    #[test]
    fn a_slow_time_of_the_other_side_explains_nothing() {
        let compared = |kind, is_slow| Compared {
            kind,
            usual_p50_ns: 10,
            during_p50_ns: 50,
            n: 20,
            is_slow,
            usual_p10_ns: 5,
            during_p10_ns: 5,
        };
        let mut slow = Slow {
            culprit: Culprit::Exchange,
            session: None,
            from: Timestamp(0),
            to: Timestamp(SLOT_NS),
            is_open: (false, false),
            internal: Some(compared(T2T, false)),
            external: Some(compared(ACK, true)),
            network: None,
            market: None,
            line: None,
            retransmitted: 0,
            md_gaps: 0,
        };
        let summary = Summary::default();
        let said = |slow: &Slow, kind| {
            let verdict = Verdict { slow: vec![slow.clone()], is_testable: true };
            words(&row("a", 5), kind, (&summary, &verdict))
        };
        assert_eq!((said(&slow, ACK), said(&slow, T2T)), (vec!["slow_time"], vec![]));
        slow.internal = Some(compared(T2T, true));
        assert_eq!(said(&slow, T2T), ["slow_time"]);
        slow.session = Some(Arc::from("another"));
        assert_eq!(said(&slow, ACK), [""; 0]);
    }
}
