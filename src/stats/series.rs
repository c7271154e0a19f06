//! Single latencies with their times, by session and kind, for what must be located on the requests themselves. At most
//! [`MOST`] are kept: of a longer series every second one is let go, again and again, so it still spans the whole run.

use std::sync::Arc;

use tickscope_model::{SegmentKind, Timestamp};

use crate::hash::HashMap;

/// Values kept of all series together: 16 MiB.
const MOST: usize = 1 << 20;
/// So many sessions have series of their own.
const SESSIONS: usize = 256;
/// So many symbols are told apart.
const SYMBOLS: usize = 1 << 16;
/// The session of all others.
const BEYOND: &str = "(all others)";

/// A latency, by the time of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub time: Timestamp,
    pub value_ns: u64,
    /// Number of the request's symbol; the first number stands for all beyond `SYMBOLS`.
    pub symbol: u32,
}

/// Samples of one session and kind.
#[derive(Clone, Debug)]
pub struct Series {
    pub session: Arc<str>,
    pub kind: SegmentKind,
    /// In the order in which rows were closed.
    pub samples: Vec<Sample>,
    /// Every so many values one is kept.
    stride: u64,
    seen: u64,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct SeriesSet {
    all: Vec<Series>,
    places: HashMap<(Arc<str>, SegmentKind), usize>,
    symbols: HashMap<Arc<str>, u32>,
    sessions: usize,
    kept: usize,
    most: usize,
}

impl Default for SeriesSet {
    fn default() -> Self {
        SeriesSet::with_limit(MOST)
    }
}

impl SeriesSet {
    fn with_limit(most: usize) -> SeriesSet {
        SeriesSet {
            all: Vec::new(),
            places: HashMap::default(),
            symbols: HashMap::default(),
            sessions: 0,
            kept: 0,
            most,
        }
    }

    /// A latency of a request by its session and symbol.
    pub fn record(
        &mut self,
        (session, symbol): (&Arc<str>, &Arc<str>),
        kind: SegmentKind,
        time: Timestamp,
        value_ns: u64,
    ) {
        let at = self.place(session, kind);
        let symbol = self.symbol(symbol);
        let series = &mut self.all[at];
        series.seen += 1;
        if series.seen.is_multiple_of(series.stride) {
            series.samples.push(Sample { time, value_ns, symbol });
            self.kept += 1;
            if self.kept > self.most {
                self.thin();
            }
        }
    }

    fn symbol(&mut self, name: &Arc<str>) -> u32 {
        if let Some(&number) = self.symbols.get(name) {
            return number;
        }
        if self.symbols.len() >= SYMBOLS {
            return 0;
        }
        let number = u32::try_from(self.symbols.len() + 1).unwrap_or(0);
        self.symbols.insert(Arc::clone(name), number);
        number
    }

    fn place(&mut self, session: &Arc<str>, kind: SegmentKind) -> usize {
        // Rows of one session mostly follow each other, and there are few series.
        if let Some(&at) = self.places.get(&(Arc::clone(session), kind)) {
            return at;
        }
        let is_known = self.all.iter().any(|series| series.session == *session);
        if !is_known && self.sessions >= SESSIONS && &**session != BEYOND {
            return self.place(&Arc::from(BEYOND), kind);
        }
        self.sessions += usize::from(!is_known);
        let session = Arc::clone(session);
        self.all.push(Series { session: Arc::clone(&session), kind, samples: Vec::new(), stride: 1, seen: 0 });
        self.places.insert((session, kind), self.all.len() - 1);
        self.all.len() - 1
    }

    /// Lets go of every second value of the longest series.
    #[cold]
    fn thin(&mut self) {
        let Some(series) = self.all.iter_mut().max_by_key(|series| series.samples.len()) else { return };
        every_second(&mut series.samples);
        series.stride = series.stride.saturating_mul(2);
        self.kept = self.all.iter().map(|series| series.samples.len()).sum();
    }

    pub fn iter(&self) -> impl Iterator<Item = &Series> {
        self.all.iter()
    }
}

/// Lets go of every second value.
pub(crate) fn every_second<T>(values: &mut Vec<T>) {
    let mut number = 0_u64;
    values.retain(|_| {
        number += 1;
        number.is_multiple_of(2)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_is_thinned_and_still_spans_the_run() {
        let mut set = SeriesSet::with_limit(100);
        let (long, short): (Arc<str>, Arc<str>) = (Arc::from("A->B"), Arc::from("C->D"));
        for time in 0..10_000 {
            set.record((&long, &long), SegmentKind::Ack, Timestamp(time), time);
            if time % 500 == 0 {
                set.record((&short, &long), SegmentKind::Ack, Timestamp(time), time);
            }
        }
        let lengths: Vec<usize> = set.iter().map(|series| series.samples.len()).collect();
        assert!(lengths.iter().sum::<usize>() <= 100 && lengths[0] >= 40 && lengths[1] == 20, "{lengths:?}");
        let samples = &set.iter().next().expect("two").samples;
        let gaps: Vec<u64> = samples.windows(2).map(|pair| pair[1].time.0 - pair[0].time.0).collect();
        assert!(gaps.iter().all(|&gap| gap == gaps[0]), "{gaps:?}");
    }

    #[test]
    fn sessions_beyond_the_limit_share_a_series() {
        let mut set = SeriesSet::default();
        for session in 0..2 * SESSIONS as u64 {
            let name: Arc<str> = Arc::from(format!("S{session}"));
            set.record((&name, &name), SegmentKind::Ack, Timestamp(session), 1);
        }
        assert_eq!(set.iter().count(), SESSIONS + 1);
        assert_eq!(set.iter().last().map(|series| series.samples.len()), Some(SESSIONS));
    }
}
