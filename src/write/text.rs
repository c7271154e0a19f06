//! The report for people: first the answer, then by session, outcome and symbol, over time, the slowest orders, and
//! last what the numbers rest on. At most some 120 characters wide; the same numbers as `--json`, in units that can be
//! read (see `screen` for the rounding).

use std::io::{self, Write};

use tickscope_model::SegmentKind;

use super::groups::groups;
use super::over_time::over_time;
use super::overall::{error, latencies};
use super::screen::{Columns, Style, Unit, duration, factor, grouped, latency, plural, printable, share, wrapped};
use super::{Format, Output, across, causes, quality, trail};
use crate::stats::{Compared, Culprit, Quantile, Slow, Summary, VERDICT_TEST, Verdict};

pub(super) static FORMAT: Format =
    Format { name: "text", option: "", extension: "", title: "the report for people, on standard output" };

/// Slow stretches that get a sentence.
const VERDICTS: usize = 6;
/// Sentences are wrapped at this many characters.
pub(super) const WIDTH: usize = 112;

/// The whole report.
pub fn write_text(summary: &Summary, style: &Style, mut output: Output) -> io::Result<()> {
    let mut lines = Vec::new();
    head(summary, style, &mut lines);
    let verdict = Verdict::of(summary);
    answer(summary, &verdict, style, &mut lines);
    groups(summary, style, &mut lines);
    split(summary, style, &mut lines);
    over_time(summary, style, &mut lines);
    trail::slowest(summary, &verdict, style, &mut lines);
    quality::quality(summary, style, &mut lines);
    for line in lines {
        writeln!(output, "{line}")?;
    }
    output.flush()
}

fn head(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    let captures = plural(summary.taps.len() as u64, "capture", "captures");
    let requests = plural(summary.requests(), "request", "requests");
    let name = style.heading(concat!("tickscope ", env!("CARGO_PKG_VERSION")));
    lines.push(format!("{name}  {captures}, {requests}"));
    if let Some((first, last)) = summary.span() {
        let end = if style.is_same_day(first, last) { style.clock(last) } else { style.full_time(last) };
        let long = duration(last.0 - first.0);
        lines.push(format!("{} to {end} {} ({long})", style.full_time(first), style.zone_name(first)));
    }
    for tap in &summary.taps {
        if let Some(cut) = &tap.cut {
            let text = format!("! {} is cut: {}. The report covers what could be read.", tap.file, printable(cut));
            lines.push(style.warning(&text));
        }
    }
}

/// The two questions: how long did we take, how long did the exchange take, and did one of them slow down.
fn answer(summary: &Summary, verdict: &Verdict, style: &Style, lines: &mut Vec<String>) {
    lines.push(String::new());
    if summary.overall.is_empty() {
        lines.push(style.heading("LATENCY"));
        lines.push("  none: no request was seen together with its cause or its answer".into());
    } else {
        latencies(summary, style, lines);
        lines.push(String::new());
        lines.extend(verdicts(summary, verdict, style));
    }
    lines.extend(causes::causes(summary, style));
    for text in reservations(summary) {
        lines.extend(wrapped(&text, WIDTH, 2));
    }
}

/// The sentences of the verdict, or that there is none, and the test that they rest on.
fn verdicts(summary: &Summary, verdict: &Verdict, style: &Style) -> Vec<String> {
    if verdict.slow.is_empty() && !verdict.is_testable {
        return vec!["Too few samples to say whether one side slowed.".into()];
    }
    let mut lines = Vec::new();
    if verdict.slow.is_empty() {
        lines.push("No side slowed: no span of time stands out from the rest of the run.".into());
    }
    for slow in verdict.slow.iter().take(VERDICTS) {
        let text = format!("! {}", sentence(slow, summary, style));
        lines.extend(wrapped(&text, WIDTH, 2).iter().map(|line| style.warning(line)));
    }
    if verdict.slow.len() > VERDICTS {
        lines.push(style.faint(&format!("  … and {} more such times, see --json", verdict.slow.len() - VERDICTS)));
    }
    lines.push(style.faint(&format!("  test: {VERDICT_TEST}")));
    lines
}

