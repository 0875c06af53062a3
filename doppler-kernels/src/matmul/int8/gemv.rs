//! Few rows: each row of packed weights is dotted as it lies in memory.

use super::activations::{Activations, GROUP, Group};
use super::format::Format;
use crate::isa::Isa;

#[inline(always)]
pub fn features<I: Isa, F: Format<B>, const B: usize>(
    isa: I,
    x: &Activations,
    weights: &[[u8; B]],
    row_blocks: usize,
    y: &mut [&mut [f32]],
) {
    for (n, weights) in weights.chunks_exact(row_blocks).enumerate() {
        for (r, y) in y.iter_mut().enumerate() {
            y[n] = dot::<I, F, B>(isa, weights, x.row(r));
        }
    }
}

#[inline(always)]
fn dot<I: Isa, F: Format<B>, const B: usize>(isa: I, weights: &[[u8; B]], x: &[Group]) -> f32 {
    let mut sums = [isa.splat(0.0); 2];
    let whole = if F::SUB_BLOCKS == 1 { weights.len() / GROUP } else { weights.len() };
    let (full, rest) = if F::SUB_BLOCKS == 1 { weights.split_at(whole * GROUP) } else { (weights, &weights[..0]) };
    for (g, blocks) in full.chunks_exact(GROUP / F::SUB_BLOCKS).enumerate() {
        sums = group::<I, F, B>(isa, blocks, GROUP, &x[g], sums);
    }
    if !rest.is_empty() {
        sums = group::<I, F, B>(isa, rest, rest.len(), &x[whole], sums);
    }
    isa.total(isa.add(sums[0], sums[1]))
}

/// Adds the products of `count` sub-blocks.
#[inline(always)]
fn group<I: Isa, F: Format<B>, const B: usize>(
    isa: I,
    blocks: &[[u8; B]],
    count: usize,
    x: &Group,
    mut sums: [I::Floats; 2],
) -> [I::Floats; 2] {
    let s = F::scales(isa, blocks);
    let mut scales = [[0.0; GROUP]; 2];
    if F::HALVES {
        for half in 0..2 {
            sums[half] = isa.mul_add(isa.floats(s.offsets[half]), isa.floats(x.halves[half]), sums[half]);
            for (i, scale) in scales[half].iter_mut().enumerate() {
                *scale = s.scales[half][i] * x.scales[half * 4 + i / 2];
            }
        }
    } else {
        if F::OFFSETS {
            sums[0] = isa.mul_add(isa.floats(s.offsets[0]), isa.floats(x.sums), sums[0]);
        }
        scales[0] = isa.numbers(isa.mul(isa.floats(s.scales[0]), isa.floats(x.scales)));
    }
    for j in 0..count {
        let codes = F::codes(isa, &blocks[j / F::SUB_BLOCKS], j % F::SUB_BLOCKS);
        let products = if F::SIGNED { isa.dot::<true>(codes, x.codes[j]) } else { isa.dot::<false>(codes, x.codes[j]) };
        let scale = if F::HALVES {
            let scales = &scales[j / 4];
            isa.pair(scales[j % 4 * 2], scales[j % 4 * 2 + 1])
        } else {
            isa.splat(scales[0][j])
        };
        sums[j % 2] = isa.mul_add(isa.converted(products), scale, sums[j % 2]);
    }
    sums
}
