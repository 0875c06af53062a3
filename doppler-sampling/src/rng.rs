//! Random numbers that are a function of (seed, position): no state to carry, save or get out of step.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32 with ten rounds: 128 random bits for each `counter` under `key`.
///
/// # Source
/// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", <https://doi.org/10.1145/2063384.2063405>
#[must_use]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let left = u64::from(MULTIPLIERS[0]) * u64::from(a);
        let right = u64::from(MULTIPLIERS[1]) * u64::from(c);
        (a, b, c, d) = (high(right) ^ b ^ k0, low(right), high(left) ^ d ^ k1, low(left));
        k0 = k0.wrapping_add(KEY_STEPS[0]);
        k1 = k1.wrapping_add(KEY_STEPS[1]);
    }
    [a, b, c, d]
}

/// 64 random bits for draw `index` of `stream` under `seed`.
#[must_use]
pub fn bits(seed: u64, stream: u64, index: u64) -> u64 {
    let [a, b, ..] = philox4x32([low(index), high(index), low(stream), high(stream)], [low(seed), high(seed)]);
    u64::from(a) << 32 | u64::from(b)
}

/// A number in [0, 1) for draw `index` of `stream` under `seed`: 53 bits, every pair of arguments its own.
///
/// Sampling uses stream 0; other uses of the same seed (acceptance tests, residual draws) take other streams.
///
/// ```
/// use doppler_sampling::rng::uniform;
/// assert_eq!(uniform(1, 0, 5), uniform(1, 0, 5));
/// assert_ne!(uniform(1, 0, 5), uniform(1, 1, 5));
/// ```
#[must_use]
pub fn uniform(seed: u64, stream: u64, index: u64) -> f64 {
    (bits(seed, stream, index) >> 11) as f64 / (1u64 << 53) as f64
}

fn low(x: u64) -> u32 {
    x as u32
}

fn high(x: u64) -> u32 {
    (x >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::{philox4x32, uniform};

    #[test]
    fn known_answers() {
        // The vectors that the authors publish with their library.
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let ones = u32::MAX;
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([ones; 4], [ones; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32(counter, key), expected);
        }
    }

    #[test]
    fn uniform_is_in_range_and_even() {
        let mut cells = [0u32; 16];
        for index in 0..160_000 {
            let u = uniform(42, 0, index);
            assert!((0.0..1.0).contains(&u));
            cells[(u * 16.0) as usize] += 1;
        }
        let chi2: f64 = cells.iter().map(|&n| (f64::from(n) - 1e4).powi(2) / 1e4).sum();
        assert!(chi2 < 37.7, "chi² {chi2} is above the 0.1 % point of 15 degrees of freedom");
    }
}
