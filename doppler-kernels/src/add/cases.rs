//! Sizes that the sum is tested and timed at.

use super::Add;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, len: usize, period: usize, scale: f32, seed: u64) -> Case {
    // Sums may cancel: the error follows the summands.
    let tolerance = Tolerance { atol: 1e-6 * (1.0 + f64::from(scale.abs())), rtol: 1e-6, nmse: 1e-12 };
    Case::new(label, Box::new(Add { len, period, scale }), tolerance)
        .input_f32(&random_f32(len, seed))
        .input_f32(&random_f32(period, seed + 1))
}

/// One, a prime, around the workgroup size.
pub fn edge_cases() -> Vec<Case> {
    let sums = [1, 2, 31, 255, 256, 257, 4099].map(|len| case("edge", len, len, 1.0, 1));
    let biases =
        [(1, 7), (7, 1), (5, 33), (3, 256), (2, 1031)].map(|(rows, cols)| case("bias", rows * cols, cols, 1.0, 3));
    sums.into_iter().chain(biases).chain([case("scaled", 300, 300, -0.285, 5)]).collect()
}

/// Random sizes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..40, 1usize..300, -4f32..4.0, any::<u32>())
        .prop_map(|(rows, cols, scale, seed)| case("random", rows * cols, cols, scale, u64::from(seed)))
        .boxed()
}
