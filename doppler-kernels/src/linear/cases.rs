//! Shapes and values that linear layers on int8 activations are tested and timed at.

use doppler_rdrr::{Activation, DType};

use super::{Linear, LinearGated, LinearResidual};
use crate::cases::{Case, Tolerance, random_f32, random_weights};

const TOLERANCE: Tolerance = Tolerance { atol: 2e-4, rtol: 2e-4, nmse: 1e-9 };

/// rows, out features, in features.
type Shape = (usize, usize, usize);

/// Activations with one large outlier a row, as real ones have.
fn activations(rows: usize, cols: usize, seed: u64) -> Vec<f32> {
    let mut x = random_f32(rows * cols, seed);
    x.iter_mut().step_by(cols).for_each(|v| *v *= 20.0);
    x
}

/// Energies about as large as those of activations near one.
fn energies(len: usize, seed: u64) -> Vec<f32> {
    random_f32(len, seed).iter().map(|v| 5.0 + 5.0 * v).collect()
}

fn case(label: &'static str, shape: Shape, weight: DType, eps: Option<f32>, seed: u64) -> Case {
    part(label, shape, weight, eps, [shape.1, 0], seed)
}

/// Of a matrix whose product has `y_stride` columns.
fn part(
    label: &'static str,
    (rows, n, k): Shape,
    weight: DType,
    eps: Option<f32>,
    [y_stride, y_offset]: [usize; 2],
    seed: u64,
) -> Case {
    let kernel = Linear { rows, out_features: n, in_features: k, weight, y_stride, y_offset, eps };
    let case = Case::new(label, Box::new(kernel), TOLERANCE)
        .input_a8(&activations(rows, k, seed), k)
        .input(random_weights(weight, n * k, seed + 1));
    let case = if y_stride == n { case } else { case.input_f32(&random_f32(rows * y_stride, seed + 3)) };
    if eps.is_some() { case.input_f32(&energies(rows * k / 32, seed + 2)) } else { case }
}

fn formats() -> Vec<DType> {
    DType::WEIGHTS.iter().copied().filter(|dtype| super::takes(*dtype)).collect()
}

/// Every format; one block, fewer strips than lanes and more, features that fill no workgroup, several rows.
pub fn edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for weight in formats() {
        let shapes = [(1, 1, 256), (1, 33, 768), (3, 40, 512), (8, 7, 256)];
        cases.extend(shapes.map(|shape| case("edge", shape, weight, Some(1e-5), 1)));
        // Three steps of 32 lanes, the last not full.
        cases.push(case("steps", (1, 9, 4352), weight, Some(1e-5), 10));
        cases.push(case("no norm", (1, 37, 256), weight, None, 2));
        cases.push(part("part", (1, 37, 256), weight, Some(1e-5), [90, 53], 6));
        cases.push(part("part", (3, 7, 256), weight, None, [19, 5], 7));
        if weight.block_len() == 32 {
            cases.push(case("two blocks", (1, 5, 64), weight, Some(1e-5), 3));
            cases.push(case("odd blocks", (2, 65, 576), weight, Some(1e-6), 4));
        }
    }
    cases.push(case("deep", (1, 64, 8192), DType::Q4_K, Some(1e-5), 5));
    for weight in [DType::Q4_1, DType::Q6_K] {
        // Two steps and three, the last not full, on subgroups of 32.
        cases.push(case("steps", (1, 9, 2304), weight, Some(1e-5), 8));
        cases.push(case("steps", (2, 9, 2304), weight, None, 9));
    }
    cases
}

fn residual_case(label: &'static str, (rows, n, k): Shape, weight: DType, scale: f32, seed: u64) -> Case {
    let kernel = LinearResidual { rows, out_features: n, in_features: k, weight, scale };
    Case::new(label, Box::new(kernel), TOLERANCE)
        .input_a8(&activations(rows, k, seed), k)
        .input(random_weights(weight, n * k, seed + 1))
        .input_f32(&random_f32(n, seed + 2))
        .input_f32(&activations(rows, n, seed + 3))
}

