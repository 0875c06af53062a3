//! Sizes that the stream is tested at.

use super::Stream;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, quads: usize, pieces: usize, seed: u64) -> Case {
    let len = 4 * quads;
    // Sums cancel: the error follows the number of summands.
    let tolerance = Tolerance { atol: 1e-6 * (len.div_ceil(pieces) as f64).sqrt() * 8.0, rtol: 1e-5, nmse: 1e-9 };
    Case::new(label, Box::new(Stream { len, pieces }), tolerance).input_f32(&random_f32(len, seed))
}

/// One element of work, pieces that are uneven or empty, more than a round of all invocations.
pub fn edge_cases() -> Vec<Case> {
    [(1, 1), (7, 3), (5, 9), (256, 1), (1025, 1), (4099, 3)]
        .map(|(quads, pieces)| case("edge", quads, pieces, 1))
        .into()
}

/// Random sizes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..5000, 1usize..20, any::<u32>())
        .prop_map(|(quads, pieces, seed)| case("random", quads, pieces, u64::from(seed)))
        .boxed()
}
