//! Which side slowed, and when: the one sentence under the answer. A span of time counts as slow when its median is at
//! least 1.5 times the median of the rest of the run and a one-sided rank-sum test (Mann and Whitney 1947, normal
//! approximation with ties) says so at 0.1 % over all spans and segments together (Bonferroni). Internal and external
//! latencies are tested apart; slow spans that touch become one.

use std::ops::Range;

use tickscope_model::{SegmentKind, Timestamp};

use super::{Histogram, Latencies, Quantile, Span, Timeline};

/// Which side of the capture point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowSide {
    /// The trading system: tick-to-trade.
    Internal,
    /// The exchange and the way to it.
    External,
}

/// A segment's median inside the slow interval and outside of all slow intervals of that segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    pub kind: SegmentKind,
    pub usual_p50_ns: u64,
    pub during_p50_ns: u64,
    /// Samples in the interval.
    pub n: u64,
}

/// An interval in which one side was slower than in the rest of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    pub side: SlowSide,
    /// Inclusive.
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    pub slow: Compared,
    /// The other side at the same time; `None` where it has too few samples to say.
    pub other: Option<Compared>,
    /// Slow intervals found besides this one.
    pub more: usize,
}

/// What is tested. Fills are not: they wait for other people's orders, which is nobody's latency.
const TESTED: [(SlowSide, SegmentKind); 6] = [
    (SlowSide::Internal, SegmentKind::TickToTrade),
    (SlowSide::External, SegmentKind::TcpAck),
    (SlowSide::External, SegmentKind::Ack),
    (SlowSide::External, SegmentKind::Reject),
    (SlowSide::External, SegmentKind::CancelAck),
    (SlowSide::External, SegmentKind::ReplaceAck),
];
/// Fewer samples than these make no statement about a span.
const ENOUGH: u64 = 8;
/// The run is cut into about so many cells of equal sample count, once for each number.
const PARTS: [u64; 3] = [60, 24, 10];
/// Chance of a false alarm on a run in which nothing changed.
const ALPHA: f64 = 0.001;

impl Shift {
    /// The clearest slow interval of a run, if there is one.
    pub fn find(timeline: &Timeline) -> Option<Shift> {
        let spans = timeline.spans();
        let mut found: Vec<Interval> =
            TESTED.iter().flat_map(|&(side, kind)| slow_intervals(&spans, side, kind)).collect();
        found.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let first = found.first()?;
        let other = TESTED
            .iter()
            .filter(|(side, _)| *side != first.side)
            .filter_map(|&(side, kind)| compare(&spans, first, side, kind, &found))
            .max_by_key(|compared| compared.n);
        // Several segments of one side see the same slowness; only intervals apart from this one are more of it.
        let apart = |interval: &&Interval| interval.end <= first.begin || first.end <= interval.begin;
        Some(Shift {
            side: first.side,
            from: spans.get(first.begin)?.from,
            to: spans.get(first.end.checked_sub(1)?)?.to,
            slow: compare(&spans, first, first.side, first.kind, &found)?,
            other,
            more: join(found.iter().filter(apart).copied().collect()).len(),
        })
    }

    /// Whether there are enough samples to see a change at all.
    pub fn is_testable(overall: &Latencies) -> bool {
        TESTED.iter().any(|(_, kind)| overall.of(*kind).is_some_and(|histogram| histogram.n() >= 4 * ENOUGH))
    }

    /// How many times slower, in hundredths; `None` where the usual median is 0.
    pub fn factor_hundredths(&self) -> Option<u64> {
        super::histogram::ratio_hundredths(self.slow.during_p50_ns, self.slow.usual_p50_ns)
    }
}

impl Compared {
    /// `unchanged` within 25 %.
    pub fn verdict(&self) -> &'static str {
        let (usual, during) = (u128::from(self.usual_p50_ns), u128::from(self.during_p50_ns));
        if during * 4 > usual * 5 {
            "slower too"
        } else if during * 5 < usual * 4 {
            "faster"
        } else {
            "unchanged"
        }
    }
}

/// Spans `begin..end` in which a segment was slow.
#[derive(Clone, Copy, Debug)]
struct Interval {
    side: SlowSide,
    kind: SegmentKind,
    begin: usize,
    end: usize,
    /// z of the strongest cell: how clear it is.
    weight: f64,
}

