//! Few rows: each row of packed weights is dotted as it lies in memory.

use super::activations::{Activations, GROUP, Row};
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
fn dot<I: Isa, F: Format<B>, const B: usize>(isa: I, weights: &[[u8; B]], x: Row) -> f32 {
    let mut sums = [isa.splat(0.0); 2];
    let whole = if F::SUB_BLOCKS == 1 { weights.len() / GROUP } else { weights.len() };
    let (full, rest) =
        if F::SUB_BLOCKS == 1 { weights.split_at(whole * GROUP) } else { (weights, &weights[..0]) };
    for (g, blocks) in full.chunks_exact(GROUP / F::SUB_BLOCKS).enumerate() {
        sums = group::<I, F, B>(isa, blocks, GROUP, x, g, sums);
    }
    if !rest.is_empty() {
        sums = group::<I, F, B>(isa, rest, rest.len(), x, whole, sums);
    }
    isa.total(isa.add(sums[0], sums[1]))
}

/// Adds the products of `count` sub-blocks.
#[inline(always)]
fn group<I: Isa, F: Format<B>, const B: usize>(
    isa: I,
    blocks: &[[u8; B]],
    count: usize,
    x: Row,
    g: usize,
    mut sums: [I::Floats; 2],
) -> [I::Floats; 2] {
    let s = F::scales(blocks);
    let x_scales = &x.scales[g];
    let mut scales = [0.0; 2 * GROUP];
    if F::HALVES {
        let (offsets, halves) = (s.offsets.as_chunks::<GROUP>().0, x.halves[g].as_chunks::<GROUP>().0);
        for i in 0..2 {
            sums[i] = isa.mul_add(isa.floats(offsets[i]), isa.floats(halves[i]), sums[i]);
        }
        for i in 0..2 * GROUP {
            scales[i] = s.scales[i] * x_scales[i / 2];
        }
    } else {
        if F::OFFSETS {
            let offsets = isa.floats(s.offsets.as_chunks::<GROUP>().0[0]);
            sums[0] = isa.mul_add(offsets, isa.floats(x.sums[g]), sums[0]);
        }
        for i in 0..GROUP {
            scales[i] = s.scales[i] * x_scales[i];
        }
    }
    for j in 0..count {
        let codes = F::codes(isa, &blocks[j / F::SUB_BLOCKS], j % F::SUB_BLOCKS);
        let products = if F::SIGNED {
            isa.dot::<true>(codes, x.codes[g][j])
        } else {
            isa.dot::<false>(codes, x.codes[g][j])
        };
        let scale = if F::HALVES { isa.pair(scales[2 * j], scales[2 * j + 1]) } else { isa.splat(scales[j]) };
        sums[j % 2] = isa.mul_add(isa.converted(products), scale, sums[j % 2]);
    }
    sums
}
