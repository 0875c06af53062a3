//! Shapes and values that quantization is tested and timed at.

use super::Quantize;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, rows: usize, cols: usize, largest: f32, seed: u64) -> Case {
    let mut x: Vec<f32> = random_f32(rows * cols, seed).iter().map(|v| v * largest).collect();
    // Every third block is zeros.
    x.chunks_mut(32).skip(2).step_by(3).for_each(|block| block.fill(0.0));
    Case::new(label, Box::new(Quantize { rows, cols }), Tolerance::F32)
        .input_f32(&x)
        .input_f32(&random_f32(cols, seed + 1))
}

/// One block, around the workgroup size, real models' widths.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 64), (3, 128), (1, 192), (2, 256), (5, 320), (7, 576), (1, 4096)];
    let sizes = [0.01, 1.0, 300.0].into_iter().cycle();
    shapes.iter().zip(sizes).map(|(&(rows, cols), largest)| case("edge", rows, cols, largest, 1)).collect()
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..9, 1usize..40, -3f32..3.0, any::<u32>())
        .prop_map(|(rows, blocks, log, seed)| case("random", rows, 64 * blocks, 10f32.powf(log), u64::from(seed)))
        .boxed()
}