/// Neighbouring spans with enough samples together.
struct Cell {
    begin: usize,
    end: usize,
    histogram: Histogram,
}

/// A segment over the whole run; its buckets are gone through once for each cell.
struct Whole {
    n: u64,
    buckets: Vec<(u64, u64)>,
}

impl Whole {
    fn new(histogram: &Histogram) -> Whole {
        Whole { n: histogram.n(), buckets: histogram.buckets().collect() }
    }
}

fn slow_intervals(spans: &[Span], side: SlowSide, kind: SegmentKind) -> Vec<Interval> {
    let whole = Whole::new(&histogram_of(spans, kind));
    // Several sizes, each also half a cell later: a short slow time fills a small cell, a weak one needs a large one.
    let sizes = PARTS.map(|parts| ENOUGH.max(whole.n.div_ceil(parts)));
    let mut cells: Vec<Cell> = Vec::new();
    for (index, &size) in sizes.iter().enumerate() {
        if index == 0 || sizes.get(index - 1) != Some(&size) {
            cells.extend(cut(spans, kind, size, size));
            cells.extend(cut(spans, kind, size / 2, size));
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "a few hundred cells")]
    let threshold = ALPHA / (cells.len().max(1) * TESTED.len()) as f64;
    let mut slow: Vec<Interval> = Vec::new();
    for Cell { begin, end, histogram } in &cells {
        if let Some(weight) = slower(histogram, &whole, threshold) {
            slow.push(Interval { side, kind, begin: *begin, end: *end, weight });
        }
    }
    let mut intervals = join(slow);
    sharpen(spans, kind, &mut intervals);
    intervals
}

/// Cuts the run into cells of about `size` samples, the first of `first`; what is left over goes to the last one.
fn cut(spans: &[Span], kind: SegmentKind, first: u64, size: u64) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    let mut open = Cell { begin: 0, end: 0, histogram: Histogram::default() };
    let mut target = first;
    for (index, span) in spans.iter().enumerate() {
        open.end = index + 1;
        if let Some(histogram) = span.latencies.of(kind) {
            open.histogram.merge(histogram);
        }
        if open.histogram.n() >= target {
            cells.push(open);
            open = Cell { begin: index + 1, end: index + 1, histogram: Histogram::default() };
            target = size;
        }
    }
    if let Some(last) = cells.last_mut() {
        last.end = open.end;
        last.histogram.merge(&open.histogram);
    }
    cells.retain(|cell| cell.histogram.n() >= ENOUGH);
    cells
}

/// Intervals that touch or overlap become one.
fn join(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_by_key(|interval| interval.begin);
    let mut joined: Vec<Interval> = Vec::new();
    for next in intervals {
        match joined.last_mut() {
            Some(last) if next.begin <= last.end => {
                last.end = last.end.max(next.end);
                last.weight = last.weight.max(next.weight);
            }
            _ => joined.push(next),
        }
    }
    joined
}

/// The z of the rank-sum test where the cell is slower than the rest of the whole, by median and beyond chance.
fn slower(cell: &Histogram, whole: &Whole, threshold: f64) -> Option<f64> {
    let rest = median_without(whole, cell)?;
    if u128::from(cell.median()) * 2 < u128::from(rest) * 3 {
        return None;
    }
    let z = rank_sum_z(cell, whole);
    (tail(z) < threshold).then_some(z)
}

/// The median of `whole` without the samples of `part`; `None` where too few are left.
fn median_without(whole: &Whole, part: &Histogram) -> Option<u64> {
    let n = whole.n.checked_sub(part.n()).filter(|&n| n >= ENOUGH)?;
    let rank = Quantile::P50.rank(n);
    let mut taken = part.buckets().peekable();
    let mut seen = 0;
    for (value, count) in whole.buckets.iter().copied() {
        let minus = taken.next_if(|(other, _)| *other == value).map_or(0, |(_, count)| count);
        seen += count.saturating_sub(minus);
        if seen >= rank {
            return Some(value);
        }
    }
    None
}

