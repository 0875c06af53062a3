//! The few vector operations that the CPU's kernels are made of: by AVX2, and by plain loops for every other CPU.
//!
//! Both give the same integers. The loops are compiled for the CPU's own vector instructions (NEON, WebAssembly), since
//! [`run`] inlines them into code that is.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
pub use portable::Portable;

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
