//! The vector operations by AVX2 and FMA.

use std::arch::x86_64::{__m256, __m256i};

use bytemuck::cast;
use pulp::x86::V3;

use super::Isa;

/// AVX2 and FMA; there is one only on a CPU that has them.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(pub V3);

impl Avx2 {
    /// The f32 of f16 that are 13 bits up, below four copies of their sign.
    #[inline(always)]
    fn scaled<const FINITE: bool>(self, bits: __m256i) -> __m256 {
        let s = self.0.avx2;
        let kept = s._mm256_and_si256(bits, self.0.avx._mm256_set1_epi32(0x8FFF_E000_u32 as i32));
        let scaled = self.mul(cast(kept), self.splat(f32::from_bits(0x7780_0000)));
        if FINITE {
            return scaled;
        }
        let exponent = self.0.avx._mm256_set1_epi32(0x0F80_0000);
        let special = s._mm256_cmpeq_epi32(s._mm256_and_si256(kept, exponent), exponent);
        let special = s._mm256_and_si256(special, self.0.avx._mm256_set1_epi32(0x7F80_0000));
        self.0.avx._mm256_or_ps(scaled, cast(special))
    }
}

impl Isa for Avx2 {
    type Codes = __m256i;
    type Sums = __m256i;
    type Floats = __m256;

    #[inline(always)]
    fn bytes(self, bytes: [u8; 32]) -> __m256i {
        cast(bytes)
    }

    #[inline(always)]
    fn stored(self, codes: __m256i) -> [u8; 32] {
        cast(codes)
    }

    #[inline(always)]
    fn nibbles(self, bytes: [u8; 16]) -> __m256i {
        let low = cast(bytes);
        let both = self.0.avx._mm256_set_m128i(self.0.sse2._mm_srli_epi16::<4>(low), low);
        self.0.avx2._mm256_and_si256(both, self.0.avx._mm256_set1_epi8(15))
    }

    #[inline(always)]
    fn bits(self, bytes: [u8; 32], right: usize, mask: u8, left: usize) -> __m256i {
        let right = self.0.avx2._mm256_srl_epi16(cast(bytes), cast([right as u64, 0]));
        let kept = self.0.avx2._mm256_and_si256(right, self.0.avx._mm256_set1_epi8(mask as i8));
        self.0.avx2._mm256_sll_epi16(kept, cast([left as u64, 0]))
    }

    #[inline(always)]
    fn fifth_bits(self, bits: u32) -> __m256i {
        // Byte i of the bits to lanes 8i … 8i + 7, then bit i % 8 of each.
        const SPREAD: [u8; 32] = {
            let mut lanes = [0; 32];
            let mut i = 0;
            while i < 32 {
                lanes[i] = (i / 8) as u8;
                i += 1;
            }
            lanes
        };
        let bytes = self.0.avx2._mm256_shuffle_epi8(self.0.avx._mm256_set1_epi32(bits as i32), cast(SPREAD));
        let bit = self.0.avx._mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let set = self.0.avx2._mm256_cmpeq_epi8(self.0.avx2._mm256_and_si256(bytes, bit), bit);
        self.0.avx2._mm256_and_si256(set, self.0.avx._mm256_set1_epi8(16))
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.avx2._mm256_or_si256(a, b)
    }

    #[inline(always)]
    fn transpose(self, r: [__m256i; 8]) -> [__m256i; 8] {
        let s = self.0.avx2;
        let (a0, a1) = (s._mm256_unpacklo_epi32(r[0], r[1]), s._mm256_unpackhi_epi32(r[0], r[1]));
        let (b0, b1) = (s._mm256_unpacklo_epi32(r[2], r[3]), s._mm256_unpackhi_epi32(r[2], r[3]));
        let (c0, c1) = (s._mm256_unpacklo_epi32(r[4], r[5]), s._mm256_unpackhi_epi32(r[4], r[5]));
        let (d0, d1) = (s._mm256_unpacklo_epi32(r[6], r[7]), s._mm256_unpackhi_epi32(r[6], r[7]));
        let (e0, e1) = (s._mm256_unpacklo_epi64(a0, b0), s._mm256_unpackhi_epi64(a0, b0));
        let (e2, e3) = (s._mm256_unpacklo_epi64(a1, b1), s._mm256_unpackhi_epi64(a1, b1));
        let (f0, f1) = (s._mm256_unpacklo_epi64(c0, d0), s._mm256_unpackhi_epi64(c0, d0));
        let (f2, f3) = (s._mm256_unpacklo_epi64(c1, d1), s._mm256_unpackhi_epi64(c1, d1));
        [
            s._mm256_permute2x128_si256::<0x20>(e0, f0),
            s._mm256_permute2x128_si256::<0x20>(e1, f1),
            s._mm256_permute2x128_si256::<0x20>(e2, f2),
            s._mm256_permute2x128_si256::<0x20>(e3, f3),
            s._mm256_permute2x128_si256::<0x31>(e0, f0),
            s._mm256_permute2x128_si256::<0x31>(e1, f1),
            s._mm256_permute2x128_si256::<0x31>(e2, f2),
            s._mm256_permute2x128_si256::<0x31>(e3, f3),
        ]
    }

