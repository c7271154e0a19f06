//! `UTCTimestamp` of FIX: `YYYYMMDD-HH:MM:SS` and up to twelve digits of a second, as nanoseconds since the Unix epoch.

use super::digits;

/// `None` for anything that is not such a stamp. Digits below a nanosecond are cut off;
/// second 60 of a leap second is the first of the next minute.
pub(super) fn utc_ns(text: &[u8]) -> Option<u64> {
    let (stamp, fraction) = text.split_first_chunk::<17>()?;
    whole_seconds(stamp)?.checked_add(u64::from(nanoseconds(fraction)?))
}

/// Two stamps of one message, which mostly lie in the same second: then its date is worked out once.
pub(super) fn two_utc_ns(first: &[u8], second: &[u8]) -> (Option<u64>, Option<u64>) {
    let at_first = utc_ns(first);
    let at_second = match (at_first, first.split_first_chunk::<17>(), second.split_first_chunk::<17>()) {
        (Some(known), Some(one), Some(other)) if one.0 == other.0 => {
            let begin = nanoseconds(one.1).map(|fraction| known - u64::from(fraction));
            begin.zip(nanoseconds(other.1)).and_then(|(begin, fraction)| begin.checked_add(u64::from(fraction)))
        }
        _ => utc_ns(second),
    };
    (at_first, at_second)
}

/// `YYYYMMDD-HH:MM:SS` in nanoseconds.
fn whole_seconds(stamp: &[u8; 17]) -> Option<u64> {
    let &[y1, y2, y3, y4, m1, m2, d1, d2, b'-', h1, h2, b':', n1, n2, b':', s1, s2] = stamp else { return None };
    let date = digits::eight([y1, y2, y3, y4, m1, m2, d1, d2])?;
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    let time = digits::eight([b'0', b'0', h1, h2, n1, n2, s1, s2])?;
    let (hour, minute, second) = (time / 10_000, time / 100 % 100, time % 100);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    let seconds = u64::from(days(year, month, day)) * 86_400 + u64::from(hour * 3600 + minute * 60 + second);
    // 64 bits of nanoseconds end in the year 2554.
    seconds.checked_mul(1_000_000_000)
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin in March so that the leap day comes last.
fn days(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719 468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

fn nanoseconds(fraction: &[u8]) -> Option<u32> {
    let Some((&point, stated)) = fraction.split_first() else { return Some(0) };
    if point != b'.' || stated.len() > 12 {
        return None;
    }
    let (mut value, mut scale, rest) = match stated.split_first_chunk::<8>() {
        Some((first, rest)) => (digits::eight(*first)?, 8, rest),
        None => (0, 0, stated),
    };
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        if scale < 9 {
            value = value * 10 + u32::from(digit);
            scale += 1;
        }
    }
    Some(value * 10_u32.pow(9 - scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_exact() {
        let rows: &[(&str, Option<u64>)] = &[
            ("19700101-00:00:00", Some(0)),
            ("20240229-12:00:00", Some(1_709_208_000_000_000_000)),
            ("20131024-19:25:25.376", Some(1_382_642_725_376_000_000)),
            ("20261122-03:35:23.913969", Some(1_795_318_523_913_969_000)),
            ("20261122-03:35:23.913969123", Some(1_795_318_523_913_969_123)),
            ("20261122-03:35:23.913969123999", Some(1_795_318_523_913_969_123)),
            ("20261122-03:35:23.", Some(1_795_318_523_000_000_000)),
            ("25540721-23:34:33.709551615", Some(u64::MAX)),
            ("25540721-23:34:33.709551616", None),
            ("20161231-23:59:60", Some(1_483_228_800_000_000_000)),
            ("20261122-03:35:23.9139691239991", None),
            ("20261122-24:00:00", None),
            ("99991231-23:59:59", None),
            ("20261322-00:00:00", None),
            ("2026-11-22T00:00:00", None),
            ("20261122-03:35:23Z", None),
            ("19691231-23:59:59", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(utc_ns(text.as_bytes()), *expected, "{text}");
            for (other, other_expected) in rows {
                let both = two_utc_ns(text.as_bytes(), other.as_bytes());
                assert_eq!(both, (*expected, *other_expected), "{text} {other}");
            }
        }
    }
}
