//! Shapes that RMS norm is tested and timed at.

use super::RmsNorm;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, rows: usize, cols: usize, seed: u64) -> Case {
    let mut x = random_f32(rows * cols, seed);
    // One large outlier a row, as real activations have.
    x.iter_mut().step_by(cols.max(7)).for_each(|v| *v *= 50.0);
    Case::new(label, Box::new(RmsNorm { rows, cols, eps: 1e-5 }), Tolerance::F32)
        .input_f32(&x)
        .input_f32(&random_f32(cols, seed + 1))
}

/// One, a prime, around the workgroup size, and real models' widths.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 1), (3, 2), (1, 31), (2, 255), (2, 256), (5, 257), (7, 576), (1, 4096), (2, 4099)];
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
