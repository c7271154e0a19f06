//! Which side slowed, and when: internal beside external latency, stretch by stretch, and the name of what did it. The
//! stretches come from [`super::scopes`]; all tests of one run together give a false alarm with a chance of at most 1 %.

use std::sync::Arc;

use tickscope_model::{SegmentKind, Timestamp};

use super::Summary;
use super::market::{LateLine, late_line, market_rate};
use super::scopes::{Scope, Side};
use super::slowness::Stretch;

/// Market data came in a burst where its rate was at least so many times the usual one.
const BURST: u64 = 3;
/// Two sides were slow together where each was so many hundredths of its usual level over all of that time.
const SLOW: u64 = 150;

/// What slowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    Us,
    Exchange,
    Network,
    MarketData,
    Both,
}

impl Culprit {
    pub const ALL: [Culprit; 5] =
        [Culprit::Us, Culprit::Exchange, Culprit::Network, Culprit::MarketData, Culprit::Both];

    pub fn name(self) -> &'static str {
        match self {
            Culprit::Us => "us",
            Culprit::Exchange => "exchange",
            Culprit::Network => "network",
            Culprit::MarketData => "market data",
            Culprit::Both => "both",
        }
    }

    /// What it means, for the manual.
    pub fn text(self) -> &'static str {
        match self {
            Culprit::Us => "the trading system: tick-to-trade was slow, and market data was as usual",
            Culprit::Exchange => "the exchange: its answers were slow, and what is known of the network was as usual",
            Culprit::Network => {
                "the way to the exchange: most requests were sent again by TCP, or even the fastest TCP \
                 acknowledgements were slower by at least half of what the answers were"
            }
            Culprit::MarketData => {
                "tick-to-trade was slow while market data came at three times its usual rate or more (burst), while \
                 messages of it were missing (gap), or while one line of a feed came later than usual by about as much \
                 (A/B delay): tick-to-trade begins at the line that is first, and the trading system may listen to the other"
            }
            Culprit::Both => "tick-to-trade and the answers were slow at the same time",
        }
    }
}

/// A latency inside a stretch and outside of all slow ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    pub kind: SegmentKind,
    pub usual_p50_ns: u64,
    pub during_p50_ns: u64,
    /// Samples in the stretch.
    pub n: u64,
    /// It is what the verdict rests on.
    pub is_slow: bool,
    /// The fastest tenth, of which a delayed acknowledgement is no part.
    pub(super) usual_p10_ns: u64,
    pub(super) during_p10_ns: u64,
}

impl Compared {
    /// How many times slower, in hundredths; `None` where the usual median is 0.
    pub fn factor_hundredths(&self) -> Option<u64> {
        super::histogram::ratio_hundredths(self.during_p50_ns, self.usual_p50_ns)
    }

    /// `unchanged` within 25 %.
    pub fn change(&self) -> &'static str {
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

/// A stretch of time in which something was slow.
#[derive(Clone, Debug)]
pub struct Slow {
    pub culprit: Culprit,
    /// The session that alone was slow; `None`: all that can tell.
    pub session: Option<Arc<str>>,
    /// In the middle between a slow request and its neighbour that was not.
    pub from: Timestamp,
    pub to: Timestamp,
    /// It was slow from the first request on, or to the last one.
    pub is_open: (bool, bool),
    pub internal: Option<Compared>,
    pub external: Option<Compared>,
    /// TCP acknowledgements that did not ride on an answer.
    pub network: Option<Compared>,
    /// Market-data messages a second, usual and during.
    pub market: Option<(u64, u64)>,
    /// The line that came later by about as much as tick-to-trade was slower.
    pub line: Option<LateLine>,
    /// Requests in the stretch that TCP sent again, and those with missing market data.
    pub retransmitted: u64,
    pub md_gaps: u64,
}

impl Slow {
    /// What the verdict rests on: the side with more samples first.
    pub fn slow(&self) -> Vec<&Compared> {
        let mut slow: Vec<&Compared> =
            [&self.external, &self.internal, &self.network].into_iter().flatten().filter(|it| it.is_slow).collect();
        slow.sort_by_key(|it| std::cmp::Reverse(it.n));
        slow
    }
}

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// In time order.
    pub slow: Vec<Slow>,
    /// Whether there are enough samples to see a change at all.
    pub is_testable: bool,
}

