//! Shapes that cache writes are tested and timed at.

use doppler_rdrr::DType;

use super::KvWrite;
use crate::cases::{Case, Tolerance, random_f32};

fn case(
    label: &'static str,
    rows: usize,
    (num_key_value_heads, head_dim): (usize, usize),
    start: usize,
    capacity: usize,
    dtype: DType,
    seed: u64,
) -> Case {
    let kv_dim = num_key_value_heads * head_dim;
    let mut x = random_f32(rows * kv_dim, seed);
    x[0] = 1e6;
    // A head of zeros.
    x[(rows - 1) * kv_dim..][..head_dim].fill(0.0);
    let before = random_f32(capacity * kv_dim, seed + 1);
    let tolerance = match dtype {
        DType::F16 => Tolerance::F16,
        DType::C8 => Tolerance::F32,
        _ => Tolerance::EXACT,
    };
    let kernel = KvWrite { rows, num_key_value_heads, head_dim, capacity, dtype };
    Case::new(label, Box::new(kernel), tolerance)
        .input_f32(&x)
        .input_u32(&[start as u32])
        .input_cache(dtype, &before, head_dim)
}

const UNPACKED: [DType; 2] = [DType::F32, DType::F16];

/// The ends of the cache, and rows that do not fit.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [
        (1, (1, 2), 0, 1),
        (1, (3, 64), 5, 9),
        (3, (2, 10), 6, 9),
        (7, (1, 64), 4, 9),
        (2, (1, 254), 0, 2),
        (2, (3, 2), 9, 9),
    ];
    let edge = |dtype| move |(rows, heads, start, capacity)| case("edge", rows, heads, start, capacity, dtype, 1);
    let mut cases: Vec<_> = UNPACKED.iter().flat_map(|dtype| shapes.map(edge(*dtype))).collect();
    let blocks = [
        (1, (1, 32), 0, 1),
        (1, (3, 64), 5, 9),
        (5, (2, 96), 2, 9),
        (7, (8, 128), 4, 9),
        (3, (1, 256), 0, 3),
        (2, (3, 32), 9, 9),
    ];
    cases.extend(blocks.map(edge(DType::C8)));
    cases
}

/// Random shapes, positions and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    let unpacked = (1usize..4, 1usize..20, proptest::sample::select(&UNPACKED[..]))
        .prop_map(|(heads, pairs, dtype)| ((heads, 2 * pairs), dtype));
    let blocks = (1usize..4, 1usize..6).prop_map(|(heads, blocks)| ((heads, 32 * blocks), DType::C8));
    (1usize..20, prop_oneof![unpacked, blocks], 0usize..30, 1usize..40, any::<u32>())
        .prop_map(|(rows, (heads, dtype), start, capacity, seed)| {
            case("random", rows, heads, start, capacity, dtype, u64::from(seed))
        })
        .boxed()
}
