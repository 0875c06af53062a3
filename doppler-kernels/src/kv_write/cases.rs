//! Shapes that cache writes are tested and timed at.

use doppler_rdrr::DType;

use super::KvWrite;
use crate::cases::{Case, Tolerance, random_f32};

fn case(
    label: &'static str,
    rows: usize,
    kv_dim: usize,
    start: usize,
    capacity: usize,
    dtype: DType,
    seed: u64,
) -> Case {
    let mut x = random_f32(rows * kv_dim, seed);
    x[0] = 1e6;
    let before = random_f32(capacity * kv_dim, seed + 1);
    let tolerance = if dtype == DType::F16 { Tolerance::F16 } else { Tolerance::EXACT };
    let case = Case::new(label, Box::new(KvWrite { rows, kv_dim, capacity, dtype }), tolerance)
        .input_f32(&x)
        .input_u32(&[start as u32]);
    if dtype == DType::F16 { case.input_f16(&before) } else { case.input_f32(&before) }
}

const BOTH: [DType; 2] = [DType::F32, DType::F16];

/// The ends of the cache, and rows that do not fit.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 2, 0, 1), (1, 192, 5, 9), (3, 20, 6, 9), (7, 64, 4, 9), (2, 254, 0, 2), (2, 6, 9, 9)];
    BOTH.iter()
        .flat_map(|t| shapes.map(|(rows, dim, start, capacity)| case("edge", rows, dim, start, capacity, *t, 1)))
        .collect()
}

/// Random shapes, positions and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..20, 1usize..60, 0usize..30, 1usize..40, proptest::sample::select(&BOTH[..]), any::<u32>())
        .prop_map(|(rows, pairs, start, capacity, dtype, seed)| {
            case("random", rows, 2 * pairs, start, capacity, dtype, u64::from(seed))
        })
        .boxed()
}
