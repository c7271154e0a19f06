//! Rows to numbers: histograms, groups, time buckets, the slowest orders, and the account of what was lost.
//! [`Summary`] is fed by `pair` and read by `write`; percentiles follow `HdrHistogram` (<https://hdrhistogram.org>).

mod accounting;
mod attribution;
mod buckets;
mod by;
mod change;
mod clock_bounds;
mod clock_gaps;
mod clock_relations;
mod evidence;
mod explain;
mod facts;
mod group;
mod histogram;
mod interop;
mod market;
mod oneway;
mod scopes;
mod series;
mod slowest;
mod slowness;
mod snapshot;
mod split;
mod summary;
mod timeline;
mod verdict;

pub use accounting::Discrepancy;
pub use attribution::{Attribution, Cause, Causes, Coverage, THRESHOLD};
pub use by::{Asked, By};
pub use clock_bounds::{Bound, BoundSide};
pub use clock_relations::{BoundsOfPairs, ClockRelations, Piece, relate};
pub use evidence::Evidence;
pub use explain::{Explanation, Reason, explanations};
pub use facts::{
    ClockRelation, ExchangeAhead, Feed, Gap, Hops, Lag, Line, LiveTap, QueueFrames, Recorded, Relation, Session,
    StampSource, Tap, Totals, TriggerRule,
};
pub use group::{Group, Groups, Latencies};
pub use histogram::{FEW, Histogram, QUANTILES, Quantile};
pub use interop::{PercentileLine, moments, percentile_lines, write_interval_log, write_intervals};
pub use market::LateLine;
pub use oneway::OneWay;
pub use scopes::{ALPHA, VERDICT_TEST};
pub(crate) use series::every_second;
pub use series::{Sample, Series, SeriesSet};
pub use slowest::{Slowest, first_answer};
pub use snapshot::{Kept, Pace, Rates, Slowness, Snapshot};
pub use split::{Part, PartFigures, Split};
pub use summary::Summary;
#[cfg(test)]
pub(crate) use summary::tests as summary_tests;
pub use timeline::{Span, Timeline};
pub use verdict::{Compared, Culprit, Slow, Verdict};