/// How far the rank sum of `part` lies above what chance gives, in standard deviations. Ties share their mean rank.
#[allow(clippy::cast_precision_loss, reason = "a test statistic; counts are far below 2^53")]
fn rank_sum_z(part: &Histogram, whole: &Whole) -> f64 {
    let n = whole.n as f64;
    let n_part = part.n() as f64;
    let mut taken = part.buckets().peekable();
    let (mut below, mut rank_sum, mut ties) = (0.0, 0.0, 0.0);
    for (value, count) in whole.buckets.iter().copied() {
        let count = count as f64;
        let mine = taken.next_if(|(other, _)| *other == value).map_or(0, |(_, count)| count) as f64;
        rank_sum += mine * f64::midpoint(count, 2.0f64.mul_add(below, 1.0));
        ties += count.powi(3) - count;
        below += count;
    }
    let expected = n_part * (n + 1.0) / 2.0;
    let variance = n_part * (n - n_part) / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)));
    if variance > 0.0 { (rank_sum - expected) / variance.sqrt() } else { 0.0 }
}

/// An upper bound of the chance that a normal value lies above `z` (Mills' ratio), so the test errs on the calm side.
fn tail(z: f64) -> f64 {
    if z <= 0.0 { 1.0 } else { (-z * z / 2.0).exp() / (z * (2.0 * std::f64::consts::PI).sqrt()) }
}

/// Cells are coarse. Moves both ends so that the samples inside are slow and those outside are not, as far as any
/// choice of ends can: a sample counts as slow above the geometric mean of the interval's median and the usual one.
fn sharpen(spans: &[Span], kind: SegmentKind, intervals: &mut [Interval]) {
    let usual = usual(spans, kind, intervals).median();
    for at in 0..intervals.len() {
        let low = at.checked_sub(1).and_then(|before| intervals.get(before)).map_or(0, |before| before.end);
        let high = intervals.get(at + 1).map_or(spans.len(), |after| after.begin);
        let Some(interval) = intervals.get_mut(at) else { continue };
        // Twice: the first pass drops calm samples that had pulled the interval's median down.
        for _ in 0..2 {
            let length = interval.end - interval.begin;
            let range = low.max(interval.begin.saturating_sub(length))..high.min(interval.end + length);
            let inside = histogram_of(spans.get(interval.begin..interval.end).unwrap_or_default(), kind).median();
            let limit = (u128::from(inside) * u128::from(usual)).isqrt();
            let limit = u64::try_from(limit).expect("the root of a product of two u64");
            (interval.begin, interval.end) = slowest_range(spans, kind, range, limit);
        }
    }
}

/// The range in which samples above `limit` outnumber the others by most (the maximum-sum subarray of Kadane, 1977).
fn slowest_range(spans: &[Span], kind: SegmentKind, range: Range<usize>, limit: u64) -> (usize, usize) {
    let mut best = (range.start, range.end);
    let (mut most, mut sum, mut begin) = (i128::MIN, 0_i128, range.start);
    for index in range {
        if sum <= 0 {
            (sum, begin) = (0, index);
        }
        if let Some(histogram) = spans.get(index).and_then(|span| span.latencies.of(kind)) {
            sum += 2 * i128::from(histogram.count_above(limit)) - i128::from(histogram.n());
        }
        if sum > most {
            (most, best) = (sum, (begin, index + 1));
        }
    }
    best
}

fn histogram_of(spans: &[Span], kind: SegmentKind) -> Histogram {
    let mut histogram = Histogram::default();
    for other in spans.iter().filter_map(|span| span.latencies.of(kind)) {
        histogram.merge(other);
    }
    histogram
}

/// The samples outside of all slow intervals.
fn usual(spans: &[Span], kind: SegmentKind, intervals: &[Interval]) -> Histogram {
    let is_outside = |index: usize| intervals.iter().all(|interval| !(interval.begin <= index && index < interval.end));
    let mut histogram = Histogram::default();
    for (_, span) in spans.iter().enumerate().filter(|(index, _)| is_outside(*index)) {
        if let Some(other) = span.latencies.of(kind) {
            histogram.merge(other);
        }
    }
    histogram
}

