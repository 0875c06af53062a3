//! Shapes that embedding lookup is tested and timed at.

use doppler_rdrr::DType;

use super::{Embed, EmbedQuantize};
use crate::cases::{Case, Tolerance, random_bits, random_f32, random_weights};

fn case(
    label: &'static str,
    weight: DType,
    rows: usize,
    vocab_rows: usize,
    hidden_size: usize,
    part: bool,
    seed: u64,
) -> Case {
    let (vocab_start, vocab_size) = if part { (3, vocab_rows + 5) } else { (0, vocab_rows) };
    let ids: Vec<u32> = random_bits(seed).take(rows).map(|bits| (bits % vocab_size as u64) as u32).collect();
    let kernel = Embed { rows, hidden_size, vocab_start, vocab_rows, vocab_size, weight, scale: 1.5 };
    let case = Case::new(label, Box::new(kernel), Tolerance { atol: 1e-6, rtol: 1e-6, nmse: 1e-12 })
        .input_u32(&ids)
        .input(random_weights(weight, vocab_rows * hidden_size, seed));
    if part { case.input_f32(&random_f32(rows * hidden_size, seed + 1)) } else { case }
}

/// Every format, whole and in parts; odd columns for the formats that can have them.
pub fn edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &weight in DType::WEIGHTS {
        let block = weight.block_len().max(32);
        for (rows, vocab, blocks, part) in [(1, 1, 1, false), (5, 17, 3, false), (9, 7, 2, true), (70, 3, 1, true)] {
            cases.push(case("edge", weight, rows, vocab, blocks * block, part, 3));
        }
        if weight.block_len() == 1 {
            cases.push(case("odd columns", weight, 3, 5, 1, false, 4));
            cases.push(case("odd columns", weight, 4, 9, 37, false, 5));
        }
    }
    cases
}

fn quantized(
    label: &'static str,
    weight: DType,
    rows: usize,
    vocab_size: usize,
    hidden_size: usize,
    seed: u64,
) -> Case {
    let ids: Vec<u32> = random_bits(seed).take(rows).map(|bits| (bits % vocab_size as u64) as u32).collect();
    let kernel = EmbedQuantize { rows, hidden_size, vocab_size, weight, scale: 1.5 };
    Case::new(label, Box::new(kernel), Tolerance { atol: 1e-5, rtol: 1e-5, nmse: 1e-10 })
        .input_u32(&ids)
        .input(random_weights(weight, vocab_size * hidden_size, seed))
        .input_f32(&random_f32(hidden_size, seed + 1))
}

/// Every format; one row, several, columns that fill no workgroup.
pub fn quantized_edge_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &weight in DType::WEIGHTS {
        let block = weight.block_len().max(64);
        for (rows, vocab, blocks) in [(1, 1, 1), (1, 17, 9), (5, 7, 3)] {
            cases.push(quantized("edge", weight, rows, vocab, blocks * block, 6));
        }
    }
    cases
}

/// Random formats, shapes and ids.
#[cfg(feature = "testing")]
pub fn quantized_strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (proptest::sample::select(DType::WEIGHTS), 1usize..9, 1usize..60, 1usize..12, any::<u32>())
        .prop_map(|(weight, rows, vocab, blocks, seed)| {
            quantized("random", weight, rows, vocab, blocks * weight.block_len().max(64), u64::from(seed))
        })
        .boxed()
}

/// Random formats, shapes and ids.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (
        proptest::sample::select(DType::WEIGHTS),
        1usize..40,
        1usize..60,
        1usize..5,
        0usize..32,
        any::<bool>(),
        any::<u32>(),
    )
        .prop_map(|(weight, rows, vocab, blocks, odd, part, seed)| {
            let columns = if weight.block_len() == 1 { blocks * 32 - odd } else { blocks * weight.block_len() };
            case("random", weight, rows, vocab, columns, part, u64::from(seed))
        })
        .boxed()
}
