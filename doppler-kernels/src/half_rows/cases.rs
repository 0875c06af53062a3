//! Shapes and values that rows in f16 are tested and timed at.

use super::HalfRows;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, rows: usize, cols: usize, largest: f32, seed: u64) -> Case {
    let mut x: Vec<f32> = random_f32(rows * cols, seed).iter().map(|v| v * largest).collect();
    // Every third row is zeros.
    x.chunks_mut(cols).skip(2).step_by(3).for_each(|row| row.fill(0.0));
    // Rounding to f16 is the same everywhere; a division may be off by its last bit before it.
    let tolerance = Tolerance { atol: 1e-6, rtol: 1e-3, nmse: 1e-6 };
    Case::new(label, Box::new(HalfRows { rows, cols }), tolerance).input_f32(&x)
}

/// A pair, around the workgroup size, values beyond the range of f16 and far below it.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 2), (4, 62), (2, 512), (3, 514), (7, 576), (1, 4096)];
    let sizes = [1.0, 1e6, 1e-6].into_iter().cycle();
    shapes.iter().zip(sizes).map(|(&(rows, cols), largest)| case("edge", rows, cols, largest, 1)).collect()
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..9, 1usize..600, -8f32..8.0, any::<u32>())
        .prop_map(|(rows, pairs, log, seed)| case("random", rows, 2 * pairs, 10f32.powf(log), u64::from(seed)))
        .boxed()
}
