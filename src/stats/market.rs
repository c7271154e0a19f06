//! What market data did in a stretch of time: how many messages came, and A/B delay as a cause: tick-to-trade begins at the
//! line that is first, and the trading system may listen to another one.

use super::change::SHORTEST;
use super::slowness::{Stretch, median};
use super::{Lag, Summary};

/// A line of a feed that came later than usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateLine {
    /// `group:port`, and its letter.
    pub address: String,
    pub letter: String,
    /// Behind the first line of the feed, 0 where it was the first.
    pub usual_p50_ns: u64,
    pub during_p50_ns: u64,
    /// Packets in the stretch that were compared.
    pub n: u64,
}

/// The line whose median lag behind the first line grew by at least half of `shift`, and by at most twice of it: by more,
/// and nobody waited for it.
pub(super) fn late_line(summary: &Summary, stretch: &Stretch, shift: u64) -> Option<LateLine> {
    let mut found: Vec<LateLine> = Vec::new();
    for feed in &summary.feeds {
        let (inside, outside): (Vec<&Lag>, Vec<&Lag>) = feed.lags.iter().partition(|lag| stretch.holds(lag.time));
        if inside.len() < SHORTEST || outside.len() < SHORTEST {
            continue;
        }
        for (at, line) in feed.lines.iter().enumerate() {
            let p50 = |lags: &[&Lag]| {
                let mut all: Vec<u64> = lags.iter().map(|lag| if lag.line == at { lag.delay_ns } else { 0 }).collect();
                median(&mut all)
            };
            let (usual, during) = (p50(&outside), p50(&inside));
            let grown = during.saturating_sub(usual);
            if grown > 0 && grown.saturating_mul(2) >= shift && grown <= shift.saturating_mul(2) {
                found.push(LateLine {
                    address: line.address.clone(),
                    letter: line.letter.clone(),
                    usual_p50_ns: usual,
                    during_p50_ns: during,
                    n: inside.len() as u64,
                });
            }
        }
    }
    found.into_iter().min_by_key(|line| (line.during_p50_ns - line.usual_p50_ns).abs_diff(shift))
}

/// Market-data messages a second outside of and in a stretch, as far as the buckets of time tell.
pub(super) fn market_rate(summary: &Summary, stretch: &Stretch) -> Option<(u64, u64)> {
    let mut usual = (0_u128, 0_u128);
    let mut during = (0_u128, 0_u128);
    for span in summary.timeline.spans() {
        let is_inside = span.from <= stretch.to && stretch.from < span.to;
        let sum = if is_inside { &mut during } else { &mut usual };
        sum.0 += u128::from(span.market);
        sum.1 += u128::from(span.to.0 - span.from.0);
    }
    let rate = |(count, time): (u128, u128)| u64::try_from((count * 1_000_000_000).checked_div(time)?).ok();
    (usual.0 + during.0 > 0).then_some(())?;
    Some((rate(usual)?, rate(during)?))
}
