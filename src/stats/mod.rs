//! Rows to numbers: histograms, groups, time buckets, the slowest orders, and the account of what was lost.
//! [`Summary`] is fed by `pair` and read by `write`; percentiles follow `HdrHistogram` (<https://hdrhistogram.org>).

mod accounting;
mod attribution;
mod buckets;
mod facts;
mod group;
mod histogram;
mod interop;
mod shift;
mod slowest;
mod summary;
mod timeline;

pub use accounting::Discrepancy;
pub use attribution::{Attribution, Coverage, THRESHOLD};
pub use facts::{Feed, Gap, Line, Session, Tap, Totals, TriggerRule};
pub use group::{Group, Groups, Latencies};
pub use histogram::{FEW, Histogram, QUANTILES, Quantile};
pub use interop::{PercentileLine, moments, percentile_lines, write_interval_log};
pub use shift::{Compared, Shift, SlowSide};
pub use slowest::{Slowest, first_answer};
pub use summary::Summary;
#[cfg(test)]
pub(crate) use summary::tests as summary_tests;
pub use timeline::{Span, Timeline};
