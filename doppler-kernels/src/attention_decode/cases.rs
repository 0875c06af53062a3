//! Shapes and values that a decode step's attention is tested and timed at.

use doppler_rdrr::DType;

use super::AttentionDecode;
use crate::Attention;
use crate::cases::{Case, Tolerance, random_f32};

/// query heads, key-value heads, head size, position.
type Shape = (usize, usize, usize, usize);

fn kernel((heads, kv_heads, head_dim, position): Shape, kv: DType, splits: usize) -> AttentionDecode {
    let attention = Attention {
        rows: 1,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim,
        capacity: position + 4,
        scale: 1.0 / (head_dim as f32).sqrt(),
        softcap: None,
        sliding_window: None,
        kv,
    };
    AttentionDecode {
        attention,
        splits,
        rotary_dim: head_dim,
        positions: position + 4,
        rope: true,
        bias: false,
        qk_norm: None,
        values_apart: false,
    }
}

fn case(label: &'static str, d: AttentionDecode, position: usize, seed: u64) -> Case {
    let a = &d.attention;
    let kv_dim = a.num_key_value_heads * a.head_dim;
    let q_dim = a.num_attention_heads * a.head_dim;
    let qk: Vec<f32> = random_f32(q_dim + kv_dim, seed).iter().map(|v| v * 8.0).collect();
    let values = random_f32(kv_dim, seed + 1);
    let cache = |seed| {
        let mut cache: Vec<f32> = random_f32(a.capacity * kv_dim, seed).iter().map(|v| v * 3.0).collect();
        // Rows from the new position on hold garbage.
        cache[position * kv_dim..].fill(6e4);
        cache
    };
    let (k, v) = (cache(seed + 2), cache(seed + 3));
    let tolerance = match a.kv {
        // A new key between two f16 may go either way.
        DType::F16 => Tolerance { atol: 2e-3, rtol: 3e-3, nmse: 1e-5 },
        // Between two int8 as well, which are farther apart.
        DType::C8 => Tolerance { atol: 3e-2, rtol: 5e-2, nmse: 1e-3 },
        _ => Tolerance { atol: 1e-4, rtol: 3e-4, nmse: 1e-8 },
    };
    let angles = random_f32(d.positions * d.rotary_dim / 2, seed + 4);
    let table: Vec<f32> = angles.iter().flat_map(|x| [(x * 3.0).cos(), (x * 3.0).sin()]).collect();
    let vectors: Vec<f32> = random_f32(d.vectors_len(), seed + 5).iter().map(|v| 0.5 + v).collect();
    let apart = d.values_apart;
    let new: Vec<f32> = if apart { qk } else { [qk, values.clone()].concat() };
    let (kv, head_dim) = (a.kv, a.head_dim);
    let mut case = Case::new(label, Box::new(d), tolerance)
        .input_f32(&new)
        .input_f32(&vectors)
        .input_f32(&table)
        .input_u32(&[position as u32]);
    for cache in [k, v] {
        case = case.input_cache(kv, &cache, head_dim);
    }
    if apart { case.input_f32(&values) } else { case }
}

/// Head sizes and groupings of real models, the first position, uneven and empty pieces, and everything that families add.
pub fn edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kv in [DType::F32, DType::F16, DType::C8] {
        let shapes = [
            ((9, 3, 64, 0), 1),
            ((9, 3, 64, 130), 4),
            ((2, 2, 8, 5), 9),
            ((32, 8, 128, 70), 2),
            ((4, 1, 256, 33), 3),
            ((14, 2, 64, 20), 1),
            ((3, 1, 80, 64), 2),
            ((16, 1, 128, 9), 1),
        ];
        let fits = |((_, _, head_dim, _), _): &(Shape, usize)| kv != DType::C8 || head_dim.is_multiple_of(32);
        let edge = |(shape, splits): (Shape, usize)| case("edge", kernel(shape, kv, splits), shape.3, 1);
        cases.extend(shapes.into_iter().filter(fits).map(edge));
        let base = || kernel((4, 2, 32, 40), kv, 3);
        cases.push(case("bias", AttentionDecode { bias: true, ..base() }, 40, 2));
        cases.push(case("norm of heads", AttentionDecode { qk_norm: Some(1e-6), ..base() }, 40, 3));
        let both = AttentionDecode { bias: true, qk_norm: Some(1e-6), values_apart: true, ..base() };
        cases.push(case("both, values apart", both, 40, 4));
        cases.push(case("no rotation", AttentionDecode { rope: false, ..base() }, 40, 5));
        cases.push(case("partial rotation", AttentionDecode { rotary_dim: 12, ..base() }, 40, 6));
        let attention = Attention { sliding_window: Some(7), softcap: Some(5.0), ..base().attention };
        cases.push(case("window and cap", AttentionDecode { attention, ..base() }, 40, 7));
    }
    cases
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    let unpacked =
        (1usize..24, proptest::sample::select(&[DType::F32, DType::F16])).prop_map(|(quads, kv)| (4 * quads, kv));
    let blocks = (1usize..5).prop_map(|blocks| (32 * blocks, DType::C8));
    let shape = (1usize..4, 1usize..5, prop_oneof![2 => unpacked, 1 => blocks], 0usize..90)
        .prop_map(|(kv_heads, group, (head_dim, kv), position)| ((kv_heads * group, kv_heads, head_dim, position), kv));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let window = proptest::option::of(1usize..60);
    (shape, 1usize..7, flags, window, any::<u32>())
        .prop_map(|((shape, kv), splits, (bias, norm, apart, rope), sliding_window, seed)| {
            let d = kernel(shape, kv, splits);
            let attention = Attention { sliding_window, ..d.attention };
            let qk_norm = norm.then_some(1e-6);
            let d = AttentionDecode { attention, bias, qk_norm, values_apart: apart, rope, ..d };
            case("random", d, shape.3, u64::from(seed))
        })
        .boxed()
}