    #[inline(always)]
    fn dot<const SIGNED: bool>(self, codes: __m256i, x: [u32; 8]) -> __m256i {
        let (s, x) = (self.0.avx2, cast(x));
        // maddubs takes u8 × i8: a negative code gives its sign to x, which is never −128.
        let pairs = if SIGNED {
            s._mm256_maddubs_epi16(s._mm256_abs_epi8(codes), s._mm256_sign_epi8(x, codes))
        } else {
            s._mm256_maddubs_epi16(codes, x)
        };
        s._mm256_madd_epi16(pairs, self.0.avx._mm256_set1_epi16(1))
    }

    #[inline(always)]
    fn tile<const SIGNED: bool, const GROUP: usize, const R: usize>(
        self,
        codes: &[[u8; 32]],
        x: [&[u32]; R],
    ) -> [__m256i; R] {
        let (s, ones) = (self.0.avx2, self.0.avx._mm256_set1_epi16(1));
        let mut sums = [self.0.avx._mm256_setzero_si256(); R];
        assert!(codes.len() <= 8 && x.iter().all(|x| x.len() == codes.len()));
        for (group, codes) in codes.chunks_exact(GROUP).enumerate() {
            let mut pairs = [self.0.avx._mm256_setzero_si256(); R];
            for (k, codes) in codes.iter().enumerate() {
                let codes = cast(*codes);
                let magnitude = if SIGNED { s._mm256_abs_epi8(codes) } else { codes };
                for r in 0..R {
                    let x = self.0.avx._mm256_set1_epi32(x[r][group * GROUP + k] as i32);
                    let x = if SIGNED { s._mm256_sign_epi8(x, codes) } else { x };
                    pairs[r] = s._mm256_add_epi16(pairs[r], s._mm256_maddubs_epi16(magnitude, x));
                }
            }
            for r in 0..R {
                sums[r] = s._mm256_add_epi32(sums[r], s._mm256_madd_epi16(pairs[r], ones));
            }
        }
        sums
    }

    #[inline(always)]
    fn floats(self, values: [f32; 8]) -> __m256 {
        cast(values)
    }

    #[inline(always)]
    fn numbers(self, values: __m256) -> [f32; 8] {
        cast(values)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        self.0.avx._mm256_set1_ps(value)
    }

    #[inline(always)]
    fn pair(self, low: f32, high: f32) -> __m256 {
        self.0.avx._mm256_setr_ps(low, low, low, low, high, high, high, high)
    }

    #[inline(always)]
    fn converted(self, sums: __m256i) -> __m256 {
        self.0.avx._mm256_cvtepi32_ps(sums)
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        self.0.avx._mm256_mul_ps(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        self.0.fma._mm256_fmadd_ps(a, b, c)
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        self.0.avx._mm256_add_ps(a, b)
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        self.0.avx._mm256_div_ps(a, b)
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        self.0.avx._mm256_max_ps(a, b)
    }

    #[inline(always)]
    fn clamp(self, value: __m256, low: f32, high: f32) -> __m256 {
        // The second operand comes out where one is NaN.
        let above = self.0.avx._mm256_max_ps(self.splat(low), value);
        self.0.avx._mm256_min_ps(self.splat(high), above)
    }

    #[inline(always)]
    fn widened<const FINITE: bool>(self, bits: [u16; 8]) -> __m256 {
        let s = self.0.avx2;
        self.scaled::<FINITE>(s._mm256_slli_epi32::<13>(s._mm256_cvtepi16_epi32(cast(bits))))
    }

    #[inline(always)]
    fn widened_pairs(self, words: [u32; 8]) -> [__m256; 2] {
        let s = self.0.avx2;
        let (low, high) = (s._mm256_slli_epi32::<16>(cast(words)), cast(words));
        [self.scaled::<false>(s._mm256_srai_epi32::<3>(low)), self.scaled::<false>(s._mm256_srai_epi32::<3>(high))]
    }

    #[inline(always)]
    fn widened_bf16(self, bits: [u16; 8]) -> __m256 {
        let s = self.0.avx2;
        cast(s._mm256_slli_epi32::<16>(s._mm256_cvtepu16_epi32(cast(bits))))
    }

    #[inline(always)]
    fn times_power(self, value: __m256, power: __m256) -> __m256 {
        let power = self.0.avx2._mm256_slli_epi32::<23>(cast(power));
        cast(self.0.avx2._mm256_add_epi32(cast(value), power))
    }
}
