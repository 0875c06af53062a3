//! Shapes and values that argmax is tested and timed at.

use super::{ArgMax, ArgMaxReduce, ArgMaxSplit};
use crate::Kernel;
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

fn split_case(label: &'static str, cols: usize, splits: usize, x: &[f32]) -> Case {
    Case::new(label, Box::new(ArgMaxSplit { cols, splits }), Tolerance::EXACT).input_f32(x)
}

/// More pieces than columns, uneven pieces, ties across pieces, infinities, NaN.
pub fn split_edge_cases() -> Vec<Case> {
    let shapes = [(1, 1), (3, 5), (1000, 7), (49_152, 64)];
    let mut cases: Vec<Case> =
        shapes.iter().map(|&(cols, splits)| split_case("ties", cols, splits, &with_ties(cols, 5))).collect();
    cases.push(split_case("negative infinities", 300, 2, &[f32::NEG_INFINITY; 300]));
    let mut nan = with_ties(600, 4);
    nan[577] = f32::NAN;
    cases.push(split_case("nan in the second piece", 600, 2, &nan));
    cases
}

/// What the pieces of a row give.
fn reduce_case(label: &'static str, splits: usize, x: &[f32]) -> Case {
    let pieces = ArgMaxSplit { cols: x.len(), splits }.reference(&[x]);
    let ids: Vec<u32> = pieces[1].iter().map(|id| *id as u32).collect();
    let case = Case::new(label, Box::new(ArgMaxReduce { splits }), Tolerance::EXACT);
    case.input_f32(&pieces[0]).input_u32(&ids).input_u32(&[x.len() as u32])
}

/// Empty pieces, ties, negative values only, NaN.
pub fn reduce_edge_cases() -> Vec<Case> {
    let mut nan = with_ties(600, 4);
    nan[577] = f32::NAN;
    vec![
        reduce_case("empty pieces", 7, &with_ties(3, 1)),
        reduce_case("ties", 64, &with_ties(49_152, 2)),
        reduce_case("more pieces than invocations", 300, &with_ties(900, 3)),
        reduce_case("negative", 5, &[-7.0; 20]),
        reduce_case("nan", 9, &nan),
    ]
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn split_strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..2000, 1usize..40, any::<u32>())
        .prop_map(|(cols, splits, seed)| split_case("random", cols, splits, &with_ties(cols, u64::from(seed))))
        .boxed()
}

/// Random shapes and values.
#[cfg(feature = "testing")]
pub fn reduce_strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..2000, 1usize..40, any::<u32>())
        .prop_map(|(cols, splits, seed)| reduce_case("random", splits, &with_ties(cols, u64::from(seed))))
        .boxed()
}
