//! The report for people: first the answer, then by session, outcome and symbol, over time, the slowest orders, and
//! last what the numbers rest on. At most some 120 characters wide; the same numbers as `--json`, in units that can be
//! read (see `screen` for the rounding).

use std::io::{self, Write};

use tickscope_model::SegmentKind;

use super::screen::{
    Columns, Style, Unit, bar, duration, factor, grouped, latency, plural, printable, share, shortened, wrapped,
};
use super::{Format, Output, causes, quality, trail};
use crate::pair::Across;
use crate::stats::{Compared, Culprit, Group, Histogram, Latencies, QUANTILES, Quantile, Slow, Span, Summary, Verdict};

pub(super) static FORMAT: Format =
    Format { name: "text", option: "", extension: "", title: "the report for people, on standard output" };

/// Lines of a table by session, outcome or symbol.
const TOP: usize = 10;
/// Lines of the table over time.
const TIMES: usize = 24;
/// Slow stretches that get a sentence.
const VERDICTS: usize = 6;
/// Segments in the tables by session, outcome and symbol.
const BESIDE: usize = 3;
const NAME_WIDTH: usize = 24;
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
        lines.extend(verdicts(verdict, style));
    }
    lines.extend(causes::causes(summary, style));
    for text in reservations(summary) {
        lines.extend(wrapped(&text, WIDTH, 2));
    }
}

fn latencies(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    let mut columns = Columns::new(&[0]);
    let mut titles = vec!["LATENCY".to_owned(), "n".into(), "unit".into(), "min ".into()];
    titles.extend(QUANTILES.iter().map(|quantile| format!("{} ", quantile.label)));
    titles.extend(["max ".into(), "mean ".into(), "p99/p50".into()]);
    columns.push(titles);
    let sure = &summary.attribution.sure;
    let mut kinds = Vec::new();
    for (kind, histogram) in main_table(summary) {
        kinds.push(kind);
        columns.push(distribution(kind.name().to_owned(), histogram));
        if kind == SegmentKind::TickToTrade && 0 < sure.n() && sure.n() < histogram.n() {
            kinds.push(kind);
            columns.push(distribution(format!("t2t ≥ {:.2}", summary.attribution.threshold), sure));
        }
    }
    let mut table = columns.titled(&[0]).into_iter();
    lines.push(style.heading(&table.next().unwrap_or_default()));
    for (kind, line) in kinds.into_iter().zip(table) {
        lines.push(if is_internal(kind) { style.internal(&line) } else { style.external(&line) });
    }
    lines.push(String::new());
    lines.extend(legend(summary).iter().map(|line| style.faint(line)));
}

/// Parts of a latency stand in a table of their own.
fn main_table(summary: &Summary) -> impl Iterator<Item = (SegmentKind, &Histogram)> {
    summary.overall.iter().filter(|(kind, _)| !kind.is_part())
}

fn distribution(name: String, histogram: &Histogram) -> Vec<String> {
    let unit = Unit::of(histogram.median());
    let mut cells = vec![name, grouped(histogram.n()), unit.name().into()];
    cells.push(format!("{} ", unit.digits(histogram.min())));
    for quantile in QUANTILES {
        let mark = if histogram.is_few(quantile) { '*' } else { ' ' };
        cells.push(format!("{}{mark}", unit.digits(histogram.percentile(quantile))));
    }
    cells.push(format!("{} ", unit.digits(histogram.max())));
    cells.push(format!("{} ", unit.digits(histogram.mean())));
    cells.push(histogram.spread().map_or("–".into(), factor));
    cells
}

fn is_internal(kind: SegmentKind) -> bool {
    matches!(kind, SegmentKind::TickToTrade | SegmentKind::FillToRequest | SegmentKind::WallToWall)
}

/// What the names mean, and the mark.
fn legend(summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    let letters = |kind| summary.letters(kind);
    let has = |kind| summary.overall.of(kind).is_some();
    if has(SegmentKind::TickToTrade) {
        let text = "from the market-data message that made us act to the request";
        lines.push(format!("  t2t      internal, {}: {text}", letters(SegmentKind::TickToTrade)));
        lines.extend(error(summary, &[SegmentKind::TickToTrade], "market data and requests"));
    }
    if has(SegmentKind::FillToRequest) {
        let text = "from a fill of our own to the request that it made us send";
        lines.push(format!("  fill_to_request  internal, {}: {text}", letters(SegmentKind::FillToRequest)));
    }
    if has(SegmentKind::WallToWall) {
        let text = "from the request in one session to the same request in the next";
        lines.push(format!("  w2w      internal, {}: {text}", letters(SegmentKind::WallToWall)));
        lines.extend(error(summary, &[SegmentKind::WallToWall], "the two sessions"));
    }
    let others: Vec<SegmentKind> = main_table(summary)
        .map(|(kind, _)| kind)
        .filter(|kind| !is_internal(*kind) && *kind != SegmentKind::Hop)
        .collect();
    if !others.is_empty() {
        let text = "from the request to the exchange's answer";
        lines.push(format!("  others   external, {}: {text}", letters(SegmentKind::Ack)));
        lines.extend(error(summary, &others, "requests and answers"));
    }
    if has(SegmentKind::Hop) {
        lines.push("  hop      from one tap to the next: the same request at both".into());
        lines.extend(error(summary, &[SegmentKind::Hop], "the two taps"));
    }
    let is_few = |histogram: &Histogram| QUANTILES.iter().any(|quantile| histogram.is_few(*quantile));
    if main_table(summary).any(|(_, histogram)| is_few(histogram)) {
        lines.push("  *        fewer than 10 samples lie above this percentile: luck has a large part in it".into());
    }
    lines
}

