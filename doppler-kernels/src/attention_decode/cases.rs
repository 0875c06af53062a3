//! Shapes and values that a decode step's attention is tested and timed at.

use doppler_rdrr::DType;

use super::{AttentionAppend, AttentionDecode, AttentionHeads, AttentionWhole};
use crate::cases::{Case, Tolerance, random_f32};
use crate::{Attention, Kernel};

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

/// Which of the kernels of new positions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    Attention,
    /// What comes before that of several rows.
    Append,
    /// What comes before a prompt's, from so many parts, and of values that are apart so many.
    Heads(usize, usize),
    /// The attention that ends in whole heads.
    Whole,
}

impl Of {
    fn takes(self, d: &AttentionDecode) -> bool {
        self != Of::Whole || AttentionWhole(d.clone()).fits()
    }
}

/// `rows` rows from `position` on.
fn case_of(label: &'static str, d: AttentionDecode, (position, rows): (usize, usize), of: Of, seed: u64) -> Case {
    let attention = Attention { rows, capacity: d.attention.capacity + rows, ..d.attention.clone() };
    let d = AttentionDecode { attention, positions: d.positions + rows, ..d };
    let a = &d.attention;
    let kv_dim = a.num_key_value_heads * a.head_dim;
    let q_dim = a.num_attention_heads * a.head_dim;
    let qk: Vec<f32> = random_f32(rows * (q_dim + kv_dim), seed).iter().map(|v| v * 8.0).collect();
    let values = random_f32(rows * kv_dim, seed + 1);
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
    let row = |x: &[f32], i: usize| x[i * x.len() / rows..][..x.len() / rows].to_vec();
    let together = || (0..rows).flat_map(|i| [row(&qk, i), row(&values, i)].concat()).collect();
    let new: Vec<f32> = if apart { qk.clone() } else { together() };
    let start = [position as f32];
    let appended = AttentionAppend(d.clone());
    let mut caches = vec![k, v];
    if rows > 1 && of == Of::Attention {
        // It finds them all in the cache.
        let mut inputs: Vec<&[f32]> = vec![&new, &vectors, &table, &start, &caches[0], &caches[1]];
        inputs.extend(apart.then_some(&values[..]));
        caches = appended.reference(&inputs);
    }
    let (kv, head_dim) = (a.kv, a.head_dim);
    let (parts, value_parts) = if let Of::Heads(parts, value_parts) = of { (parts, value_parts) } else { (1, 1) };
    let kernel: Box<dyn Kernel> = match of {
        Of::Attention => Box::new(d),
        Of::Append => Box::new(appended),
        Of::Whole => Box::new(AttentionWhole(d)),
        Of::Heads(..) => Box::new(AttentionHeads { of: d, parts, value_parts }),
    };
    let with_parts = |x: &[f32], parts: usize| {
        let more = random_f32((parts - 1) * x.len(), seed + 6);
        x.iter().copied().chain(more.iter().map(|v| v * 8.0)).collect::<Vec<f32>>()
    };
    let mut case = Case::new(label, kernel, tolerance)
        .input_f32(&with_parts(&new, parts))
        .input_f32(&vectors)
        .input_f32(&table)
        .input_u32(&[position as u32]);
    for cache in caches {
        case = case.input_cache(kv, &cache, head_dim);
    }
    if of == Of::Whole {
        case = case.input_u32(&vec![0; rows * kv_dim / head_dim]);
    }
    if apart { case.input_f32(&with_parts(&values, value_parts)) } else { case }
}

