//! Shapes and values that the residual stream of a prompt is tested and timed at.

use super::JoinHalf;
use crate::cases::{Case, Tolerance, random_f32};

/// rows, columns, parts.
type Shape = (usize, usize, usize);

fn case(label: &'static str, (rows, cols, parts): Shape, branch_norm: bool, branch_scale: f32, seed: u64) -> Case {
    let kernel = JoinHalf { rows, cols, parts, branch_norm, branch_scale, eps: 1e-6 };
    // Rows reach 1024 at least in f16, and large norms give scales above one, so that the absolute part means little.
    let tolerance = Tolerance { atol: 5e-3, rtol: 1e-3, nmse: 1e-6 };
    let scaled = |len, by: f32, seed| random_f32(len, seed).iter().map(|v| by * v).collect::<Vec<_>>();
    let mut hidden = scaled(rows * cols, 1e3, seed);
    // One large outlier a row, as real activations have.
    hidden.iter_mut().step_by(cols).for_each(|v| *v *= 50.0);
    let case = Case::new(label, Box::new(kernel), tolerance).input_f32(&hidden);
    let case = case.input_f32(&scaled(cols, 3e4, seed + 1));
    if parts == 0 {
        return case;
    }
    let case = case.input_f32(&scaled(parts * rows * cols, 1e3, seed + 2));
    if branch_norm { case.input_f32(&scaled(cols, 1e3, seed + 3)) } else { case }
}

/// One four, around the workgroup sizes, real models' widths; without a branch, in one part and in several.
pub fn edge_cases() -> Vec<Case> {
    let widths = [(1, 4), (3, 64), (5, 576), (2, 1020), (3, 1024), (2, 1028), (2, 2048), (2, 4100), (1, 16_384)];
    let mut cases = Vec::new();
    for (i, (rows, cols)) in widths.into_iter().enumerate() {
        cases.push(case("no branch", (rows, cols, 0), false, 1.0, 1));
        for branch_norm in [false, true] {
            cases.push(case("branch", (rows, cols, 1), branch_norm, 1.0, 2));
            cases.push(case("parts", (rows, cols, 2 + i % 2), branch_norm, 0.3, 3));
        }
    }
    cases
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    ((1usize..5, 1usize..600, 0usize..4), any::<bool>(), 0.1f32..2.0, any::<u32>())
        .prop_map(|((rows, quads, parts), norm, scale, seed)| {
            case("random", (rows, 4 * quads, parts), norm, scale, u64::from(seed))
        })
        .boxed()
}