/// The ± of latencies whose ends stand on different clocks.
fn error(summary: &Summary, kinds: &[SegmentKind], who: &str) -> Option<String> {
    match kinds.iter().map(|kind| summary.across(*kind)).max()? {
        Across::One => None,
        Across::Within(error) => {
            let error = latency(error.0.unsigned_abs());
            Some(format!("           each ±{error}: {who} stand on different clocks"))
        }
        Across::Unknown => {
            let why = "nobody said how well their clocks are kept ([[tap]] error)";
            Some(format!("           each ±?: {who} stand on different clocks, and {why}"))
        }
    }
}

/// The sentences of the verdict, or that there is none.
fn verdicts(verdict: &Verdict, style: &Style) -> Vec<String> {
    if verdict.slow.is_empty() {
        let text = if verdict.is_testable {
            "No side slowed: no span of time stands out from the rest of the run."
        } else {
            "Too few samples to say whether one side slowed."
        };
        return vec![text.into()];
    }
    let mut lines = Vec::new();
    for slow in verdict.slow.iter().take(VERDICTS) {
        let text = format!("! {}", sentence(slow, style));
        lines.extend(wrapped(&text, WIDTH, 2).iter().map(|line| style.warning(line)));
    }
    if verdict.slow.len() > VERDICTS {
        lines.push(style.faint(&format!("  … and {} more such times, see --json", verdict.slow.len() - VERDICTS)));
    }
    lines
}

