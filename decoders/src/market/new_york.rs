//! Midnight in New York: feeds such as ITCH count nanoseconds from it, and only the capture's own time tells the date.
//! The rule for daylight saving time is that of the Energy Policy Act of 2005, in force since 2007, older than ITCH 5.0.

use tickscope_model::Timestamp;

const HOUR_NS: u64 = 3_600_000_000_000;
const DAY_NS: u64 = 24 * HOUR_NS;

/// Completes a stamp that counts nanoseconds from midnight in New York: of the three days around `now`, the one that puts
/// it closest to `now`. So a stamp from just before midnight is right although its frame was captured just after it.
pub fn since_epoch_ns(since_midnight_ns: u64, now: Timestamp) -> u64 {
    let today = now.0.saturating_sub(4 * HOUR_NS) / DAY_NS;
    [today.saturating_sub(1), today, today + 1]
        .map(|day| midnight_ns(day).saturating_add(since_midnight_ns))
        .into_iter()
        .min_by_key(|stamp| stamp.abs_diff(now.0))
        .unwrap_or(0)
}

/// When the given day (counted from 1 January 1970) began in New York.
fn midnight_ns(day: u64) -> u64 {
    let hours = if is_daylight_saving(day) { 4 } else { 5 };
    day.saturating_mul(DAY_NS).saturating_add(hours * HOUR_NS)
}

/// Whether daylight saving time was in force as the day began: clocks change at 2 o'clock on the second Sunday of March
/// and on the first Sunday of November, so both Sundays begin with the time of the day before.
fn is_daylight_saving(day: u64) -> bool {
    let mut year = 1970 + day / 366;
    while january_1(year + 1) <= day {
        year += 1;
    }
    let leap_day = january_1(year + 1) - january_1(year) - 365;
    let march_1 = january_1(year) + 59 + leap_day;
    let november_1 = january_1(year) + 304 + leap_day;
    let starts = sunday_from(march_1) + 7;
    let ends = sunday_from(november_1);
    starts < day && day <= ends
}

/// Days from 1 January 1970 to 1 January of `year`.
fn january_1(year: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    365 * (year - 1970) + leap_days(year - 1) - leap_days(1969)
}

/// The first Sunday that is not before `day`; day 0 was a Thursday.
fn sunday_from(day: u64) -> u64 {
    day + (7 - (day + 4) % 7) % 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_follows_the_rule_of_2007() {
        // `TZ=America/New_York date -d 'DATE 00:00' +%s`
        for (date, midnight) in [
            ("2017-04-25", 1_493_092_800),
            ("2023-08-22", 1_692_676_800),
            ("2024-01-02", 1_704_171_600),
            ("2024-02-29", 1_709_182_800),
            ("2024-03-10", 1_710_046_800),
            ("2024-03-11", 1_710_129_600),
            ("2024-11-03", 1_730_606_400),
            ("2024-11-04", 1_730_696_400),
            ("2026-12-31", 1_798_693_200),
        ] {
            let midnight = midnight * 1_000_000_000;
            let half_past_nine = 9 * HOUR_NS + HOUR_NS / 2;
            let now = Timestamp(midnight + half_past_nine + 250_000);
            assert_eq!(since_epoch_ns(half_past_nine, now), midnight + half_past_nine, "{date}");
        }
    }

    #[test]
    fn the_nearest_day_is_chosen() {
        let midnight = 1_692_676_800_000_000_000; // 22 August 2023
        let after = Timestamp(midnight + 40_000);
        assert_eq!(since_epoch_ns(DAY_NS - 1_000, after), midnight - 1_000);
        assert_eq!(since_epoch_ns(1_000, Timestamp(midnight - 40_000)), midnight + 1_000);
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        for now in [0, 1, DAY_NS, u64::MAX - 1, u64::MAX] {
            for stamp in [0, (1 << 48) - 1, u64::MAX] {
                since_epoch_ns(stamp, Timestamp(now));
            }
        }
    }
}
