//! Matrix products on the CPU in f32: weights are decoded once, a few rows at a time, and used for all rows of
//! activations; unpacked ones are used in place where there are few.

use doppler_rdrr::DType;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{MatMul, decode};
use crate::isa::{self, Isa, WithIsa};

/// Output features decoded together: enough sums in flight to hide the latency of a multiply-add.
const FEATURES: usize = 4;
/// Up to this many rows, unpacked weights are used as they lie in memory.
const STREAMED_ROWS: usize = 2;
/// Tasks for each thread: one that is interrupted leaves the others to the rest.
const TASKS: usize = 4;
/// Bytes of weights, times rows, below which a thread costs more than it saves.
const TASK_BYTES: usize = 16 << 10;

/// Bytes that a thread decodes weights into.
pub fn unpacked_bytes(in_features: usize) -> usize {
    4 * FEATURES * in_features
}

/// Bytes of the lists in [`share`] at most.
pub fn task_bytes(rows: usize, threads: usize) -> usize {
    threads * TASKS * (size_of::<Vec<&[f32]>>() + rows * size_of::<&[f32]>())
}

/// Products in f32 with weights in any format.
pub fn matmul(m: &MatMul, x: &[f32], weight: &[u8], y: &mut [f32]) {
    let unpacked = m.weight.block_len() == 1;
    share(m, weight, y, FEATURES, |weight, y| {
        let row_bytes = m.weight.row_bytes(m.in_features).unwrap_or(0);
        if unpacked && m.rows <= STREAMED_ROWS {
            isa::run(Stream { dtype: m.weight, cols: m.in_features, x, weight, row_bytes, y });
        } else {
            Arch::new().dispatch(Features { m, x, weight, row_bytes, y });
        }
    });
}

/// Consecutive features as tasks on threads: `run` gets their weights and their columns of `y`, row by row. All but the
/// last have a multiple of `panel` features.
pub fn share(m: &MatMul, weight: &[u8], y: &mut [f32], panel: usize, run: impl Fn(&[u8], &mut [&mut [f32]]) + Sync) {
    if m.out_features == 0 || m.rows == 0 {
        return;
    }
    let row_bytes = weight.len() / m.out_features;
    let even = m.out_features.div_ceil(rayon::current_num_threads() * TASKS);
    let enough = TASK_BYTES / (row_bytes * m.rows).max(1);
    let per_task = even.max(enough).next_multiple_of(panel);
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(m.out_features.div_ceil(per_task), || Vec::with_capacity(m.rows));
    for y in y.chunks_exact_mut(m.y_stride) {
        let columns = y[m.y_offset..][..m.out_features].chunks_mut(per_task);
        tasks.iter_mut().zip(columns).for_each(|(task, columns)| task.push(columns));
    }
    let run = |(i, mut y): (usize, Vec<&mut [f32]>)| {
        let first = i * per_task;
        let count = y[0].len();
        run(&weight[first * row_bytes..(first + count) * row_bytes], &mut y);
    };
    if tasks.len() == 1 {
        tasks.into_iter().enumerate().for_each(run);
    } else {
        tasks.into_par_iter().enumerate().for_each(run);
    }
}

/// A task: `y[r][n]` for consecutive output features n.
struct Features<'a, 'y> {
    m: &'a MatMul,
    x: &'a [f32],
    weight: &'a [u8],
    row_bytes: usize,
    y: &'a mut [&'y mut [f32]],
}

impl WithSimd for Features<'_, '_> {
    type Output = ();

    // Everything below is inlined into this function, which is what pulp compiles for the CPU's vector instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        features(simd, self.m, self.x, self.weight, self.row_bytes, self.y);
    }
}

#[inline(always)]
fn features<S: Simd>(simd: S, m: &MatMul, x: &[f32], weight: &[u8], row_bytes: usize, y: &mut [&mut [f32]]) {
    let k = m.in_features;
    let mut decoded = vec![0f32; FEATURES * k];
    for (i, weights) in weight.chunks(FEATURES * row_bytes).enumerate() {
        let (first, count) = (i * FEATURES, weights.len() / row_bytes);
        for (row, out) in weights.chunks_exact(row_bytes).zip(decoded.chunks_exact_mut(k)) {
            decode::row(m.weight, row, out);
        }
        let (pairs, odd) = (x.chunks_exact(2 * k), x.chunks_exact(2 * k).remainder());
        if count == FEATURES {
            let weights = std::array::from_fn(|n| &decoded[n * k..(n + 1) * k]);
            for (pair, x) in pairs.enumerate() {
                let sums: [_; FEATURES] = dots(simd, [&x[..k], &x[k..]], weights);
                for (n, sums) in sums.iter().enumerate() {
                    y[2 * pair][first + n] = sums[0];
                    y[2 * pair + 1][first + n] = sums[1];
                }
            }
            if !odd.is_empty() {
                let sums = dots(simd, [odd], weights);
                (0..FEATURES).for_each(|n| y[m.rows - 1][first + n] = sums[n][0]);
            }
        } else {
            for (r, x) in x.chunks_exact(k).enumerate() {
                for n in 0..count {
                    y[r][first + n] = dots(simd, [x], [&decoded[n * k..(n + 1) * k]])[0][0];
                }
            }
        }
    }
}

