//! Shapes that the rounding of rows is tested at.

use super::Int8Rows;
use crate::cases::{Case, Tolerance, random_f32};

fn case(label: &'static str, rows: usize, cols: usize, size: f32, seed: u64) -> Case {
    // A large element in each row, as real activations have.
    let mut x: Vec<f32> = random_f32(rows * cols, seed).iter().map(|v| v * size).collect();
    x.iter_mut().step_by(cols).for_each(|v| *v *= 50.0);
    let tolerance = Tolerance { atol: 1e-5 * f64::from(size), ..Tolerance::F32 };
    Case::new(label, Box::new(Int8Rows { rows, cols }), tolerance).input_f32(&x)
}

/// Two blocks, a part of a workgroup and several, small and large numbers, nothing but zeros.
pub fn edge_cases() -> Vec<Case> {
    vec![
        case("one strip", 1, 64, 1.0, 1),
        case("part of a workgroup", 3, 192, 1.0, 2),
        case("many", 5, 576, 1.0, 3),
        case("small", 2, 64, 1e-6, 4),
        case("large", 2, 64, 1e6, 5),
        case("zeros", 2, 64, 0.0, 6),
    ]
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..6, 1usize..10, -3i32..4, any::<u32>())
        .prop_map(|(rows, strips, power, seed)| case("random", rows, 64 * strips, 10f32.powi(power), u64::from(seed)))
        .boxed()
}
