//! The few vector operations that the CPU's kernels are made of: by AVX2, and by plain loops for every other CPU.
//!
//! Both give the same integers. The loops are compiled for the CPU's own vector instructions (NEON, WebAssembly), since
//! [`run`] inlines them into code that is.

use pulp::NullaryFnOnce;

/// Something to do with vector operations.
pub trait WithIsa {
    type Output;

    /// Must be `#[inline(always)]`, as everything that it calls with `isa`. No closures on the way: what
    /// the compiler leaves out of line is compiled without the CPU's vector instructions, and is slower by far.
    fn with<I: Isa>(self, isa: I) -> Self::Output;
}

/// Does it with the best operations that this CPU has.
#[inline]
pub fn run<W: WithIsa>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    return match pulp::x86::V3::try_new() {
        Some(v3) => v3.vectorize(Inlined { isa: Avx2(v3), work }),
        None => work.with(Portable),
    };
    #[cfg(not(target_arch = "x86_64"))]
    pulp::Arch::new().dispatch(Inlined { isa: Portable, work })
}

/// A struct, since a closure might not be inlined into the code that is compiled for the CPU's vector instructions.
struct Inlined<I, W> {
    isa: I,
    work: W,
}

impl<I: Isa, W: WithIsa> NullaryFnOnce for Inlined<I, W> {
    type Output = W::Output;

    #[inline(always)]
    fn call(self) -> W::Output {
        self.work.with(self.isa)
    }
}

/// 32 bytes, 8 sums or 8 numbers at a time.
pub trait Isa: Copy + Send + Sync {
    /// 32 codes.
    type Codes: Copy;
    /// 8 i32.
    type Sums: Copy;
    /// 8 f32.
    type Floats: Copy;

    fn bytes(self, bytes: [u8; 32]) -> Self::Codes;
    fn stored(self, codes: Self::Codes) -> [u8; 32];
    /// Low nibbles, then high ones.
    fn nibbles(self, bytes: [u8; 16]) -> Self::Codes;
    /// `(byte >> right & mask) << left`; `right + left` ≤ 8 and `mask << left` fits.
    fn bits(self, bytes: [u8; 32], right: usize, mask: u8, left: usize) -> Self::Codes;
    /// 16 where bit i is set.
    fn fifth_bits(self, bits: u32) -> Self::Codes;
    fn or(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Output row k has word k of each input.
    fn transpose(self, rows: [Self::Codes; 8]) -> [Self::Codes; 8];

    /// Products with int8 `x`, summed by fours; `SIGNED` codes are i8, others u8 below 128.
    fn dot<const SIGNED: bool>(self, codes: Self::Codes, x: [u32; 8]) -> Self::Sums;
    /// For each of R rows of `x`: words k of 8 features (`codes[k]`, 4 codes each) times word k of the row. u8 codes are
    /// below `2^14 / 127 / GROUP`, so that GROUP products fit into i16.
    fn tile<const SIGNED: bool, const GROUP: usize, const R: usize>(
        self,
        codes: &[[u8; 32]],
        x: [&[u32]; R],
    ) -> [Self::Sums; R];

    fn floats(self, values: [f32; 8]) -> Self::Floats;
    fn numbers(self, values: Self::Floats) -> [f32; 8];
    fn splat(self, value: f32) -> Self::Floats;
    /// Four times each.
    fn pair(self, low: f32, high: f32) -> Self::Floats;
    fn converted(self, sums: Self::Sums) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// NaN where `value` is NaN.
    fn clamp(self, value: Self::Floats, low: f32, high: f32) -> Self::Floats;
    /// f16; where they are FINITE, in fewer steps.
    fn widened<const FINITE: bool>(self, bits: [u16; 8]) -> Self::Floats;
    fn widened_bf16(self, bits: [u16; 8]) -> Self::Floats;
    /// `value · 2^n` for the integer n in the low bits of `power`.
    fn times_power(self, value: Self::Floats, power: Self::Floats) -> Self::Floats;

    /// All eight, added in pairs.
    #[inline(always)]
    fn total(self, values: Self::Floats) -> f32 {
        let v = self.numbers(values);
        ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
    }

    /// e^x within 2 units of the last place from −87 to 88, and the value there beyond.
    #[inline(always)]
    fn exp(self, x: Self::Floats) -> Self::Floats {
        // Cephes' expf: e^x = 2^n · e^r, |r| ≤ ln 2 / 2. Added to ROUND, n is in the low bits.
        const ROUND: f32 = 12_582_912.0;
        let x = self.clamp(x, -87.0, 88.0);
        let power = self.mul_add(x, self.splat(std::f32::consts::LOG2_E), self.splat(ROUND));
        let n = self.add(power, self.splat(-ROUND));
        let r = self.mul_add(n, self.splat(-0.693_359_4), x);
        let r = self.mul_add(n, self.splat(2.121_944_4e-4), r);
        let mut p = self.splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = self.mul_add(p, r, self.splat(c));
        }
        let p = self.mul_add(self.mul(r, r), p, self.add(r, self.splat(1.0)));
        self.times_power(p, power)
    }
}

/// Up to eight numbers, with zeros after them.
#[inline(always)]
pub fn padded(values: &[f32]) -> [f32; 8] {
    if let Some(eight) = values.first_chunk() {
        return *eight;
    }
    let mut eight = [0.0; 8];
    eight[..values.len()].copy_from_slice(values);
    eight
}

