//! The vector operations by NEON. Dot products go through sums in 16 bits: Rust has no stable `sdot` yet.

use std::arch::aarch64::*;

use bytemuck::cast;
use fearless_simd::{Level, Simd, kernel};

use super::{Isa, WithIsa};

/// NEON; there is one only on a CPU that has it.
#[derive(Clone, Copy, Debug)]
pub struct Neon(fearless_simd::Neon);

impl Neon {
    #[inline]
    pub fn try_new() -> Option<Neon> {
        Level::new().as_neon().map(Neon)
    }

    /// Does it in code that is compiled for these instructions.
    #[inline(always)]
    pub fn vectorize<W: WithIsa>(self, work: W) -> W::Output {
        self.0.vectorize(
            #[inline(always)]
            move || work.with(self),
        )
    }
}

type Codes = [uint8x16_t; 2];
type Sums = [int32x4_t; 2];
type Floats = [float32x4_t; 2];
/// Of eight features with four codes each.
type Products = [int16x8_t; 4];

/// Functions in which the intrinsics of NEON are safe.
macro_rules! kernels {
    ($($(#[$about:meta])* fn $name:ident($($argument:ident: $of:ty),*) -> $result:ty { $($body:tt)* })*) => {
        $(kernel! {
            $(#[$about])*
            #[inline(always)]
            fn $name(neon: Neon, $($argument: $of),*) -> $result { $($body)* }
        })*
    };
}

kernels! {
    fn nibbles(bytes: uint8x16_t) -> Codes {
        [vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)]
    }

    fn bits(bytes: uint8x16_t, right: i8, mask: u8, left: i8) -> uint8x16_t {
        let kept = vandq_u8(vshlq_u8(bytes, vdupq_n_s8(-right)), vdupq_n_u8(mask));
        vshlq_u8(kept, vdupq_n_s8(left))
    }

    fn fifth_bits(low: u8, high: u8) -> uint8x16_t {
        let bit = cast([0x8040_2010_0804_0201_u64; 2]);
        let set = vtstq_u8(vcombine_u8(vdup_n_u8(low), vdup_n_u8(high)), bit);
        vandq_u8(set, vdupq_n_u8(16))
    }

    fn or(a: Codes, b: Codes) -> Codes {
        [vorrq_u8(a[0], b[0]), vorrq_u8(a[1], b[1])]
    }

    /// Four rows of four words, turned.
    fn transposed(rows: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        let r: [uint32x4_t; 4] = cast(rows);
        let (a, b) = (cast(vtrn1q_u32(r[0], r[1])), cast(vtrn2q_u32(r[0], r[1])));
        let (c, d) = (cast(vtrn1q_u32(r[2], r[3])), cast(vtrn2q_u32(r[2], r[3])));
        cast([vtrn1q_u64(a, c), vtrn1q_u64(b, d), vtrn2q_u64(a, c), vtrn2q_u64(b, d)])
    }

    /// Products of half a block, summed by fours. Two products fit into i16, since `x` is never −128.
    fn dot(codes: int8x16_t, x: int8x16_t) -> int32x4_t {
        let low = vmull_s8(vget_low_s8(codes), vget_low_s8(x));
        vpaddlq_s16(vpaddq_s16(low, vmull_high_s8(codes, x)))
    }

    fn no_products() -> Products {
        [vdupq_n_s16(0); 4]
    }

    fn add_products(p: Products, codes: [int8x16_t; 2], x: u32) -> Products {
        let [a, b] = codes;
        let x = vreinterpretq_s8_u32(vdupq_n_u32(x));
        let low = vget_low_s8(x);
        [
            vmlal_s8(p[0], vget_low_s8(a), low),
            vmlal_high_s8(p[1], a, x),
            vmlal_s8(p[2], vget_low_s8(b), low),
            vmlal_high_s8(p[3], b, x),
        ]
    }

    fn add_sums(sums: Sums, p: Products) -> Sums {
        [vpadalq_s16(sums[0], vpaddq_s16(p[0], p[1])), vpadalq_s16(sums[1], vpaddq_s16(p[2], p[3]))]
    }

    fn splat(value: f32) -> float32x4_t {
        vdupq_n_f32(value)
    }

    fn converted(sums: Sums) -> Floats {
        [vcvtq_f32_s32(sums[0]), vcvtq_f32_s32(sums[1])]
    }

    fn mul(a: Floats, b: Floats) -> Floats {
        [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1])]
    }

    fn mul_add(a: Floats, b: Floats, c: Floats) -> Floats {
        [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])]
    }

    fn add(a: Floats, b: Floats) -> Floats {
        [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])]
    }

    fn div(a: Floats, b: Floats) -> Floats {
        [vdivq_f32(a[0], b[0]), vdivq_f32(a[1], b[1])]
    }

    /// The second operand comes out where one is NaN.
    fn max(a: Floats, b: Floats) -> Floats {
        [vbslq_f32(vcgtq_f32(a[0], b[0]), a[0], b[0]), vbslq_f32(vcgtq_f32(a[1], b[1]), a[1], b[1])]
    }

    fn clamp(value: float32x4_t, low: f32, high: f32) -> float32x4_t {
        vminq_f32(vmaxq_f32(value, vdupq_n_f32(low)), vdupq_n_f32(high))
    }

    /// Low halves of words as high halves.
    fn raised(words: int32x4_t) -> int32x4_t {
        vshlq_n_s32::<16>(words)
    }

    /// The f16 in high halves as f32.
    fn widened_high(words: int32x4_t) -> float32x4_t {
        let kept = vandq_u32(vreinterpretq_u32_s32(vshrq_n_s32::<3>(words)), vdupq_n_u32(0x8FFF_E000));
        let scaled = vmulq_f32(vreinterpretq_f32_u32(kept), vdupq_n_f32(f32::from_bits(0x7780_0000)));
        let exponent = vdupq_n_u32(0x0F80_0000);
        let special = vceqq_u32(vandq_u32(kept, exponent), exponent);
        let special = vandq_u32(special, vdupq_n_u32(0x7F80_0000));
        vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(scaled), special))
    }

    fn words(bits: uint16x4_t) -> int32x4_t {
        vreinterpretq_s32_u32(vmovl_u16(bits))
    }

    fn widened_bf16(bits: uint16x4_t) -> float32x4_t {
        vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(bits)))
    }

    fn times_power(value: float32x4_t, power: float32x4_t) -> float32x4_t {
        let power = vshlq_n_s32::<23>(vreinterpretq_s32_f32(power));
        vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(value), power))
    }
}

