//! Sizes and values that gated activations are tested and timed at.

use doppler_rdrr::Activation;

use super::GatedActivation;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, rows: usize, cols: usize, activation: Activation, seed: u64) -> Case {
    let mut gate = random_f32(rows * cols, seed);
    // Most gates are moderate, a few far out, where a careless exp or tanh overflows.
    gate.iter_mut().for_each(|v| *v *= 8.0);
    gate.iter_mut().step_by(17).for_each(|v| *v *= 1250.0);
    Case::new(
        label,
        Box::new(GatedActivation { rows, cols, activation }),
        Tolerance { atol: 2e-5, rtol: 2e-5, nmse: 1e-10 },
    )
    .input_f32(&gate)
    .input_f32(&random_f32(rows * cols, seed + 1))
}

const BOTH: [Activation; 2] = [Activation::Silu, Activation::GeluTanh];

/// One, a prime, around the workgroup size.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 1), (3, 17), (1, 255), (2, 128), (1, 257), (5, 1536)];
    BOTH.iter().flat_map(|a| shapes.map(|(rows, cols)| case("edge", rows, cols, *a, 1))).collect()
}

/// Random sizes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..5, 1usize..1000, proptest::sample::select(&BOTH[..]), any::<u32>())
        .prop_map(|(rows, cols, activation, seed)| case("random", rows, cols, activation, u64::from(seed)))
        .boxed()
}