impl Verdict {
    pub fn of(summary: &Summary) -> Verdict {
        let scopes = summary.evidence.scopes();
        let mut slow: Vec<Slow> = scopes.iter().flat_map(|scope| of_scope(scope, summary)).collect();
        slow.sort_by_key(|slow| (slow.from, slow.to));
        Verdict { slow, is_testable: scopes.first().is_some_and(Scope::is_testable) }
    }

    /// Whether a request of this session and time lies in a slow stretch.
    pub fn at(&self, session: &Arc<str>, time: Timestamp) -> Option<&Slow> {
        let is_it = |slow: &&Slow| {
            slow.from <= time && time <= slow.to && slow.session.as_ref().is_none_or(|named| named == session)
        };
        self.slow.iter().find(is_it)
    }
}

/// What was slow in one scope: stretches of both sides that meet are one.
fn of_scope(scope: &Scope, summary: &Summary) -> Vec<Slow> {
    let [internal, external, network] = &scope.slow;
    let mut found: Vec<(Stretch, [bool; 3])> = Vec::new();
    for (side, stretches) in [(Side::External, external), (Side::Internal, internal), (Side::Network, network)] {
        for stretch in stretches {
            let is_it = |(known, sides): &&mut (Stretch, [bool; 3])| {
                !sides[side as usize] && is_one(scope, known, (side, stretch))
            };
            let met = found.iter_mut().find(is_it);
            if let Some((known, sides)) = met {
                sides[side as usize] = true;
                // The network is told by few values; where it began and ended, the answers tell better.
                if side == Side::Internal {
                    *known = known.joined(stretch);
                }
            } else {
                let mut sides = [false; 3];
                sides[side as usize] = true;
                found.push((*stretch, sides));
            }
        }
    }
    found.into_iter().map(|(stretch, sides)| named(scope, &stretch, sides, summary)).collect()
}

/// Whether a side was slow in a stretch that is known of another side: they share most of their time, and over all of it each
/// was slow, or at least as slow as where it was found.
fn is_one(scope: &Scope, known: &Stretch, (side, stretch): (Side, &Stretch)) -> bool {
    let factor = |side: Side, stretch: &Stretch| scope.compared(side, stretch, true)?.factor_hundredths();
    let is_slow = |side: Side, own: &Stretch, whole: &Stretch| {
        factor(side, whole).is_some_and(|it| it >= factor(side, own).map_or(SLOW, |own| own.min(SLOW)))
    };
    if side == Side::Network {
        // It is told by few values, which may show it in a part only.
        return (known.covers(stretch) || stretch.covers(known)) && is_slow(side, stretch, known);
    }
    let whole = known.joined(stretch);
    known.meets(stretch) && is_slow(side, stretch, &whole) && is_slow(Side::External, known, &whole)
}

fn named(scope: &Scope, stretch: &Stretch, sides: [bool; 3], summary: &Summary) -> Slow {
    let [internal, external, network] = Side::ALL.map(|side| scope.compared(side, stretch, sides[side as usize]));
    let inside = |times: &[Timestamp]| times.iter().filter(|time| stretch.holds(**time)).count() as u64;
    let mut slow = Slow {
        culprit: Culprit::Exchange,
        session: scope.session.clone(),
        from: stretch.from,
        to: stretch.to,
        is_open: stretch.is_open,
        internal,
        external,
        network,
        market: market_rate(summary, stretch),
        line: None,
        retransmitted: inside(&summary.evidence.marked.retransmitted),
        md_gaps: inside(&summary.evidence.marked.md_gaps),
    };
    let is_burst = slow.market.is_some_and(|(usual, during)| usual > 0 && during >= usual.saturating_mul(BURST));
    let n = |compared: &Option<Compared>| compared.as_ref().map_or(0, |it| it.n);
    let is_gap = slow.md_gaps * 2 > n(&slow.internal).max(1);
    let shift = |it: &Compared| it.during_p50_ns.saturating_sub(it.usual_p50_ns);
    slow.line = slow.internal.as_ref().filter(|it| it.is_slow).and_then(|it| late_line(summary, stretch, shift(it)));
    let lowest = |it: &Compared| it.during_p10_ns.saturating_sub(it.usual_p10_ns);
    let is_network = slow.retransmitted * 2 > n(&slow.external).max(1)
        || matches!((&slow.network, &slow.external), (Some(network), Some(external))
            if lowest(network) * 2 >= shift(external));
    slow.culprit = match sides {
        [true, true, _] => Culprit::Both,
        [true, false, _] if is_burst || is_gap || slow.line.is_some() => Culprit::MarketData,
        [true, false, _] => Culprit::Us,
        [false, false, _] => Culprit::Network,
        [false, true, _] if is_network => Culprit::Network,
        [false, true, _] => Culprit::Exchange,
    };
    slow
}

