//! Shapes and values that products of many int8 rows are tested and timed at.

use doppler_rdrr::DType;

use super::GemmA8;
use crate::MatMul;
use crate::cases::{Case, Tolerance, random_f32, random_weights};

/// Sums in f32 in whatever order; where there is one result, it may be much less than what it sums up.
const TOLERANCE: Tolerance = Tolerance { atol: 2e-4, rtol: 2e-4, nmse: 1e-8 };

fn case(label: &'static str, [rows, n, k]: [usize; 3], weight: DType, part: bool, seed: u64) -> Case {
    let (y_stride, y_offset) = if part { (n + 3, 2) } else { (n, 0) };
    let kernel = GemmA8(MatMul { rows, out_features: n, in_features: k, weight, y_stride, y_offset });
    // One large element a row, as real activations have.
    let mut x = random_f32(rows * k, seed);
    x.iter_mut().step_by(k).for_each(|v| *v *= 20.0);
    let weights = random_weights(weight, n * k, seed + 1);
    let case = Case::new(label, Box::new(kernel), TOLERANCE).input_a8(&x, k).input(weights);
    if part { case.input_f32(&random_f32(rows * y_stride, seed + 2)) } else { case }
}

fn formats() -> Vec<DType> {
    DType::WEIGHTS.iter().copied().filter(|dtype| GemmA8::takes(*dtype, 256)).collect()
}

/// Every format, one feature, around the tiles, parts of a matrix.
pub fn edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for weight in formats() {
        cases.push(case("one feature", [9, 1, 256], weight, false, 1));
        cases.push(case("edge", [9, 33, 512], weight, false, 2));
        cases.push(case("tiles", [65, 130, 256], weight, false, 3));
        if weight.block_len() == 32 {
            cases.push(case("one step", [17, 20, 64], weight, false, 4));
            cases.push(case("odd steps", [64, 5, 192], weight, true, 5));
        }
    }
    cases.push(case("a part", [20, 40, 512], DType::Q4_K, true, 6));
    cases.push(case("a part", [70, 64, 256], DType::Q6_K, true, 7));
    cases
}

/// Random formats, shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (proptest::sample::select(formats()), 4usize..140, 1usize..140, 1usize..9, any::<bool>(), any::<u32>())
        .prop_map(|(weight, rows, n, steps, part, seed)| {
            let k = (steps * 64).next_multiple_of(weight.block_len());
            case("random", [rows, n, k], weight, part, u64::from(seed))
        })
        .boxed()
}
