//! The definition of attention, in f64: no tiles, no online softmax.

use std::ops::Range;

use super::{Attention, AttentionSplit};

/// The largest score of a piece without positions.
pub const EMPTY: f64 = -1e30;

/// Scores of one query against a range of positions.
fn scores(a: &Attention, q: &[f32], k: &[f32], kv_head: usize, range: Range<usize>) -> Vec<f64> {
    let row = |position: usize| &k[(position * a.num_key_value_heads + kv_head) * a.head_dim..][..a.head_dim];
    let score = |position| {
        let dot: f64 = q.iter().zip(row(position)).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
        let score = dot * f64::from(a.scale);
        a.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
    };
    range.map(score).collect()
}

/// Largest score, sum of weights, and weighted sum of values of one query over a range of positions.
fn attend(a: &Attention, q: &[f32], k: &[f32], v: &[f32], kv_head: usize, range: Range<usize>) -> (f64, f64, Vec<f64>) {
    let scores = scores(a, q, k, kv_head, range.clone());
    let largest = scores.iter().copied().fold(EMPTY, f64::max);
    let (mut total, mut sums) = (0.0, vec![0.0; a.head_dim]);
    for (position, score) in range.zip(scores) {
        let weight = (score - largest).exp();
        total += weight;
        let row = &v[(position * a.num_key_value_heads + kv_head) * a.head_dim..][..a.head_dim];
        sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += weight * f64::from(*v));
    }
    (largest, total, sums)
}

pub fn attention(a: &Attention, inputs: &[&[f32]]) -> Vec<f32> {
    let [q, k, v, start] = inputs else { unreachable!("attention reads four operands") };
    let group = a.num_attention_heads / a.num_key_value_heads;
    let mut y = Vec::with_capacity(q.len());
    for (i, q) in q.chunks_exact(a.head_dim).enumerate() {
        let (row, head) = (i / a.num_attention_heads, i % a.num_attention_heads);
        let (_, total, sums) = attend(a, q, k, v, head / group, a.seen(start[0] as usize + row));
        y.extend(sums.iter().map(|sum| (sum / total) as f32));
    }
    y
}

pub fn split(s: &AttentionSplit, inputs: &[&[f32]]) -> Vec<f32> {
    let a = &s.attention;
    let [q, k, v, start] = inputs else { unreachable!("attention reads four operands") };
    let group = a.num_attention_heads / a.num_key_value_heads;
    let mut partials = Vec::new();
    for (i, q) in q.chunks_exact(a.head_dim).enumerate() {
        let (row, head) = (i / a.num_attention_heads, i % a.num_attention_heads);
        for piece in 0..s.splits {
            let range = s.piece(start[0] as usize + row, piece);
            let (largest, total, sums) = attend(a, q, k, v, head / group, range);
            partials.extend([largest as f32, total as f32]);
            partials.extend(sums.iter().map(|sum| *sum as f32));
        }
    }
    partials
}

impl AttentionSplit {
    /// The positions of a piece of what a row sees.
    pub(super) fn piece(&self, position: usize, piece: usize) -> Range<usize> {
        let seen = self.attention.seen(position);
        let length = seen.len().div_ceil(self.splits);
        let begin = (seen.start + piece * length).min(seen.end);
        begin..(begin + length).min(seen.end)
    }
}

#[cfg(test)]
mod tests {
    use doppler_rdrr::DType;

    use super::*;
    use crate::Kernel;

    const A: Attention = Attention {
        rows: 1,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 2,
        capacity: 3,
        scale: 1.0,
        softcap: None,
        sliding_window: None,
        kv: DType::F32,
    };

    #[test]
    fn by_hand() {
        // Head 0 scores both positions 0, head 1 scores ln 3 and 0; the third position is not seen.
        let q = [0.0, 0.0, 3f32.ln(), 0.0];
        let (k, v) = ([1.0, 0.0, 0.0, 1.0, 9.0, 9.0], [4.0, 8.0, 0.0, 16.0, 99.0, 99.0]);
        let y = attention(&A, &[&q, &k, &v, &[1.0]]);
        for (actual, expected) in y.iter().zip([2.0, 12.0, 3.0, 10.0]) {
            assert!((actual - expected).abs() < 1e-6);
        }
        let windowed = Attention { sliding_window: Some(1), ..A };
        assert_eq!(attention(&windowed, &[&q, &k, &v, &[1.0]]), [0.0, 16.0, 0.0, 16.0]);
    }

    #[test]
    fn work_by_hand() {
        let a = Attention { rows: 3, ..A };
        // Two heads of two elements, with keys and with values.
        assert_eq!(a.multiply_adds(10), 3 * 2 * 2 * 10 * 2);
        let windowed = Attention { sliding_window: Some(4), ..a };
        assert_eq!(windowed.multiply_adds(10), 3 * 2 * 2 * 7 * 2);
        assert_eq!(windowed.multiply_adds(5), 3 * 2 * 2 * 5 * 2);
    }
}
