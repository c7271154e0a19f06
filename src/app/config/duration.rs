//! Durations as users write them: `250us`, `-37us`, `1.5ms`. Text to integer nanoseconds and back, exactly:
//! no floating point is involved, and what cannot be said in whole nanoseconds is refused.

use tickscope_model::Nanos;

/// What every message about a duration says is expected.
const FORM: &str = "a number with a unit (ns, us, ms or s), such as \"250us\" or \"1.5ms\"";

/// Units by their text, longest first where one ends with another; `µ` exists twice in Unicode.
const UNITS: &[(&str, i64)] =
    &[("ns", 1), ("us", 1_000), ("\u{b5}s", 1_000), ("\u{3bc}s", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

/// Reads a signed duration. The error is a sentence without a subject: `is not …`.
pub fn parse(text: &str) -> Result<Nanos, String> {
    let bad = || format!("\"{text}\" is not a duration: expected {FORM}");
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (number, unit) = UNITS
        .iter()
        .find_map(|&(name, unit)| rest.strip_suffix(name).filter(|number| is_number(number)).map(|n| (n, unit)))
        .ok_or_else(bad)?;
    let too_long = || format!("\"{text}\" is longer than 292 years");
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i64 = whole.parse().map_err(|_| too_long())?;
    let mut total = whole.checked_mul(unit).ok_or_else(too_long)?;
    let mut digit_unit = unit;
    for digit in fraction.bytes().map(|byte| i64::from(byte - b'0')) {
        let exact = digit_unit % 10 == 0;
        digit_unit /= 10;
        if !exact && digit != 0 {
            return Err(format!("\"{text}\" is finer than a nanosecond"));
        }
        total = total.checked_add(digit * digit_unit).ok_or_else(too_long)?;
    }
    Ok(Nanos(if negative { -total } else { total }))
}

/// Reads a duration that may not be negative.
pub fn parse_span(text: &str) -> Result<Nanos, String> {
    match parse(text)? {
        Nanos(..0) => Err(format!("\"{text}\" is negative: expected {FORM}")),
        span => Ok(span),
    }
}

/// The shortest exact text: the largest unit that gives a whole number.
pub fn text(span: Nanos) -> String {
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
    match units.iter().find(|(_, unit)| span.0 != 0 && span.0 % unit == 0) {
        Some((name, unit)) => format!("{}{name}", span.0 / unit),
        None => format!("{}ns", span.0),
    }
}

/// Digits with at most one point between them: `1`, `1.5`, not `.5` or `1.`.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_exact() {
        for (input, expected) in [
            ("1s", 1_000_000_000),
            ("250us", 250_000),
            ("250\u{b5}s", 250_000),
            ("250\u{3bc}s", 250_000),
            ("-37us", -37_000),
            ("+37us", 37_000),
            ("1.5ms", 1_500_000),
            ("0ns", 0),
            ("0.1s", 100_000_000),
            ("1.000000001s", 1_000_000_001),
            ("1.50ns", -1),
            ("1.0ns", 1),
            ("9223372036s", 9_223_372_036_000_000_000),
            ("9223372037s", -1),
            ("99999999999999999999ns", -1),
            ("0.0000000001s", -1),
        ] {
            let result = parse(input);
            match expected {
                -1 => assert!(result.is_err(), "{input} gave {result:?}"),
                expected => assert_eq!(result, Ok(Nanos(expected)), "{input}"),
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for input in ["", "5", "s", "1 s", "1.s", ".5s", "1,5s", "1e3ns", "0x1ns", "--1s", "1m", "1h", "1S", "1.2.3s"] {
            assert!(parse(input).expect_err(input).contains("expected a number with a unit"), "{input}");
        }
        assert!(parse_span("-1ns").is_err());
    }

    #[test]
    fn text_reads_back() {
        for (span, expected) in [
            (0, "0ns"),
            (1, "1ns"),
            (1_500_000, "1500us"),
            (-37_000, "-37us"),
            (1_000_000_000, "1s"),
            (10_000_000_000, "10s"),
        ] {
            assert_eq!(text(Nanos(span)), expected);
            assert_eq!(parse(expected), Ok(Nanos(span)));
        }
    }
}
