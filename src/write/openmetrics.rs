//! The figures of a run that goes on as `OpenMetrics` 1.0 text (<https://github.com/prometheus/OpenMetrics>, specification
//! `OpenMetrics.md`): histograms by segment and session, a counter for every loss, gauges of clocks. The number of series is
//! bounded: sessions that came after the first 32 are `other`, and a ClOrdID stands in exemplars only.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use tickscope_model::{Loss, Nanos, SegmentKind, TapId, Timestamp};

use crate::pair::OrderRow;
use crate::stats::{Feed, Group, Histogram, LiveTap, Snapshot, Summary};

/// Where sessions are counted that have no label of their own.
const OTHER: &str = "other";
/// Steps within a power of ten, in tenths, and the powers: 100 ns to 10 s.
const STEPS: [u64; 3] = [10, 25, 50];
const POWERS: std::ops::Range<u32> = 1..9;
/// The names and values of an exemplar's labels together, in characters.
const EXEMPLAR: usize = 128;

/// The whole page.
pub fn write_openmetrics(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    page.family("tickscope_build", "info", "", "What is running.");
    page.sample("_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("tickscope_start_time_seconds", "gauge", "seconds", "When the run began, since the epoch.");
    page.sample("", &[], Seconds(snapshot.start.0.into()));
    latencies(&mut page, snapshot);
    requests(&mut page, snapshot);
    hops(&mut page, &snapshot.summary);
    taps(&mut page, &snapshot.summary);
    clocks(&mut page, &snapshot.summary);
    losses(&mut page, &snapshot.summary);
    feeds(&mut page, &snapshot.summary.feeds);
    page.family("tickscope_snapshots_skipped", "counter", "", "Snapshots that nobody took in time.");
    page.sample("_total", &[], snapshot.skipped);
    page.family(
        "tickscope_rows_skipped",
        "counter",
        "",
        "Rows that are not kept for questions, since nobody took them in time.",
    );
    page.sample("_total", &[], snapshot.rows_skipped);
    page.family("tickscope_snapshot_cost_seconds", "counter", "seconds", "Time of the engine that snapshots took.");
    page.sample("_total", &[], Seconds(snapshot.spent_ns.into()));
    page.text.push_str("# EOF\n");
    page.text
}

/// Text under construction; the family that samples belong to.
#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, unit: &str, help: &str) {
        self.family = name;
        self.line(format_args!("# TYPE {name} {kind}"));
        if !unit.is_empty() {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {}", escaped(help)));
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let (family, labels) = (self.family, set(labels));
        self.line(format_args!("{family}{suffix}{labels} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to memory does not fail");
    }
}

/// `{tap="md",reason="ring_full"}`, or nothing.
fn set(labels: &[(&str, &str)]) -> String {
    let all: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// Nanoseconds as seconds, exactly.
struct Seconds(i128);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (self.0.unsigned_abs() / 1_000_000_000, self.0.unsigned_abs() % 1_000_000_000);
        let digits = format!("{rest:09}");
        let digits = digits.trim_end_matches('0');
        write!(f, "{sign}{whole}.{}", if digits.is_empty() { "0" } else { digits })
    }
}

/// Limits of the buckets, in nanoseconds.
fn limits() -> Vec<u64> {
    let mut all: Vec<u64> = POWERS.flat_map(|power| STEPS.map(|step| step * 10_u64.pow(power))).collect();
    all.push(10_u64.pow(POWERS.end + 1));
    all
}

/// Samples up to each limit, how many there are, and their sum.
#[derive(Clone, Debug)]
struct Counted {
    up_to: Vec<u64>,
    n: u64,
    sum: u128,
}

impl Counted {
    /// A bucket of 0.1 % that a limit lies in counts as above it.
    fn of(histogram: &Histogram, limits: &[u64]) -> Counted {
        let mut up_to = vec![0; limits.len()];
        for (highest, count) in histogram.buckets() {
            let first = limits.partition_point(|limit| *limit < highest);
            up_to[first..].iter_mut().for_each(|sum| *sum += count);
        }
        Counted { up_to, n: histogram.n(), sum: histogram.sum() }
    }

    fn take_off(&mut self, part: &Counted) {
        for (all, part) in self.up_to.iter_mut().zip(&part.up_to) {
            *all = all.saturating_sub(*part);
        }
        self.n = self.n.saturating_sub(part.n);
        self.sum = self.sum.saturating_sub(part.sum);
    }
}

