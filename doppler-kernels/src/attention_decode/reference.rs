//! The definition, from the definitions of the kernels that it stands for.

use super::{AttentionDecode, AttentionHeads};
use crate::join_half::sum_of_parts;
use crate::{AttentionSplit, Kernel, RmsNorm, Rope, kv_write};

/// The queries, keys and values of all rows, ready to be attended with.
struct Prepared {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

fn prepare(d: &AttentionDecode, inputs: &[&[f32]]) -> Prepared {
    let a = &d.attention;
    let [qkv, vectors, table, start, _, _, apart @ ..] = inputs else { unreachable!("six or seven inputs") };
    let (q_dim, kv_dim) = (a.num_attention_heads * a.head_dim, a.num_key_value_heads * a.head_dim);
    let biases = if d.bias { q_dim + 2 * kv_dim } else { 0 };
    let mut prepared = Prepared { q: Vec::new(), k: Vec::new(), v: Vec::new() };
    for row in 0..a.rows {
        let of = |x: &[f32]| x[row * x.len() / a.rows..][..x.len() / a.rows].to_vec();
        let all = [of(qkv), apart.iter().flat_map(|values| of(values)).collect()].concat();
        let biased: Vec<f32> = all.iter().enumerate().map(|(i, x)| x + if d.bias { vectors[i] } else { 0.0 }).collect();
        let (q, rest) = biased.split_at(q_dim);
        let (k, v) = rest.split_at(kv_dim);
        let turned = |x: &[f32], num_heads: usize, norm_at: usize| {
            let mut x = x.to_vec();
            if let Some(eps) = d.qk_norm {
                let weight = &vectors[biases + norm_at..][..a.head_dim];
                x = RmsNorm { rows: num_heads, cols: a.head_dim, eps }.reference(&[&x, weight]).remove(0);
            }
            if d.rope {
                let (head_dim, rotary_dim, positions) = (a.head_dim, d.rotary_dim, d.positions);
                let rope = Rope { rows: 1, num_heads, head_dim, rotary_dim, positions };
                x = rope.reference(&[&x, table, &[start[0] + row as f32]]).remove(0);
            }
            x
        };
        prepared.q.extend(turned(q, a.num_attention_heads, 0));
        prepared.k.extend(turned(k, a.num_key_value_heads, a.head_dim));
        prepared.v.extend(v);
    }
    prepared
}

/// The caches with the rows' keys and values.
fn written(d: &AttentionDecode, inputs: &[&[f32]], prepared: &Prepared) -> [Vec<f32>; 2] {
    let a = &d.attention;
    let at = inputs[3][0] as usize * a.num_key_value_heads * a.head_dim;
    [(inputs[4], &prepared.k), (inputs[5], &prepared.v)].map(|(cache, rows)| {
        let mut cache = cache.to_vec();
        let rows = kv_write::stored(a.kv, rows);
        // As the attention will read it.
        cache[at..][..rows.len()].copy_from_slice(&rows);
        cache
    })
}

pub fn append(d: &AttentionDecode, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
    written(d, inputs, &prepare(d, inputs)).into()
}

/// `appends`: whether the rows' keys and values are written; otherwise the cache has them.
pub fn attention_decode(d: &AttentionDecode, inputs: &[&[f32]], appends: bool) -> Vec<Vec<f32>> {
    let prepared = prepare(d, inputs);
    let [keys, values] =
        if appends { written(d, inputs, &prepared) } else { [inputs[4], inputs[5]].map(|cache| cache.to_vec()) };
    let split = AttentionSplit { attention: d.attention.clone(), splits: d.splits };
    let partials = split.reference(&[&prepared.q, &keys, &values, inputs[3]]).remove(0);
    vec![keys, values, partials]
}

pub fn heads(h: &AttentionHeads, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
    let sums = [sum_of_parts(inputs[0], h.parts), inputs.get(6).map_or(Vec::new(), |v| sum_of_parts(v, h.value_parts))];
    let mut inputs = inputs.to_vec();
    inputs[0] = &sums[0];
    inputs.get_mut(6).into_iter().for_each(|values| *values = &sums[1]);
    let prepared = prepare(&h.of, &inputs);
    let [keys, values] = written(&h.of, &inputs, &prepared);
    vec![keys, values, prepared.q]
}
