//! Shapes and values that products in f16 are tested and timed at.

use doppler_rdrr::DType;

use super::GemmHalf;
use crate::MatMul;
use crate::cases::{Case, Tolerance, random_f32, random_weights};
use crate::half_rows::half_row;

fn case(label: &'static str, rows: usize, n: usize, k: usize, weight: DType, part: bool, seed: u64) -> Case {
    let (y_stride, y_offset) = if part { (n + 3, 2) } else { (n, 0) };
    let kernel = GemmHalf(MatMul { rows, out_features: n, in_features: k, weight, y_stride, y_offset });
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
    let case = if part { case.input_f32(&random_f32(rows * y_stride, seed + 2)) } else { case };
    case.input_f32(&scale)
}

fn formats() -> Vec<DType> {
    DType::WEIGHTS.iter().copied().filter(|dtype| GemmHalf::takes(*dtype, 256)).collect()
}

/// Every format, around the tiles, half a step at the end, parts of a matrix.
pub fn edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for weight in formats() {
        cases.push(case("edge", 9, 33, 256, weight, false, 1));
        cases.push(case("tiles", 65, 130, 256, weight, false, 2));
    }
    cases.push(case("half a step", 17, 64, 96, DType::Q4_1, false, 3));
    cases.push(case("one chunk", 64, 5, 32, DType::Q8_0, false, 4));
    cases.push(case("a part", 20, 40, 64, DType::F16, true, 5));
    cases.push(case("full tiles", 128, 128, 512, DType::Q4_K, false, 6));
    cases
}

/// Random formats, shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (proptest::sample::select(formats()), 1usize..140, 1usize..140, 1usize..9, any::<bool>(), any::<u32>())
        .prop_map(|(weight, rows, n, blocks, part, seed)| {
            let k = (blocks * 32).next_multiple_of(weight.block_len());
            case("random", rows, n, k, weight, part, u64::from(seed))
        })
        .boxed()
}