/// `10:31:02.120 to 10:34:10.480: ack p50 61.000 µs → 290.000 µs (×4.75), t2t unchanged (12.034 µs → 12.100 µs): exchange`
pub(super) fn sentence(slow: &Slow, summary: &Summary, style: &Style) -> String {
    let with_date = !style.is_same_day(slow.from, slow.to);
    let time = |time| style.bucket_time(time, 1, with_date);
    let from = if slow.is_open.0 { "From the beginning".to_owned() } else { format!("From {}", time(slow.from)) };
    let to = if slow.is_open.1 { "to the end".to_owned() } else { format!("to {}", time(slow.to)) };
    let session = slow.session.as_ref().map_or(String::new(), |name| format!(", {} alone", printable(name)));
    let change = |it: &Compared| {
        let error =
            across::plus_minus(summary.across(it.kind)).map_or(String::new(), |error| format!(", both {error}"));
        format!("{} → {}{error}", latency(it.usual_p50_ns), latency(it.during_p50_ns))
    };
    let times = |it: &Compared| it.factor_hundredths().map_or(String::new(), |times| format!(" ({})", factor(times)));
    let mut parts: Vec<String> =
        (slow.slow().into_iter()).map(|it| format!("{} p50 {}{}", it.kind.name(), change(it), times(it))).collect();
    for (beside, name) in [(&slow.internal, "t2t"), (&slow.external, "answers")] {
        match beside {
            Some(it) if it.is_slow => {}
            Some(it) => parts.push(format!("{} {} ({})", it.kind.name(), it.change(), change(it))),
            None => parts.push(format!("{name}: too few to compare")),
        }
    }
    if let Some((usual, during)) = slow.market.filter(|(usual, during)| during / 2 > *usual) {
        parts.push(format!("market data {} → {} messages/s", grouped(usual), grouped(during)));
    }
    if let Some(line) = &slow.line {
        let (usual, during) = (latency(line.usual_p50_ns), latency(line.during_p50_ns));
        parts.push(format!("line {} ({}) behind the first by p50 {usual} → {during}", line.letter, line.address));
    }
    if slow.md_gaps > 0 && slow.culprit == Culprit::MarketData {
        parts.push(format!("market data missing in front of {}", plural(slow.md_gaps, "request", "requests")));
    }
    if slow.retransmitted > 0 {
        parts.push(format!("{} sent again by TCP", plural(slow.retransmitted, "request", "requests")));
    }
    format!("{from} {to}{session}: {}: {}", parts.join(", "), slow.culprit.name())
}

/// What the reader has to know before believing the table.
fn reservations(summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((far, n)) = summary.far_tail() {
        let latest = summary.methods().find(|(name, _)| *name == "latest").map_or(0, |(_, count)| count);
        let rests = if latest == 0 {
            "no pair rests on age and type of the message alone".to_owned()
        } else {
            let pairs = share(latest, summary.triggered(), "pairs");
            format!("{pairs} rest on age and type of the message alone (latest)")
        };
        lines.push(format!("t2t: {rests}; {} lie above ten times the median.", share(far, n, "values")));
    }
    let riding = summary.ack_with_answer();
    if riding > 0 {
        let in_all = summary.overall.of(SegmentKind::TcpAck).is_none();
        let what = if in_all { "not observable by itself" } else { "partly not observable by itself" };
        let requests = summary.requests();
        let share =
            format!("in {} of {} the ACK rode on the answer", grouped(riding), plural(requests, "request", "requests"));
        lines.push(format!("tcp_ack: {what}: {share}."));
    }
    for kind in SegmentKind::ALL {
        let negative = summary.negatives(kind);
        if negative > 0 {
            let values = plural(negative, "value lies", "values lie");
            lines.push(format!("{}: {values} below zero, kept out of the table.", kind.name()));
        }
    }
    lines
}