#[cfg(test)]
mod tests {
    use super::super::change::tests::Random;
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_769_000_000 * SECOND;

    /// A run of ten minutes: `n` requests of each session, whose latencies `factor` changes.
    fn run(seed: u64, n: u64, sessions: &[&str], factor: impl Fn(&str, SegmentKind, u64) -> f64) -> Summary {
        let mut random = Random(seed);
        let mut summary = Summary::default();
        for name in sessions {
            let session: Arc<str> = Arc::from(*name);
            for number in 0..n {
                let time = START + number * 600 * SECOND / n + random.bits() % (600 * SECOND / n);
                for (kind, median) in [(SegmentKind::TickToTrade, 12_000.0), (SegmentKind::Ack, 61_000.0)] {
                    let factor = factor(name, kind, (time - START) / SECOND);
                    let tail = if random.bits().is_multiple_of(64) { 20.0 } else { 1.0 };
                    let value = random.lognormal(median * factor * tail, 0.4);
                    summary.evidence.series.record((&session, &session), kind, Timestamp(time), value);
                }
            }
        }
        summary
    }

    fn found(summary: &Summary) -> Vec<(&'static str, Option<String>, u64, u64)> {
        let seconds = |time: Timestamp| (time.0 - START + SECOND / 2) / SECOND;
        let one = |slow: Slow| {
            (slow.culprit.name(), slow.session.map(|name| name.to_string()), seconds(slow.from), seconds(slow.to))
        };
        Verdict::of(summary).slow.into_iter().map(one).collect()
    }

    fn is_near(found: u64, wanted: u64, by: u64) -> bool {
        found.abs_diff(wanted) <= by
    }

    #[test]
    fn calm_runs_get_no_verdict() {
        for seed in 0..40 {
            for (n, sessions) in [(40, &["A"] as &[&str]), (1500, &["A"]), (300, &["A", "B", "C", "D"])] {
                assert_eq!(found(&run(seed, n, sessions, |_, _, _| 1.0)), [], "seed {seed}, {n}");
            }
        }
    }

    #[test]
    fn several_stretches_each_get_their_culprit() {
        for seed in 0..20 {
            let factor = |_: &str, kind, second| match (kind, second) {
                (SegmentKind::Ack, 100..130 | 400..460) => 4.0,
                (SegmentKind::TickToTrade, 250..300 | 400..460) => 3.0,
                _ => 1.0,
            };
            let found = found(&run(seed, 6000, &["A"], factor));
            let names: Vec<&str> = found.iter().map(|(name, ..)| *name).collect();
            assert_eq!(names, ["exchange", "us", "both"], "seed {seed}");
            for ((.., from, to), wanted) in found.iter().zip([(100, 130), (250, 300), (400, 460)]) {
                assert!(is_near(*from, wanted.0, 1) && is_near(*to, wanted.1, 1), "seed {seed}: {from} {to}");
            }
        }
    }

    #[test]
    fn a_short_time_of_one_side_within_a_long_one_of_the_other_is_its_own() {
        for seed in 0..20 {
            let factor = |_: &str, kind, second| match (kind, second) {
                (SegmentKind::Ack, 300..320) => 6.0,
                (SegmentKind::TickToTrade, 200..400) => 3.0,
                _ => 1.0,
            };
            let found = found(&run(seed, 3000, &["A"], factor));
            let names: Vec<&str> = found.iter().map(|(name, ..)| *name).collect();
            assert_eq!(names, ["us", "exchange"], "seed {seed}");
            for ((.., from, to), wanted) in found.iter().zip([(200, 400), (300, 320)]) {
                assert!(is_near(*from, wanted.0, 1) && is_near(*to, wanted.1, 1), "seed {seed}: {from} {to}");
            }
        }
    }

    #[test]
    fn a_dozen_answers_that_are_several_times_slower_are_found() {
        for seed in 0..20 {
            let factor = |_: &str, kind, second| if kind == SegmentKind::Ack && second == 300 { 9.0 } else { 1.0 };
            // Twelve requests a second.
            let found = found(&run(seed, 7200, &["A"], factor));
            assert_eq!(found, [("exchange", None, 300, 301)], "seed {seed}");
        }
    }

