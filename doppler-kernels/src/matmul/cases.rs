//! Shapes that matrix products are tested and timed at.

use doppler_rdrr::DType;

use super::MatMul;
use crate::cases::{Case, Tolerance, random_f32, random_weights};

/// f32 sums of up to a few thousand terms; the reference rounds once.
const TOLERANCE: Tolerance = Tolerance { atol: 2e-4, rtol: 2e-4, nmse: 1e-9 };

fn case(label: &'static str, weight: DType, rows: usize, out_features: usize, in_features: usize, seed: u64) -> Case {
    let kernel = MatMul { rows, out_features, in_features, weight, y_stride: out_features, y_offset: 0 };
    Case::new(label, Box::new(kernel), TOLERANCE)
        .input_f32(&random_f32(rows * in_features, seed))
        .input(random_weights(weight, out_features * in_features, seed + 1))
}

/// A part of a larger matrix: fills some columns of y and leaves the others.
fn part(weight: DType, rows: usize, in_features: usize) -> Case {
    let kernel = MatMul { rows, out_features: 7, in_features, weight, y_stride: 19, y_offset: 5 };
    Case::new("part", Box::new(kernel), TOLERANCE)
        .input_f32(&random_f32(rows * in_features, 3))
        .input(random_weights(weight, 7 * in_features, 4))
        .input_f32(&random_f32(rows * 19, 5))
}

/// Every format at one, primes, and around the tile sizes; odd columns for the formats that can have them.
pub fn edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &weight in DType::WEIGHTS {
        let block = weight.block_len().max(32);
        for (rows, n, blocks) in
            [(1, 1, 1), (1, 3, 2), (1, 17, 3), (2, 5, 1), (7, 9, 2), (8, 4, 1), (9, 33, 1), (65, 67, 2)]
        {
            cases.push(case("edge", weight, rows, n, blocks * block, 7));
        }
        cases.push(part(weight, 1, block));
        cases.push(part(weight, 10, 2 * block));
        if weight.block_len() == 1 {
            for (rows, n, k) in [(1, 1, 1), (1, 5, 7), (3, 6, 33), (11, 70, 29), (2, 3, 36)] {
                cases.push(case("odd columns", weight, rows, n, k, 11));
            }
        }
    }
    cases
}

/// Random formats, shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (proptest::sample::select(DType::WEIGHTS), 1usize..20, 1usize..80, 1usize..6, 0usize..32, any::<u32>())
        .prop_map(|(weight, rows, n, blocks, odd, seed)| {
            let k = if weight.block_len() == 1 { blocks * 32 - odd } else { blocks * weight.block_len() };
            case("random", weight, rows, n, k, u64::from(seed))
        })
        .boxed()
}
