//! Matrix products on the CPU: weights are decoded once, a few rows at a time, and used for all rows of activations.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{MatMul, decode};

/// Output features decoded together: enough sums in flight to hide the latency of a multiply-add.
const FEATURES: usize = 4;
/// Multiply-adds below which threads cost more than they save.
const SERIAL: usize = 1 << 16;

pub fn matmul(m: &MatMul, x: &[f32], weight: &[u8], y: &mut [f32]) {
    if m.out_features == 0 || m.rows == 0 {
        return;
    }
    let row_bytes = weight.len() / m.out_features;
    // Each thread makes columns of yᵀ, which lie together; they are put in place at the end.
    let threads = if m.rows * m.out_features * m.in_features < SERIAL { 1 } else { rayon::current_num_threads() };
    let per_task = m.out_features.div_ceil(threads * 4).next_multiple_of(FEATURES);
    let mut columns = vec![0f32; m.out_features * m.rows];
    let task = |(i, columns): (usize, &mut [f32])| {
        let first = i * per_task;
        let count = columns.len() / m.rows;
        let weight = &weight[first * row_bytes..(first + count) * row_bytes];
        Arch::new().dispatch(Features { m, x, weight, row_bytes, columns });
    };
    if threads == 1 {
        columns.chunks_mut(per_task * m.rows).enumerate().for_each(task);
    } else {
        columns.par_chunks_mut(per_task * m.rows).enumerate().for_each(task);
    }
    if m.rows == 1 {
        y[m.y_offset..][..m.out_features].copy_from_slice(&columns);
        return;
    }
    for (r, y) in y.chunks_exact_mut(m.y_stride).enumerate() {
        for (n, y) in y[m.y_offset..][..m.out_features].iter_mut().enumerate() {
            *y = columns[n * m.rows + r];
        }
    }
}

/// A task: `columns[n, r]` for consecutive output features n.
struct Features<'a> {
    m: &'a MatMul,
    x: &'a [f32],
    weight: &'a [u8],
    row_bytes: usize,
    columns: &'a mut [f32],
}

impl WithSimd for Features<'_> {
    type Output = ();

    // Everything below is inlined into this function, which is what pulp compiles for the CPU's vector instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        features(simd, self.m, self.x, self.weight, self.row_bytes, self.columns);
    }
}

#[inline(always)]
fn features<S: Simd>(simd: S, m: &MatMul, x: &[f32], weight: &[u8], row_bytes: usize, columns: &mut [f32]) {
    let k = m.in_features;
    let mut decoded = vec![0f32; FEATURES * k];
    for (weights, columns) in weight.chunks(FEATURES * row_bytes).zip(columns.chunks_mut(FEATURES * m.rows)) {
        let count = weights.len() / row_bytes;
        for (row, out) in weights.chunks_exact(row_bytes).zip(decoded.chunks_exact_mut(k)) {
            decode::row(m.weight, row, out);
        }
        let (pairs, odd) = (x.chunks_exact(2 * k), x.chunks_exact(2 * k).remainder());
        if count == FEATURES {
            let weights = std::array::from_fn(|n| &decoded[n * k..(n + 1) * k]);
            for (pair, x) in pairs.enumerate() {
                let sums: [_; FEATURES] = dots(simd, [&x[..k], &x[k..]], weights);
                for (n, sums) in sums.iter().enumerate() {
                    columns[n * m.rows + 2 * pair..][..2].copy_from_slice(sums);
                }
            }
            if !odd.is_empty() {
                let sums = dots(simd, [odd], weights);
                (0..FEATURES).for_each(|n| columns[n * m.rows + m.rows - 1] = sums[n][0]);
            }
        } else {
            for (r, x) in x.chunks_exact(k).enumerate() {
                for n in 0..count {
                    columns[n * m.rows + r] = dots(simd, [x], [&decoded[n * k..(n + 1) * k]])[0][0];
                }
            }
        }
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
