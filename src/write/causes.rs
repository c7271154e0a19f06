//! The report's part about causes: how many requests have which kind of trigger, and what that means for the tail of
//! tick-to-trade.

use tickscope_model::SegmentKind;

use super::across;
use super::screen::{Columns, Style, grouped, latency, share, wrapped};
use super::text::WIDTH;
use crate::pair::attribution::Suggestion;
use crate::stats::{Histogram, QUANTILES, Quantile, Summary};

pub(super) fn causes(summary: &Summary, style: &Style) -> Vec<String> {
    let it = &summary.attribution;
    let requests = it.causes.total();
    if requests == it.causes.untriggered && it.suggested_links.is_empty() {
        return Vec::new();
    }
    let threshold = format!("{:.2}", it.threshold);
    let mut lines = vec![String::new(), style.heading("CAUSES")];
    let texts = [
        "an id in the request names the message".to_owned(),
        format!("confidence {threshold} or more"),
        "several messages could have caused it".to_owned(),
        "nothing explains it".to_owned(),
    ];
    let mut columns = Columns::new(&[0, 3]);
    for ((name, count), text) in it.causes.named().into_iter().zip(texts) {
        columns.push(vec![format!("  {name}"), grouped(count), percent(count, requests), text]);
    }
    lines.extend(columns.lines());
    lines.extend(wrapped(&format!("Triggers: {}.", summary.trigger.text), WIDTH, 2));
    if it.book_partial > 0 {
        let share = share(it.book_partial, requests, "requests");
        let text = format!("book_partial: {share} were judged by a book that began in mid-stream or misses messages.");
        lines.extend(wrapped(&text, WIDTH, 2));
    }
    if it.aggregate.is_some() {
        lines.extend(wrapped(&aggregate(summary), WIDTH, 2));
    }
    if it.causes.ambiguous > 0 && it.newest.n() > 0 {
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
        lines.extend(wrapped(&sentence(link, summary), WIDTH - 2, 2).into_iter().map(|line| format!("  {line}")));
    }
    let further = it.suggested_links.len().saturating_sub(LINKS);
    if further > 0 {
        lines.push(format!("  {further} more in --json"));
    }
}

fn sentence(link: &Suggestion, summary: &Summary) -> String {
    let error = across::behind(summary.across(SegmentKind::TickToTrade));
    let condition = link.when.as_ref().map(|when| format!("; orders = \"{}\", when = \"{when}\"", link.orders));
    format!(
        "orders in {} follow {} {}: {} of {}, {:.1} by chance, most often {}{error} later (z = {:.0}){}",
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

fn aggregate(summary: &Summary) -> String {
    let Some(found) = &summary.attribution.aggregate else { return String::new() };
    let error = across::behind(summary.across(SegmentKind::TickToTrade));
    format!(
        "Without claiming any pair: of {} requests {} ± {} came within {} of a message beyond chance, most clearly {}{error} \
         behind it (z = {:.0}).",
        grouped(found.requests as u64),
        whole(found.triggered),
        whole(found.error),
        latency(found.within_ns),
        latency(found.mode_ns),
        found.z
    )
}

/// A count that was estimated.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "requests, rounded, at least none")]
fn whole(value: f64) -> String {
    grouped(value.round().max(0.0) as u64)
}

/// Tails over the sure pairs, beside the bracket over all of them, and where the sure ones are.
fn tails(summary: &Summary, threshold: &str, lines: &mut Vec<String>) {
    let it = &summary.attribution;
    let at = |quantile: &Quantile, histogram: &Histogram| {
        if histogram.is_empty() {
            return "– ".to_owned();
        }
        let mark = if histogram.is_few(*quantile) { '*' } else { ' ' };
        format!("{}{mark}", latency(histogram.percentile(*quantile)))
    };
    let mut columns = Columns::new(&[0]);
    let titles =
        ["  tail of t2t", &format!("confidence ≥ {threshold} "), "all, newest candidate ", "all, oldest candidate "];
    columns.push(titles.map(str::to_owned).to_vec());
    for quantile in QUANTILES.iter().filter(|quantile| quantile.is_tail()) {
        let cells = [&it.sure, &it.newest, &it.oldest].map(|histogram| at(quantile, histogram));
        columns.push([vec![format!("  {}", quantile.label)], cells.to_vec()].concat());
    }
    lines.extend(columns.lines());
    let caption = across::caption(summary, &[SegmentKind::TickToTrade]);
    lines.extend(caption.map(|text| format!("    {text}")));
    if it.by_rate().next().is_none() {
        return;
    }
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

/// With one digit, rounded half up, but never to none or to all.
fn percent(part: u64, whole: u64) -> String {
    let tenths = (u128::from(part) * 2000).checked_div(u128::from(whole)).unwrap_or(0).div_ceil(2);
    match tenths {
        0 if part > 0 => "<0.1 %".into(),
        1000 if part < whole => ">99.9 %".into(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_but_never_to_none_or_all() {
        for (part, whole, expected) in [
            (66, 1838, "3.6 %"),
            (1, 3, "33.3 %"),
            (2, 3, "66.7 %"),
            (1, 2000, "0.1 %"),
            (1, 2001, "<0.1 %"),
            (1999, 2000, ">99.9 %"),
            (2000, 2000, "100.0 %"),
            (0, 0, "0.0 %"),
        ] {
            assert_eq!(percent(part, whole), expected, "{part} of {whole}");
        }
        assert_eq!([2761.4, 26.0, -3.0].map(whole), ["2,761", "26", "0"]);
    }
}
