//! Shapes and values that attention is tested and timed at.

use doppler_rdrr::DType;

use super::{Attention, AttentionReduce, AttentionSplit};
use crate::cases::{Case, Tolerance, random_f32};
use crate::{AttentionHalf, Kernel};

const TOLERANCE: Tolerance = Tolerance { atol: 5e-5, rtol: 2e-4, nmse: 1e-8 };

/// rows, query heads, key-value heads, head size, first position.
type Shape = (usize, usize, usize, usize, usize);

fn attention(
    (rows, heads, kv_heads, head_dim, start): Shape,
    kv: DType,
    window: Option<usize>,
    softcap: Option<f32>,
) -> Attention {
    Attention {
        rows,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim,
        // Rows of the cache beyond the last position hold garbage.
        capacity: start + rows + 5,
        scale: 1.0 / (head_dim as f32).sqrt(),
        softcap,
        sliding_window: window,
        kv,
    }
}

fn with_inputs(label: &'static str, a: &Attention, kernel: Box<dyn Kernel>, start: usize, seed: u64) -> Case {
    let queries = a.rows * a.num_attention_heads * a.head_dim;
    // Scores spread over tens, as those of trained heads do: uniform noise would hide a wrong maximum.
    let q: Vec<f32> = random_f32(queries, seed).iter().map(|v| v * 30.0).collect();
    let cached = a.capacity * a.num_key_value_heads * a.head_dim;
    let used = (start + a.rows) * a.num_key_value_heads * a.head_dim;
    let cache = |seed| {
        let mut values: Vec<f32> = random_f32(cached, seed).iter().map(|v| v * 3.0).collect();
        values[used..].fill(6e4);
        values
    };
    Case::new(label, kernel, TOLERANCE)
        .input_f32(&q)
        .input_cache(a.kv, &cache(seed + 1), a.head_dim)
        .input_cache(a.kv, &cache(seed + 2), a.head_dim)
        .input_u32(&[start as u32])
}

fn case(label: &'static str, shape: Shape, kv: DType, window: Option<usize>, softcap: Option<f32>, seed: u64) -> Case {
    let a = attention(shape, kv, window, softcap);
    with_inputs(label, &a, Box::new(a.clone()), shape.4, seed)
}

/// Caches that take heads of any size.
const UNPACKED: [DType; 2] = [DType::F32, DType::F16];

/// All head sizes and groupings, around the tiles, windows smaller than a tile, caps, far positions.
pub fn edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes = [
        (1, 1, 1, 2, 0),
        (1, 9, 3, 64, 0),
        (1, 9, 3, 64, 130),
        (5, 3, 1, 10, 0),
        (16, 2, 2, 64, 0),
        (17, 2, 1, 32, 31),
        (33, 8, 1, 64, 3),
        (9, 2, 1, 80, 64),
        (3, 4, 2, 96, 11),
        (9, 1, 1, 128, 7),
        (5, 2, 1, 256, 9),
        (2, 1, 1, 320, 4),
        (70, 1, 1, 16, 0),
    ];
    for kv in UNPACKED {
        cases.extend(shapes.map(|shape| case("edge", shape, kv, None, None, 1)));
        cases.push(case("window", (40, 2, 1, 32, 50), kv, Some(7), None, 2));
        cases.push(case("window", (1, 2, 1, 32, 200), kv, Some(64), None, 3));
        cases.push(case("window of one", (4, 2, 2, 8, 3), kv, Some(1), None, 4));
        cases.push(case("window beyond the start", (20, 2, 2, 8, 3), kv, Some(100), None, 5));
        cases.push(case("soft cap", (18, 2, 1, 64, 20), kv, None, Some(5.0), 6));
    }
    let shapes = shapes.into_iter().filter(|(_, _, _, head_dim, _)| head_dim.is_multiple_of(32));
    cases.extend(shapes.map(|shape| case("blocks", shape, DType::C8, None, None, 1)));
    cases.push(case("blocks, window", (40, 2, 1, 32, 50), DType::C8, Some(7), None, 2));
    cases.push(case("blocks, window", (1, 2, 1, 96, 200), DType::C8, Some(64), None, 3));
    cases.push(case("blocks, soft cap", (18, 2, 1, 64, 20), DType::C8, None, Some(5.0), 6));
    cases
}

