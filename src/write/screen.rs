//! How numbers, times and tables look on the screen. A latency is shown in the unit of its row's median with three
//! decimals, from 10,000 units on with none: exact in ns and µs, rounded half up in ms and s, so it equals the JSON
//! digit for digit after conversion; what would round to zero prints as `<0.001`. Colour only repeats what words and marks say.

use jiff::tz::TimeZone;
use tickscope_model::Timestamp;

/// How the report looks.
#[derive(Clone, Debug)]
pub struct Style {
    pub color: bool,
    /// Times are printed in this zone.
    pub zone: TimeZone,
}

impl Default for Style {
    fn default() -> Self {
        Style { color: false, zone: TimeZone::UTC }
    }
}

impl Style {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn heading(&self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn faint(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// For what needs a look; such lines also begin with `!`.
    pub(crate) fn warning(&self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what has to be changed.
    pub(crate) fn bad(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn internal(&self, text: &str) -> String {
        self.paint("36", text)
    }

    pub(super) fn external(&self, text: &str) -> String {
        self.paint("35", text)
    }

    fn broken_down(&self, time: Timestamp) -> jiff::Zoned {
        utc(time).to_zoned(self.zone.clone())
    }

    /// `2026-01-21 10:31:02.123456789`
    pub(super) fn full_time(&self, time: Timestamp) -> String {
        self.broken_down(time).strftime("%Y-%m-%d %H:%M:%S.%9f").to_string()
    }

    /// `10:31:02.123456789`
    pub(crate) fn clock(&self, time: Timestamp) -> String {
        self.broken_down(time).strftime("%H:%M:%S.%9f").to_string()
    }

    /// As precise as buckets of that width need, with the date where `with_date`.
    pub(super) fn bucket_time(&self, time: Timestamp, width_ns: u64, with_date: bool) -> String {
        let date = if with_date { "%Y-%m-%d " } else { "" };
        let fraction = if width_ns.is_multiple_of(1_000_000_000) { "" } else { ".%3f" };
        self.broken_down(time).strftime(&format!("{date}%H:%M:%S{fraction}")).to_string()
    }

    /// Whether both times lie on one day of this zone.
    pub(super) fn is_same_day(&self, one: Timestamp, other: Timestamp) -> bool {
        self.broken_down(one).date() == self.broken_down(other).date()
    }

    /// `UTC`, `CET`, `-05`.
    pub(super) fn zone_name(&self, time: Timestamp) -> String {
        self.broken_down(time).strftime("%Z").to_string()
    }
}

/// The unit of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Nano,
    Micro,
    Milli,
    Second,
}

impl Unit {
    /// The largest unit in which the value has a digit other than 0 before the point.
    pub(super) fn of(value_ns: u64) -> Unit {
        match value_ns {
            0..1_000 => Unit::Nano,
            1_000..1_000_000 => Unit::Micro,
            1_000_000..1_000_000_000 => Unit::Milli,
            _ => Unit::Second,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Unit::Nano => "ns",
            Unit::Micro => "µs",
            Unit::Milli => "ms",
            Unit::Second => "s",
        }
    }

    /// The digits of a value in this unit, without the unit.
    pub(super) fn digits(self, value_ns: u64) -> String {
        // A thousandth of the unit, in nanoseconds.
        let step: u64 = match self {
            Unit::Nano => return grouped(value_ns),
            Unit::Micro => 1,
            Unit::Milli => 1_000,
            Unit::Second => 1_000_000,
        };
        let thousandths = value_ns / step + u64::from(value_ns % step >= step.div_ceil(2) && step > 1);
        if thousandths == 0 && value_ns > 0 {
            return "<0.001".into();
        }
        if thousandths >= 10_000_000 {
            // Far beyond its row's median: whole units keep the table narrow, and still say five digits.
            return grouped(value_ns / (step * 1000) + u64::from(value_ns % (step * 1000) >= step * 500));
        }
        format!("{}.{:03}", grouped(thousandths / 1000), thousandths % 1000)
    }
}

/// `12.034 µs`
pub(crate) fn latency(value_ns: u64) -> String {
    let unit = Unit::of(value_ns);
    format!("{} {}", unit.digits(value_ns), unit.name())
}

/// `+12.034 µs`, `-3 ns`
pub(crate) fn signed_latency(value_ns: i64) -> String {
    let sign = if value_ns < 0 { '-' } else { '+' };
    format!("{sign}{}", latency(value_ns.unsigned_abs()))
}

/// `471` is `×4.71`.
pub(super) fn factor(hundredths: u64) -> String {
    format!("×{}.{:02}", grouped(hundredths / 100), hundredths % 100)
}

/// `6 min 10 s`: how long a run was, to the second, or finer where it was shorter than one.
pub(super) fn duration(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    match seconds {
        0..60 => latency(nanos),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `1,234,567`
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `132 of 13,021 values (1.01 %)`, rounded half up, but never to none or to all.
pub(super) fn share(part: u64, whole: u64, what: &str) -> String {
    let hundredths = (u128::from(part) * 20_000).checked_div(u128::from(whole)).unwrap_or(0).div_ceil(2);
    let percent = match hundredths {
        0 if part > 0 => "under 0.01 %".into(),
        10_000 if part < whole => "over 99.99 %".into(),
        _ => format!("{}.{:02} %", hundredths / 100, hundredths % 100),
    };
    format!("{} of {} {what} ({percent})", grouped(part), grouped(whole))
}

/// A sentence in lines of at most `width` characters where its words allow; further lines are indented.
pub(crate) fn wrapped(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let used = line.chars().count();
        if used + 1 + word.chars().count() > width && !line.trim().is_empty() {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
        } else if used > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// `1 order`, `2 orders`
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// A horizontal bar of eighths, as wide as `width` characters at `most`.
pub(super) fn bar(value: u64, most: u64, width: u32) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let steps = (u128::from(value) * u128::from(width) * 8).checked_div(u128::from(most)).unwrap_or(0);
    let steps = usize::try_from(steps.min(u128::from(width) * 8)).unwrap_or(0).max(usize::from(value > 0));
    format!("{}{}", "█".repeat(steps / 8), EIGHTHS[steps % 8])
}

/// Text in columns. The first column and those named stand left, all others right.
pub(super) struct Columns {
    rows: Vec<Vec<String>>,
    left: &'static [usize],
}

impl Columns {
    pub(super) fn new(left: &'static [usize]) -> Columns {
        Columns { rows: Vec::new(), left }
    }

    pub(super) fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Lines as in [`Columns::lines`], those at `titles` flush with the left edge instead of indented.
    pub(super) fn titled(&self, titles: &[usize]) -> Vec<String> {
        let mut lines = self.lines();
        for &at in titles {
            let title = self.rows.get(at).and_then(|row| row.first()).map_or("", String::as_str);
            if let Some(line) = lines.get_mut(at)
                && let Some(rest) = line.strip_prefix("  ").and_then(|line| line.strip_prefix(title))
            {
                *line = format!("{title}  {rest}");
            }
        }
        lines
    }

    /// The lines, padded to equal columns with two blanks between them and before each line.
    pub(super) fn lines(&self) -> Vec<String> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..count).map(width).collect();
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.chars().count());
                line.push_str("  ");
                if self.left.contains(&column) {
                    line.push_str(cell);
                    line.push_str(&padding);
                } else {
                    line.push_str(&padding);
                    line.push_str(cell);
                }
            }
            line.trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// Cuts a name that is too long for a column in its middle.
pub(super) fn shortened(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width {
        return name.to_owned();
    }
    let keep = width.saturating_sub(1);
    let head: String = name.chars().take(keep.div_ceil(2)).collect();
    let tail: String = name.chars().skip(count - keep / 2).collect();
    format!("{head}…{tail}")
}

/// Cuts a path that is too long for a column at its front: the file's name says most.
pub(super) fn tail_of(path: &str, width: usize) -> String {
    let count = path.chars().count();
    if count <= width {
        return path.to_owned();
    }
    let tail: String = path.chars().skip(count + 1 - width).collect();
    format!("…{tail}")
}

/// Control characters from the wire must not reach the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '·' } else { letter }).collect()
}

/// `20260301T143000.123456789Z`: UTC, for names of files that sort by time.
pub fn file_time(time: Timestamp) -> String {
    utc(time).strftime("%Y%m%dT%H%M%S.%9fZ").to_string()
}

/// For people and others' programs; its text is that of RFC 3339.
pub fn utc(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_decimals_half_up() {
        for (value, expected) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.000 µs"),
            (22_687, "22.687 µs"),
            (999_999, "999.999 µs"),
            (22_687_499, "22.687 ms"),
            (22_687_500, "22.688 ms"),
            (999_999_500, "1,000.000 ms"),
            (3_600_000_000_000, "3,600.000 s"),
            (1_234_499_999, "1.234 s"),
            (1_234_500_000, "1.235 s"),
        ] {
            assert_eq!(latency(value), expected);
        }
        assert_eq!(Unit::Micro.digits(9_999_999), "9,999.999");
        assert_eq!(Unit::Micro.digits(10_000_499), "10,000");
        assert_eq!(Unit::Micro.digits(259_368_722), "259,369");
        assert_eq!(Unit::Milli.digits(345), "<0.001");
        assert_eq!(Unit::Milli.digits(500), "0.001");
        assert_eq!(Unit::Second.digits(0), "0.000");
        assert_eq!(signed_latency(-1_500), "-1.500 µs");
        assert_eq!(signed_latency(i64::MIN), "-9,223,372,037 s");
    }

    #[test]
    fn counts_and_shares() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(grouped), ["0", "12", "123", "1,234", "1,234,567"]);
        assert_eq!(share(132, 13_021, "values"), "132 of 13,021 values (1.01 %)");
        assert_eq!(share(2, 3, "values"), "2 of 3 values (66.67 %)");
        assert_eq!(share(1, 1_000_000, "values"), "1 of 1,000,000 values (under 0.01 %)");
        assert_eq!(share(999_999, 1_000_000, "values"), "999,999 of 1,000,000 values (over 99.99 %)");
        assert_eq!(share(0, 0, "values"), "0 of 0 values (0.00 %)");
        assert_eq!(wrapped("one two three four", 9, 2), ["one two", "  three", "  four"]);
        assert_eq!(wrapped("unbreakable", 4, 2), ["unbreakable"]);
        assert_eq!(factor(471), "×4.71");
        assert_eq!(duration(370_000_000_000), "6 min 10 s");
        assert_eq!(duration(1_500), "1.500 µs");
    }

    #[test]
    fn bars_are_as_long_as_their_value() {
        assert_eq!(bar(8, 8, 4), "████");
        assert_eq!(bar(4, 8, 4), "██");
        assert_eq!(bar(1, 8, 4), "▌");
        assert_eq!(bar(1, 1_000_000, 4), "▏", "a value above zero is seen");
        assert_eq!((bar(0, 8, 4), bar(0, 0, 4)), (String::new(), String::new()));
    }

    #[test]
    fn times_in_a_zone() {
        let time = Timestamp(1_769_000_000_123_456_789);
        assert_eq!(Style::default().full_time(time), "2026-01-21 12:53:20.123456789");
        let new_york = Style { zone: TimeZone::get("America/New_York").unwrap(), ..Style::default() };
        assert_eq!(new_york.clock(time), "07:53:20.123456789");
        assert_eq!(new_york.zone_name(time), "EST");
        assert_eq!(new_york.bucket_time(time, 100_000_000, false), "07:53:20.123");
        assert_eq!(new_york.bucket_time(time, 2_000_000_000, true), "2026-01-21 07:53:20");
        assert!(!Style::default().full_time(Timestamp::MAX).is_empty());
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shortened("abcdefghij", 7), "abc…hij");
        assert_eq!(shortened("abc", 7), "abc");
        assert_eq!((tail_of("/a/b/c.pcap", 7), tail_of("c.pcap", 7)), ("…c.pcap".into(), "c.pcap".into()));
        assert_eq!(printable("A\x1b[2JB"), "A·[2JB");
    }

    #[test]
    fn names_of_files_are_dates() {
        // As `date -u -d @SECONDS` says.
        for (seconds, expected) in [
            (0, "19700101T000000.000000001Z"),
            (951_782_399, "20000228T235959.000000001Z"),
            (951_782_400, "20000229T000000.000000001Z"),
            (951_868_800, "20000301T000000.000000001Z"),
            (1_772_375_400, "20260301T143000.000000001Z"),
            (1_735_689_599, "20241231T235959.000000001Z"),
            (4_107_542_400, "21000301T000000.000000001Z"),
        ] {
            assert_eq!(file_time(Timestamp(seconds * 1_000_000_000 + 1)), expected);
        }
    }
}