/// `kind` inside the interval, and outside of all slow intervals of its side.
fn compare(
    spans: &[Span],
    interval: &Interval,
    side: SlowSide,
    kind: SegmentKind,
    found: &[Interval],
) -> Option<Compared> {
    let inside = histogram_of(spans.get(interval.begin..interval.end)?, kind);
    let slow_too = |other: &&Interval| other.side == side && other.kind == kind;
    let outside: Vec<Interval> = found.iter().filter(slow_too).chain(std::iter::once(interval)).copied().collect();
    let usual = usual(spans, kind, &outside);
    let is_enough = inside.n() >= ENOUGH && usual.n() >= ENOUGH;
    is_enough.then(|| Compared { kind, usual_p50_ns: usual.median(), during_p50_ns: inside.median(), n: inside.n() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SplitMix64` (public domain algorithm): the same numbers on every run and machine.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }

        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "noise"
        )]
        fn lognormal(&mut self, median_ns: f64, sigma: f64) -> u64 {
            let uniform = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            let (u, v) = (uniform(self.next()), uniform(self.next()));
            let normal = (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos();
            (median_ns * (sigma * normal).exp()) as u64
        }
    }

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_769_000_000 * SECOND;

    /// `orders` over ten minutes; between the two tenths `kind` has `factor` times its median.
    fn run(seed: u64, orders: u64, slow: Option<(SegmentKind, f64, u64, u64)>) -> Timeline {
        let mut random = Random(seed);
        let mut timeline = Timeline::default();
        for order in 0..orders {
            let time = Timestamp(START + order * 600 * SECOND / orders + random.next() % SECOND);
            for (kind, median) in [(SegmentKind::TickToTrade, 12_000.0), (SegmentKind::Ack, 61_000.0)] {
                let factor = match slow {
                    Some((slow, factor, from, to)) if slow == kind && (from..to).contains(&(order * 10 / orders)) => {
                        factor
                    }
                    _ => 1.0,
                };
                timeline.record(time, kind, random.lognormal(median * factor, 0.5));
            }
        }
        timeline
    }

    #[test]
    fn calm_runs_raise_no_alarm() {
        for seed in 0..100 {
            for orders in [40, 300, 1500] {
                assert_eq!(Shift::find(&run(seed, orders, None)), None, "seed {seed}, {orders} orders");
            }
        }
    }

    #[test]
    fn four_times_slower_over_a_tenth_is_found() {
        for seed in 0..100 {
            for (kind, side) in [(SegmentKind::Ack, SlowSide::External), (SegmentKind::TickToTrade, SlowSide::Internal)]
            {
                let shift = Shift::find(&run(seed, 1000, Some((kind, 4.0, 3, 4)))).expect("found");
                assert_eq!((shift.side, shift.slow.kind), (side, kind), "seed {seed}");
                let off = |time: Timestamp, second: u64| time.0.abs_diff(START + second * SECOND) / SECOND;
                assert!(off(shift.from, 180) <= 10 && off(shift.to, 240) <= 10, "seed {seed}: {shift:?}");
                let factor = shift.factor_hundredths().expect("not zero");
                assert!((340..=460).contains(&factor), "seed {seed}: {factor}");
                assert_eq!(shift.other.expect("has samples").verdict(), "unchanged", "seed {seed}");
            }
        }
    }

    #[test]
    fn few_orders_are_enough_for_a_large_change() {
        for seed in 0..100 {
            let shift = Shift::find(&run(seed, 240, Some((SegmentKind::Ack, 4.0, 5, 6)))).expect("found");
            assert_eq!(shift.side, SlowSide::External, "seed {seed}");
        }
    }

    #[test]
    fn two_slow_times_are_two() {
        let mut timeline = run(1, 4000, Some((SegmentKind::Ack, 6.0, 2, 3)));
        let mut random = Random(5);
        for order in 0..400 {
            let time = Timestamp(START + 420 * SECOND + order * SECOND / 10);
            timeline.record(time, SegmentKind::TickToTrade, random.lognormal(60_000.0, 0.3));
        }
        let shift = Shift::find(&timeline).expect("found");
        assert_eq!(shift.more, 1, "{shift:?}");
    }

    #[test]
    fn the_rank_sum_of_a_textbook_example() {
        // Two samples of 3 without ties, {4,5,6} against {1,2,3}: R = 15, mean 10.5, variance 5.25.
        let mut part = Histogram::default();
        let mut whole = Histogram::default();
        for value in 1..=6 {
            whole.record(value);
            if value > 3 {
                part.record(value);
            }
        }
        assert!((rank_sum_z(&part, &Whole::new(&whole)) - 4.5 / 5.25_f64.sqrt()).abs() < 1e-12);
        let mut same = Histogram::default();
        same.record_many(7, 10);
        assert!(rank_sum_z(&same, &Whole::new(&same)).abs() < 1e-12);
    }
}
