//! Shapes and values that softmax is tested and timed at.

use super::Softmax;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, rows: usize, cols: usize, seed: u64) -> Case {
    // Peaks as attention scores have; uniform noise would prove nothing.
    let x: Vec<f32> = random_f32(rows * cols, seed).iter().map(|v| v * 40.0 - 300.0).collect();
    Case::new(label, Box::new(Softmax { rows, cols }), Tolerance { atol: 1e-6, rtol: 5e-5, nmse: 1e-9 }).input_f32(&x)
}

/// One, a prime, around the workgroup size.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 1), (3, 2), (1, 31), (2, 255), (2, 256), (5, 257), (1, 4099)];
    shapes.iter().map(|&(rows, cols)| case("edge", rows, cols, 1)).collect()
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..9, 1usize..1500, any::<u32>())
        .prop_map(|(rows, cols, seed)| case("random", rows, cols, u64::from(seed)))
        .boxed()
}
