//! Matrix products on the CPU: weights are decoded once, a few rows at a time, and used for all rows of activations.

use pulp::{Arch, NullaryFnOnce};
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

/// A task: `columns[n, r]` for consecutive output features n. A struct, since a closure might not be inlined into the code
/// that is compiled for the CPU's vector instructions.
struct Features<'a> {
    m: &'a MatMul,
    x: &'a [f32],
    weight: &'a [u8],
    row_bytes: usize,
    columns: &'a mut [f32],
}

impl NullaryFnOnce for Features<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        features(self.m, self.x, self.weight, self.row_bytes, self.columns);
    }
}

#[inline(always)]
fn features(m: &MatMul, x: &[f32], weight: &[u8], row_bytes: usize, columns: &mut [f32]) {
    let k = m.in_features;
    let mut decoded = vec![0f32; FEATURES * k];
    for (weights, columns) in weight.chunks(FEATURES * row_bytes).zip(columns.chunks_mut(FEATURES * m.rows)) {
        let count = weights.len() / row_bytes;
        for (row, out) in weights.chunks_exact(row_bytes).zip(decoded.chunks_exact_mut(k)) {
            decode::row(m.weight, row, out);
        }
        for (r, x) in x.chunks_exact(k).enumerate() {
            if count == FEATURES {
                let sums = dot4(x, &decoded);
                (0..FEATURES).for_each(|n| columns[n * m.rows + r] = sums[n]);
            } else {
                (0..count).for_each(|n| columns[n * m.rows + r] = dot(x, &decoded[n * k..(n + 1) * k]));
            }
        }
    }
}

const LANES: usize = 16;

#[inline(always)]
fn dot(x: &[f32], w: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let ((x, x_rest), (w, w_rest)) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>());
    for (x, w) in x.iter().zip(w) {
        for i in 0..LANES {
            sums[i] = x[i].mul_add(w[i], sums[i]);
        }
    }
    let rest: f32 = x_rest.iter().zip(w_rest).map(|(x, w)| x * w).sum();
    sums.iter().sum::<f32>() + rest
}

/// Four rows of weights at once: each vector of x is loaded once.
#[inline(always)]
fn dot4(x: &[f32], w: &[f32]) -> [f32; FEATURES] {
    let k = x.len();
    let (w0, w1, w2, w3) = (&w[..k], &w[k..2 * k], &w[2 * k..3 * k], &w[3 * k..4 * k]);
    let mut sums = [[0f32; LANES]; FEATURES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    let weights = w0.as_chunks::<LANES>().0.iter().zip(w1.as_chunks::<LANES>().0);
    let more = w2.as_chunks::<LANES>().0.iter().zip(w3.as_chunks::<LANES>().0);
    for (x, ((w0, w1), (w2, w3))) in chunks.iter().zip(weights.zip(more)) {
        for i in 0..LANES {
            sums[0][i] = x[i].mul_add(w0[i], sums[0][i]);
            sums[1][i] = x[i].mul_add(w1[i], sums[1][i]);
            sums[2][i] = x[i].mul_add(w2[i], sums[2][i]);
            sums[3][i] = x[i].mul_add(w3[i], sums[3][i]);
        }
    }
    let mut totals = [0f32; FEATURES];
    for (n, w) in [w0, w1, w2, w3].into_iter().enumerate() {
        let tail: f32 = rest.iter().zip(&w[k - rest.len()..]).map(|(x, w)| x * w).sum();
        totals[n] = sums[n].iter().sum::<f32>() + tail;
    }
    totals
}
