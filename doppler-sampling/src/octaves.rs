//! Probabilities in integers: the same bits on every machine, in whatever order they are summed.
//!
//! A logit that is `d` below the best has the weight `exp(-d / temperature)`. Here `d / temperature` is a number of octaves
//! in steps of 2^-24, taken from the bits of the two floats, and the weight a power of two in steps of 2^-40. No float is
//! added or multiplied, so a GPU that fuses, flushes or rounds in its own way gives the same numbers.
//!
//! Of the exact weights these differ by 2^-22 of themselves and 2^-40 of the best one's at most.

/// One octave: half of the weight.
pub const OCTAVE: u32 = 1 << 24;
/// So far behind the best that nothing is left; the most octaves there are.
pub const LAST: u32 = 64 * OCTAVE - 1;
/// The weight of the best token.
pub const WHOLE: u64 = 1 << 40;
/// Tokens whose weights can be summed.
pub const MOST_TOKENS: usize = 1 << 23;

/// `2^-f = 1 - f (c0 - f (c1 - …))` for `f` in 0 … 1, in steps of 2^-31: 2·10⁻⁹ off at most, besides the roundings.
const COEFFICIENTS: [u32; 6] = [1_488_521_986, 515_877_902, 119_165_493, 20_571_132, 2_737_501, 234_126];

/// Octaves of a step of one logit: `multiplier · 2^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// 2^31 … 2^32.
    pub multiplier: u32,
    /// Of two.
    pub exponent: i32,
}

impl Scale {
    /// That of a temperature above 0.
    #[must_use]
    pub fn of_temperature(temperature: f32) -> Scale {
        let octaves = std::f64::consts::LOG2_E / f64::from(temperature);
        // A normal f64, from 1e-39 to 1e45: its bits are its exponent and 53 bits of which 32 are kept.
        let bits = octaves.to_bits();
        let exponent = (bits >> 52) as i32 - 1023 - 31;
        Scale { multiplier: (bits >> 21) as u32 | 1 << 31, exponent }
    }

    /// The way down from `best`, which is finite.
    #[must_use]
    pub fn down_from(self, best: f32) -> DownFrom {
        // Steps of fixed point: those that the best fills to 30 bits, or those of which 64 octaves are 30 bits.
        let unit = (exponent(best) - 6).max(95 - self.exponent);
        let shift = (unit + self.exponent - 94).min(31) as u32;
        DownFrom { best: fixed(best, unit), unit, multiplier: self.multiplier, shift }
    }

    /// Octaves from `best`, which is finite, down to `logit`, [`LAST`] at most.
    #[must_use]
    pub fn octaves(self, best: f32, logit: f32) -> u32 {
        self.down_from(best).octaves(logit)
    }
}

/// The best logit, to which others are compared on a [`Scale`].
#[derive(Debug, Clone, Copy)]
pub struct DownFrom {
    /// In steps of 2^(unit - 150).
    best: Option<u32>,
    unit: i32,
    multiplier: u32,
    /// Of the high word of the steps' product with the multiplier.
    shift: u32,
}

impl DownFrom {
    /// Octaves down to `logit`, which is not above the best; [`LAST`] at most.
    #[must_use]
    #[inline]
    pub fn octaves(&self, logit: f32) -> u32 {
        let (Some(best), Some(logit)) = (self.best, fixed(logit, self.unit)) else { return LAST };
        let distance = best.wrapping_sub(logit);
        if distance == 0 {
            return 0;
        }
        let product = u64::from(distance) * u64::from(self.multiplier);
        if product >> 32 >= u64::from((1u32 << 30) >> self.shift) {
            LAST
        } else {
            (product >> (32 - self.shift)) as u32
        }
    }
}

/// The biased exponent; what is subnormal counts as 0.
fn exponent(x: f32) -> i32 {
    (x.to_bits() >> 23 & 255) as i32
}

/// `x` in steps of `2^(unit - 150)`, rounded towards 0; `None` for what takes more than 31 bits.
#[inline]
fn fixed(x: f32, unit: i32) -> Option<u32> {
    let (bits, exponent) = (x.to_bits(), exponent(x));
    let shift = exponent - unit;
    if shift > 7 || exponent == 255 {
        return None;
    }
    // Without branches: signs and magnitudes of logits follow no pattern.
    let mantissa = u64::from(if exponent == 0 { 0 } else { bits & 0x7F_FFFF | 0x80_0000 });
    let steps = ((mantissa << 31) >> (31 - shift.max(-31))) as u32;
    let sign = (bits as i32 >> 31) as u32;
    Some((steps ^ sign).wrapping_sub(sign))
}