/// What external latency consists of; parts that nothing could be told of are named together.
fn split(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    let (shown, empty): (Vec<_>, Vec<_>) =
        summary.evidence.split.iter().partition(|(_, figures)| !figures.values.is_empty());
    if shown.is_empty() {
        return;
    }
    let mut columns = Columns::new(&[0, 7]);
    let mut titles = vec!["EXTERNAL, SPLIT".to_owned(), "n".into(), "unit".into(), "min ".into()];
    titles.extend(["p50 ".into(), "p99 ".into(), "max ".into(), "without".into()]);
    columns.push(titles);
    for (part, figures) in &shown {
        let values = &figures.values;
        let unit = Unit::of(values.median());
        let mut cells = vec![part.name().to_owned(), grouped(values.n()), unit.name().into()];
        cells.push(format!("{} ", unit.digits(values.min())));
        for quantile in [Quantile::P50, Quantile::P99] {
            let mark = if values.is_few(quantile) { '*' } else { ' ' };
            cells.push(format!("{}{mark}", unit.digits(values.percentile(quantile))));
        }
        cells.push(format!("{} ", unit.digits(values.max())));
        cells.push(reasons(&figures.without));
        columns.push(cells);
    }
    let table = columns.titled(&[0]);
    lines.push(String::new());
    lines.push(style.heading(&table[0]));
    lines.extend(table.into_iter().skip(1));
    // Parts that are missing for the same reasons are named together.
    let mut missing: Vec<(String, Vec<&str>)> = Vec::new();
    for (part, figures) in empty {
        let why = reasons(&figures.without);
        match missing.iter_mut().find(|(known, _)| *known == why) {
            Some((_, parts)) => parts.push(part.name()),
            None => missing.push((why, vec![part.name()])),
        }
    }
    for (why, parts) in missing {
        let text = format!("{}: not observable: {why}", parts.join(", "));
        lines.extend(wrapped(&text, WIDTH, 2).iter().map(|line| style.faint(&format!("  {line}"))));
    }
    for (part, _) in &shown {
        let text = error(summary, part.segments(), "its ends");
        lines.extend(text.map(|text| style.faint(&format!("  {}: {}", part.name(), text.trim_start()))));
    }
    let by: Vec<String> = summary
        .evidence
        .split
        .marketable()
        .map(|(evidence, count)| format!("{} {}", grouped(count), evidence.text()))
        .collect();
    if !by.is_empty() {
        let text = format!("order_to_fill: marketable: {}", by.join(", "));
        lines.extend(wrapped(&text, WIDTH, 2).iter().map(|line| style.faint(&format!("  {line}"))));
    }
    if summary.evidence.split.inferred > 0 {
        let requests = plural(summary.evidence.split.inferred, "request", "requests");
        lines.push(style.faint(&format!("  order_to_md of {requests} rests on price and quantity (inferred)")));
    }
}

