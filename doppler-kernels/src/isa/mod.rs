//! The few vector operations that the CPU's kernels are made of: by AVX2, by AVX2 with AVX-512's dot product, by NEON, and
//! by plain loops for every other CPU.
//!
//! All give the same integers. The loops are compiled for the CPU's own vector instructions (WebAssembly), since [`run`]
//! inlines them into code that is.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
use neon::Neon;
use portable::Portable;

use pulp::NullaryFnOnce;

/// The CPU's instructions that products in int8 are computed with. All give the same integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// AVX2, and the dot product of AVX-512 VNNI: CPUs from Intel's Ice Lake and AMD's Zen 4 on.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// NEON, which every 64-bit ARM has.
    Neon,
    /// Plain loops, for every CPU.
    Portable,
}

impl Instructions {
    /// Those that this CPU has, best first.
    pub fn available() -> impl Iterator<Item = Instructions> {
        use Instructions::{Avx2, Avx512, Neon, Portable};
        [Avx512, Avx2, Neon, Portable].into_iter().filter(|instructions| instructions.are_available())
    }

    /// The best that this CPU has.
    #[must_use]
    pub fn best() -> Instructions {
        Instructions::available().next().unwrap_or(Instructions::Portable)
    }

    /// The name of products in int8 by them.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Instructions::Avx512 => "int8_avx512",
            Instructions::Avx2 => "int8_avx2",
            Instructions::Neon => "int8_neon",
            Instructions::Portable => "int8",
        }
    }

    fn are_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => Avx512::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => pulp::x86::V3::is_available(),
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => Neon::try_new().is_some(),
            Instructions::Portable => true,
            // Of another architecture.
            _ => false,
        }
    }
}

/// Something to do with vector operations.
pub trait WithIsa {
    type Output;

    /// Must be `#[inline(always)]`, as everything that it calls with `isa`. No closures on the way: what
    /// the compiler leaves out of line is compiled without the CPU's vector instructions, and is slower by far.
    fn with<I: Isa>(self, isa: I) -> Self::Output;
}

/// Does it with the best operations on floats that this CPU has.
#[inline]
pub fn run<W: WithIsa>(work: W) -> W::Output {
    // AVX-512 brings nothing but its dot product.
    #[cfg(target_arch = "x86_64")]
    return run_with(Instructions::Avx2, work);
    #[cfg(not(target_arch = "x86_64"))]
    run_with(Instructions::Neon, work)
}

/// Does it with certain operations; with plain loops where the CPU does not have them.
#[inline]
pub fn run_with<W: WithIsa>(instructions: Instructions, work: W) -> W::Output {
    match instructions {
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => {
            if let Some(isa) = Avx512::try_new() {
                return isa.vectorize(work);
            }
        }
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => {
            if let Some(v3) = pulp::x86::V3::try_new() {
                return v3.vectorize(Inlined { isa: Avx2(v3), work });
            }
        }
        #[cfg(target_arch = "aarch64")]
        Instructions::Neon => {
            if let Some(isa) = Neon::try_new() {
                return isa.vectorize(work);
            }
        }
        _ => {}
    }
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
    /// The f16 in the low halves of words, and those in the high halves.
    fn widened_pairs(self, words: [u32; 8]) -> [Self::Floats; 2];
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