fn split_case(label: &'static str, shape: Shape, kv: DType, window: Option<usize>, splits: usize, seed: u64) -> Case {
    let a = attention(shape, kv, window, None);
    with_inputs(label, &a, Box::new(AttentionSplit { attention: a.clone(), splits }), shape.4, seed)
}

/// More pieces than positions, one piece, uneven pieces, windows.
pub fn split_edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kv in UNPACKED {
        cases.push(split_case("more pieces than positions", (1, 2, 1, 8, 2), kv, None, 7, 1));
        cases.push(split_case("one piece", (1, 3, 1, 64, 90), kv, None, 1, 2));
        cases.push(split_case("uneven", (1, 9, 3, 64, 129), kv, None, 4, 3));
        cases.push(split_case("window", (1, 2, 2, 128, 300), kv, Some(100), 3, 4));
        cases.push(split_case("rows", (3, 2, 1, 256, 20), kv, None, 2, 5));
        cases.push(split_case("first position", (1, 2, 1, 10, 0), kv, None, 2, 6));
    }
    cases.push(split_case("blocks, more pieces than positions", (1, 2, 1, 32, 2), DType::C8, None, 7, 1));
    cases.push(split_case("blocks, uneven", (1, 9, 3, 64, 129), DType::C8, None, 4, 3));
    cases.push(split_case("blocks, window", (1, 2, 2, 128, 300), DType::C8, Some(100), 3, 4));
    cases.push(split_case("blocks, rows", (3, 2, 1, 256, 20), DType::C8, None, 2, 5));
    cases
}

fn reduce_case(
    label: &'static str,
    rows: usize,
    heads: usize,
    head_dim: usize,
    splits: usize,
    y: DType,
    seed: u64,
) -> Case {
    let pitch = head_dim + 2;
    let mut partials = random_f32(rows * heads * splits * pitch, seed);
    for (i, piece) in partials.chunks_exact_mut(pitch).enumerate() {
        piece[0] *= 30.0;
        piece[1] = 1.0 + piece[1].abs();
        // Every third piece but the first is empty.
        if i % splits % 3 == 2 {
            piece.fill(0.0);
            piece[0] = -1e30;
        }
    }
    let kernel = AttentionReduce { rows, num_attention_heads: heads, head_dim, splits, y };
    Case::new(label, Box::new(kernel), TOLERANCE).input_f32(&partials)
}

/// One piece, many, empty ones.
pub fn reduce_edge_cases() -> Vec<Case> {
    let shapes =
        [(1, 1, 2, 1), (1, 9, 64, 8), (2, 3, 10, 5), (1, 2, 256, 32), (1, 1, 320, 3), (2, 3, 10, 65), (1, 2, 64, 256)];
    let plain =
        shapes.iter().map(|&(rows, heads, dim, splits)| reduce_case("edge", rows, heads, dim, splits, DType::F32, 1));
    let shapes = [(1, 9, 64, 8), (3, 4, 32, 3), (1, 2, 256, 1), (2, 2, 96, 37), (3, 2, 32, 65), (1, 9, 64, 256)];
    let a8 =
        shapes.iter().map(|&(rows, heads, dim, splits)| reduce_case("int8", rows, heads, dim, splits, DType::A8, 2));
    plain.chain(a8).collect()
}

fn half_case(
    label: &'static str,
    shape: Shape,
    kv: DType,
    window: Option<usize>,
    softcap: Option<f32>,
    seed: u64,
) -> Case {
    let a = attention(shape, kv, window, softcap);
    let mut case = with_inputs(label, &a, Box::new(AttentionHalf(a.clone())), shape.4, seed);
    // A query in f16 is off by 2^-12 of itself, a key or value of int8 as well, a weight of the softmax by 2^-11 and by
    // what its score is off.
    case.tolerance = Tolerance { atol: 2e-2, rtol: 2e-2, nmse: 1e-4 };
    case
}