impl Isa for Neon {
    type Codes = Codes;
    type Sums = Sums;
    type Floats = Floats;

    #[inline(always)]
    fn bytes(self, bytes: [u8; 32]) -> Codes {
        cast(bytes)
    }

    #[inline(always)]
    fn stored(self, codes: Codes) -> [u8; 32] {
        cast(codes)
    }

    #[inline(always)]
    fn nibbles(self, bytes: [u8; 16]) -> Codes {
        nibbles(self.0, cast(bytes))
    }

    #[inline(always)]
    fn bits(self, bytes: [u8; 32], right: usize, mask: u8, left: usize) -> Codes {
        let [a, b] = cast(bytes);
        let (right, left) = (right as i8, left as i8);
        [bits(self.0, a, right, mask, left), bits(self.0, b, right, mask, left)]
    }

    #[inline(always)]
    fn fifth_bits(self, bits: u32) -> Codes {
        let [a, b, c, d] = bits.to_le_bytes();
        [fifth_bits(self.0, a, b), fifth_bits(self.0, c, d)]
    }

    #[inline(always)]
    fn or(self, a: Codes, b: Codes) -> Codes {
        or(self.0, a, b)
    }

    #[inline(always)]
    fn transpose(self, r: [Codes; 8]) -> [Codes; 8] {
        let mut turned = [r[0]; 8];
        for half in 0..2 {
            let low = transposed(self.0, [r[0][half], r[1][half], r[2][half], r[3][half]]);
            let high = transposed(self.0, [r[4][half], r[5][half], r[6][half], r[7][half]]);
            for k in 0..4 {
                turned[4 * half + k] = [low[k], high[k]];
            }
        }
        turned
    }