/// The sessions that have a label of their own: those that came first keep it, so that no counter ever falls.
fn own(snapshot: &Snapshot) -> impl Iterator<Item = &Group> {
    snapshot.earliest.iter().filter(|group| &*group.name != OTHER)
}

fn latencies(page: &mut Page, snapshot: &Snapshot) {
    let help = "Latency by segment and session. Buckets are exact to 0.1 %; those of t2t hold all pairs, sure or not.";
    page.family("tickscope_latency_seconds", "histogram", "seconds", help);
    let limits = limits();
    let mut rest: BTreeMap<SegmentKind, Counted> = BTreeMap::new();
    for (kind, histogram) in snapshot.summary.overall.iter() {
        rest.insert(kind, Counted::of(histogram, &limits));
    }
    for group in own(snapshot) {
        for (kind, histogram) in group.latencies.iter() {
            let counted = Counted::of(histogram, &limits);
            if let Some(rest) = rest.get_mut(&kind) {
                rest.take_off(&counted);
            }
            let labels = [("segment", kind.name()), ("session", &*group.name)];
            histogram_series(page, labels, &counted, (&limits, slow_row(snapshot, kind, &group.name)));
        }
    }
    for (kind, counted) in rest.iter().filter(|(_, counted)| counted.n > 0) {
        histogram_series(page, [("segment", kind.name()), ("session", OTHER)], counted, (&limits, None));
    }
}

fn hops(page: &mut Page, summary: &Summary) {
    let help = "Packets from the tap that saw them first to another, joined by their bytes.";
    page.family("tickscope_hop_seconds", "histogram", "seconds", help);
    let limits = limits();
    let name = |tap: TapId| summary.tap_name(tap).unwrap_or_default();
    for (from, to, histogram) in &summary.hops.pairs {
        let labels = [("from", name(*from)), ("to", name(*to))];
        histogram_series(page, labels, &Counted::of(histogram, &limits), (&limits, None));
    }
}

/// The slowest request of a series that is known, for its exemplar.
fn slow_row<'a>(snapshot: &'a Snapshot, kind: SegmentKind, session: &str) -> Option<(u64, &'a OrderRow)> {
    let summary = &snapshot.summary;
    let all = summary.slowest_internal.rows().chain(summary.slowest_external.rows()).map(|(_, row)| row);
    let of_session = all.filter(|row| *row.session == *session);
    let value = |row: &OrderRow| row.segments().find(|(known, _)| *known == kind).map(|(_, latency)| latency.0);
    let with_value = of_session.filter_map(|row| Some((u64::try_from(value(row)?).ok()?, row)));
    let fits = |row: &OrderRow| "clordid".len() + row.clordid.chars().count() <= EXEMPLAR;
    with_value.filter(|(_, row)| fits(row)).max_by_key(|(value, _)| *value)
}

fn histogram_series(
    page: &mut Page,
    [one, other]: [(&str, &str); 2],
    counted: &Counted,
    (limits, slow): (&[u64], Option<(u64, &OrderRow)>),
) {
    let place = slow.map(|(value, _)| limits.partition_point(|limit| *limit < value));
    for (at, count) in counted.up_to.iter().copied().chain([counted.n]).enumerate() {
        let limit = limits.get(at).map_or("+Inf".to_owned(), |limit| Seconds(i128::from(*limit)).to_string());
        let exemplar = slow.filter(|_| place == Some(at)).map_or(String::new(), |(value, row)| {
            let labels = set(&[("clordid", &row.clordid)]);
            format!(" # {labels} {} {}", Seconds(value.into()), Seconds(row.t_out.0.into()))
        });
        let labels = [one, other, ("le", limit.as_str())];
        page.sample("_bucket", &labels, format_args!("{count}{exemplar}"));
    }
    page.sample("_count", &[one, other], counted.n);
    page.sample("_sum", &[one, other], Seconds(i128::try_from(counted.sum).unwrap_or(i128::MAX)));
}

