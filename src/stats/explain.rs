//! Why a slow order may have been slow: whatever was unusual at its time, each with its evidence. None of it is proof.

use tickscope_model::{Nanos, SegmentKind, Timestamp};

use super::{Summary, Verdict};
use crate::pair::{Flag, OrderRow};

/// Market data came in a burst where its tenth of a second held at least so many times what is usual.
const BURST: u64 = 3;
/// Nobody sent anything for as long as usually so many requests take: by chance alone that is rarer than 1 in 100.
const PAUSE: u64 = 5;

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
    SlowTime = "slow_time", "it lies in a stretch of time that the verdict names";
    Microburst = "microburst",
        "the tenth of a second of its trigger or of itself held at least three times the market-data messages that such \
         a time usually holds (the median of those with any)";
    Retransmission = "retransmission", "TCP sent bytes of the request again";
    MdGap = "md_gap", "market data is missing between its trigger and the request";
    CaptureLoss = "capture_loss", "bytes of its conversation, or of a frame of the request, are missing in the capture";
    Batch = "batch", "other requests stood before it in the same TCP segment, and were worked on first";
    Candidates = "candidates", "several market-data messages could have caused it: the latency may be a shorter one";
    Pause = "pause",
        "no request of any session had been sent for the time in which five are sent on average, and for at least half \
         of the latency: the trading system stood still, as a garbage collector makes it";
}

/// A reason with its evidence, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub reason: Reason,
    pub evidence: String,
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
    let mut found = Vec::new();
    let mut add = |reason: Reason, evidence: String| found.push(Explanation { reason, evidence });
    let is_internal = kind == SegmentKind::TickToTrade;
    if let Some(slow) = verdict.at(&row.session, row.t_out) {
        add(Reason::SlowTime, format!("in a slow stretch of the verdict: {}", slow.culprit.name()));
    }
    let usual = summary.rates.usual();
    let begin = row.trigger.as_ref().map_or(row.t_out, |trigger| trigger.time);
    let most = summary.rates.at(begin).max(summary.rates.at(row.t_out));
    if usual > 0 && most >= usual.saturating_mul(BURST) {
        add(Reason::Microburst, format!("{most} market-data messages in its tenth of a second, usually {usual}"));
    }
    if row.flags.has(Flag::Retransmitted) && !is_internal {
        add(Reason::Retransmission, "bytes of the request were sent again by TCP".into());
    }
    if row.flags.has(Flag::MdGap) && is_internal {
        add(Reason::MdGap, "messages of the feed are missing before the request".into());
    }
    if row.flags.has(Flag::Gap) || row.flags.has(Flag::Truncated) {
        let what = if row.flags.has(Flag::Gap) { "bytes of its conversation" } else { "the end of a frame" };
        add(Reason::CaptureLoss, format!("{what} are not in the capture").replace("frame are", "frame is"));
    }
    if row.parts.batch > 1 && !is_internal {
        add(Reason::Batch, format!("request number {} of its TCP segment", row.parts.batch));
    }
    if is_internal && let (Some(least), Some(most)) = (row.t2t_min, row.t2t_max) {
        let range = format!("candidates from {} to {} ns before the request", least.0, most.0);
        add(Reason::Candidates, range);
    }
    if is_internal
        && let (Some(quiet), Some(mean)) = (row.parts.quiet, summary.mean_gap())
        && let Ok(quiet_ns) = u64::try_from(quiet.0)
        && quiet_ns >= mean.saturating_mul(PAUSE)
        && quiet.0 * 2 >= latency.0
    {
        add(Reason::Pause, format!("no request of any session for {quiet_ns} ns, on average {mean} ns"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::summary_tests::row;
    use super::*;

    fn words(row: &OrderRow, kind: SegmentKind, summary: &Summary) -> Vec<&'static str> {
        let found = explanations(row, (kind, Nanos(1_000_000)), summary, &Verdict::default());
        found.into_iter().map(|it| it.reason.name()).collect()
    }

    #[test]
    fn what_is_unusual_is_said_and_nothing_else() {
        let mut summary = Summary::default();
        for slot in 0..50 {
            summary.market(Timestamp(slot * SLOT_NS), if slot == 20 { 90 } else { 20 });
            summary.order(&row(&slot.to_string(), slot * SLOT_NS));
        }
        let (ack, t2t) = (SegmentKind::Ack, SegmentKind::TickToTrade);
        assert_eq!(words(&row("a", 10 * SLOT_NS), ack, &summary), [""; 0]);
        let mut slow = row("b", 20 * SLOT_NS + 7);
        assert_eq!(words(&slow, ack, &summary), ["microburst"]);
        slow.t_out = Timestamp(5 * SLOT_NS);
        slow.flags.set(Flag::Retransmitted);
        slow.flags.set(Flag::MdGap);
        slow.flags.set(Flag::Gap);
        slow.parts.batch = 3;
        (slow.t2t_min, slow.t2t_max) = (Some(Nanos(1)), Some(Nanos(9)));
        slow.parts.quiet = Some(Nanos(500_000_000));
        assert_eq!(words(&slow, ack, &summary), ["retransmission", "capture_loss", "batch"]);
        assert_eq!(words(&slow, t2t, &summary), ["md_gap", "capture_loss", "candidates", "pause"]);
        slow.parts.quiet = Some(Nanos(400_000_000));
        assert!(!words(&slow, t2t, &summary).contains(&"pause"), "five in 500 ms are usual");
    }
}