/// All head sizes, around the tiles, windows smaller than a tile, caps, far positions.
pub fn half_edge_cases() -> Vec<Case> {
    let shapes = [
        (17, 9, 3, 64, 0),
        (64, 2, 1, 64, 130),
        (65, 2, 2, 16, 31),
        (33, 4, 1, 128, 3),
        (40, 1, 1, 256, 9),
        (20, 2, 1, 96, 70),
        (2, 3, 1, 80, 5),
    ];
    let mut cases: Vec<Case> = shapes.map(|shape| half_case("edge", shape, DType::F16, None, None, 1)).into();
    cases.push(half_case("window", (100, 2, 1, 32, 50), DType::F16, Some(7), None, 2));
    cases.push(half_case("window of one", (20, 2, 2, 16, 3), DType::F16, Some(1), None, 3));
    cases.push(half_case("soft cap", (18, 2, 1, 64, 20), DType::F16, None, Some(5.0), 4));
    let shapes = shapes.into_iter().filter(|(_, _, _, head_dim, _)| head_dim.is_multiple_of(32));
    cases.extend(shapes.map(|shape| half_case("blocks", shape, DType::C8, None, None, 1)));
    cases.push(half_case("blocks, window", (100, 2, 1, 32, 50), DType::C8, Some(7), None, 2));
    cases.push(half_case("blocks, soft cap", (18, 2, 1, 64, 20), DType::C8, None, Some(5.0), 4));
    cases
}

#[cfg(feature = "testing")]
mod strategies {
    use proptest::prelude::*;

    use super::*;

    /// A shape, and a cache that takes its heads.
    fn shape() -> impl Strategy<Value = (Shape, DType)> {
        let unpacked = (1usize..36, proptest::sample::select(&UNPACKED[..])).prop_map(|(half, kv)| (2 * half, kv));
        let blocks = (1usize..5).prop_map(|blocks| (32 * blocks, DType::C8));
        (1usize..24, 1usize..4, 1usize..4, prop_oneof![2 => unpacked, 1 => blocks], 0usize..90).prop_map(
            |(rows, kv_heads, group, (head_dim, kv), start)| ((rows, kv_heads * group, kv_heads, head_dim, start), kv),
        )
    }

    fn window() -> impl Strategy<Value = Option<usize>> {
        proptest::option::of(1usize..60)
    }

    /// Random shapes, windows, caps and values.
    pub fn strategy() -> BoxedStrategy<Case> {
        (shape(), window(), proptest::option::of(2f32..50.0), any::<u32>())
            .prop_map(|((shape, kv), window, cap, seed)| case("random", shape, kv, window, cap, u64::from(seed)))
            .boxed()
    }

    /// Random shapes, windows, caps and values.
    pub fn half_strategy() -> BoxedStrategy<Case> {
        let unpacked = (1usize..9).prop_map(|n| (16 * n, DType::F16));
        let blocks = (1usize..5).prop_map(|n| (32 * n, DType::C8));
        let shape = (2usize..90, 1usize..3, 1usize..3, prop_oneof![unpacked, blocks], 0usize..90).prop_map(
            |(rows, kv_heads, group, (head_dim, kv), start)| ((rows, kv_heads * group, kv_heads, head_dim, start), kv),
        );
        (shape, window(), proptest::option::of(2f32..50.0), any::<u32>())
            .prop_map(|((shape, kv), window, cap, seed)| half_case("random", shape, kv, window, cap, u64::from(seed)))
            .boxed()
    }

    /// Random shapes, windows, pieces and values.
    pub fn split_strategy() -> BoxedStrategy<Case> {
        (shape(), window(), 1usize..9, any::<u32>())
            .prop_map(|(((_, heads, kv_heads, dim, start), kv), window, splits, seed)| {
                split_case("random", (1, heads, kv_heads, dim, start), kv, window, splits, u64::from(seed))
            })
            .boxed()
    }

    /// Random shapes and values, few pieces and many.
    pub fn reduce_strategy() -> BoxedStrategy<Case> {
        (1usize..4, 1usize..5, 1usize..90, prop_oneof![3 => 1usize..12, 1 => 60usize..140], any::<bool>(), any::<u32>())
            .prop_map(|(rows, heads, dim, splits, a8, seed)| {
                let (dim, y) = if a8 { (dim.next_multiple_of(64), DType::A8) } else { (dim, DType::F32) };
                reduce_case("random", rows, heads, dim, splits, y, u64::from(seed))
            })
            .boxed()
    }
}
#[cfg(feature = "testing")]
pub use strategies::{half_strategy, reduce_strategy, split_strategy, strategy};
