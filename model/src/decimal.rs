//! Prices and quantities as exact decimals: what the wire said, never binary floating point.

use std::cmp::Ordering;
use std::fmt;

/// `mantissa / 10^scale`. Two values that are numerically equal may differ in scale
/// (`4.2` and `4.20`); `==` compares the number, printing keeps the digits as they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimal {
    /// The digits without the point.
    pub mantissa: i64,
    /// How many of the digits stand behind the point, 0 to 18.
    pub scale: u8,
}

impl Decimal {
    /// A value sent as an integer with an implied decimal point, as binary feeds do.
    pub const fn new(mantissa: i64, scale: u8) -> Decimal {
        Decimal { mantissa, scale }
    }

    /// Reads the decimal text of a tag=value message: sign, digits, at most one point.
    /// `None` for anything else (exponents, more than 18 digits).
    pub fn parse(text: &[u8]) -> Option<Decimal> {
        let (negative, digits) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            (b'+', rest) => (false, rest),
            _ => (false, text),
        };
        let mut mantissa: i64 = 0;
        let mut scale: Option<u8> = None;
        let mut seen = false;
        for &byte in digits {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
                    scale = match scale {
                        Some(18..) => return None,
                        Some(places) => Some(places + 1),
                        None => None,
                    };
                    seen = true;
                }
                b'.' if scale.is_none() => scale = Some(0),
                _ => return None,
            }
        }
        seen.then_some(Decimal { mantissa: if negative { -mantissa } else { mantissa }, scale: scale.unwrap_or(0) })
    }

    /// The same number without zeros at the end of its fraction.
    #[must_use]
    pub fn trimmed(self) -> Decimal {
        let Decimal { mut mantissa, mut scale } = self;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Decimal { mantissa, scale }
    }

    /// The mantissa this number has at `scale` digits behind the point; `None` where digits would be lost or overflow.
    pub fn at_scale(self, scale: u8) -> Option<i128> {
        let mantissa = i128::from(self.mantissa);
        if self.scale <= scale {
            mantissa.checked_mul(10_i128.checked_pow(u32::from(scale - self.scale))?)
        } else {
            let divisor = 10_i128.pow(u32::from(self.scale - scale));
            (mantissa % divisor == 0).then(|| mantissa / divisor)
        }
    }

    fn wide(self) -> i128 {
        i128::from(self.mantissa) * 10_i128.pow(18 - u32::from(self.scale.min(18)))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.wide() == other.wide()
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.wide().cmp(&other.wide())
    }
}

impl std::hash::Hash for Decimal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.wide().hash(state);
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs();
        if self.scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let unit = 10_u64.pow(u32::from(self.scale.min(18)));
        write!(f, "{sign}{}.{:0width$}", digits / unit, digits % unit, width = usize::from(self.scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_as_it_was_sent() {
        for text in ["26", "4.2200", "-0.05", "0.000000001", "148.98"] {
            assert_eq!(Decimal::parse(text.as_bytes()).expect(text).to_string(), text);
        }
        for text in ["", ".", "-", "1e5", "1.2.3", "12345678901234567890", "0x1"] {
            assert!(Decimal::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn equality_is_of_the_number() {
        assert_eq!(Decimal::new(42, 1), Decimal::new(4200, 3));
        assert!(Decimal::new(42, 1) < Decimal::new(421, 2).trimmed());
        assert_eq!(Decimal::new(87_3900, 4).trimmed().to_string(), "87.39");
        assert_eq!(Decimal::new(42, 1).at_scale(3), Some(4200));
        assert_eq!(Decimal::new(421, 2).at_scale(1), None);
    }
}
