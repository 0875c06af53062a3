//! Attention on the CPU: a few rows of one head at a time, scores first, then the values, eight elements at a time.

use std::ops::Range;

use doppler_rdrr::DType;
use rayon::prelude::*;

use super::{Attention, AttentionSplit, reference::EMPTY};
use crate::isa::{self, Isa, WithIsa};

/// Rows that share each key and value that is loaded.
const ROWS: usize = 4;
/// Products below which threads cost more than they save.
const SERIAL: usize = 1 << 16;

pub fn attention(a: &Attention, q: &[f32], k: &[u8], v: &[u8], start: usize, y: &mut [f32]) {
    let (heads, dim) = (a.num_attention_heads, a.head_dim);
    // A task is some rows of one head; its rows of y lie apart.
    let mut tasks: Vec<(usize, usize, Vec<&mut [f32]>)> = Vec::new();
    for (tile, y) in y.chunks_mut(ROWS * heads * dim).enumerate() {
        let first = tasks.len();
        tasks.extend((0..heads).map(|head| (tile * ROWS, head, Vec::with_capacity(ROWS))));
        for y in y.chunks_exact_mut(heads * dim) {
            tasks[first..].iter_mut().zip(y.chunks_exact_mut(dim)).for_each(|(task, y)| task.2.push(y));
        }
    }
    let work = |(row, head, mut y): (usize, usize, Vec<&mut [f32]>)| {
        let ranges: Vec<_> = (0..y.len()).map(|r| a.seen(start + row + r)).collect();
        let stats = isa::run(Attend { a, q: &q[row * heads * dim..], k, v, head, ranges: &ranges, sums: &mut y });
        for (y, (_, total)) in y.iter_mut().zip(stats) {
            let scale = 1.0 / total;
            y.iter_mut().for_each(|y| *y *= scale);
        }
    };
    if a.rows * heads * dim * a.seen(start + a.rows - 1).len() < SERIAL {
        tasks.into_iter().for_each(work);
    } else {
        tasks.into_par_iter().for_each(work);
    }
}

pub fn split(s: &AttentionSplit, q: &[f32], k: &[u8], v: &[u8], start: usize, partials: &mut [f32]) {
    let a = &s.attention;
    partials.par_chunks_exact_mut(a.head_dim + 2).enumerate().for_each(|(i, partial)| {
        let (query, piece) = (i / s.splits, i % s.splits);
        let (row, head) = (query / a.num_attention_heads, query % a.num_attention_heads);
        let (stats, sums) = partial.split_at_mut(2);
        let q = &q[row * a.num_attention_heads * a.head_dim..];
        let ranges = [s.piece(start + row, piece)];
        let of_rows = isa::run(Attend { a, q, k, v, head, ranges: &ranges, sums: &mut [sums] });
        stats.copy_from_slice(&[of_rows[0].0, of_rows[0].1]);
    });
}

/// Up to [`ROWS`] consecutive rows of one head: weighted sums of the values; the largest score and the sum of weights.
struct Attend<'a, 'y> {
    a: &'a Attention,
    /// From the first row on.
    q: &'a [f32],
    k: &'a [u8],
    v: &'a [u8],
    head: usize,
    /// What each row sees; both ends grow with the row.
    ranges: &'a [Range<usize>],
    /// `[rows, head_dim]`
    sums: &'a mut [&'y mut [f32]],
}

impl WithIsa for Attend<'_, '_> {
    type Output = Vec<(f32, f32)>;

    #[inline(always)]
    fn with<I: Isa>(mut self, isa: I) -> Self::Output {
        let f16 = self.a.kv == DType::F16;
        if self.ranges.len() == ROWS {
            return match f16 {
                true => self.rows::<I, true, ROWS>(isa, 0).to_vec(),
                false => self.rows::<I, false, ROWS>(isa, 0).to_vec(),
            };
        }
        let mut stats = Vec::with_capacity(ROWS);
        for r in 0..self.ranges.len() {
            let [of_row] = match f16 {
                true => self.rows::<I, true, 1>(isa, r),
                false => self.rows::<I, false, 1>(isa, r),
            };
            stats.push(of_row);
        }
        stats
    }
}

impl Attend<'_, '_> {
    #[inline(always)]
    fn rows<I: Isa, const F16: bool, const R: usize>(&mut self, isa: I, first: usize) -> [(f32, f32); R] {
        let a = self.a;
        let (heads, dim) = (a.num_attention_heads, a.head_dim);
        let kv_head = self.head / (heads / a.num_key_value_heads);
        let row_bytes = dim * a.kv.block_bytes();
        let at = |position: usize| (position * a.num_key_value_heads + kv_head) * row_bytes;
        let q: [&[f32]; R] = std::array::from_fn(|r| &self.q[((first + r) * heads + self.head) * dim..][..dim]);
        let ranges = &self.ranges[first..first + R];
        let seen = ranges[0].start..ranges[R - 1].end.max(ranges[0].start);
        let len = seen.len();

        let mut weights = vec![0f32; R * len];
        for (i, position) in seen.clone().enumerate() {
            let scores = dots::<I, F16, R>(isa, q, &self.k[at(position)..][..row_bytes]);
            (0..R).for_each(|r| weights[r * len + i] = scores[r]);
        }
        let mut stats = [(EMPTY as f32, 0.0); R];
        for r in 0..R {
            let (row, range) = (&mut weights[r * len..][..len], &ranges[r]);
            let (own, later) = row.split_at_mut(range.end.max(seen.start) - seen.start);
            later.fill(0.0);
            let (before, own) = own.split_at_mut((range.start - seen.start).min(own.len()));
            before.fill(0.0);
            stats[r] = softmax(isa, a, own);
        }

        let mut d = 0;
        while d + 16 <= dim {
            self.sum::<I, F16, R, 2>(isa, first, &weights, seen.clone(), at, d);
            d += 16;
        }
        if d + 8 <= dim {
            self.sum::<I, F16, R, 1>(isa, first, &weights, seen.clone(), at, d);
            d += 8;
        }
        for d in d..dim {
            for r in 0..R {
                let value = |position| number::<F16>(&self.v[at(position)..], d);
                let terms = seen.clone().zip(&weights[r * len..][..len]).map(|(position, w)| w * value(position));
                self.sums[first + r][d] = terms.sum();
            }
        }
        stats
    }

