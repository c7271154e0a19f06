//! The only source of chance in the simulator: xoshiro256++ (Blackman and Vigna, public domain algorithm), and the few
//! distributions that scenarios use. Logarithm and exponential are computed with additions and multiplications only,
//! so that a seed gives the same bytes on every machine and with every version of the standard library.

/// A stream of random numbers. Each part of the simulator has a stream of its own, so that one drawing more
/// numbers does not change what another draws.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream called `name` of a run with this seed.
    pub fn new(seed: u64, name: &str) -> Random {
        let mut mix = seed;
        for byte in name.bytes() {
            mix = split_mix(&mut mix) ^ u64::from(byte);
        }
        Random { state: std::array::from_fn(|_| split_mix(&mut mix)) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Evenly from 0 to `limit - 1`; 0 where the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(limit);
        u64::try_from(wide >> 64).expect("the upper half of 128 bits")
    }

    /// An index into a list of this length, which must not be empty.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// Evenly from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Evenly from 0 to 1, 1 excluded.
    pub fn unit(&mut self) -> f64 {
        to_float(self.bits() >> 11) / to_float(1 << 53)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -ln(1.0 - self.unit())
    }

    /// Normal with mean 0 and deviation 1 (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Whole nanoseconds (or any count) from a float; negative and absurd values end at the range's ends.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, which is wanted here"
)]
pub(crate) fn to_count(value: f64) -> u64 {
    (value + 0.5) as u64
}

/// A count as a float; counts above 2^53 lose their last digits, which no distribution minds.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn to_float(value: u64) -> f64 {
    value as f64
}

/// Natural logarithm of a positive, normal number.
pub(crate) fn ln(value: f64) -> f64 {
    // 1/1, 1/3, 1/5, …; two chains of every other term, so that the processor works on both at once.
    const EVEN: [f64; 6] = [1.0, 1.0 / 5.0, 1.0 / 9.0, 1.0 / 13.0, 1.0 / 17.0, 1.0 / 21.0];
    const ODD: [f64; 5] = [1.0 / 3.0, 1.0 / 7.0, 1.0 / 11.0, 1.0 / 15.0, 1.0 / 19.0];
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7FF).expect("11 bits") - 1023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    // Around 1 the series of artanh converges quickest: keep the mantissa within sqrt(1/2) to sqrt(2).
    let (mantissa, exponent) =
        if mantissa > std::f64::consts::SQRT_2 { (mantissa / 2.0, exponent + 1) } else { (mantissa, exponent) };
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let fourth = square * square;
    let even = EVEN.iter().rev().fold(0.0, |sum, term| sum * fourth + term);
    let odd = ODD.iter().rev().fold(0.0, |sum, term| sum * fourth + term);
    let sum = even + square * odd;
    2.0 * ratio * sum + f64::from(exponent) * std::f64::consts::LN_2
}

/// e to the power of `value`, for values from -700 to 700.
pub(crate) fn exp(value: f64) -> f64 {
    let value = value.clamp(-700.0, 700.0);
    let whole = (value / std::f64::consts::LN_2).round();
    let rest = value - whole * std::f64::consts::LN_2;
    let mut sum = 1.0;
    for term in (1..14_u32).rev() {
        sum = 1.0 + sum * rest / f64::from(term);
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 13 and 2033 by the clamp above"
    )]
    let power = (whole + 1023.0) as u64;
    sum * f64::from_bits(power << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_fixed_for_all_time() {
        let mut random = Random::new(1, "test");
        let drawn: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        let mut again = Random::new(1, "test");
        assert_eq!(drawn, (0..3).map(|_| again.bits()).collect::<Vec<_>>());
        assert_ne!(drawn[0], Random::new(1, "other").bits());
        assert_ne!(drawn[0], Random::new(2, "test").bits());
    }

    #[test]
    fn xoshiro_gives_the_reference_sequence() {
        // First outputs of the reference C program for the state 1, 2, 3, 4 (rand_xoshiro's test vector).
        let mut random = Random { state: [1, 2, 3, 4] };
        for expected in [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386] {
            assert_eq!(random.bits(), expected);
        }
    }

    #[test]
    fn own_logarithm_and_exponential_agree_with_the_library() {
        for step in 1..2000_u32 {
            let value = f64::from(step) * 0.013;
            assert!((ln(value) - value.ln()).abs() < 1e-13 * (1.0 + value.ln().abs()), "{value}");
            assert!((exp(value) / value.exp() - 1.0).abs() < 1e-13, "{value}");
            assert!((exp(-value) / (-value).exp() - 1.0).abs() < 1e-13, "{value}");
        }
    }

    #[test]
    fn moments_are_right() {
        let mut random = Random::new(7, "moments");
        let n = 100_000_u32;
        let exponential: f64 = (0..n).map(|_| random.exponential()).sum::<f64>() / f64::from(n);
        assert!((exponential - 1.0).abs() < 0.02, "{exponential}");
        let square: f64 = (0..n).map(|_| random.normal().powi(2)).sum::<f64>() / f64::from(n);
        assert!((square - 1.0).abs() < 0.02, "{square}");
    }
}
