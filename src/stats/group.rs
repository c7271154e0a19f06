//! Latencies by session, symbol or outcome: a table of groups, each with a compact histogram a segment.
//! The number of groups is limited; what comes beyond the limit is counted together, under a name that says so.

use std::sync::{Arc, OnceLock};

use tickscope_model::SegmentKind;

use super::{Cause, Causes, Histogram};
use crate::hash::HashMap;

/// Histograms by segment; only the segments that occur take room. The latest values are kept as they came, side by side: of
/// most symbols there never are more, and where many are added at once, one segment behind the other, its histogram stays
/// in the cache meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    /// In table order.
    settled: Vec<(SegmentKind, Histogram)>,
    /// How many values they hold.
    count: usize,
    latest: Vec<Value>,
    /// Both together, once somebody has looked at them.
    seen: OnceLock<Vec<(SegmentKind, Histogram)>>,
    /// The values of segments that are inferred, of pairs that are sure alone: their tails are stated over these.
    sure: Option<Box<Latencies>>,
}

/// A value with its segment in the upper bits.
#[derive(Clone, Copy, Debug)]
struct Value(u64);

/// Bits of a value without its segment: 18 years.
const VALUE_BITS: u32 = 59;
const _: () = assert!(SegmentKind::ALL.len() <= 1 << (u64::BITS - VALUE_BITS));

impl Value {
    /// `None` where the value has too many bits.
    #[inline]
    fn new(kind: SegmentKind, value_ns: u64) -> Option<Value> {
        (value_ns >> VALUE_BITS == 0).then_some(Value((kind.index() as u64) << VALUE_BITS | value_ns))
    }

    #[inline]
    fn kind(self) -> usize {
        (self.0 >> VALUE_BITS) as usize
    }

    #[inline]
    fn value_ns(self) -> u64 {
        self.0 & ((1 << VALUE_BITS) - 1)
    }
}

/// So many values are kept as they came, and one for each [`SHARE`] that are settled …
const LATEST: usize = 128;
const SHARE: usize = 8;
/// … but no more than these.
const MOST_LATEST: usize = 2048;

impl Latencies {
    #[inline]
    pub fn record(&mut self, kind: SegmentKind, value_ns: u64) {
        let Some(value) = Value::new(kind, value_ns) else {
            self.settle();
            entry(&mut self.settled, kind).record(value_ns);
            self.count += 1;
            return;
        };
        self.latest.push(value);
        let most = LATEST.max(self.count / SHARE).min(MOST_LATEST);
        if self.latest.len() >= most || self.seen.get().is_some() {
            self.settle();
        }
    }

    /// The same of a request whose pair is sure, or not.
    #[inline]
    pub fn record_pair(&mut self, kind: SegmentKind, value_ns: u64, is_sure: bool) {
        self.record(kind, value_ns);
        if is_sure && kind.is_inferred() {
            self.sure.get_or_insert_default().record(kind, value_ns);
        }
    }

    pub fn merge(&mut self, other: &Latencies) {
        self.settle();
        if let Some(sure) = &other.sure {
            self.sure.get_or_insert_default().merge(sure);
        }
        for (kind, histogram) in &other.settled {
            entry(&mut self.settled, *kind).merge(histogram);
        }
        add(&mut self.settled, &other.latest);
        self.count += other.count + other.latest.len();
    }

    /// Makes histograms of what was kept.
    pub fn settle(&mut self) {
        self.seen = OnceLock::new();
        add(&mut self.settled, &self.latest);
        self.count += self.latest.len();
        self.latest.clear();
        self.sure.iter_mut().for_each(|sure| sure.settle());
    }

    /// What the tail (p99 and up) is stated over: of segments that are inferred the sure pairs alone, where there are any.
    pub fn tail_of(&self, kind: SegmentKind) -> Option<&Histogram> {
        if kind.is_inferred() { self.sure.as_ref()?.of(kind) } else { self.of(kind) }
    }

    pub fn of(&self, kind: SegmentKind) -> Option<&Histogram> {
        self.iter().find(|(known, _)| *known == kind).map(|(_, histogram)| histogram)
    }