/// Head sizes and groupings of real models, the first position, uneven and empty pieces, and everything that families add.
fn all(rows: usize, of: Of) -> Vec<Case> {
    let mut cases = Vec::new();
    let case = |label, d, position, seed| case_of(label, d, (position, rows), of, seed);
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
        let fits = |(shape, splits): &(Shape, usize)| {
            (kv != DType::C8 || shape.2.is_multiple_of(32)) && of.takes(&kernel(*shape, kv, *splits))
        };
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

/// All shapes with one row, and with several.
pub fn edge_cases() -> Vec<Case> {
    [1, 5].into_iter().flat_map(|rows| all(rows, Of::Attention)).collect()
}

/// What differs from the attention that ends in pieces: groups and heads that fill a workgroup and do not, more positions and
/// pieces than it takes at a time, empty pieces, several new rows wherever they may lie, and everything else at once.
pub fn whole_edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kv in [DType::F16, DType::C8] {
        let case = |label, shape: Shape, splits, rows| {
            case_of(label, kernel(shape, kv, splits), (shape.3, rows), Of::Whole, 8)
        };
        cases.push(case("first position", (4, 2, 64, 0), 1, 1));
        cases.push(case("pieces", (9, 3, 64, 130), 4, 1));
        cases.push(case("one piece", (9, 3, 64, 300), 1, 1));
        cases.push(case("empty pieces", (14, 2, 64, 5), 9, 1));
        cases.push(case("deep", (2, 2, 128, 540), 41, 1));
        cases.push(case("rows", (9, 3, 64, 130), 3, 5));
        cases.push(case("rows from the first position on", (4, 2, 64, 0), 1, 8));
        cases.push(case("rows across a step of one piece", (4, 2, 64, 60), 1, 8));
        cases.push(case("rows across pieces, and empty ones", (14, 2, 64, 5), 9, 8));
        cases.push(case("rows of large heads", (2, 1, 128, 33), 2, 8));
    }
    let f16 = |shape: Shape, splits| kernel(shape, DType::F16, splits);
    let case = |label, d: AttentionDecode, position, rows| case_of(label, d, (position, rows), Of::Whole, 9);
    cases.push(case("large heads", f16((4, 1, 256, 33), 3), 33, 1));
    cases.push(case("pieces", f16((32, 8, 128, 70), 2), 70, 1));
    cases.push(case("a group of more than a workgroup", f16((12, 1, 96, 9), 2), 9, 1));
    cases.push(case("partial rotation", AttentionDecode { rotary_dim: 12, ..f16((4, 2, 32, 40), 3) }, 40, 1));
    let base = || f16((4, 2, 32, 40), 2);
    let attention = Attention { sliding_window: Some(7), softcap: Some(5.0), ..base().attention };
    cases.push(case("window and cap", AttentionDecode { attention, rope: false, ..base() }, 40, 1));
    let all = AttentionDecode { bias: true, qk_norm: Some(1e-6), values_apart: true, ..base() };
    cases.push(case("bias, norm of heads, values apart", all.clone(), 40, 3));
    let attention = Attention { kv: DType::C8, sliding_window: Some(11), ..base().attention };
    cases.push(case("one piece of everything", AttentionDecode { attention, splits: 1, ..all.clone() }, 29, 8));
    for (label, window, capacity) in
        [("a window of fewer than the rows", 3, 44), ("rows up to the last position", 50, 40)]
    {
        let attention = Attention { sliding_window: Some(window), capacity, ..base().attention };
        cases.push(case(label, AttentionDecode { attention, rotary_dim: 16, ..all.clone() }, 40, 6));
    }
    cases.push(case("rows without rotation", AttentionDecode { rope: false, ..base() }, 40, 4));
    cases.push(case("rows of partial rotation", AttentionDecode { rotary_dim: 12, ..base() }, 40, 4));
    let f32 = AttentionDecode { qk_norm: Some(1e-6), ..kernel((4, 2, 64, 40), DType::F32, 2) };
    cases.push(case("rows of f32", f32, 40, 4));
    cases
}

/// All shapes with several rows.
pub fn append_edge_cases() -> Vec<Case> {
    [2, 8].into_iter().flat_map(|rows| all(rows, Of::Append)).collect()
}

/// All shapes of several rows and of one, in one part and in several.
pub fn heads_edge_cases() -> Vec<Case> {
    let sizes = [(11, 1, 1), (3, 2, 3), (1, 3, 1)];
    sizes.into_iter().flat_map(|(rows, parts, value_parts)| all(rows, Of::Heads(parts, value_parts))).collect()
}

#[cfg(feature = "testing")]
fn random(of: Of) -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    // Those in one piece have heads of whole blocks.
    let step = if of == Of::Whole { 32 } else { 4 };
    let unpacked = (1usize..24, proptest::sample::select(&[DType::F32, DType::F16]))
        .prop_map(move |(quads, kv)| ((4 * quads).next_multiple_of(step), kv));
    let blocks = (1usize..5).prop_map(|blocks| (32 * blocks, DType::C8));
    let shape = (1usize..4, 1usize..5, prop_oneof![2 => unpacked, 1 => blocks], 0usize..90)
        .prop_map(|(kv_heads, group, (head_dim, kv), position)| ((kv_heads * group, kv_heads, head_dim, position), kv));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let window = proptest::option::of(1usize..60);
    (shape, 1usize..7, flags, window, 1usize..9, any::<u32>())
        .prop_map(move |((shape, kv), splits, (bias, norm, apart, rope), sliding_window, rows, seed)| {
            let (heads, kv_heads, head_dim, position) = shape;
            let odd = of == Of::Whole && heads * head_dim % 64 != 0;
            let shape = (heads << u32::from(odd), kv_heads, head_dim, position);
            let d = kernel(shape, kv, splits);
            let attention = Attention { sliding_window, ..d.attention };
            let qk_norm = norm.then_some(1e-6);
            let d = AttentionDecode { attention, bias, qk_norm, values_apart: apart, rope, ..d };
            case_of("random", d, (shape.3, rows), of, u64::from(seed))
        })
        .boxed()
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    random(Of::Attention)
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn whole_strategy() -> proptest::strategy::BoxedStrategy<Case> {
    random(Of::Whole)
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn append_strategy() -> proptest::strategy::BoxedStrategy<Case> {
    random(Of::Append)
}

/// Random shapes, parts and values.
#[cfg(feature = "testing")]
pub fn heads_strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..4, 1usize..4).prop_flat_map(|(parts, value_parts)| random(Of::Heads(parts, value_parts))).boxed()
}
