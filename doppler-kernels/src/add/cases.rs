//! Sizes that the sum is tested and timed at.

use super::Add;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, len: usize, seed: u64) -> Case {
    Case::new(label, Box::new(Add { len }), Tolerance { atol: 1e-6, rtol: 1e-6, nmse: 1e-12 })
        .input_f32(&random_f32(len, seed))
        .input_f32(&random_f32(len, seed + 1))
}

/// One, a prime, around the workgroup size.
pub fn edge_cases() -> Vec<Case> {
    [1, 2, 31, 255, 256, 257, 4099].iter().map(|&len| case("edge", len, 1)).collect()
}

/// Named after their use; `roof` is large enough to show the memory bandwidth.
pub fn bench_cases() -> Vec<Case> {
    vec![case("decode_4096", 4096, 1), case("roof_64Mi", 1 << 26, 1)]
}

/// Random sizes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..5000, any::<u32>()).prop_map(|(len, seed)| case("random", len, u64::from(seed))).boxed()
}