fn requests(page: &mut Page, snapshot: &Snapshot) {
    let summary = &snapshot.summary;
    page.family("tickscope_requests", "counter", "", "Requests that are done, by kind.");
    for (request, count) in summary.requests_by_kind() {
        page.sample("_total", &[("request", request)], count);
    }
    page.family("tickscope_session_requests", "counter", "", "Requests that are done, by session.");
    let mut rest = summary.requests();
    for group in own(snapshot) {
        rest = rest.saturating_sub(group.requests);
        page.sample("_total", &[("session", &group.name)], group.requests);
    }
    if rest > 0 {
        page.sample("_total", &[("session", OTHER)], rest);
    }
    page.family("tickscope_sessions", "gauge", "", "Sessions with requests.");
    page.sample("", &[], snapshot.session_count);
    page.family(
        "tickscope_sessions_other",
        "gauge",
        "",
        "Sessions that are counted as other, to bound the number of series.",
    );
    page.sample("", &[], snapshot.session_count.saturating_sub(own(snapshot).count() as u64));
    page.family("tickscope_request_causes", "counter", "", "Requests by how sure it is what caused them.");
    for (cause, count) in summary.attribution.causes.named() {
        page.sample("_total", &[("cause", cause)], count);
    }
    page.family("tickscope_negative_latencies", "counter", "", "Latencies below zero, which are in no histogram.");
    for kind in SegmentKind::ALL.into_iter().filter(|kind| summary.negatives(*kind) > 0) {
        page.sample("_total", &[("segment", kind.name())], summary.negatives(kind));
    }
    page.family("tickscope_market_messages", "counter", "", "Market-data messages.");
    page.sample("_total", &[], snapshot.market_messages);
}

/// One number of a tap.
type OfTap = fn(&LiveTap) -> u64;

