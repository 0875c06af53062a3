//! The vector operations by AVX2, and dot products by AVX-512 VNNI, on vectors of 256 bits.

use std::arch::x86_64::{__m256, __m256i, _mm256_dpbusd_epi32};

use bytemuck::cast;
use fearless_simd::{Level, Simd, kernel};
use pulp::x86::V3;

use super::{Avx2, Isa, WithIsa};

/// AVX-512 with VNNI, as from Ice Lake and Zen 4 on; there is one only on a CPU that has it.
#[derive(Clone, Copy, Debug)]
pub struct Avx512 {
    avx2: Avx2,
    avx512: fearless_simd::Avx512,
}

impl Avx512 {
    #[inline]
    pub fn try_new() -> Option<Avx512> {
        let avx512 = Level::new().as_avx512()?;
        Some(Avx512 { avx2: Avx2(V3::try_new()?), avx512 })
    }

    /// Does it in code that is compiled for these instructions.
    #[inline(always)]
    pub fn vectorize<W: WithIsa>(self, work: W) -> W::Output {
        self.avx512.vectorize(
            #[inline(always)]
            move || work.with(self),
        )
    }
}

kernel!(
    /// Adds products of u8 `codes` and i8 `x`, by fours, without saturation.
    #[inline(always)]
    fn dot_add(avx512: Avx512, sums: __m256i, codes: __m256i, x: __m256i) -> __m256i {
        _mm256_dpbusd_epi32(sums, codes, x)
    }
);

impl Isa for Avx512 {
    type Codes = __m256i;
    type Sums = __m256i;
    type Floats = __m256;

    #[inline(always)]
    fn dot<const SIGNED: bool>(self, codes: __m256i, x: [u32; 8]) -> __m256i {
        let (s, x) = (self.avx2.0.avx2, cast(x));
        // The first factor is u8: a negative code gives its sign to x, which is never −128.
        let (codes, x) = if SIGNED { (s._mm256_abs_epi8(codes), s._mm256_sign_epi8(x, codes)) } else { (codes, x) };
        dot_add(self.avx512, self.avx2.0.avx._mm256_setzero_si256(), codes, x)
    }

    #[inline(always)]
    fn tile<const SIGNED: bool, const GROUP: usize, const R: usize>(
        self,
        codes: &[[u8; 32]],
        x: [&[u32]; R],
    ) -> [__m256i; R] {
        let (avx, avx2) = (self.avx2.0.avx, self.avx2.0.avx2);
        let mut sums = [avx._mm256_setzero_si256(); R];
        assert!(codes.len() <= 8 && x.iter().all(|x| x.len() == codes.len()));
        if !SIGNED {
            for (k, codes) in codes.iter().enumerate() {
                for r in 0..R {
                    sums[r] = dot_add(self.avx512, sums[r], cast(*codes), avx._mm256_set1_epi32(x[r][k] as i32));
                }
            }
            return sums;
        }
        // x + 128 is u8; what the 128 adds is the same for all rows.
        let flip = avx._mm256_set1_epi8(-128);
        let mut surplus = avx._mm256_setzero_si256();
        for (k, codes) in codes.iter().enumerate() {
            let codes = cast(*codes);
            surplus = dot_add(self.avx512, surplus, flip, codes);
            for r in 0..R {
                let x = avx2._mm256_xor_si256(avx._mm256_set1_epi32(x[r][k] as i32), flip);
                sums[r] = dot_add(self.avx512, sums[r], x, codes);
            }
        }
        for sums in &mut sums {
            *sums = avx2._mm256_sub_epi32(*sums, surplus);
        }
        sums
    }

    #[inline(always)]
    fn bytes(self, bytes: [u8; 32]) -> __m256i {
        self.avx2.bytes(bytes)
    }

    #[inline(always)]
    fn stored(self, codes: __m256i) -> [u8; 32] {
        self.avx2.stored(codes)
    }

    #[inline(always)]
    fn nibbles(self, bytes: [u8; 16]) -> __m256i {
        self.avx2.nibbles(bytes)
    }

    #[inline(always)]
    fn bits(self, bytes: [u8; 32], right: usize, mask: u8, left: usize) -> __m256i {
        self.avx2.bits(bytes, right, mask, left)
    }

    #[inline(always)]
    fn fifth_bits(self, bits: u32) -> __m256i {
        self.avx2.fifth_bits(bits)
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        self.avx2.or(a, b)
    }

    #[inline(always)]
    fn transpose(self, rows: [__m256i; 8]) -> [__m256i; 8] {
        self.avx2.transpose(rows)
    }

    #[inline(always)]
    fn floats(self, values: [f32; 8]) -> __m256 {
        self.avx2.floats(values)
    }

    #[inline(always)]
    fn numbers(self, values: __m256) -> [f32; 8] {
        self.avx2.numbers(values)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        self.avx2.splat(value)
    }

    #[inline(always)]
    fn pair(self, low: f32, high: f32) -> __m256 {
        self.avx2.pair(low, high)
    }

    #[inline(always)]
    fn converted(self, sums: __m256i) -> __m256 {
        self.avx2.converted(sums)
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        self.avx2.mul(a, b)
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        self.avx2.add(a, b)
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        self.avx2.div(a, b)
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        self.avx2.max(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        self.avx2.mul_add(a, b, c)
    }

    #[inline(always)]
    fn clamp(self, value: __m256, low: f32, high: f32) -> __m256 {
        self.avx2.clamp(value, low, high)
    }

    #[inline(always)]
    fn widened<const FINITE: bool>(self, bits: [u16; 8]) -> __m256 {
        self.avx2.widened::<FINITE>(bits)
    }

    #[inline(always)]
    fn widened_pairs(self, words: [u32; 8]) -> [__m256; 2] {
        self.avx2.widened_pairs(words)
    }

    #[inline(always)]
    fn widened_bf16(self, bits: [u16; 8]) -> __m256 {
        self.avx2.widened_bf16(bits)
    }

    #[inline(always)]
    fn times_power(self, value: __m256, power: __m256) -> __m256 {
        self.avx2.times_power(value, power)
    }
}
