//! UTCTimestamp of FIX: `YYYYMMDD-HH:MM:SS` and up to twelve digits of a second, as nanoseconds since the Unix epoch.

use super::digits;

/// `None` for anything that is not such a stamp. Digits below a nanosecond are cut off;
/// second 60 of a leap second is the first of the next minute.
pub(super) fn utc_ns(text: &[u8]) -> Option<u64> {
    let (date, rest) = text.split_first_chunk::<8>()?;
    let (&[b'-', h1, h2, b':', n1, n2, b':', s1, s2], fraction) = rest.split_first_chunk::<9>()? else { return None };
    let date = digits::eight(*date)?;
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    let time = digits::eight([b'0', b'0', h1, h2, n1, n2, s1, s2])?;
    let (hour, minute, second) = (time / 10_000, time / 100 % 100, time % 100);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    let seconds = u64::from(days(year, month, day)) * 86_400 + u64::from(hour * 3600 + minute * 60 + second);
    // 64 bits of nanoseconds end in the year 2554.
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::from(nanoseconds(fraction)?))
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
    let mut padded = [b'0'; 16];
    padded.get_mut(..stated.len())?.copy_from_slice(stated);
    let (words, _) = padded.as_chunks::<8>();
    let &[first, second] = words else { return None };
    digits::eight(second)?;
    Some(digits::eight(first)? * 10 + u32::from(second.first()? - b'0'))
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
        }
    }
}
