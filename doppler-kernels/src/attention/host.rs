//! Attention on the CPU: a few rows of one head at a time, scores first, then the values, eight elements at a time.

use std::ops::{Range, RangeFrom};

use doppler_rdrr::DType;
use rayon::prelude::*;

use super::{Attention, AttentionSplit, reference::EMPTY};
use crate::isa::{self, Isa, WithIsa};

/// Rows that share each key and value that is loaded.
const ROWS: usize = 4;
/// Products below which threads cost more than they save.
const SERIAL: usize = 1 << 16;

/// Bytes of the scores on each thread, and of the list of tasks.
pub fn scratch_bytes(a: &Attention, threads: usize) -> usize {
    let list = size_of::<(usize, usize, Vec<&[f32]>)>() + ROWS * size_of::<&[f32]>();
    // A list may grow to twice its length.
    threads * 4 * ROWS * a.capacity + 2 * a.rows.div_ceil(ROWS) * a.num_attention_heads * list
}

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
        let kv = self.a.kv;
        if self.ranges.len() == ROWS {
            return match kv {
                DType::F16 => self.rows::<I, F16, ROWS>(isa, 0).to_vec(),
                DType::C8 => self.rows::<I, C8, ROWS>(isa, 0).to_vec(),
                _ => self.rows::<I, F32, ROWS>(isa, 0).to_vec(),
            };
        }
        let mut stats = Vec::with_capacity(ROWS);
        for r in 0..self.ranges.len() {
            let [of_row] = match kv {
                DType::F16 => self.rows::<I, F16, 1>(isa, r),
                DType::C8 => self.rows::<I, C8, 1>(isa, r),
                _ => self.rows::<I, F32, 1>(isa, r),
            };
            stats.push(of_row);
        }
        stats
    }
}

impl Attend<'_, '_> {
    #[inline(always)]
    fn rows<I: Isa, F: Cached, const R: usize>(&mut self, isa: I, first: usize) -> [(f32, f32); R] {
        let a = self.a;
        let (heads, dim) = (a.num_attention_heads, a.head_dim);
        let kv_head = self.head / (heads / a.num_key_value_heads);
        let row_bytes = a.kv.row_bytes(dim).expect("heads are whole blocks: a cache of others is not made");
        // Of the keys or the values.
        let row = |position: usize| (position * a.num_key_value_heads + kv_head) * row_bytes..;
        let q: [&[f32]; R] = std::array::from_fn(|r| &self.q[((first + r) * heads + self.head) * dim..][..dim]);
        let ranges = &self.ranges[first..first + R];
        let seen = ranges[0].start..ranges[R - 1].end.max(ranges[0].start);
        let len = seen.len();

        let mut weights = vec![0f32; R * len];
        for (i, position) in seen.clone().enumerate() {
            let scores = dots::<I, F, R>(isa, q, &self.k[row(position)][..row_bytes]);
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
            self.sum::<I, F, R, 2>(isa, first, &weights, seen.clone(), row, d);
            d += 16;
        }
        if d + 8 <= dim {
            self.sum::<I, F, R, 1>(isa, first, &weights, seen.clone(), row, d);
            d += 8;
        }
        for d in d..dim {
            for r in 0..R {
                let value = |position| F::number(&self.v[row(position)], dim, d);
                let terms = seen.clone().zip(&weights[r * len..][..len]).map(|(position, w)| w * value(position));
                self.sums[first + r][d] = terms.sum();
            }
        }
        stats
    }