/// Every format, one block, several steps, several rows.
pub fn residual_edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for weight in formats() {
        cases.push(residual_case("edge", (1, 192, 256), weight, 1.0, 1));
        cases.push(residual_case("rows", (5, 64, 512), weight, 0.25, 2));
    }
    cases.push(residual_case("odd blocks", (2, 64, 192), DType::Q4_1, 1.0, 3));
    cases.push(residual_case("steps", (1, 64, 4352), DType::Q6_K, 1.0, 4));
    // Two rows a workgroup, of an odd number and of an even one; half of eight, and all of them.
    for (seed, shape) in [(5, (3, 2048, 256)), (6, (8, 2048, 256)), (7, (8, 4096, 1024))] {
        cases.push(residual_case("rows of a workgroup", shape, DType::Q4_K, 1.0, seed));
    }
    cases
}

fn gated_case(label: &'static str, (rows, n, k): Shape, weight: DType, activation: Activation, seed: u64) -> Case {
    let kernel = LinearGated { rows, out_features: n, in_features: k, weight, activation, eps: 1e-5 };
    Case::new(label, Box::new(kernel), TOLERANCE)
        .input_a8(&activations(rows, k, seed), k)
        .input(random_weights(weight, 2 * n * k, seed + 1))
        .input_f32(&energies(rows * k / 32, seed + 2))
}

/// Every format, both activations, several steps, several rows.
pub fn gated_edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for weight in formats() {
        cases.push(gated_case("edge", (1, 192, 256), weight, Activation::Silu, 1));
        cases.push(gated_case("rows", (3, 64, 512), weight, Activation::GeluTanh, 2));
    }
    cases.push(gated_case("odd blocks", (2, 64, 192), DType::Q8_0, Activation::Silu, 3));
    cases.push(gated_case("steps", (1, 64, 4352), DType::Q4_K, Activation::Silu, 4));
    cases.push(gated_case("steps", (2, 64, 1280), DType::Q5_0, Activation::Silu, 5));
    cases.push(gated_case("chunks", (8, 64, 4096), DType::Q4_K, Activation::Silu, 6));
    cases
}

/// What only large layers have: too much to be made at each start.
#[cfg(feature = "testing")]
pub fn large_cases() -> Vec<Case> {
    vec![
        // The workgroups of queries to values and of a head, of many rows.
        case("long rows", (5, 2056, 4096), DType::Q4_K, Some(1e-5), 1),
        case("many outputs", (8, 16_448, 256), DType::Q6_K, None, 2),
        // All rows in workgroup memory, in two chunks.
        residual_case("long rows", (5, 4096, 8192), DType::Q6_K, 1.0, 3),
    ]
}

#[cfg(feature = "testing")]
mod strategies {
    use proptest::prelude::*;

    use super::*;

    fn shape(blocks: std::ops::Range<usize>, weight: DType) -> impl Strategy<Value = Shape> {
        (1usize..9, 1usize..80, blocks)
            .prop_map(move |(rows, n, blocks)| (rows, n, (blocks * weight.block_len()).next_multiple_of(64)))
    }

    fn format_and_shape() -> impl Strategy<Value = (DType, Shape)> {
        proptest::sample::select(formats()).prop_flat_map(|weight| {
            let most = if weight.block_len() == 32 { 20 } else { 4 };
            (Just(weight), shape(1..most, weight))
        })
    }

    /// Random formats, shapes and values.
    pub fn strategy() -> BoxedStrategy<Case> {
        let others = proptest::option::of((0usize..40, 1usize..40));
        (format_and_shape(), proptest::option::of(1e-7f32..1e-4), others, any::<u32>())
            .prop_map(|((weight, shape), eps, others, seed)| {
                let y = others.map_or([shape.1, 0], |(before, behind)| [before + shape.1 + behind, before]);
                part("random", shape, weight, eps, y, u64::from(seed))
            })
            .boxed()
    }

    /// Random formats, shapes and values.
    pub fn residual_strategy() -> BoxedStrategy<Case> {
        (format_and_shape(), 0.1f32..2.0, any::<u32>())
            .prop_map(|((weight, (rows, n, k)), scale, seed)| {
                residual_case("random", (rows, n.div_ceil(16) * 64, k), weight, scale, u64::from(seed))
            })
            .boxed()
    }

    /// Random formats, shapes and values.
    pub fn gated_strategy() -> BoxedStrategy<Case> {
        let activation = proptest::sample::select(&[Activation::Silu, Activation::GeluTanh]);
        (format_and_shape(), activation, any::<u32>())
            .prop_map(|((weight, (rows, n, k)), activation, seed)| {
                gated_case("random", (rows, n.div_ceil(16) * 64, k), weight, activation, u64::from(seed))
            })
            .boxed()
    }
}
#[cfg(feature = "testing")]
pub use strategies::{gated_strategy, residual_strategy, strategy};
