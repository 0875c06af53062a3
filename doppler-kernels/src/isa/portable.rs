//! The vector operations as plain loops.

use super::Isa;

/// Plain loops.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// The i8 of a word.
#[inline(always)]
fn lanes(word: u32) -> [i8; 4] {
    word.to_le_bytes().map(|b| b as i8)
}

#[inline(always)]
fn code<const SIGNED: bool>(byte: u8) -> i32 {
    if SIGNED { i32::from(byte as i8) } else { i32::from(byte) }
}

impl Isa for Portable {
    type Codes = [u8; 32];
    type Sums = [i32; 8];
    type Floats = [f32; 8];

    #[inline(always)]
    fn bytes(self, bytes: [u8; 32]) -> [u8; 32] {
        bytes
    }

    #[inline(always)]
    fn stored(self, codes: [u8; 32]) -> [u8; 32] {
        codes
    }

    #[inline(always)]
    fn nibbles(self, bytes: [u8; 16]) -> [u8; 32] {
        std::array::from_fn(|i| if i < 16 { bytes[i] & 15 } else { bytes[i - 16] >> 4 })
    }

    #[inline(always)]
    fn bits(self, bytes: [u8; 32], right: usize, mask: u8, left: usize) -> [u8; 32] {
        bytes.map(|b| ((b >> right) & mask) << left)
    }

    #[inline(always)]
    fn fifth_bits(self, bits: u32) -> [u8; 32] {
        std::array::from_fn(|i| ((bits >> i & 1) as u8) << 4)
    }

    #[inline(always)]
    fn or(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        std::array::from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn transpose(self, rows: [[u8; 32]; 8]) -> [[u8; 32]; 8] {
        std::array::from_fn(|k| std::array::from_fn(|i| rows[i / 4][k * 4 + i % 4]))
    }

    #[inline(always)]
    fn dot<const SIGNED: bool>(self, codes: [u8; 32], x: [u32; 8]) -> [i32; 8] {
        std::array::from_fn(|k| {
            let x = lanes(x[k]);
            (0..4).map(|i| code::<SIGNED>(codes[4 * k + i]) * i32::from(x[i])).sum()
        })
    }

    #[inline(always)]
    fn tile<const SIGNED: bool, const GROUP: usize, const R: usize>(
        self,
        codes: &[[u8; 32]],
        x: [&[u32]; R],
    ) -> [[i32; 8]; R] {
        let mut sums = [[0; 8]; R];
        for (k, codes) in codes.iter().enumerate() {
            for r in 0..R {
                let x = lanes(x[r][k]);
                for (f, sum) in sums[r].iter_mut().enumerate() {
                    *sum += (0..4).map(|i| code::<SIGNED>(codes[4 * f + i]) * i32::from(x[i])).sum::<i32>();
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn floats(self, values: [f32; 8]) -> [f32; 8] {
        values
    }

    #[inline(always)]
    fn numbers(self, values: [f32; 8]) -> [f32; 8] {
        values
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn pair(self, low: f32, high: f32) -> [f32; 8] {
        [low, low, low, low, high, high, high, high]
    }

    #[inline(always)]
    fn converted(self, sums: [i32; 8]) -> [f32; 8] {
        sums.map(|sum| sum as f32)
    }

    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn div(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn clamp(self, value: [f32; 8], low: f32, high: f32) -> [f32; 8] {
        value.map(|v| if v < low { low } else { v }).map(|v| if v > high { high } else { v })
    }

    #[inline(always)]
    fn widened<const FINITE: bool>(self, bits: [u16; 8]) -> [f32; 8] {
        let mut wide = [0.0; 8];
        for i in 0..8 {
            // Exponent bias 127 − 15 = 112, as a product: right for subnormals too.
            let kept = (i32::from(bits[i] as i16) << 13) as u32 & 0x8FFF_E000;
            wide[i] = f32::from_bits(kept) * f32::from_bits(0x7780_0000);
            if !FINITE && bits[i] & 0x7C00 == 0x7C00 {
                wide[i] = f32::from_bits(wide[i].to_bits() | 0x7F80_0000);
            }
        }
        wide
    }

    #[inline(always)]
    fn widened_pairs(self, words: [u32; 8]) -> [[f32; 8]; 2] {
        let mut halves = [[0; 8]; 2];
        for (i, word) in words.into_iter().enumerate() {
            halves[0][i] = word as u16;
            halves[1][i] = (word >> 16) as u16;
        }
        [self.widened::<false>(halves[0]), self.widened::<false>(halves[1])]
    }

    #[inline(always)]
    fn widened_bf16(self, bits: [u16; 8]) -> [f32; 8] {
        bits.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    fn times_power(self, value: [f32; 8], power: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| f32::from_bits(value[i].to_bits().wrapping_add(power[i].to_bits() << 23)))
    }
}
