//! How numbers look: as in the report of `analyze`, so that both can be compared digit for digit. A latency stands in the unit of
//! its size with three decimals, exact in ns and µs, from 10,000 units on without; the user may want one unit for all.

/// The unit that latencies are shown in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Each in that of its size.
    #[default]
    Fitting,
    Nano,
    Micro,
    Milli,
}

impl Unit {
    pub(crate) fn next(self) -> Unit {
        crate::beside(&[Unit::Fitting, Unit::Nano, Unit::Micro, Unit::Milli], self, 1)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Fitting => "fitting units",
            Unit::Nano => "ns",
            Unit::Micro => "µs",
            Unit::Milli => "ms",
        }
    }

    /// As wide as the widest of them that are usual: of a minute and less.
    pub(crate) fn width(self) -> u16 {
        match self {
            Unit::Fitting => 11,
            Unit::Nano => 17,
            Unit::Micro => 14,
            Unit::Milli => 13,
        }
    }

    /// `12.034 µs`
    pub(crate) fn latency(self, value_ns: u64) -> String {
        let (step_ns, name) = match (self, value_ns) {
            (Unit::Nano, _) | (Unit::Fitting, 0..1_000) => return format!("{} ns", grouped(value_ns)),
            (Unit::Micro, _) | (Unit::Fitting, 1_000..1_000_000) => (1_u64, "µs"),
            (Unit::Milli, _) | (Unit::Fitting, 1_000_000..1_000_000_000) => (1_000, "ms"),
            (Unit::Fitting, _) => (1_000_000, "s"),
        };
        format!("{} {name}", thousandths(value_ns, step_ns))
    }

    /// `+12.034 µs`, `-3 ns`
    pub(crate) fn signed(self, value_ns: i64) -> String {
        let sign = if value_ns < 0 { '-' } else { '+' };
        format!("{sign}{}", self.latency(value_ns.unsigned_abs()))
    }
}

/// A value in thousands of a step, with as many decimals as are left.
fn thousandths(value_ns: u64, step_ns: u64) -> String {
    let rounded = value_ns / step_ns + u64::from(step_ns > 1 && value_ns % step_ns >= step_ns.div_ceil(2));
    if rounded == 0 && value_ns > 0 {
        return "<0.001".to_owned();
    }
    if rounded >= 10_000_000 {
        let whole = step_ns * 1000;
        return grouped(value_ns / whole + u64::from(value_ns % whole >= whole / 2));
    }
    format!("{}.{:03}", grouped(rounded / 1000), rounded % 1000)
}

/// As short as a mark on an axis: `12 µs`, `1.5 ms`.
pub(crate) fn short(value_ns: u64) -> String {
    let (unit, name) = match value_ns {
        0..1_000 => return format!("{value_ns} ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let tenths = (value_ns * 10 + unit / 2) / unit;
    if tenths >= 100 || tenths.is_multiple_of(10) {
        format!("{} {name}", (value_ns + unit / 2) / unit)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// `1,234,567`
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As wide as six characters: `12,345`, `1.23 M`.
pub(crate) fn rate(value: u64) -> String {
    match value {
        0..100_000 => grouped(value),
        100_000..1_000_000 => format!("{} k", value / 1000),
        1_000_000..1_000_000_000 => format!("{}.{:02} M", value / 1_000_000, value / 10_000 % 100),
        _ => format!("{} G", value / 1_000_000_000),
    }
}

/// `3 s`, `4 min 10 s`: how old something is.
pub(crate) fn age(nanos: u64) -> String {
    match nanos / 1_000_000_000 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_look_as_in_the_report() {
        let fitting = |value| Unit::Fitting.latency(value);
        for (value, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.000 µs"),
            (12_034, "12.034 µs"),
            (2_860_515_327, "2.861 s"),
            (1_999_500, "2.000 ms"),
            (21_068_035_453_000, "21,068 s"),
        ] {
            assert_eq!(fitting(value), text);
        }
        assert_eq!(Unit::Nano.latency(2_860_515_327), "2,860,515,327 ns");
        assert_eq!(Unit::Milli.latency(400), "<0.001 ms");
        assert_eq!(Unit::Micro.signed(-1_500), "-1.500 µs");
    }

    #[test]
    fn marks_and_rates_are_short() {
        assert_eq!(
            [short(12), short(1_500), short(12_000), short(99_400_000), short(1_000)].join(" "),
            "12 ns 1.5 µs 12 µs 99 ms 1 µs"
        );
        assert_eq!([rate(12_345), rate(123_456), rate(1_234_567)].join(" "), "12,345 123 k 1.23 M");
        assert_eq!([age(3_000_000_000), age(250_000_000_000)].join(" "), "3 s 4 min 10 s");
    }
}
