//! Shapes and values that top-k is tested and timed at.

use super::TopK;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, rows: usize, cols: usize, k: usize, seed: u64) -> Case {
    // Values on a grid, so that there are ties.
    let x: Vec<f32> = random_f32(rows * cols, seed).iter().map(|v| (v * 50.0).round()).collect();
    Case::new(label, Box::new(TopK { rows, cols, k }), Tolerance::EXACT).input_f32(&x)
}

/// One, all of a row, around the workgroup size.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 1, 1), (2, 7, 7), (1, 255, 3), (3, 256, 40), (2, 257, 64), (1, 5000, 40)];
    shapes.iter().map(|&(rows, cols, k)| case("edge", rows, cols, k, 1)).collect()
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..4, 1usize..900, 1usize..20, any::<u32>())
        .prop_map(|(rows, cols, k, seed)| case("random", rows, cols, k.min(cols), u64::from(seed)))
        .boxed()
}