    /// In table order; none of them is empty.
    pub fn iter(&self) -> impl Iterator<Item = (SegmentKind, &Histogram)> {
        let both = || {
            let mut both = self.settled.clone();
            add(&mut both, &self.latest);
            both
        };
        let histograms = if self.latest.is_empty() { &self.settled } else { self.seen.get_or_init(both) };
        histograms.iter().map(|(kind, histogram)| (*kind, histogram))
    }

    pub fn is_empty(&self) -> bool {
        self.latest.is_empty() && self.settled.is_empty()
    }
}

fn add(histograms: &mut Vec<(SegmentKind, Histogram)>, values: &[Value]) {
    let kinds = values.iter().fold(0_u32, |kinds, value| kinds | 1 << value.kind());
    for kind in SegmentKind::ALL.into_iter().filter(|kind| kinds >> kind.index() & 1 != 0) {
        let histogram = entry(histograms, kind);
        let of_kind = values.iter().filter(|value| value.kind() == kind.index());
        of_kind.for_each(|value| histogram.record(value.value_ns()));
    }
}

fn entry(histograms: &mut Vec<(SegmentKind, Histogram)>, kind: SegmentKind) -> &mut Histogram {
    let at = histograms.partition_point(|(known, _)| *known < kind);
    if histograms.get(at).is_none_or(|(known, _)| *known != kind) {
        histograms.insert(at, (kind, Histogram::default()));
    }
    &mut histograms[at].1
}

/// One line of a table: a session, a symbol, an outcome.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: Arc<str>,
    pub requests: u64,
    /// How sure it is what caused them.
    pub causes: Causes,
    pub latencies: Latencies,
}

impl Group {
    pub(super) fn count(&mut self, cause: Cause) {
        self.requests += 1;
        self.causes.add(cause);
    }

    /// Adds all of another group.
    pub(super) fn merge(&mut self, other: &Group) {
        self.requests += other.requests;
        self.causes.merge(other.causes);
        self.latencies.merge(&other.latencies);
    }
}

/// How many groups a table keeps apart.
const LIMIT: usize = 20_000;
/// The group for all others.
const BEYOND: &str = "(all others)";

/// Groups by name.
#[derive(Clone, Debug)]
pub struct Groups {
    by_name: HashMap<Arc<str>, usize>,
    all: Vec<Group>,
    limit: usize,
    /// What was asked for last: a row and its segments ask one behind the other.
    last: Option<(Arc<str>, usize)>,
}

impl Default for Groups {
    fn default() -> Self {
        Groups::with_limit(LIMIT)
    }
}

impl Groups {
    pub fn with_limit(limit: usize) -> Groups {
        Groups { by_name: HashMap::default(), all: Vec::new(), limit, last: None }
    }

    /// The group of that name; past the limit, the one for all others.
    pub fn entry(&mut self, name: &Arc<str>) -> &mut Group {
        let at = match &self.last {
            Some((last, at)) if Arc::ptr_eq(last, name) => *at,
            _ => {
                let at = self.find(name);
                self.last = Some((Arc::clone(name), at));
                at
            }
        };
        &mut self.all[at]
    }

    /// The same for a name that is no shared one.
    pub fn entry_named(&mut self, name: &str) -> &mut Group {
        let at = self.find(name);
        &mut self.all[at]
    }

    fn find(&mut self, name: &str) -> usize {
        if let Some(&at) = self.by_name.get(name) {
            return at;
        }
        let name: Arc<str> = Arc::from(if self.all.len() < self.limit { name } else { BEYOND });
        let groups = &mut self.all;
        *self.by_name.entry(Arc::clone(&name)).or_insert_with(|| {
            groups.push(Group { name, requests: 0, causes: Causes::default(), latencies: Latencies::default() });
            groups.len() - 1
        })
    }

    /// See [`Latencies::settle`].
    pub fn settle(&mut self) {
        self.all.iter_mut().for_each(|group| group.latencies.settle());
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// In the order in which they came: who is there stays where it is.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.all.iter()
    }

