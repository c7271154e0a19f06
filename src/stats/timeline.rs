//! Latencies over time. Buckets begin 100 ms wide; when there are more than 512 of them, neighbours are joined and the
//! width grows. Each width divides the next, so joining is exact, and memory stays bounded however long the run is.

use std::collections::BTreeMap;

use tickscope_model::{SegmentKind, Timestamp};

use super::Latencies;

const MOST_BUCKETS: usize = 512;
const SECOND: u64 = 1_000_000_000;
/// Widths that people know; each divides the next. Beyond the last one they double.
const WIDTHS: [u64; 14] = [
    SECOND / 10,
    SECOND / 5,
    SECOND,
    2 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    600 * SECOND,
    1800 * SECOND,
    3600 * SECOND,
    7200 * SECOND,
    21_600 * SECOND,
    86_400 * SECOND,
];

/// What happened in one span of time.
#[derive(Clone, Debug, Default)]
struct Bucket {
    market: u64,
    latencies: Latencies,
}

/// One bucket as it is shown: `from` is inclusive, `to` is not. Spans in which nothing happened are left out.
#[derive(Clone, Debug)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Market-data messages.
    pub market: u64,
    /// By the time of the request.
    pub latencies: Latencies,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Timeline {
    width_ns: u64,
    /// By time divided by width.
    buckets: BTreeMap<u64, Bucket>,
    /// Market messages of the bucket at hand, not yet in `buckets`: most messages cost a comparison and an addition.
    pending: u64,
    pending_from: u64,
    pending_to: u64,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline { width_ns: WIDTHS[0], buckets: BTreeMap::new(), pending: 0, pending_from: 0, pending_to: 0 }
    }
}

impl Timeline {
    /// Counts market-data messages.
    pub fn market(&mut self, time: Timestamp, count: u64) {
        if !(self.pending_from <= time.0 && time.0 < self.pending_to) {
            self.flush();
            let key = time.0 / self.width_ns;
            self.pending_from = key * self.width_ns;
            self.pending_to = self.pending_from.saturating_add(self.width_ns);
        }
        self.pending += count;
    }

    /// Records latencies under the time of their request, whose pair is sure, or not.
    pub fn record(&mut self, time: Timestamp, latencies: impl IntoIterator<Item = (SegmentKind, u64)>, is_sure: bool) {
        let mut latencies = latencies.into_iter().peekable();
        if latencies.peek().is_none() {
            return;
        }
        let bucket = self.buckets.entry(time.0 / self.width_ns).or_default();
        latencies.for_each(|(kind, value_ns)| bucket.latencies.record_pair(kind, value_ns, is_sure));
        self.limit();
    }

    fn flush(&mut self) {
        if self.pending > 0 {
            self.buckets.entry(self.pending_from / self.width_ns).or_default().market += self.pending;
            self.pending = 0;
            self.limit();
        }
        // Also after a change of width the next message finds its bucket anew.
        self.pending_to = 0;
    }

    fn limit(&mut self) {
        while self.buckets.len() > MOST_BUCKETS {
            let wider = next_width(self.width_ns);
            let factor = wider / self.width_ns;
            let mut joined: BTreeMap<u64, Bucket> = BTreeMap::new();
            for (key, bucket) in std::mem::take(&mut self.buckets) {
                let into = joined.entry(key / factor).or_default();
                into.market += bucket.market;
                into.latencies.merge(&bucket.latencies);
            }
            self.buckets = joined;
            self.width_ns = wider;
        }
    }

    pub fn width_ns(&self) -> u64 {
        self.width_ns
    }

    /// All spans, in time order.
    pub fn spans(&self) -> Vec<Span> {
        self.spans_of(self.width_ns)
    }

    /// Wider spans: at most `most` of them, silent times between two of them counted as one.
    pub fn at_most(&self, most: usize) -> Vec<Span> {
        let mut width_ns = self.width_ns;
        loop {
            let mut keys: Vec<u64> = self.buckets.keys().map(|key| key / (width_ns / self.width_ns)).collect();
            if self.pending > 0 {
                keys.push(self.pending_from / width_ns);
                keys.sort_unstable();
            }
            keys.dedup();
            let silent = keys.windows(2).filter(|pair| pair[0] + 1 < pair[1]).count();
            if keys.len() + silent <= most.max(1) {
                return self.spans_of(width_ns);
            }
            width_ns = next_width(width_ns);
        }
    }

