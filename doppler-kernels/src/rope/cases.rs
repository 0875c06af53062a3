//! Shapes that rotary embedding is tested and timed at.

use super::Rope;
use crate::cases::{Case, Tolerance, random_f32};

fn case(
    label: &'static str,
    rows: usize,
    num_heads: usize,
    head_dim: usize,
    rotary_dim: usize,
    start: usize,
    seed: u64,
) -> Case {
    let positions = start + rows + 3;
    let half = rotary_dim / 2;
    let table: Vec<f32> = (0..positions * half)
        .flat_map(|i| {
            let (sin, cos) = ((i / half) as f64 * 10_000f64.powf(-((i % half) as f64) / half as f64)).sin_cos();
            [cos as f32, sin as f32]
        })
        .collect();
    Case::new(
        label,
        Box::new(Rope { rows, num_heads, head_dim, rotary_dim, positions }),
        Tolerance { atol: 1e-6, rtol: 1e-5, nmse: 1e-12 },
    )
    .input_f32(&random_f32(rows * num_heads * head_dim, seed))
    .input_f32(&table)
    .input_u32(&[start as u32])
}

/// Smallest and odd heads, partial rotation, positions far in.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [
        (1, 1, 2, 2, 0),
        (1, 3, 64, 64, 7),
        (5, 3, 10, 10, 0),
        (7, 2, 80, 32, 100),
        (3, 9, 64, 64, 1021),
        (2, 1, 256, 256, 1),
        (33, 5, 6, 4, 2),
    ];
    shapes.iter().map(|&(r, h, d, rotary, start)| case("edge", r, h, d, rotary, start, 1)).collect()
}

/// Random shapes, positions and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..9, 1usize..6, 1usize..40, 0usize..20, 0usize..500, any::<u32>())
        .prop_map(|(rows, heads, half, rest, start, seed)| {
            case("random", rows, heads, 2 * half + rest, 2 * half, start, u64::from(seed))
        })
        .boxed()
}