/// The weight of a token that is so many octaves behind the best, in steps of 2^-40 of the best one's.
#[must_use]
#[inline]
pub fn weight(octaves: u32) -> u64 {
    let fraction = u64::from(octaves % OCTAVE) << 8;
    let falling = |sum: u32, coefficient: &u32| coefficient - ((fraction * u64::from(sum)) >> 32) as u32;
    let sum = COEFFICIENTS.iter().rev().fold(0, falling);
    let mantissa = (1u32 << 31) - ((fraction * u64::from(sum)) >> 32) as u32;
    (u64::from(mantissa) << 9) >> (octaves / OCTAVE)
}

/// A token's place among the others by its logit: the higher the logit, the smaller. 0 and -0 are the same.
#[must_use]
pub fn rank(logit: f32) -> u32 {
    let bits = if logit == 0.0 { 0 } else { logit.to_bits() };
    if bits >> 31 == 1 { bits } else { 0x7FFF_FFFF - bits }
}

/// The number of which a sum must be more to hold `fraction / 2^32` of `total`.
#[must_use]
pub fn share(total: u64, fraction: u32) -> u64 {
    ((u128::from(total) * u128::from(fraction)).saturating_sub(1) >> 32) as u64
}

/// One of the numbers below `total`, by a random number: which one is `random / 2^64` of the way.
#[must_use]
pub fn pick(total: u64, random: u64) -> u64 {
    ((u128::from(total) * u128::from(random)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let one = Scale::of_temperature(1.0);
        assert_eq!(one.octaves(3.0, 3.0), 0);
        assert_eq!(one.octaves(3.0, f32::NEG_INFINITY), LAST);
        assert_eq!((weight(0), weight(OCTAVE), weight(3 * OCTAVE)), (WHOLE, WHOLE / 2, WHOLE / 8));
        assert_eq!(weight(LAST), 0);
        // One logit is log2(e) octaves, at half the temperature twice that.
        let expected = std::f64::consts::LOG2_E * f64::from(OCTAVE);
        for (temperature, times) in [(1.0, 1.0), (0.5, 2.0), (2.0, 0.5)] {
            let octaves = Scale::of_temperature(temperature).octaves(5.0, 4.0);
            assert!((f64::from(octaves) - times * expected).abs() < 2.0, "{octaves}");
        }
        assert_eq!((share(10, 1 << 31), share(11, 1 << 31), share(1, 1)), (4, 5, 0));
        assert_eq!((pick(10, 0), pick(10, u64::MAX), pick(10, 1 << 63)), (0, 9, 5));
    }

    #[test]
    fn ranks_are_the_order_of_logits() {
        let logits = [f32::MAX, 2.0, 1.0, 1e-40, 0.0, -1e-40, -1.0, -2.0, f32::MIN, f32::NEG_INFINITY];
        assert!(logits.windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
        assert_eq!(rank(0.0), rank(-0.0));
    }

    #[test]
    fn extremes() {
        for temperature in [f32::from_bits(1), f32::MIN_POSITIVE, 1e-20, 1.0, 1e20, f32::MAX] {
            let scale = Scale::of_temperature(temperature);
            for (best, logit) in
                [(f32::MAX, f32::MIN), (0.0, -1.0), (1e-40, -1e-40), (-1e30, -2e30), (1.0, 0.999_999_94)]
            {
                let exact = (f64::from(best) - f64::from(logit)) / f64::from(temperature) * std::f64::consts::LOG2_E;
                let octaves = f64::from(scale.octaves(best, logit)) / f64::from(OCTAVE);
                // What is subnormal counts as 0.
                let expected = if logit.abs() < 1e-38 { 0.0 } else { exact.min(64.0) };
                assert!(
                    (octaves - expected).abs() < 1e-6,
                    "{best} {logit} at {temperature}: {octaves}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn weights_are_near_the_exponential_and_never_rise() {
        let mut before = WHOLE;
        for octaves in (0..50 * OCTAVE).step_by(99_991) {
            let exact = (-f64::from(octaves) / f64::from(OCTAVE)).exp2() * WHOLE as f64;
            let now = weight(octaves);
            assert!((now as f64 - exact).abs() < 8e-9 * exact + 1.0, "{octaves}");
            assert!(now <= before);
            before = now;
        }
    }
}
