//! Shapes and values that the norm of a branch is tested and timed at.

use super::NormResidual;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, rows: usize, cols: usize, scale: f32, seed: u64) -> Case {
    let kernel = NormResidual { rows, cols, eps: 1e-6, scale };
    let mut hidden = random_f32(rows * cols, seed);
    hidden.iter_mut().step_by(cols).for_each(|v| *v *= 50.0);
    Case::new(label, Box::new(kernel), Tolerance::F32)
        .input_f32(&random_f32(rows * cols, seed + 1))
        .input_f32(&random_f32(cols, seed + 2))
        .input_f32(&random_f32(cols, seed + 3))
        .input_f32(&hidden)
}

/// One block, around the workgroup size, real models' widths.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 64), (3, 128), (2, 256), (2, 320), (1, 640), (1, 1152), (2, 2304)];
    shapes.iter().map(|&(rows, cols)| case("edge", rows, cols, 1.0, 1)).collect()
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..5, 1usize..40, 0.1f32..2.0, any::<u32>())
        .prop_map(|(rows, blocks, scale, seed)| case("random", rows, 64 * blocks, scale, u64::from(seed)))
        .boxed()
}
