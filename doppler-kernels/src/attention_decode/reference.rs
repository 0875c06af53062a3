//! The definition, from the definitions of the kernels that it stands for.

use super::AttentionDecode;
use crate::{AttentionSplit, Kernel, RmsNorm, Rope, kv_write};

pub fn attention_decode(d: &AttentionDecode, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
    let a = &d.attention;
    let [qkv, vectors, table, start, keys, values, apart @ ..] = inputs else { unreachable!("six or seven inputs") };
    let (q_dim, kv_dim) = (a.num_attention_heads * a.head_dim, a.num_key_value_heads * a.head_dim);
    let all: Vec<f32> = qkv.iter().chain(apart.iter().copied().flatten()).copied().collect();
    let biases = if d.bias { q_dim + 2 * kv_dim } else { 0 };
    let biased: Vec<f32> = all.iter().enumerate().map(|(i, x)| x + if d.bias { vectors[i] } else { 0.0 }).collect();
    let (q, rest) = biased.split_at(q_dim);
    let (k, v) = rest.split_at(kv_dim);
    let prepared = |x: &[f32], num_heads: usize, norm_at: usize| {
        let mut x = x.to_vec();
        if let Some(eps) = d.qk_norm {
            let weight = &vectors[biases + norm_at..][..a.head_dim];
            x = RmsNorm { rows: num_heads, cols: a.head_dim, eps }.reference(&[&x, weight]).remove(0);
        }
        if d.rope {
            let (head_dim, rotary_dim, positions) = (a.head_dim, d.rotary_dim, d.positions);
            let rope = Rope { rows: 1, num_heads, head_dim, rotary_dim, positions };
            x = rope.reference(&[&x, table, start]).remove(0);
        }
        x
    };
    let q = prepared(q, a.num_attention_heads, 0);
    let k = prepared(k, a.num_key_value_heads, a.head_dim);
    let position = start[0] as usize;
    let written = |cache: &[f32], row: &[f32]| {
        let mut cache = cache.to_vec();
        // As the attention will read it.
        cache[position * kv_dim..][..kv_dim].copy_from_slice(&kv_write::stored(a.kv, row));
        cache
    };
    let (keys, values) = (written(keys, &k), written(values, v));
    let split = AttentionSplit { attention: a.clone(), splits: d.splits };
    let partials = split.reference(&[&q, &keys, &values, start]).remove(0);
    vec![keys, values, partials]
}
