//! Sizes and values that gated activations in f16 are tested and timed at.

use doppler_rdrr::Activation;

use super::GatedHalf;
use crate::cases::{Case, Tolerance, random_f32};

const BOTH: [Activation; 2] = [Activation::Silu, Activation::GeluTanh];

fn case(label: &'static str, rows: usize, cols: usize, activation: Activation, largest: f32, seed: u64) -> Case {
    let mut both: Vec<f32> = random_f32(2 * rows * cols, seed).iter().map(|v| v * 8.0).collect();
    for (i, row) in both.chunks_exact_mut(2 * cols).enumerate() {
        let (gate, up) = row.split_at_mut(cols);
        // A few gates far out, where a careless exp or tanh overflows.
        gate.iter_mut().step_by(17).for_each(|v| *v *= 1250.0);
        up.iter_mut().for_each(|v| *v *= largest);
        // Every third row is zeros.
        if i % 3 == 2 {
            row.fill(0.0);
        }
    }
    // Rows reach 1024 at least; a result between two f16 may go either way.
    let tolerance = Tolerance { atol: 5e-3, rtol: 1e-3, nmse: 1e-6 };
    Case::new(label, Box::new(GatedHalf { rows, cols, activation }), tolerance).input_f32(&both)
}

/// One four, around the workgroup sizes, values beyond the range of f16, real models' widths.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 4), (4, 64), (2, 1020), (3, 1024), (2, 1028), (3, 2048), (2, 4100), (1, 14_336)];
    let sizes = [1.0, 1e4].into_iter().cycle();
    let of = |activation: Activation| {
        let sized = shapes.into_iter().zip(sizes.clone());
        sized.map(move |((rows, cols), largest)| case("edge", rows, cols, activation, largest, 1))
    };
    BOTH.into_iter().flat_map(of).collect()
}

/// Random sizes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..6, 1usize..600, proptest::sample::select(&BOTH[..]), -1f32..6.0, any::<u32>())
        .prop_map(|(rows, quads, activation, log, seed)| {
            case("random", rows, 4 * quads, activation, 10f32.powf(log), u64::from(seed))
        })
        .boxed()
}