    /// What waits in one queue is one event, however many requests there are.
    #[test]
    fn one_pause_is_no_level() {
        for seed in 0..20 {
            let mut summary = run(seed, 1500, &["A"], |_, _, _| 1.0);
            let name: Arc<str> = Arc::from("A");
            for number in 0..12 {
                let (time, value) = (Timestamp(START + 300 * SECOND + number * 40_000), 800_000 - number * 40_000);
                summary.evidence.series.record((&name, &name), SegmentKind::Ack, time, value);
            }
            assert_eq!(found(&summary), [], "seed {seed}");
        }
    }

    #[test]
    fn slowness_that_began_before_the_capture_or_outlasts_it() {
        for seed in 0..20 {
            for (from, to, is_open) in [(0, 200, (true, false)), (420, 600, (false, true)), (90, 600, (false, true))] {
                let slow = move |second| (from..to).contains(&second);
                let factor = move |_: &str, kind, second| {
                    if kind == SegmentKind::Ack && slow(second) { 4.0 } else { 1.0 }
                };
                let verdict = Verdict::of(&run(seed, 2000, &["A"], factor));
                let [only] = verdict.slow.as_slice() else { panic!("seed {seed}: {verdict:?}") };
                assert_eq!((only.culprit, only.is_open), (Culprit::Exchange, is_open), "seed {seed}");
                let times = only.external.expect("it has samples").factor_hundredths().expect("not zero");
                assert!((360..=440).contains(&times), "seed {seed}: {times}");
            }
        }
    }

    #[test]
    fn one_session_alone_is_named_and_all_together_are_not() {
        for seed in 0..20 {
            let alone = |name: &str, kind, second| {
                if name == "B" && kind == SegmentKind::Ack && (200..300).contains(&second) { 4.0 } else { 1.0 }
            };
            let seen = found(&run(seed, 600, &["A", "B", "C"], alone));
            let [("exchange", Some(session), from, to)] = seen.as_slice() else { panic!("seed {seed}: {seen:?}") };
            assert!(session == "B" && is_near(*from, 200, 5) && is_near(*to, 300, 5), "seed {seed}: {seen:?}");
            let all = |_: &str, kind, second| {
                if kind == SegmentKind::Ack && (200..300).contains(&second) { 4.0 } else { 1.0 }
            };
            let seen = found(&run(seed, 600, &["A", "B", "C"], all));
            let [("exchange", None, from, to)] = seen.as_slice() else { panic!("seed {seed}: {seen:?}") };
            assert!(is_near(*from, 200, 3) && is_near(*to, 300, 3), "seed {seed}: {seen:?}");
        }
    }

    #[test]
    fn the_fastest_acknowledgements_tell_the_network() {
        let mut summary =
            run(
                1,
                2000,
                &["A"],
                |_, kind, second| {
                    if kind == SegmentKind::Ack && (200..300).contains(&second) { 4.0 } else { 1.0 }
                },
            );
        let mut late = summary.clone();
        let mut random = Random(9);
        let session: Arc<str> = Arc::from("A");
        for number in 0..2000 {
            let time = Timestamp(START + number * 600 * SECOND / 2000);
            let is_slow = (200..300).contains(&((time.0 - START) / SECOND));
            // Delayed acknowledgements: in slow times later ones are seen, and the fastest are as fast as ever.
            let delayed = random.bits() % if is_slow { 200_000 } else { 60_000 };
            late.evidence.series.record((&session, &session), SegmentKind::TcpAck, time, 10_000 + delayed);
            let path = if is_slow { 190_000.0 } else { 10_000.0 };
            summary.evidence.series.record(
                (&session, &session),
                SegmentKind::TcpAck,
                time,
                random.lognormal(path, 0.1),
            );
        }
        assert_eq!(found(&summary).iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["network"]);
        assert_eq!(found(&late).iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["exchange"]);
    }

    #[test]
    fn a_burst_of_market_data_is_no_fault_of_ours() {
        let slow = |_: &str, kind, second| {
            if kind == SegmentKind::TickToTrade && (200..260).contains(&second) { 4.0 } else { 1.0 }
        };
        let mut summary = run(1, 2000, &["A"], slow);
        for second in 0..600 {
            let rate = if (200..260).contains(&second) { 5000 } else { 900 };
            summary.market(Timestamp(START + second * SECOND), rate);
        }
        assert_eq!(found(&summary).iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["market data"]);
    }