    /// So many of the busiest, in the order of [`Groups::by_requests`].
    pub fn busiest(&self, most: usize) -> Vec<&Group> {
        let first = |a: &&Group, b: &&Group| b.requests.cmp(&a.requests).then_with(|| a.name.cmp(&b.name));
        let mut all: Vec<&Group> = self.all.iter().collect();
        if all.len() > most {
            all.select_nth_unstable_by(most, first);
            all.truncate(most);
        }
        all.sort_by(first);
        all
    }

    /// The busiest first, equal ones by name.
    pub fn by_requests(&self) -> Vec<&Group> {
        self.busiest(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn groups_beyond_the_limit_are_counted_together() {
        let mut groups = Groups::with_limit(2);
        for name in ["A", "B", "C", "D", "A", "C"] {
            let group = groups.entry(&Arc::from(name));
            group.requests += 1;
            group.latencies.record(SegmentKind::Ack, 5);
        }
        let seen: Vec<(String, u64)> =
            groups.by_requests().iter().map(|group| (group.name.to_string(), group.requests)).collect();
        assert_eq!(seen, [("(all others)".into(), 3), ("A".into(), 2), ("B".into(), 1)]);
    }

    proptest! {
        #[test]
        fn values_that_are_kept_make_the_same_histograms(
            values in prop::collection::vec((0..3_usize, prop_oneof![0..1_000_000_u64, Just(u64::MAX)]), 0..2 * LATEST),
            looks in prop::collection::vec(0..2 * LATEST, 0..2),
            cut in 0..2 * LATEST,
        ) {
            let kinds = [SegmentKind::Ack, SegmentKind::TickToTrade, SegmentKind::Hop];
            let mut expected: BTreeMap<SegmentKind, Histogram> = BTreeMap::new();
            let (mut whole, mut one, mut other) = (Latencies::default(), Latencies::default(), Latencies::default());
            for (at, &(kind, value)) in values.iter().enumerate() {
                expected.entry(kinds[kind]).or_default().record(value);
                whole.record(kinds[kind], value);
                if at < cut { &mut one } else { &mut other }.record(kinds[kind], value);
                if looks.contains(&at) {
                    prop_assert!(whole.of(kinds[kind]).is_some() && one.iter().chain(other.iter()).count() > 0);
                }
            }
            one.merge(&other);
            for latencies in [&whole, &one] {
                prop_assert_eq!(latencies.is_empty(), values.is_empty());
                prop_assert!(latencies.iter().eq(expected.iter().map(|(kind, histogram)| (*kind, histogram))));
            }
        }
    }

    #[test]
    fn tails_of_inferred_segments_are_those_of_sure_pairs() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.record_pair(SegmentKind::TickToTrade, 9000, false);
        assert!(one.tail_of(SegmentKind::TickToTrade).is_none(), "no pair is sure");
        other.record_pair(SegmentKind::TickToTrade, 7, true);
        other.record_pair(SegmentKind::Ack, 5, false);
        one.merge(&other);
        one.settle();
        let max = |histogram: Option<&Histogram>| histogram.map(|it| (it.n(), it.max()));
        assert_eq!(max(one.of(SegmentKind::TickToTrade)), Some((2, 9000)));
        assert_eq!(max(one.tail_of(SegmentKind::TickToTrade)), Some((1, 7)));
        assert_eq!(max(one.tail_of(SegmentKind::Ack)), Some((1, 5)), "an answer is no inference");
    }

    #[test]
    fn segments_stand_in_table_order() {
        let mut latencies = Latencies::default();
        for kind in [SegmentKind::Hop, SegmentKind::TickToTrade, SegmentKind::Ack, SegmentKind::Ack] {
            latencies.record(kind, 1);
        }
        let kinds: Vec<&str> = latencies.iter().map(|(kind, _)| kind.name()).collect();
        assert_eq!(kinds, ["t2t", "ack", "hop"]);
        assert_eq!(latencies.of(SegmentKind::Ack).map(Histogram::n), Some(2));
        assert!(latencies.of(SegmentKind::Reject).is_none());
    }
}
