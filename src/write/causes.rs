//! The report's part about causes: how many requests have which kind of trigger, and what that means for the tail of
//! tick-to-trade.

use super::screen::{Columns, Style, grouped, latency, wrapped};
use super::text::WIDTH;
use crate::pair::attribution::Suggestion;
use crate::stats::{Histogram, QUANTILES, Quantile, Summary};

pub(super) fn causes(summary: &Summary, style: &Style) -> Vec<String> {
    let it = &summary.attribution;
    let requests = it.exact + it.likely + it.ambiguous + it.untriggered;
    if requests == it.untriggered && it.suggested_links.is_empty() {
        return Vec::new();
    }
    let threshold = format!("{:.2}", it.threshold);
    let mut lines = vec![String::new(), style.heading("CAUSES")];
    let counts = [
        ("exact", it.exact, "an id in the request names the message".to_owned()),
        ("likely", it.likely, format!("confidence {threshold} or more")),
        ("ambiguous", it.ambiguous, "several messages could have caused it".to_owned()),
        ("untriggered", it.untriggered, "nothing explains it".to_owned()),
    ];
    let mut columns = Columns::new(&[0, 3]);
    for (name, count, text) in counts {
        columns.push(vec![format!("  {name}"), grouped(count), percent(count, requests), text]);
    }
    lines.extend(columns.lines());
    lines.extend(wrapped(&format!("Triggers: {}.", summary.trigger.text), WIDTH, 2));
    if let Some(found) = &it.aggregate {
        let text = format!(
            "Without claiming any pair: of {} requests {:.0} ± {:.0} came within {} of a message beyond chance, most clearly \
             {} behind it (z = {:.0}).",
            grouped(found.requests as u64),
            found.triggered,
            found.error,
            latency(found.within_ns),
            latency(found.mode_ns),
            found.z
        );
        lines.extend(wrapped(&text, WIDTH, 2));
    }
    if it.ambiguous > 0 && it.newest.n() > 0 {
        tails(summary, &threshold, &mut lines);
    }
    links(summary, &mut lines);
    lines
}

/// Links that the text has room for.
const LINKS: usize = 8;

/// What a person may want to configure.
fn links(summary: &Summary, lines: &mut Vec<String>) {
    let it = &summary.attribution;
    if it.suggested_links.is_empty() {
        return;
    }
    let text = "Suggested links between instruments, by new orders before which all else was silent; none was used, \
                [[trigger.link]] would:";
    lines.extend(wrapped(text, WIDTH, 2));
    for link in it.suggested_links.iter().take(LINKS) {
        lines.extend(wrapped(&sentence(link), WIDTH - 2, 2).into_iter().map(|line| format!("  {line}")));
    }
    let further = it.suggested_links.len().saturating_sub(LINKS);
    if further > 0 {
        lines.push(format!("  {further} more in --json"));
    }
}

fn sentence(link: &Suggestion) -> String {
    let condition = link.when.as_ref().map(|when| format!("; orders = \"{}\", when = \"{when}\"", link.orders));
    format!(
        "orders in {} follow {} {}: {} of {}, {:.1} by chance, most often {} later (z = {:.0}){}",
        link.orders,
        if link.is_trades { "trades of" } else { "messages about" },
        link.symbol,
        grouped(link.requests as u64),
        grouped(link.of as u64),
        link.expected,
        latency(link.mode_ns),
        link.z,
        condition.unwrap_or_default()
    )
}

/// Tails over the sure pairs, beside the bracket over all of them, and where the sure ones are.
fn tails(summary: &Summary, threshold: &str, lines: &mut Vec<String>) {
    let it = &summary.attribution;
    let at = |quantile: &Quantile, histogram: &Histogram| match histogram.n() {
        0 => "–".to_owned(),
        _ => latency(histogram.percentile(*quantile)),
    };
    let mut columns = Columns::new(&[0]);
    columns.push(
        ["  tail of t2t", &format!("confidence ≥ {threshold}"), "all, newest candidate", "all, oldest candidate"]
            .map(str::to_owned)
            .to_vec(),
    );
    for quantile in QUANTILES.iter().filter(|quantile| quantile.label.starts_with("p99")) {
        let cells = [&it.sure, &it.newest, &it.oldest].map(|histogram| at(quantile, histogram));
        columns.push([vec![format!("  {}", quantile.label)], cells.to_vec()].concat());
    }
    lines.extend(columns.lines());
    let mut columns = Columns::new(&[0]);
    let confidence = format!("confidence ≥ {threshold}");
    columns.push(["  messages/s on the symbol", "requests", "triggered", &confidence].map(str::to_owned).to_vec());
    for (rate, coverage) in it.by_rate() {
        let all = coverage.requests;
        let (triggered, sure) = (percent(coverage.triggered, all), percent(coverage.sure, all));
        columns.push(vec![format!("  {} and more", grouped(rate)), grouped(all), triggered, sure]);
    }
    lines.extend(columns.lines());
}

/// With one digit; what is not all is never 100.
fn percent(part: u64, whole: u64) -> String {
    let tenths = (u128::from(part) * 1000).checked_div(u128::from(whole)).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}
