//! How sure the pairs are: counts of exact, likely, ambiguous and untriggered requests, tick-to-trade of the sure pairs
//! alone, the bracket between the newest and the oldest candidate over all of them, and how both depend on the local rate
//! of messages, since doubt is greatest when the market is busiest.

use std::collections::BTreeMap;

use tickscope_model::SegmentKind;

use super::Histogram;
use crate::pair::attribution::{Aggregate, Suggestion};
use crate::pair::{Flag, Method, OrderRow};

/// How sure it is what caused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By a configured id.
    Exact,
    Likely,
    /// Triggered, but by which message is less sure than the threshold.
    Ambiguous,
    Untriggered,
}

impl Cause {
    /// Tails are stated over such pairs.
    pub fn is_sure(self) -> bool {
        matches!(self, Cause::Exact | Cause::Likely)
    }
}

/// Requests by that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    pub exact: u64,
    pub likely: u64,
    pub ambiguous: u64,
    pub untriggered: u64,
}

impl Causes {
    pub(super) fn add(&mut self, cause: Cause) {
        *match cause {
            Cause::Exact => &mut self.exact,
            Cause::Likely => &mut self.likely,
            Cause::Ambiguous => &mut self.ambiguous,
            Cause::Untriggered => &mut self.untriggered,
        } += 1;
    }

    pub(super) fn merge(&mut self, other: Causes) {
        self.exact += other.exact;
        self.likely += other.likely;
        self.ambiguous += other.ambiguous;
        self.untriggered += other.untriggered;
    }

    /// With their names, the surest first.
    pub fn named(&self) -> [(&'static str, u64); 4] {
        let Causes { exact, likely, ambiguous, untriggered } = *self;
        [("exact", exact), ("likely", likely), ("ambiguous", ambiguous), ("untriggered", untriggered)]
    }

    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// A pair at least this sure counts as likely; tails are stated over such pairs.
    pub threshold: f32,
    pub causes: Causes,
    /// Requests whose trigger was chosen with a book that is not whole.
    pub book_partial: u64,
    /// Tick-to-trade of exact and likely pairs.
    pub sure: Histogram,
    /// Tick-to-trade of all pairs, if each was caused by its newest plausible candidate, and by its oldest.
    pub newest: Histogram,
    pub oldest: Histogram,
    /// What can be said without claiming any pair.
    pub aggregate: Option<Aggregate>,
    /// Links between instruments that the data suggests; none of them was applied.
    pub suggested_links: Vec<Suggestion>,
    by_rate: BTreeMap<u8, Coverage>,
}

/// Requests at one local rate of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub requests: u64,
    pub triggered: u64,
    /// Exact or likely.
    pub sure: u64,
}

/// The threshold where the configuration says nothing.
pub const THRESHOLD: f32 = 0.9;

impl Default for Attribution {
    fn default() -> Self {
        Attribution {
            threshold: THRESHOLD,
            causes: Causes::default(),
            book_partial: 0,
            sure: Histogram::default(),
            newest: Histogram::default(),
            oldest: Histogram::default(),
            aggregate: None,
            suggested_links: Vec::new(),
            by_rate: BTreeMap::new(),
        }
    }
}

impl Attribution {
    pub(super) fn cause(&self, row: &OrderRow) -> Cause {
        match &row.trigger {
            None => Cause::Untriggered,
            Some(trigger) if trigger.method == Method::Id => Cause::Exact,
            Some(trigger) if trigger.confidence >= self.threshold => Cause::Likely,
            Some(_) => Cause::Ambiguous,
        }
    }

    pub(super) fn count(&mut self, row: &OrderRow) {
        let cause = self.cause(row);
        self.causes.add(cause);
        self.book_partial += u64::from(row.flags.has(Flag::BookPartial));
        let sure = cause.is_sure();
        if let Some(weighed) = row.weighed {
            let at = self.by_rate.entry(decade(weighed.rate)).or_default();
            at.requests += 1;
            at.triggered += u64::from(row.trigger.is_some());
            at.sure += u64::from(sure);
        }
        let Some(t2t) = row.latency(SegmentKind::TickToTrade) else { return };
        let value = |latency: Option<tickscope_model::Nanos>| u64::try_from(latency.unwrap_or(t2t).0).ok();
        if let Some(value) = value(Some(t2t)).filter(|_| sure) {
            self.sure.record(value);
        }
        if let (Some(newest), Some(oldest)) = (value(row.t2t_min), value(row.t2t_max)) {
            self.newest.record(newest);
            self.oldest.record(oldest);
        }
    }

    /// From the slowest markets to the busiest: the rate in messages a second on the symbol that a line begins with.
    pub fn by_rate(&self) -> impl Iterator<Item = (u64, Coverage)> + '_ {
        self.by_rate
            .iter()
            .map(|(&decade, &coverage)| (if decade == 0 { 0 } else { 10_u64.pow(decade.into()) }, coverage))
    }
}

/// The power of ten of a class of rates: eight messages in two to the power of the class nanoseconds.
fn decade(class: u8) -> u8 {
    // The class's longest span: the rate is at least this.
    let rate = 8_000_000_000_u64 >> class.min(63);
    u8::try_from(rate.checked_ilog10().unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_rates_has_its_power_of_ten() {
        // 8 messages in 2^17 ns = 131 µs: 61,000 a second; in 2^27 ns: 59; in 2^39: none to speak of.
        assert_eq!((decade(17), decade(27), decade(39)), (4, 1, 0));
    }
}