/// `10:31:02.120 to 10:34:10.480: ack p50 61.000 µs → 290.000 µs (×4.75), t2t unchanged (12.034 µs → 12.100 µs): exchange`
pub(super) fn sentence(slow: &Slow, style: &Style) -> String {
    let with_date = !style.is_same_day(slow.from, slow.to);
    let time = |time| style.bucket_time(time, 1, with_date);
    let from = if slow.is_open.0 { "From the beginning".to_owned() } else { format!("From {}", time(slow.from)) };
    let to = if slow.is_open.1 { "to the end".to_owned() } else { format!("to {}", time(slow.to)) };
    let session = slow.session.as_ref().map_or(String::new(), |name| format!(", {} alone", printable(name)));
    let change = |it: &Compared| format!("{} → {}", latency(it.usual_p50_ns), latency(it.during_p50_ns));
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

/// External segments by how often they occur; fills only where nothing else answers.
fn externals(overall: &Latencies) -> Vec<SegmentKind> {
    let is_fill = |kind| matches!(kind, SegmentKind::FirstFill | SegmentKind::FullFill);
    let mut kinds: Vec<(SegmentKind, u64)> = overall
        .iter()
        .filter(|(kind, _)| !is_internal(*kind) && *kind != SegmentKind::Hop && !kind.is_part())
        .map(|(kind, histogram)| (kind, histogram.n()))
        .collect();
    kinds.sort_by_key(|(kind, n)| (is_fill(*kind), std::cmp::Reverse(*n), *kind));
    kinds.into_iter().map(|(kind, _)| kind).collect()
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

fn groups(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    let mut kinds = vec![SegmentKind::TickToTrade];
    kinds.retain(|kind| summary.overall.of(*kind).is_some());
    kinds.extend(externals(&summary.overall));
    kinds.truncate(BESIDE);
    let tables = [
        ("BY SESSION", summary.by_session.by_requests()),
        ("BY OUTCOME", summary.by_outcome.by_requests()),
        ("BY SYMBOL", summary.by_symbol.by_requests()),
    ];
    let mut columns = Columns::new(&[0]);
    let (mut sections, mut at, mut title_lines) = (Vec::new(), 0, Vec::new());
    for (title, groups) in &tables {
        if groups.is_empty() {
            continue;
        }
        let mut titles = vec![(*title).to_owned(), "requests".into()];
        for kind in &kinds {
            titles.extend([format!("{} p50", kind.name()), "p99 ".into()]);
        }
        columns.push(titles);
        let shown = &groups[..groups.len().min(TOP)];
        for group in shown {
            columns.push(group_line(group, &kinds));
        }
        sections.push((shown.len(), groups.len() - shown.len()));
        title_lines.push(at);
        at += 1 + shown.len();
    }
    let mut table = columns.titled(&title_lines).into_iter();
    for (shown, hidden) in sections {
        lines.push(String::new());
        lines.push(style.heading(&table.next().unwrap_or_default()));
        lines.extend(table.by_ref().take(shown));
        if hidden > 0 {
            lines.push(style.faint(&format!("  … and {} more, see --json", grouped(hidden as u64))));
        }
    }
}

fn group_line(group: &Group, kinds: &[SegmentKind]) -> Vec<String> {
    let name = if group.name.is_empty() { "(none)".into() } else { shortened(&printable(&group.name), NAME_WIDTH) };
    let mut cells = vec![name, grouped(group.requests)];
    for kind in kinds {
        match group.latencies.of(*kind) {
            None => cells.extend(["–".into(), "– ".into()]),
            Some(histogram) => {
                let mark = if histogram.is_few(Quantile::P99) { '*' } else { ' ' };
                cells.push(latency(histogram.median()));
                cells.push(format!("{}{mark}", latency(histogram.percentile(Quantile::P99))));
            }
        }
    }
    cells
}

/// Internal beside external, span by span.
fn over_time(summary: &Summary, style: &Style, lines: &mut Vec<String>) {
    let spans = summary.timeline.at_most(TIMES);
    let internal = summary.overall.of(SegmentKind::TickToTrade).map(|_| SegmentKind::TickToTrade);
    let external = shown_beside(summary);
    if spans.len() < 2 || (internal.is_none() && external.is_none()) {
        return;
    }
    let kinds: Vec<SegmentKind> = internal.into_iter().chain(external).collect();
    let (first, last) = (&spans[0], &spans[spans.len() - 1]);
    let width_ns = first.to.0 - first.from.0;
    let with_date = !style.is_same_day(first.from, last.from);
    let mut columns = Columns::new(&[0, 4, 7]);
    let mut titles = vec![format!("OVER TIME ({})", style.zone_name(first.from)), "market".into()];
    for kind in &kinds {
        titles.extend([format!("{} n", kind.name()), "p50".into(), String::new()]);
    }
    columns.push(titles);
    let median = |span: &Span, kind| span.latencies.of(kind).map(Histogram::median);
    let most: Vec<u64> =
        kinds.iter().map(|kind| spans.iter().filter_map(|span| median(span, *kind)).max().unwrap_or(0)).collect();
    for span in &spans {
        let mut cells = vec![style.bucket_time(span.from, width_ns, with_date), grouped(span.market)];
        for (kind, most) in kinds.iter().zip(&most) {
            cells.extend(time_cells(span.latencies.of(*kind), *most));
        }
        columns.push(cells);
    }
    let table = columns.titled(&[0]);
    lines.push(String::new());
    lines.push(style.heading(&table[0]));
    for (index, line) in table.into_iter().skip(1).enumerate() {
        if let Some(before) = index.checked_sub(1).and_then(|before| spans.get(before))
            && before.to < spans[index].from
        {
            let quiet = duration(spans[index].from.0 - before.to.0);
            lines.push(style.faint(&format!("  ⋮ nothing for {quiet}")));
        }
        lines.push(line);
    }
    let note =
        format!("  each line is {} wide; bars show p50, each column on its own scale from 0", duration(width_ns));
    lines.push(style.faint(&note));
}

/// The exchange's answer that stands beside tick-to-trade: the most frequent one, since an ACK of the network says
/// nothing of the exchange; fills and network only where there is no other.
fn shown_beside(summary: &Summary) -> Option<SegmentKind> {
    let n = |kind: &SegmentKind| summary.overall.of(*kind).map_or(0, Histogram::n);
    let answers = [SegmentKind::ReplaceAck, SegmentKind::CancelAck, SegmentKind::Reject, SegmentKind::Ack];
    let most = answers.into_iter().filter(|kind| n(kind) > 0).max_by_key(n);
    most.or([SegmentKind::FirstFill, SegmentKind::TcpAck].into_iter().find(|kind| n(kind) > 0))
}

fn time_cells(histogram: Option<&Histogram>, most: u64) -> [String; 3] {
    match histogram {
        None => ["–".into(), "–".into(), String::new()],
        Some(histogram) => {
            let p50 = histogram.median();
            [grouped(histogram.n()), latency(p50), bar(p50, most, 18)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::{check, sample};
    use super::super::output::tests::Shared;
    use super::*;

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
            let keys = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "p99_99_ns", "max_ns", "mean_ns"];
            for (key, cell) in keys.iter().zip(&cells[3..]) {
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
        assert_eq!(compared, 4 * 8);
    }
}
