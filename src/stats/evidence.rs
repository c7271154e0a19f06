//! What is found out at the end of a run, from all requests at once: what external latency consists of, and which side slowed.

use std::sync::OnceLock;

use tickscope_model::{SegmentKind, Timestamp};

use super::scopes::{self, Scope};
use super::{SeriesSet, Split};
use crate::pair::{Flag, OrderRow};

/// See [`Marked`].
const MARKED: usize = 1 << 16;
/// Triggers that are less sure than this are left out of the verdict: where messages come fast, the newest one is near.
const SURE: f32 = 0.5;

/// Latencies that the verdict is made of.
const VERDICT_ON: [SegmentKind; 6] = [
    SegmentKind::TickToTrade,
    SegmentKind::TcpAck,
    SegmentKind::Ack,
    SegmentKind::Reject,
    SegmentKind::CancelAck,
    SegmentKind::ReplaceAck,
];

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What external latency consists of.
    pub split: Split,
    /// Single latencies, for the verdict.
    pub(super) series: SeriesSet,
    pub(super) marked: Marked,
    /// Where they were slow, once somebody has asked.
    scopes: OnceLock<Vec<Scope>>,
}

/// When requests were sent that something had happened to; the first [`MARKED`] of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Marked {
    pub(super) retransmitted: Vec<Timestamp>,
    pub(super) md_gaps: Vec<Timestamp>,
}

impl Evidence {
    /// One request, when it is closed.
    pub fn order(&mut self, row: &OrderRow) {
        self.scopes.take();
        self.for_verdict(row);
        self.split.add(row);
    }

    fn for_verdict(&mut self, row: &OrderRow) {
        for (flag, times) in
            [(Flag::Retransmitted, &mut self.marked.retransmitted), (Flag::MdGap, &mut self.marked.md_gaps)]
        {
            if row.flags.has(flag) && times.len() < MARKED {
                times.push(row.t_out);
            }
        }
        for kind in VERDICT_ON {
            let Some(Ok(value)) = row.latency(kind).map(|latency| u64::try_from(latency.0)) else { continue };
            let counts = match kind {
                SegmentKind::TickToTrade => row.trigger.as_ref().is_some_and(|trigger| trigger.confidence > SURE),
                // An ACK of bytes that were sent twice may be that of either copy (Karn and Partridge 1987).
                SegmentKind::TcpAck => !row.flags.has(Flag::AckWithAnswer) && !row.flags.has(Flag::Retransmitted),
                _ => !row.flags.has(Flag::Resent),
            };
            if counts {
                self.series.record((&row.session, &row.symbol), kind, row.t_out, value);
            }
        }
    }

    /// Everything was added: what can be found out without anything else is.
    pub fn finish(&mut self) {
        self.split.finish();
        self.scopes = OnceLock::new();
        self.scopes();
    }

    /// Where which side was slow.
    pub(super) fn scopes(&self) -> &[Scope] {
        self.scopes.get_or_init(|| scopes::search_all(&self.series))
    }
}
