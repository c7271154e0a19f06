//! The filter of the list of orders: words that must all hold. `symbol:MSFT` compares a column, `t2t>50us` a latency, and a word
//! alone is looked for in ClOrdID, session, symbol, outcome, request and flags. A `-` before a word turns it round.

use crate::rows::Row;

/// See the head of this file. What does not occur selects nothing out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    is_turned: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Text(&'static str, String),
    Latency(&'static str, Order, i64),
    Confidence(Order, f32),
    Anywhere(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Above,
    Below,
}

/// What is wrong with it, and where: characters from the left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) text: String,
}

/// Columns with text, as they are called in a filter.
const TEXTS: [&str; 10] =
    ["symbol", "session", "clordid", "request", "side", "outcome", "method", "flags", "tap", "venue"];
/// Columns with a latency.
const LATENCIES: [&str; 8] = ["t2t", "answer", "tcp_ack", "ack", "reject", "first_fill", "cancel_ack", "replace_ack"];

impl Filter {
    pub(crate) fn parse(text: &str) -> Result<Filter, Wrong> {
        let mut terms = Vec::new();
        let mut at = 0;
        for word in text.split(' ') {
            let begin = at;
            at += word.chars().count() + 1;
            if word.is_empty() {
                continue;
            }
            let (is_turned, rest) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
            let test = test(rest).map_err(|text| Wrong { at: begin, text })?;
            terms.push(Term { is_turned, test });
        }
        Ok(Filter { terms })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    pub(crate) fn selects(&self, row: &Row) -> bool {
        self.terms.iter().all(|term| term.test.holds(row) != term.is_turned)
    }
}

fn test(word: &str) -> Result<Test, String> {
    if let Some((name, value)) = word.split_once(':') {
        let Some(name) = TEXTS.into_iter().find(|known| *known == name) else {
            return Err(format!("no column {name:?}; known are {}", TEXTS.join(", ")));
        };
        return Ok(Test::Text(name, value.to_lowercase()));
    }
    let Some(at) = word.find(['<', '>']) else { return Ok(Test::Anywhere(word.to_lowercase())) };
    let (name, rest) = word.split_at(at);
    let order = if rest.starts_with('>') { Order::Above } else { Order::Below };
    let value = rest.trim_start_matches(['<', '>']).trim_start_matches('=');
    if name == "confidence" {
        let number =
            value.parse().map_err(|_| format!("confidence is compared with a number from 0 to 1, not {value:?}"));
        return Ok(Test::Confidence(order, number?));
    }
    let Some(name) = LATENCIES.into_iter().find(|known| *known == name) else {
        return Err(format!("no latency {name:?}; known are {}, confidence", LATENCIES.join(", ")));
    };
    let value =
        nanos(value).ok_or_else(|| format!("{value:?} is no latency; write one like 50us, 1.5ms, 800ns, 2s"))?;
    Ok(Test::Latency(name, order, value))
}

/// `50us`, `1.5ms`
fn nanos(text: &str) -> Option<i64> {
    let at = text.find(|it: char| !it.is_ascii_digit() && it != '.')?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    let value = number.parse::<f64>().ok()? * factor;
    #[allow(clippy::cast_possible_truncation, reason = "a limit that somebody typed; beyond 292 years it stays there")]
    let value = value.round() as i64;
    Some(value)
}

impl Test {
    fn holds(&self, row: &Row) -> bool {
        match self {
            Test::Text("venue", value) => row.venue().to_lowercase().contains(value),
            Test::Text(name, value) => contains(row.text(name), value),
            Test::Latency(name, order, limit) => row.latency(name).is_some_and(|found| match order {
                Order::Above => found > *limit,
                Order::Below => found < *limit,
            }),
            Test::Confidence(order, limit) => match order {
                Order::Above => row.confidence > *limit,
                Order::Below => row.confidence < *limit && !row.method.is_empty(),
            },
            Test::Anywhere(value) => ["clordid", "session", "symbol", "outcome", "request", "flags"]
                .into_iter()
                .any(|name| contains(row.text(name), value)),
        }
    }
}

fn contains(text: &str, lower: &str) -> bool {
    text.len() >= lower.len() && text.to_lowercase().contains(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Row;

    fn row() -> Row {
        Row {
            clordid: "T01-7".into(),
            session: "TRADER->EXCHANGE".into(),
            symbol: "MSFT".into(),
            outcome: "rejected".into(),
            t2t_ns: Some(61_000),
            confidence: 0.8,
            method: "latest".into(),
            ..Row::default()
        }
    }

    fn selects(text: &str) -> bool {
        Filter::parse(text).unwrap().selects(&row())
    }

    #[test]
    fn all_words_must_hold() {
        for text in
            ["", "symbol:MSFT t2t>50us reject", "t01", "-symbol:AAPL", "t2t>=60.9us", "venue:exch", "confidence<0.9"]
        {
            assert!(selects(text), "{text}");
        }
        for text in ["symbol:AAPL", "t2t>1ms", "t2t<50us", "-reject", "ack>1ns", "confidence>0.9"] {
            assert!(!selects(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let wrong = |text: &str| Filter::parse(text).unwrap_err();
        assert_eq!(wrong("reject symbl:X").at, 7);
        assert!(wrong("t2t>50").text.contains("50us"));
        assert!(wrong("t3t>50us").text.contains("t2t"));
    }
}