    /// Half of the requests of the first minutes are in an instrument whose triggers are elsewhere, or that is handled by a
    /// slower strategy; later there are none. Nothing slowed, and where something does, it is seen all the same.
    #[test]
    fn another_mix_of_symbols_is_no_slowing() {
        let session: Arc<str> = Arc::from("A");
        let symbols: [Arc<str>; 2] = [Arc::from("NEAR"), Arc::from("FAR")];
        for seed in 0..20 {
            for (factor, expected) in [(1.0, &[] as &[&str]), (4.0, &["us"])] {
                let mut random = Random(seed);
                let mut summary = Summary::default();
                for number in 0..600_u64 {
                    let is_first = number < 300;
                    let is_far = is_first && random.bits().is_multiple_of(2) || number % 40 == 0;
                    let median = if is_far { 9_000_000.0 } else { 12_000.0 } * if is_first { factor } else { 1.0 };
                    let (time, value) = (Timestamp(START + number * SECOND), random.lognormal(median, 0.4));
                    let symbol = &symbols[usize::from(is_far)];
                    summary.evidence.series.record((&session, symbol), SegmentKind::TickToTrade, time, value);
                }
                let names: Vec<&str> = found(&summary).iter().map(|(name, ..)| *name).collect();
                assert_eq!(names, expected, "seed {seed}");
            }
        }
    }

    /// Thousands of instruments with a request or two each are compared with each other.
    #[test]
    fn rare_symbols_are_compared_together() {
        let session: Arc<str> = Arc::from("A");
        let mut random = Random(3);
        let mut summary = Summary::default();
        for number in 0..600_u64 {
            let symbol: Arc<str> = Arc::from(format!("S{}", number % 400));
            let median = if (200..300).contains(&number) { 240_000.0 } else { 60_000.0 };
            let (time, value) = (Timestamp(START + number * SECOND), random.lognormal(median, 0.3));
            summary.evidence.series.record((&session, &symbol), SegmentKind::Ack, time, value);
        }
        assert_eq!(found(&summary).iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["exchange"]);
    }

    #[test]
    fn a_line_that_is_late_by_as_much_is_to_blame() {
        let slow = |_: &str, kind, second| {
            if kind == SegmentKind::TickToTrade && (200..260).contains(&second) { 16.0 } else { 1.0 }
        };
        // 12 us became 192 us.
        for (late_ns, expected) in [(180_000, "market data"), (100_000, "market data"), (80_000, "us"), (900_000, "us")]
        {
            let mut summary = run(1, 2000, &["A"], slow);
            let line = |letter: &str| super::super::Line { letter: letter.into(), ..super::super::Line::default() };
            let lag = |second: u64| {
                let time = Timestamp(START + second * SECOND);
                // B is 9 us behind A, until A is late.
                let (line, delay_ns) = if (200..260).contains(&second) { (0, late_ns) } else { (1, 9_000) };
                super::super::Lag { time, line, delay_ns }
            };
            let (lines, lags) = (vec![line("A"), line("B")], (0..600).map(lag).collect());
            summary.feeds.push(super::super::Feed { lines, lags, ..super::super::Feed::default() });
            let verdict = Verdict::of(&summary);
            let [only] = verdict.slow.as_slice() else { panic!("{late_ns}: {verdict:?}") };
            assert_eq!(only.culprit.name(), expected, "{late_ns}");
            let told = only.line.as_ref().map(|line| (line.letter.as_str(), line.usual_p50_ns, line.during_p50_ns));
            assert_eq!(told, (expected == "market data").then_some(("A", 0, late_ns)));
        }
    }

    #[test]
    #[ignore = "speed and memory: half a minute without optimisation"]
    fn a_million_requests() {
        let slow = |_: &str, kind, second| {
            if kind == SegmentKind::Ack && (200..300).contains(&second) { 4.0 } else { 1.0 }
        };
        let summary = run(1, 1_000_000, &["A"], slow);
        assert!(summary.evidence.series.iter().map(|series| series.samples.len()).sum::<usize>() <= 1 << 20);
        let found = found(&summary);
        assert!(matches!(found.as_slice(), [("exchange", None, 200, 300)]), "{found:?}");
    }
}