    #[inline(always)]
    fn dot<const SIGNED: bool>(self, codes: Codes, x: [u32; 8]) -> Sums {
        // Codes that are not signed are below 128.
        let ([a, b], [low, high]) = (cast(codes), cast(x));
        [dot(self.0, a, low), dot(self.0, b, high)]
    }

    #[inline(always)]
    fn tile<const SIGNED: bool, const GROUP: usize, const R: usize>(
        self,
        codes: &[[u8; 32]],
        x: [&[u32]; R],
    ) -> [Sums; R] {
        let mut sums = [cast([0; 8]); R];
        assert!(codes.len() <= 8 && x.iter().all(|x| x.len() == codes.len()));
        for (group, codes) in codes.chunks_exact(GROUP).enumerate() {
            let mut products = [no_products(self.0); R];
            for (k, codes) in codes.iter().enumerate() {
                for r in 0..R {
                    products[r] = add_products(self.0, products[r], cast(*codes), x[r][group * GROUP + k]);
                }
            }
            for r in 0..R {
                sums[r] = add_sums(self.0, sums[r], products[r]);
            }
        }
        sums
    }

    #[inline(always)]
    fn floats(self, values: [f32; 8]) -> Floats {
        cast(values)
    }

    #[inline(always)]
    fn numbers(self, values: Floats) -> [f32; 8] {
        cast(values)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Floats {
        self.pair(value, value)
    }

    #[inline(always)]
    fn pair(self, low: f32, high: f32) -> Floats {
        [splat(self.0, low), splat(self.0, high)]
    }

    #[inline(always)]
    fn converted(self, sums: Sums) -> Floats {
        converted(self.0, sums)
    }

    #[inline(always)]
    fn mul(self, a: Floats, b: Floats) -> Floats {
        mul(self.0, a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: Floats, b: Floats, c: Floats) -> Floats {
        mul_add(self.0, a, b, c)
    }

    #[inline(always)]
    fn add(self, a: Floats, b: Floats) -> Floats {
        add(self.0, a, b)
    }

    #[inline(always)]
    fn div(self, a: Floats, b: Floats) -> Floats {
        div(self.0, a, b)
    }

    #[inline(always)]
    fn max(self, a: Floats, b: Floats) -> Floats {
        max(self.0, a, b)
    }

    #[inline(always)]
    fn clamp(self, value: Floats, low: f32, high: f32) -> Floats {
        [clamp(self.0, value[0], low, high), clamp(self.0, value[1], low, high)]
    }

    #[inline(always)]
    fn widened<const FINITE: bool>(self, bits: [u16; 8]) -> Floats {
        let [low, high]: [[u16; 4]; 2] = cast(bits);
        let [low, high] = [raised(self.0, words(self.0, cast(low))), raised(self.0, words(self.0, cast(high)))];
        [widened_high(self.0, low), widened_high(self.0, high)]
    }

    #[inline(always)]
    fn widened_pairs(self, words: [u32; 8]) -> [Floats; 2] {
        let [a, b] = cast(words);
        let low = [widened_high(self.0, raised(self.0, a)), widened_high(self.0, raised(self.0, b))];
        [low, [widened_high(self.0, a), widened_high(self.0, b)]]
    }

    #[inline(always)]
    fn widened_bf16(self, bits: [u16; 8]) -> Floats {
        let [low, high]: [[u16; 4]; 2] = cast(bits);
        [widened_bf16(self.0, cast(low)), widened_bf16(self.0, cast(high))]
    }

    #[inline(always)]
    fn times_power(self, value: Floats, power: Floats) -> Floats {
        [times_power(self.0, value[0], power[0]), times_power(self.0, value[1], power[1])]
    }
}