    /// `width_ns` is this timeline's or one of the wider ones.
    fn spans_of(&self, width_ns: u64) -> Vec<Span> {
        let mut spans: BTreeMap<u64, Bucket> = BTreeMap::new();
        for (&key, bucket) in &self.buckets {
            let into = spans.entry(key / (width_ns / self.width_ns)).or_default();
            into.market += bucket.market;
            into.latencies.merge(&bucket.latencies);
        }
        if self.pending > 0 {
            spans.entry(self.pending_from / width_ns).or_default().market += self.pending;
        }
        let span = |(key, bucket): (u64, Bucket)| Span {
            from: Timestamp(key * width_ns),
            to: Timestamp((key * width_ns).saturating_add(width_ns)),
            market: bucket.market,
            latencies: bucket.latencies,
        };
        spans.into_iter().map(span).collect()
    }
}

fn next_width(width_ns: u64) -> u64 {
    WIDTHS.into_iter().find(|&wider| wider > width_ns).unwrap_or(width_ns.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_width_divides_the_next() {
        assert!(WIDTHS.windows(2).all(|pair| pair[1] % pair[0] == 0));
    }

    #[test]
    fn times_from_the_epoch_to_the_far_future_stay_bounded() {
        let mut timeline = Timeline::default();
        for step in 0..5000_u64 {
            timeline.market(Timestamp(step * (u64::MAX / 5000)), 1);
            timeline.record(Timestamp(u64::MAX - step * (u64::MAX / 5000)), [(SegmentKind::Ack, step)], true);
        }
        let spans = timeline.spans();
        assert!(spans.len() <= MOST_BUCKETS + 1, "{}", spans.len());
        assert_eq!(spans.iter().map(|span| span.market).sum::<u64>(), 5000);
        assert!(timeline.at_most(24).len() <= 24);
    }

    #[test]
    fn sparse_times_make_wide_spans_and_an_outlier_does_not() {
        let mut timeline = Timeline::default();
        (0..20).for_each(|second| timeline.record(Timestamp((100 + second) * SECOND), [(SegmentKind::Ack, 1)], true));
        assert_eq!((timeline.spans().len(), timeline.at_most(24)[0].to.0), (20, 101 * SECOND));
        timeline.record(Timestamp(1_769_000_000 * SECOND), [(SegmentKind::Ack, 1)], true);
        let spans = timeline.at_most(24);
        assert_eq!((spans.len(), spans[1].from.0), (21, 101 * SECOND));
    }

    #[test]
    fn spans_begin_at_round_times() {
        let mut timeline = Timeline::default();
        timeline.record(Timestamp(12 * SECOND + 345_678_901), [(SegmentKind::Ack, 1)], true);
        let spans = timeline.spans();
        assert_eq!((spans[0].from.0, spans[0].to.0), (12 * SECOND + 300_000_000, 12 * SECOND + 400_000_000));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn joining_loses_nothing(times in prop::collection::vec(0..4_000 * SECOND, 1..1000)) {
            let mut timeline = Timeline::default();
            let mut whole = Latencies::default();
            for (&time, value) in times.iter().zip(0..) {
                timeline.market(Timestamp(time), 1);
                timeline.record(Timestamp(time), [(SegmentKind::Ack, value)], true);
                whole.record(SegmentKind::Ack, value);
            }
            let spans = timeline.spans();
            let mut joined = Latencies::default();
            for span in &spans {
                joined.merge(&span.latencies);
                let inside = times.iter().filter(|&&time| span.from.0 <= time && time < span.to.0).count();
                prop_assert_eq!(span.market, inside as u64);
                prop_assert_eq!(span.latencies.of(SegmentKind::Ack).map_or(0, super::super::Histogram::n), inside as u64);
            }
            prop_assert_eq!(joined.of(SegmentKind::Ack), whole.of(SegmentKind::Ack));
            prop_assert!(spans.len() <= MOST_BUCKETS);
        }
    }
}