/// `12 rode on the answer, 3 sent again`
fn reasons(without: &[(&'static str, u64)]) -> String {
    let texts: Vec<String> = without.iter().map(|(reason, count)| format!("{} {reason}", grouped(*count))).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::golden::{check, sample};
    use super::super::output::tests::Shared;
    use super::*;
    use serde_json::json;

    fn written(summary: &Summary, style: &Style) -> String {
        let shared = Shared::default();
        write_text(summary, style, shared.output()).unwrap();
        shared.text()
    }

    #[test]
    fn the_report_of_a_full_run() {
        check("full.txt", &written(&sample::full(), &Style::default()));
    }

    #[test]
    fn the_report_of_a_session_without_market_data() {
        check("orders_only.txt", &written(&sample::orders_only(), &Style::default()));
    }

    #[test]
    fn the_report_of_nothing() {
        check("empty.txt", &written(&Summary::default(), &Style::default()));
    }

    #[test]
    fn colour_changes_no_character() {
        let color = Style { color: true, ..Style::default() };
        let summary = sample::full();
        let colored = written(&summary, &color);
        assert!(colored.contains("\x1b["));
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some(start) = rest.find('\x1b') {
            plain.push_str(&rest[..start]);
            rest = rest[start..].split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_eq!(plain, written(&summary, &Style::default()));
    }

    #[test]
    fn no_line_is_too_wide() {
        for line in written(&sample::full(), &Style::default()).lines() {
            assert!(line.chars().count() <= 126, "{} characters: {line}", line.chars().count());
        }
    }

    /// The same number by another way: the JSON's nanoseconds as decimal text, rounded half up by hand.
    #[test]
    fn the_screen_says_what_the_json_says() {
        let shared = Shared::default();
        let summary = sample::full();
        super::super::write_json(&summary, shared.output()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&shared.text()).unwrap();
        let report = written(&summary, &Style::default());
        let mut compared = 0;
        for (name, values) in json["segments"].as_object().unwrap() {
            let line = report.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap();
            let cells: Vec<&str> = line.split_whitespace().collect();
            let step: u64 = match cells[2] {
                "ns" => panic!("no row of the sample is that fast"),
                "µs" => 1,
                _ => 1000,
            };
            let is_inferred = values["tails_over"].is_object();
            let keys = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "p99_99_ns", "max_ns", "mean_ns"];
            for (key, cell) in keys.iter().zip(&cells[3..]) {
                // The tail stands in a line of its own, over sure pairs.
                if is_inferred && key.starts_with("p99") && *cell == "–" {
                    continue;
                }
                let thousandths = (values[key].as_u64().unwrap() + step / 2) / step;
                let shown: String = cell.chars().filter(char::is_ascii_digit).collect();
                assert_eq!(shown.parse::<u64>().unwrap(), thousandths, "{name} {key}");
                let few =
                    values["few"].as_array().unwrap().iter().any(|few| format!("{}_ns", few.as_str().unwrap()) == *key);
                assert_eq!(cell.ends_with('*'), few, "{name} {key}");
                compared += 1;
            }
            assert_eq!(cells[1].replace(',', ""), values["n"].to_string());
        }
        assert_eq!(compared, 5 * 8 - 3);
        let sure = report.lines().find(|line| line.starts_with("  t2t ≥ 0.90 ")).unwrap();
        let tails = json["segments"]["t2t"]["p99_ns"].as_u64().unwrap();
        assert!(sure.contains(&format!(" {}.{:03} ", tails / 1000, tails % 1000)), "{tails}: {sure}");
        assert_eq!(json["segments"]["t2t"]["tails_over"], json!({ "confidence": 0.9, "n": 1879 }));
    }

    #[test]
    fn figures_between_two_clocks_carry_their_error_wherever_they_stand() {
        let report = written(&sample::two_clocks(), &Style::default());
        let mut section = "";
        let mut said = std::collections::BTreeMap::new();
        for line in report.lines() {
            let title = line.split("  ").next().unwrap_or_default();
            if !title.is_empty() && title.chars().all(|letter| letter.is_uppercase() || " (),-".contains(letter)) {
                section = title;
            }
            let count = line.matches("±37.313 µs").count() + line.matches("±?").count();
            *said.entry(section).or_insert(0) += count;
        }
        for (section, least) in [
            ("LATENCY", 4),
            ("CAUSES", 2),
            ("BY SYMBOL", 2),
            ("EXTERNAL, SPLIT", 1),
            ("OVER TIME (UTC)", 2),
            ("SLOWEST BY TICK-TO-TRADE", 4),
            ("SLOWEST BY FIRST ANSWER", 3),
        ] {
            assert!(said.get(section).is_some_and(|count| *count >= least), "{section}: {said:?}\n{report}");
        }
        // The table of hops has a column for it.
        let mut one_clock = sample::full();
        one_clock.hops.pairs.clear();
        let calm = written(&one_clock, &Style::default());
        assert!(!calm.contains('±'), "within one clock there is no error");
    }
}
