//! Lengths of time as scenarios write them (`60us`, `1.5ms`), latency distributions, and the calendar.
//! Everything becomes integer nanoseconds at once.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, de};

use crate::random::{Random, exp, to_count, to_float};

pub(crate) const MICRO: u64 = 1_000;
pub(crate) const MILLI: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const DAY: u64 = 86_400 * SECOND;

/// Nothing lasts longer.
const LONGEST: u64 = 30 * DAY;

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

/// A length of time with a sign, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift(pub i64);

/// A point in time in nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub u64);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Span, D::Error> {
        let text = String::deserialize(source)?;
        parse_span(&text).map(Span).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Shift {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Shift, D::Error> {
        let text = String::deserialize(source)?;
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(&text)),
        };
        let size = parse_span(rest).map_err(de::Error::custom)?;
        i64::try_from(size).map(|size| Shift(sign * size)).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Instant, D::Error> {
        let text = String::deserialize(source)?;
        parse_instant(&text)
            .map(Instant)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is no time like 2026-01-05T14:30:00Z")))
    }
}

/// `250us`, `1.5ms`, `2s`, `1m`, `1h`; a bare `0` needs no unit.
pub(crate) fn parse_span(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "ns" => 1,
        "us" | "µs" => MICRO,
        "ms" => MILLI,
        "s" => SECOND,
        "m" | "min" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        "" => return Err(format!("`{text}` has no unit (ns, us, ms, s, m, h)")),
        other => return Err(format!("`{other}` is no unit of time (ns, us, ms, s, m, h)")),
    };
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let bad = || format!("`{text}` is no length of time like 60us");
    let mut total = whole.parse::<u64>().map_err(|_| bad())?.checked_mul(unit).ok_or_else(bad)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        if !digit.is_ascii_digit() {
            return Err(bad());
        }
        place /= 10;
        total = total.checked_add(u64::from(digit - b'0') * place).ok_or_else(bad)?;
    }
    if total > LONGEST { Err(format!("`{text}` is longer than 30 days")) } else { Ok(total) }
}

/// A distribution of latencies, with intervals in which everything is slower.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "RawLatency")]
pub struct Latency {
    /// The middle of the distribution, or its only value.
    pub median: u64,
    /// Deviation of the logarithm; 0 gives always the median.
    pub sigma: f64,
    /// Nothing is faster than this.
    pub min: u64,
    /// Share of draws that come from the tail, which is exponential with mean `tail` beyond the rest.
    pub tail_share: f64,
    pub tail: u64,
    pub slow: Vec<Slow>,
}

/// An interval of simulated time in which latencies are multiplied and then lengthened.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    pub from: Span,
    pub to: Span,
    #[serde(default = "one")]
    pub factor: f64,
    #[serde(default)]
    pub add: Span,
}

fn one() -> f64 {
    1.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLatency {
    fixed: Option<Span>,
    median: Option<Span>,
    #[serde(default)]
    sigma: f64,
    #[serde(default)]
    min: Span,
    #[serde(default)]
    tail_share: f64,
    #[serde(default)]
    tail: Span,
    #[serde(default)]
    slow: Vec<Slow>,
}

impl TryFrom<RawLatency> for Latency {
    type Error = String;

    fn try_from(raw: RawLatency) -> Result<Latency, String> {
        let median = match (raw.fixed, raw.median) {
            (Some(_), Some(_)) => return Err("give either `fixed` or `median`, not both".into()),
            (None, None) => return Err("give `fixed` or `median`".into()),
            (Some(fixed), None) if raw.sigma == 0.0 => fixed,
            (Some(_), None) => return Err("`sigma` needs `median` instead of `fixed`".into()),
            (None, Some(median)) => median,
        };
        Ok(Latency {
            median: median.0,
            sigma: raw.sigma,
            min: raw.min.0,
            tail_share: raw.tail_share,
            tail: raw.tail.0,
            slow: raw.slow,
        })
    }
}

impl Latency {
    /// Always the same.
    pub fn fixed(ns: u64) -> Latency {
        Latency { median: ns, sigma: 0.0, min: 0, tail_share: 0.0, tail: 0, slow: Vec::new() }
    }

    /// Lognormal around a median.
    pub fn lognormal(median: u64, sigma: f64) -> Latency {
        Latency { sigma, ..Latency::fixed(median) }
    }

    /// One draw, `elapsed` after the run began.
    pub fn draw(&self, random: &mut Random, elapsed: u64) -> u64 {
        let mut value = self.median;
        if self.sigma > 0.0 {
            value = to_count(to_float(self.median) * exp(self.sigma * random.normal()));
        }
        if random.chance(self.tail_share) {
            value += to_count(to_float(self.tail) * random.exponential());
        }
        for slow in self.slow.iter().filter(|slow| slow.from.0 <= elapsed && elapsed < slow.to.0) {
            value = to_count(to_float(value) * slow.factor) + slow.add.0;
        }
        value.max(self.min).min(LONGEST)
    }
}

/// Year, month, day of a day counted from 1970-01-01 (proleptic Gregorian calendar).
fn civil(day: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last of its year; 719468 days lie before 1970-01-01.
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

fn day_number(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = (year % 400) * 365 + (year % 400) / 4 - (year % 400) / 100 + of_year;
    (year / 400) * 146_097 + of_era - 719_468
}

/// `YYYYMMDD-HH:MM:SS.` and as many digits of the second as asked for, as FIX writes a `UTCTimestamp`.
pub(crate) fn fix_time(out: &mut Vec<u8>, ns: u64, digits: usize) {
    let (year, month, day) = civil(ns / DAY);
    let second = ns % DAY / SECOND;
    let mut text = String::with_capacity(32);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(text, "{year:04}{month:02}{day:02}-{hour:02}:{minute:02}:{second:02}");
    if digits > 0 {
        let _ = write!(text, ".{:09}", ns % SECOND);
        text.truncate(text.len() - (9 - digits.min(9)));
    }
    out.extend_from_slice(text.as_bytes());
}

/// `2026-01-05T14:30:00Z`, with an optional fraction of the second.
pub(crate) fn parse_instant(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let valid = (1970..2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !valid || hour > 23 || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let nanos = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    Some(day_number(year, month, day) * DAY + (hour * 3600 + minute * 60 + second) * SECOND + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_their_errors() {
        for (text, ns) in [("60us", 60_000), ("1.5ms", 1_500_000), ("2 s", 2 * SECOND), ("0", 0), ("1_000ns", 1000)] {
            assert_eq!(parse_span(text), Ok(ns), "{text}");
        }
        for text in ["5", "5 parsecs", "us", "-3us", "1.2.3s"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn calendar() {
        let t = parse_instant("2026-02-28T23:59:59.123456789Z").unwrap();
        assert_eq!(t, 1_772_323_199_123_456_789); // date -u -d 2026-02-28T23:59:59 +%s
        let mut out = Vec::new();
        fix_time(&mut out, t, 6);
        assert_eq!(out, b"20260228-23:59:59.123456");
        for day in (0..40_000).step_by(17) {
            let (y, m, d) = civil(day);
            assert_eq!(day_number(y, m, d), day);
        }
        assert!(parse_instant("2026-13-01T00:00:00Z").is_none());
    }

    #[test]
    fn slow_intervals_lengthen() {
        let mut latency = Latency::fixed(100);
        latency.slow.push(Slow { from: Span(10), to: Span(20), factor: 2.0, add: Span(7) });
        let mut random = Random::new(1, "x");
        assert_eq!([9, 10, 19, 20].map(|t| latency.draw(&mut random, t)), [100, 207, 207, 100]);
    }
}