    /// 8 · N elements of the weighted values, from element `d` on.
    #[inline(always)]
    fn sum<I: Isa, const F16: bool, const R: usize, const N: usize>(
        &mut self,
        isa: I,
        first: usize,
        weights: &[f32],
        seen: Range<usize>,
        at: impl Fn(usize) -> usize,
        d: usize,
    ) {
        let len = seen.len();
        let size = if F16 { 2 } else { 4 };
        let rows: [&[f32]; R] = std::array::from_fn(|r| &weights[r * len..][..len]);
        let mut sums = [[isa.splat(0.0); N]; R];
        for (i, position) in seen.enumerate() {
            let values = &self.v[at(position) + d * size..][..8 * N * size];
            let mut loaded = [isa.splat(0.0); N];
            for (n, loaded) in loaded.iter_mut().enumerate() {
                *loaded = eight::<I, F16>(isa, values, n);
            }
            for r in 0..R {
                let weight = isa.splat(rows[r][i]);
                for n in 0..N {
                    sums[r][n] = isa.mul_add(weight, loaded[n], sums[r][n]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                self.sums[first + r][d + 8 * n..][..8].copy_from_slice(&isa.numbers(sum));
            }
        }
    }
}

/// Scores to weights, exp(score − largest); the largest score and the sum of weights.
#[inline(always)]
fn softmax<I: Isa>(isa: I, a: &Attention, scores: &mut [f32]) -> (f32, f32) {
    let scale = isa.splat(a.scale);
    for eight in scores.chunks_mut(8) {
        let mut score = isa.mul(isa.floats(isa::padded(eight)), scale);
        if let Some(cap) = a.softcap {
            // cap · tanh(s / cap), by tanh x = 1 − 2 / (e^2x + 1).
            let power = isa.exp(isa.mul(score, isa.splat(2.0 / cap)));
            let rest = isa.div(isa.splat(-2.0 * cap), isa.add(power, isa.splat(1.0)));
            score = isa.add(isa.splat(cap), rest);
        }
        isa::put(eight, isa.numbers(score));
    }
    let (eights, rest) = scores.as_chunks::<8>();
    let mut largest = isa.splat(EMPTY as f32);
    for eight in eights {
        largest = isa.max(largest, isa.floats(*eight));
    }
    let largest = isa.numbers(largest).iter().chain(rest).fold(EMPTY as f32, |largest, &score| largest.max(score));
    for eight in scores.chunks_mut(8) {
        let weights = isa.exp(isa.add(isa.floats(isa::padded(eight)), isa.splat(-largest)));
        isa::put(eight, isa.numbers(weights));
    }
    let (eights, rest) = scores.as_chunks::<8>();
    let mut total = isa.splat(0.0);
    for eight in eights {
        total = isa.add(total, isa.floats(*eight));
    }
    (largest, isa.total(total) + rest.iter().sum::<f32>())
}

/// One key with R queries.
#[inline(always)]
fn dots<I: Isa, const F16: bool, const R: usize>(isa: I, q: [&[f32]; R], key: &[u8]) -> [f32; R] {
    let whole = q[0].len() / 8;
    let mut sums = [isa.splat(0.0); R];
    for i in 0..whole {
        let key = eight::<I, F16>(isa, key, i);
        for r in 0..R {
            sums[r] = isa.mul_add(isa.floats(q[r].as_chunks::<8>().0[i]), key, sums[r]);
        }
    }
    let mut scores = [0.0; R];
    for r in 0..R {
        scores[r] = isa.total(sums[r]);
        for (d, q) in q[r].iter().enumerate().skip(8 * whole) {
            scores[r] += q * number::<F16>(key, d);
        }
    }
    scores
}

/// Elements 8i … 8i + 7.
#[inline(always)]
fn eight<I: Isa, const F16: bool>(isa: I, row: &[u8], i: usize) -> I::Floats {
    if F16 {
        isa.widened::<true>(bytemuck::cast(row.as_chunks::<16>().0[i]))
    } else {
        isa.floats(bytemuck::cast(row.as_chunks::<32>().0[i]))
    }
}

/// Element `d`.
#[inline(always)]
fn number<const F16: bool>(row: &[u8], d: usize) -> f32 {
    if F16 {
        half::f16::from_le_bytes([row[2 * d], row[2 * d + 1]]).to_f32()
    } else {
        f32::from_le_bytes(row.as_chunks::<4>().0[d])
    }
}
