//! Shapes and values that products in f16 are tested and timed at.

use doppler_rdrr::DType;

use super::GemmHalf;
use crate::MatMul;
use crate::cases::{Case, Tolerance, random_f32, random_weights};
use crate::half_rows::half_row;

/// In `parts`; or where `y` has more columns than the product, in one.
fn case(label: &'static str, [rows, n, k]: [usize; 3], weight: DType, parts: usize, wider: bool, seed: u64) -> Case {
    let (y_stride, y_offset) = if wider { (n + 3, 2) } else { (n, 0) };
    let parts = if wider { 1 } else { parts };
    let of = MatMul { rows, out_features: n, in_features: k, weight, y_stride, y_offset };
    let kernel = GemmHalf { of, parts };
    let x: Vec<f32> = random_f32(rows * k, seed);
    let (x, scale): (Vec<_>, Vec<_>) = x.chunks_exact(k).map(half_row).unzip();
    // A weight in f16 is off by at most 2^-11 of itself; the errors of a sum mostly cancel.
    let size = (k as f64).sqrt();
    let tolerance = Tolerance { atol: 6e-4 * size, rtol: 2e-3, nmse: 1e-6 };
    let case = Case::new(label, Box::new(kernel), tolerance).input_f16(&x.concat()).input(random_weights(
        weight,
        n * k,
        seed + 1,
    ));
    let case = if wider { case.input_f32(&random_f32(rows * y_stride, seed + 2)) } else { case };
    case.input_f32(&scale)
}

fn formats() -> Vec<DType> {
    DType::WEIGHTS.iter().copied().filter(|dtype| GemmHalf::takes(*dtype, 256)).collect()
}

/// Every format, around the tiles, half a step at the end, parts of a matrix.
pub fn edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for weight in formats() {
        cases.push(case("edge", [9, 33, 256], weight, 1, false, 1));
        cases.push(case("tiles", [65, 130, 256], weight, 1, false, 2));
    }
    cases.push(case("half a step", [17, 64, 96], DType::Q4_1, 1, false, 3));
    cases.push(case("one chunk", [64, 5, 32], DType::Q8_0, 1, false, 4));
    cases.push(case("a part of a matrix", [20, 40, 64], DType::F16, 1, true, 5));
    cases.push(case("full tiles", [128, 128, 512], DType::Q4_K, 1, false, 6));
    cases.push(case("two parts", [33, 70, 576], DType::Q4_1, 2, false, 7));
    cases.push(case("a part that is empty", [20, 40, 1024], DType::Q6_K, 3, false, 8));
    cases
}

/// Random formats, shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (proptest::sample::select(formats()), 1usize..140, 1usize..140, 1usize..20, 1usize..4, any::<bool>(), any::<u32>())
        .prop_map(|(weight, rows, n, blocks, parts, wider, seed)| {
            let k = (blocks * 32).next_multiple_of(weight.block_len());
            case("random", [rows, n, k], weight, parts, wider, u64::from(seed))
        })
        .boxed()
}