/// A task with unpacked weights and few rows.
struct Stream<'a, 'y> {
    dtype: DType,
    cols: usize,
    x: &'a [f32],
    weight: &'a [u8],
    row_bytes: usize,
    y: &'a mut [&'y mut [f32]],
}

impl WithIsa for Stream<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with<I: Isa>(self, isa: I) {
        for (x, y) in self.x.chunks_exact(self.cols).zip(self.y.iter_mut()) {
            for (weight, y) in self.weight.chunks_exact(self.row_bytes).zip(y.iter_mut()) {
                *y = match self.dtype {
                    DType::F16 => stream::<I, 2, 16>(isa, x, weight),
                    DType::BF16 => stream::<I, 3, 16>(isa, x, weight),
                    _ => stream::<I, 4, 32>(isa, x, weight),
                };
            }
        }
    }
}

/// The dot product with a row of F16 (KIND 2), BF16 (3) or F32 (4), BYTES for eight numbers.
#[inline(always)]
fn stream<I: Isa, const KIND: usize, const BYTES: usize>(isa: I, x: &[f32], weight: &[u8]) -> f32 {
    // Four sums in flight hide the latency of a multiply-add.
    let mut sums = [isa.splat(0.0); 4];
    let (x, x_rest) = x.as_chunks::<8>();
    let (w, w_rest) = weight.as_chunks::<BYTES>();
    for i in 0..x.len().min(w.len()) {
        sums[i % 4] = isa.mul_add(isa.floats(x[i]), numbers::<I, KIND>(isa, &w[i]), sums[i % 4]);
    }
    if !x_rest.is_empty() {
        let mut last = [0u8; BYTES];
        last[..w_rest.len()].copy_from_slice(w_rest);
        sums[0] = isa.mul_add(isa.floats(isa::padded(x_rest)), numbers::<I, KIND>(isa, &last), sums[0]);
    }
    isa.total(isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3])))
}

#[inline(always)]
fn numbers<I: Isa, const KIND: usize>(isa: I, bytes: &[u8]) -> I::Floats {
    let half = || bytemuck::pod_read_unaligned::<[u16; 8]>(&bytes[..16]);
    match KIND {
        2 => isa.widened::<false>(half()),
        3 => isa.widened_bf16(half()),
        _ => isa.floats(bytemuck::pod_read_unaligned(&bytes[..32])),
    }
}

/// The dot products of R rows of activations with N rows of weights: each vector that is loaded is used several times, and
/// there are enough sums in flight to hide the latency of a multiply-add.
#[inline(always)]
fn dots<S: Simd, const R: usize, const N: usize>(simd: S, x: [&[f32]; R], w: [&[f32]; N]) -> [[f32; R]; N] {
    let (x, x_rest) = unzip(x.map(S::as_simd_f32s));
    let (w, w_rest) = unzip(w.map(S::as_simd_f32s));
    let whole = x[0].len();
    let (x, w) = (x.map(|x| &x[..whole]), w.map(|w| &w[..whole]));
    let mut sums = [[simd.splat_f32s(0.0); R]; N];
    for at in 0..whole {
        for n in 0..N {
            for r in 0..R {
                sums[n][r] = simd.mul_add_f32s(x[r][at], w[n][at], sums[n][r]);
            }
        }
    }
    std::array::from_fn(|n| {
        std::array::from_fn(|r| {
            let rest: f32 = x_rest[r].iter().zip(w_rest[n]).map(|(x, w)| x * w).sum();
            simd.reduce_sum_f32s(sums[n][r]) + rest
        })
    })
}

#[inline(always)]
fn unzip<A: Copy, B: Copy, const N: usize>(pairs: [(A, B); N]) -> ([A; N], [B; N]) {
    (pairs.map(|p| p.0), pairs.map(|p| p.1))
}
