//! Shapes and values that argmax is tested and timed at.

use super::ArgMax;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, rows: usize, cols: usize, x: &[f32]) -> Case {
    Case::new(label, Box::new(ArgMax { rows, cols }), Tolerance::EXACT).input_f32(x)
}

/// Values on a coarse grid, so that rows have ties.
fn with_ties(len: usize, seed: u64) -> Vec<f32> {
    random_f32(len, seed).iter().map(|v| (v * 20.0).round()).collect()
}

/// One, a prime, around the workgroup size, ties, infinities and NaN.
pub fn edge_cases() -> Vec<Case> {
    let shapes = [(1, 1), (3, 2), (1, 31), (2, 255), (2, 256), (5, 257), (3, 1025), (1, 49_152)];
    let mut cases: Vec<Case> =
        shapes.iter().map(|&(rows, cols)| case("ties", rows, cols, &with_ties(rows * cols, 3))).collect();
    cases.push(case("all equal", 1, 700, &[-7.0; 700]));
    cases.push(case("negative infinities", 1, 300, &[f32::NEG_INFINITY; 300]));
    let mut nan = with_ties(600, 4);
    nan[577] = f32::NAN;
    cases.push(case("nan in the second row", 2, 300, &nan));
    cases
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..6, 1usize..2000, any::<u32>())
        .prop_map(|(rows, cols, seed)| case("random", rows, cols, &with_ties(rows * cols, u64::from(seed))))
        .boxed()
}