/// Undoes [`padded`].
#[inline(always)]
pub fn put(values: &mut [f32], eight: [f32; 8]) {
    match values.first_chunk_mut() {
        Some(values) => *values = eight,
        None => values.copy_from_slice(&eight[..values.len()]),
    }
}

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
    fn widened_bf16(self, bits: [u16; 8]) -> [f32; 8] {
        bits.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    fn times_power(self, value: [f32; 8], power: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| f32::from_bits(value[i].to_bits().wrapping_add(power[i].to_bits() << 23)))
    }
}

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{__m256, __m256i};

    use bytemuck::cast;
    use pulp::x86::V3;

    use super::Isa;

    /// AVX2 and FMA; there is one only on a CPU that has them.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx2(pub V3);

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
            let wide = s._mm256_slli_epi32::<13>(s._mm256_cvtepi16_epi32(cast(bits)));
            let kept = s._mm256_and_si256(wide, self.0.avx._mm256_set1_epi32(0x8FFF_E000_u32 as i32));
            let scaled = self.mul(cast(kept), self.splat(f32::from_bits(0x7780_0000)));
            if FINITE {
                return scaled;
            }
            let exponent = self.0.avx._mm256_set1_epi32(0x0F80_0000);
            let special = s._mm256_cmpeq_epi32(s._mm256_and_si256(kept, exponent), exponent);
            let special = s._mm256_and_si256(special, self.0.avx._mm256_set1_epi32(0x7F80_0000));
            self.0.avx._mm256_or_ps(scaled, cast(special))
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
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::cases::random_bits;

    #[test]
    fn numbers() {
        struct Check;
        impl WithIsa for Check {
            type Output = ();
            #[inline(always)]
            fn with<I: Isa>(self, isa: I) {
                let mut x = -87.0;
                while x < 88.0 {
                    let y = isa.numbers(isa.exp(isa.splat(x)))[3];
                    assert!((f64::from(y) / f64::from(x).exp() - 1.0).abs() < 2.5e-7, "e^{x} is {y}");
                    x += 0.013;
                }
                assert!(isa.numbers(isa.exp(isa.splat(f32::NAN)))[0].is_nan());
                assert!(isa.numbers(isa.exp(isa.splat(-1e9)))[0] < 1e-37);
                for bits in 0..=u16::MAX {
                    let exact = half::f16::from_bits(bits).to_f32();
                    let wide = isa.numbers(isa.widened::<false>([bits; 8]))[5];
                    assert!(wide == exact || (wide.is_nan() && exact.is_nan()), "{bits:#x}: {wide} {exact}");
                    let finite = isa.numbers(isa.widened::<true>([bits; 8]))[5];
                    assert!(!exact.is_finite() || finite == exact, "{bits:#x}: {finite} {exact}");
                }
                assert_eq!(isa.total(isa.floats([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])), 36.0);
                let mut values = [1.0; 11];
                for eight in values.chunks_mut(8) {
                    put(eight, padded(eight).map(|v| v + 1.0));
                }
                assert_eq!(values, [2.0; 11]);
            }
        }
        run(Check);
        Check.with(Portable);
    }

    /// Both give the same bits, operation by operation.
    #[test]
    fn avx2_is_portable() {
        let Some(v3) = pulp::x86::V3::try_new() else { return };
        let (fast, plain) = (Avx2(v3), Portable);
        let mut random = random_bits(1);
        let mut bytes = || -> [u8; 32] { std::array::from_fn(|_| random.next().unwrap() as u8) };
        for _ in 0..100 {
            let (a, b) = (bytes(), bytes());
            let half: [u8; 16] = std::array::from_fn(|i| a[i]);
            assert_eq!(fast.stored(fast.nibbles(half)), plain.nibbles(half));
            for (right, mask, left) in [(0, 15, 0), (4, 15, 0), (7, 1, 4), (2, 3, 4), (0, 1, 4)] {
                assert_eq!(fast.stored(fast.bits(a, right, mask, left)), plain.bits(a, right, mask, left));
            }
            let word = u32::from_le_bytes([a[0], a[1], a[2], a[3]]);
            assert_eq!(fast.stored(fast.fifth_bits(word)), plain.fifth_bits(word));
            let rows: [[u8; 32]; 8] = std::array::from_fn(|_| bytes());
            assert_eq!(
                fast.transpose(rows.map(|row| fast.bytes(row))).map(|row| fast.stored(row)),
                plain.transpose(rows)
            );
            let x: [u32; 8] = bytemuck::cast(b.map(|v| (v as i8).max(-127)));
            let sums = |sums| bytemuck::cast::<_, [i32; 8]>(sums);
            assert_eq!(sums(fast.dot::<true>(fast.bytes(a), x)), plain.dot::<true>(a, x));
            let low = a.map(|v| v & 127);
            assert_eq!(sums(fast.dot::<false>(fast.bytes(low), x)), plain.dot::<false>(low, x));
            let [y] = fast.tile::<true, 1, 1>(&rows, [&x]);
            assert_eq!(sums(y), plain.tile::<true, 1, 1>(&rows, [&x])[0]);
            let four = rows.map(|row| row.map(|v| v & 15));
            let [y] = fast.tile::<false, 8, 1>(&four, [&x]);
            assert_eq!(sums(y), plain.tile::<false, 8, 1>(&four, [&x])[0]);
        }
    }
}