    /// 8 · N elements of the weighted values, from element `d` on.
    #[inline(always)]
    fn sum<I: Isa, F: Cached, const R: usize, const N: usize>(
        &mut self,
        isa: I,
        first: usize,
        weights: &[f32],
        seen: Range<usize>,
        row: impl Fn(usize) -> RangeFrom<usize>,
        d: usize,
    ) {
        let len = seen.len();
        let rows: [&[f32]; R] = std::array::from_fn(|r| &weights[r * len..][..len]);
        let mut sums = [[isa.splat(0.0); N]; R];
        for (i, position) in seen.enumerate() {
            let values = &self.v[row(position)];
            let loaded = F::eights::<I, N>(isa, values, self.a.head_dim, d / 8);
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
fn dots<I: Isa, F: Cached, const R: usize>(isa: I, q: [&[f32]; R], key: &[u8]) -> [f32; R] {
    let dim = q[0].len();
    let whole = dim / 8;
    let mut sums = [isa.splat(0.0); R];
    for i in 0..whole {
        let [key] = F::eights::<I, 1>(isa, key, dim, i);
        for r in 0..R {
            sums[r] = isa.mul_add(isa.floats(q[r].as_chunks::<8>().0[i]), key, sums[r]);
        }
    }
    let mut scores = [0.0; R];
    for r in 0..R {
        scores[r] = isa.total(sums[r]);
        for (d, q) in q[r].iter().enumerate().skip(8 * whole) {
            scores[r] += q * F::number(key, dim, d);
        }
    }
    scores
}

/// How a head of `dim` elements lies in the cache; `head` begins with it.
trait Cached {
    /// N eights of elements from the eight `first` on.
    fn eights<I: Isa, const N: usize>(isa: I, head: &[u8], dim: usize, first: usize) -> [I::Floats; N];

    /// Element `d`.
    fn number(head: &[u8], dim: usize, d: usize) -> f32;
}

struct F32;
struct F16;
struct C8;

impl Cached for F32 {
    #[inline(always)]
    fn eights<I: Isa, const N: usize>(isa: I, head: &[u8], _: usize, first: usize) -> [I::Floats; N] {
        let eights = &head.as_chunks::<32>().0[first..][..N];
        let mut floats = [isa.splat(0.0); N];
        for n in 0..N {
            floats[n] = isa.floats(bytemuck::cast(eights[n]));
        }
        floats
    }

    #[inline(always)]
    fn number(head: &[u8], _: usize, d: usize) -> f32 {
        f32::from_le_bytes(head.as_chunks::<4>().0[d])
    }
}

impl Cached for F16 {
    #[inline(always)]
    fn eights<I: Isa, const N: usize>(isa: I, head: &[u8], _: usize, first: usize) -> [I::Floats; N] {
        let eights = &head.as_chunks::<16>().0[first..][..N];
        let mut floats = [isa.splat(0.0); N];
        for n in 0..N {
            floats[n] = isa.widened::<true>(bytemuck::cast(eights[n]));
        }
        floats
    }

    #[inline(always)]
    fn number(head: &[u8], _: usize, d: usize) -> f32 {
        half::f16::from_le_bytes(head.as_chunks::<2>().0[d]).to_f32()
    }
}

impl C8 {
    #[inline(always)]
    fn scale(head: &[u8], dim: usize, block: usize) -> f32 {
        f32::from_le_bytes(head[dim..].as_chunks::<4>().0[block])
    }
}

impl Cached for C8 {
    #[inline(always)]
    fn eights<I: Isa, const N: usize>(isa: I, head: &[u8], dim: usize, first: usize) -> [I::Floats; N] {
        let eights = &head.as_chunks::<8>().0[first..][..N];
        let mut floats = [isa.splat(0.0); N];
        for n in 0..N {
            let mut numbers = [0.0; 8];
            for (number, quant) in numbers.iter_mut().zip(eights[n]) {
                *number = f32::from(quant as i8);
            }
            floats[n] = isa.mul(isa.floats(numbers), isa.splat(C8::scale(head, dim, (first + n) / 4)));
        }
        floats
    }

    #[inline(always)]
    fn number(head: &[u8], dim: usize, d: usize) -> f32 {
        C8::scale(head, dim, d / 32) * f32::from(head[d] as i8)
    }
}
