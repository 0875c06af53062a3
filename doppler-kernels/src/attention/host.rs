//! Attention on the CPU: rows and heads in parallel, scores first, then one pass over the values.

use std::ops::Range;

use doppler_rdrr::DType;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::{Attention, AttentionSplit, reference::EMPTY};

pub fn attention(a: &Attention, q: &[f32], k: &[u8], v: &[u8], start: usize, y: &mut [f32]) {
    let work = |(i, y): (usize, &mut [f32])| {
        let (row, head) = (i / a.num_attention_heads, i % a.num_attention_heads);
        let q = &q[i * a.head_dim..][..a.head_dim];
        let (_, total) = Arch::new().dispatch(Attend { a, q, k, v, head, range: a.seen(start + row), sums: y });
        y.iter_mut().for_each(|y| *y /= total);
    };
    // Threads pay from a few thousand scores on.
    if a.num_attention_heads * a.rows * (start + a.rows) < 4096 {
        y.chunks_exact_mut(a.head_dim).enumerate().for_each(work);
    } else {
        y.par_chunks_exact_mut(a.head_dim).enumerate().for_each(work);
    }
}

pub fn split(s: &AttentionSplit, q: &[f32], k: &[u8], v: &[u8], start: usize, partials: &mut [f32]) {
    let a = &s.attention;
    partials.par_chunks_exact_mut(a.head_dim + 2).enumerate().for_each(|(i, partial)| {
        let (query, piece) = (i / s.splits, i % s.splits);
        let (row, head) = (query / a.num_attention_heads, query % a.num_attention_heads);
        let (stats, sums) = partial.split_at_mut(2);
        let q = &q[query * a.head_dim..][..a.head_dim];
        let range = s.piece(start + row, piece);
        let (largest, total) = Arch::new().dispatch(Attend { a, q, k, v, head, range, sums });
        stats.copy_from_slice(&[largest, total]);
    });
}

/// A task for one query. A struct, since a closure might not be inlined into the code that is compiled for the CPU's vector
/// instructions.
struct Attend<'a> {
    a: &'a Attention,
    q: &'a [f32],
    k: &'a [u8],
    v: &'a [u8],
    head: usize,
    range: Range<usize>,
    sums: &'a mut [f32],
}

impl NullaryFnOnce for Attend<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn call(self) -> (f32, f32) {
        attend(self.a, self.q, self.k, self.v, self.head, self.range, self.sums)
    }
}

/// Weighted sums of the values into `sums`; the largest score and the sum of weights.
#[inline(always)]
fn attend(
    a: &Attention,
    q: &[f32],
    k: &[u8],
    v: &[u8],
    head: usize,
    range: Range<usize>,
    sums: &mut [f32],
) -> (f32, f32) {
    let kv_head = head / (a.num_attention_heads / a.num_key_value_heads);
    let row_bytes = a.head_dim * a.kv.block_bytes();
    let at = |position: usize| (position * a.num_key_value_heads + kv_head) * row_bytes;
    let mut weights: Vec<f32> = range
        .clone()
        .map(|position| {
            let score = dot(a.kv, q, &k[at(position)..][..row_bytes]) * a.scale;
            a.softcap.map_or(score, |cap| cap * (score / cap).tanh())
        })
        .collect();
    let largest = weights.iter().copied().fold(EMPTY as f32, f32::max);
    weights.iter_mut().for_each(|w| *w = (*w - largest).exp());
    sums.fill(0.0);
    for (position, weight) in range.zip(&weights) {
        add_scaled(a.kv, &v[at(position)..][..row_bytes], *weight, sums);
    }
    (largest, weights.iter().sum())
}

#[inline(always)]
fn dot(kv: DType, q: &[f32], row: &[u8]) -> f32 {
    let mut sums = [0f32; 8];
    let mut each = |i: usize, k: f32| sums[i % 8] = q[i].mul_add(k, sums[i % 8]);
    match kv {
        DType::F16 => row.as_chunks::<2>().0.iter().enumerate().for_each(|(i, b)| each(i, f16(*b))),
        _ => row.as_chunks::<4>().0.iter().enumerate().for_each(|(i, b)| each(i, f32::from_le_bytes(*b))),
    }
    sums.iter().sum()
}

#[inline(always)]
fn add_scaled(kv: DType, row: &[u8], weight: f32, sums: &mut [f32]) {
    match kv {
        DType::F16 => {
            sums.iter_mut().zip(row.as_chunks::<2>().0).for_each(|(sum, b)| *sum = weight.mul_add(f16(*b), *sum));
        }
        _ => {
            let values = row.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
            sums.iter_mut().zip(values).for_each(|(sum, v)| *sum = weight.mul_add(v, *sum));
        }
    }
}

#[inline(always)]
fn f16(bytes: [u8; 2]) -> f32 {
    crate::matmul::widen_f16(u16::from_le_bytes(bytes))
}