fn taps(page: &mut Page, summary: &Summary) {
    let taps: Vec<(&str, &LiveTap)> =
        summary.taps.iter().filter_map(|tap| Some((tap.name.as_str(), tap.live.as_ref()?))).collect();
    let counters: [(&'static str, &str, OfTap); 6] = [
        ("tickscope_frames_seen", "Frames that matched, counted by the kernel before anything can be lost.", |tap| {
            tap.seen
        }),
        ("tickscope_frames_used", "Frames that the stages were given.", |tap| tap.used),
        ("tickscope_frames_late", "Frames that came later than they were waited for.", |tap| tap.late),
        ("tickscope_frames_cut", "Frames that the ring cut.", |tap| tap.cut),
        ("tickscope_frames_merged", "Frames that NIC or kernel put together.", |tap| tap.super_frames),
        ("tickscope_tap_events", "What happened to link and clocks.", |tap| tap.event_count),
    ];
    for (name, help, of) in counters {
        page.family(name, "counter", "", help);
        for (tap, live) in &taps {
            page.sample("_total", &[("tap", tap)], of(live));
        }
    }
    page.family("tickscope_frames_lost", "counter", "", "Frames that were seen and lost, by queue and reason.");
    for (tap, live) in &taps {
        for queue in &live.queues {
            let number = queue.queue.to_string();
            for (reason, count) in &queue.losses {
                let labels = [("tap", *tap), ("queue", number.as_str()), ("reason", reason)];
                page.sample("_total", &labels, count);
            }
        }
    }
    page.family(
        "tickscope_interface_frames_lost",
        "counter",
        "",
        "What interface and driver count of all their traffic.",
    );
    for (tap, live) in &taps {
        for (reason, count) in [("dropped", live.dropped), ("missed", live.missed), ("errors", live.damaged)] {
            page.sample("_total", &[("tap", tap), ("reason", reason)], count);
        }
    }
    page.family("tickscope_frames_stamped", "counter", "", "Frames by who stamped them and which way they went.");
    for (tap, live) in &taps {
        for stamp in &live.stamps {
            let labels = [("tap", *tap), ("source", stamp.name), ("direction", stamp.direction)];
            page.sample("_total", &labels, stamp.frames);
        }
    }
    page.family("tickscope_frames_waiting", "gauge", "", "Frames on their way, in a ring or a queue.");
    for (tap, live) in &taps {
        page.sample("", &[("tap", tap)], live.waiting);
    }
    page.family("tickscope_account_violations", "gauge", "", "Sentences on accounts that did not add up.");
    for (tap, live) in &taps {
        page.sample("", &[("tap", tap)], live.violations.len());
    }
}

fn clocks(page: &mut Page, summary: &Summary) {
    let mut gauge = |name, help, of: &dyn Fn(&crate::stats::Tap) -> Option<i128>| {
        page.family(name, "gauge", "seconds", help);
        for tap in &summary.taps {
            if let Some(value) = of(tap) {
                page.sample("", &[("tap", &tap.name)], Seconds(value));
            }
        }
    };
    let of = |value: Nanos| i128::from(value.0);
    gauge("tickscope_clock_offset_seconds", "What is added to the tap's times.", &|tap| Some(of(tap.offset)));
    gauge(
        "tickscope_clock_error_seconds",
        "How far the NIC's clock may be off UTC, where its stamps are used.",
        &|tap| tap.live.as_ref()?.clock_error.map(of),
    );
    gauge("tickscope_tai_offset_seconds", "TAI less UTC, as the kernel knows it.", &|tap| {
        Some(i128::from(tap.live.as_ref()?.tai_offset_s) * 1_000_000_000)
    });
    gauge(
        "tickscope_ahead_of_exchange_seconds",
        "How far the tap's clock is ahead of the exchange's stamps.",
        &|tap| tap.exchange.map(|ahead| of(ahead.median)),
    );
    let time = |time: Option<Timestamp>| time.map(|time| i128::from(time.0));
    gauge("tickscope_last_frame_time_seconds", "Time of the tap's newest frame, since the epoch.", &|tap| {
        time(tap.last)
    });
}

/// Messages that are missing may still come, so they are no counter: see the feeds.
fn losses(page: &mut Page, summary: &Summary) {
    page.family("tickscope_losses", "counter", "", "What came in and became no latency, by reason.");
    for loss in Loss::ALL.iter().copied().filter(|loss| *loss != Loss::FeedGap) {
        let labels = [("level", loss.level().name()), ("reason", loss.name())];
        page.sample("_total", &labels, summary.losses.count(loss));
    }
}

fn feeds(page: &mut Page, feeds: &[Feed]) {
    // A feed may be there at several observation points.
    let mut all: BTreeMap<(&str, &str), [u64; 5]> = BTreeMap::new();
    for feed in feeds {
        let sums = all.entry((&feed.label, &feed.protocol)).or_default();
        let more = [feed.messages, feed.duplicates, feed.gap_count, feed.recovered, feed.missing];
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    let families = [
        ("tickscope_feed_messages", "counter", "Messages of a feed, each counted once."),
        ("tickscope_feed_duplicates", "counter", "Copies: the other line, retransmissions."),
        ("tickscope_feed_gaps", "counter", "Gaps in the sequence numbers of a feed."),
        ("tickscope_feed_recovered", "counter", "Messages that were missing at first and came late."),
        ("tickscope_feed_missing", "gauge", "Messages that no line has brought so far."),
    ];
    for (at, (name, kind, help)) in families.into_iter().enumerate() {
        page.family(name, kind, "", help);
        for ((feed, protocol), sums) in &all {
            let suffix = if kind == "counter" { "_total" } else { "" };
            page.sample(suffix, &[("feed", feed), ("protocol", protocol)], sums[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::snapshot;
    use super::*;

    #[test]
    fn seconds_are_exact() {
        for (value, expected) in [(0, "0.0"), (1, "0.000000001"), (2_500_000_000, "2.5"), (-37_000, "-0.000037")] {
            assert_eq!(Seconds(value).to_string(), expected);
        }
        assert_eq!((limits()[0], limits()[24], limits().len()), (100, 10_000_000_000, 25));
    }

    #[test]
    fn counts_of_sessions_and_of_the_others_are_those_of_the_whole() {
        let mut snapshot = snapshot();
        let n = snapshot.summary.overall.of(SegmentKind::Ack).map(Histogram::n).unwrap();
        let count = |page: &str| -> u64 {
            let lines = page.lines().filter(|line| line.starts_with("tickscope_latency_seconds_count{segment=\"ack\""));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        assert_eq!(count(&write_openmetrics(&snapshot)), n);
        snapshot.earliest.truncate(1);
        let page = write_openmetrics(&snapshot);
        assert_eq!(count(&page), n);
        snapshot.earliest.clear();
        let page = write_openmetrics(&snapshot);
        assert_eq!(count(&page), n);
        assert!(page.contains("session=\"other\"") && page.ends_with("\n# EOF\n"));
    }

    #[test]
    fn a_name_with_quotes_is_escaped() {
        assert_eq!(set(&[("a", "x\"\\\n"), ("b", "")]), "{a=\"x\\\"\\\\\\n\",b=\"\"}");
    }

    #[test]
    fn an_exemplar_lies_in_its_bucket() {
        let page = write_openmetrics(&snapshot());
        let with: Vec<&str> = page.lines().filter(|line| line.contains(" # {clordid=")).collect();
        assert!(!with.is_empty());
        for line in with {
            let le = line.split("le=\"").nth(1).unwrap().split('"').next().unwrap();
            let value: f64 = line.split("\"} ").nth(2).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert!(le == "+Inf" || value <= le.parse().unwrap(), "{line}");
        }
    }
}
