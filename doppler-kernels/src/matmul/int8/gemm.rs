//! Many rows: the codes of eight features are unpacked side by side, then meet every row of activations.

use super::PANEL;
use super::activations::{Activations, BLOCK, GROUP, Group};
use super::format::Format;
use crate::isa::Isa;

/// Rows of activations that meet a loaded vector of codes.
const ROWS: usize = 4;

/// A sub-block of eight features.
#[derive(Clone, Copy)]
struct Columns {
    /// Word k: 4 codes of each feature.
    codes: [[u8; 4 * PANEL]; BLOCK / 4],
    /// Of each feature, for each half block; the second only where the format has scales of halves.
    scales: [[f32; PANEL]; 2],
    offsets: [[f32; PANEL]; 2],
}

const ZERO: Columns =
    Columns { codes: [[0; 4 * PANEL]; BLOCK / 4], scales: [[0.0; PANEL]; 2], offsets: [[0.0; PANEL]; 2] };

/// Bytes of a panel, of which each thread has one.
pub fn panel_bytes(in_features: usize) -> usize {
    in_features.div_ceil(BLOCK) * size_of::<Columns>()
}

#[inline(always)]
pub fn features<I: Isa, F: Format<B>, const B: usize>(
    isa: I,
    x: &Activations,
    weights: &[[u8; B]],
    row_blocks: usize,
    y: &mut [&mut [f32]],
) {
    let mut panel = vec![ZERO; row_blocks * F::SUB_BLOCKS];
    for (p, weights) in weights.chunks(PANEL * row_blocks).enumerate() {
        unpack::<I, F, B>(isa, weights, row_blocks, &mut panel);
        let count = weights.len() / row_blocks;
        let whole = y.len() / ROWS * ROWS;
        let mut rows = y.chunks_exact_mut(ROWS);
        for (tile, y) in rows.by_ref().enumerate() {
            let first = tile * ROWS;
            let x = [x.row(first), x.row(first + 1), x.row(first + 2), x.row(first + 3)];
            let products = product::<I, F, B, ROWS>(isa, &panel, x);
            for r in 0..ROWS {
                y[r][p * PANEL..][..count].copy_from_slice(&products[r][..count]);
            }
        }
        for (r, y) in rows.into_remainder().iter_mut().enumerate() {
            let [products] = product::<I, F, B, 1>(isa, &panel, [x.row(whole + r)]);
            y[p * PANEL..][..count].copy_from_slice(&products[..count]);
        }
    }
}

/// Up to eight features side by side; what is left of the panel becomes zeros.
#[inline(always)]
fn unpack<I: Isa, F: Format<B>, const B: usize>(isa: I, weights: &[[u8; B]], row_blocks: usize, panel: &mut [Columns]) {
    let none = [[0u8; B]; GROUP];
    let per_group = GROUP / F::SUB_BLOCKS;
    for (g, panel) in panel.chunks_mut(GROUP).enumerate() {
        let blocks = panel.len() / F::SUB_BLOCKS;
        let mut features = [&none[..blocks]; PANEL];
        for (f, feature) in features.iter_mut().enumerate() {
            if let Some(row) = weights.get(f * row_blocks..(f + 1) * row_blocks) {
                *feature = &row[g * per_group..][..blocks];
            }
        }
        for (f, blocks) in features.iter().enumerate() {
            let s = F::scales(isa, blocks);
            for (j, columns) in panel.iter_mut().enumerate() {
                if F::HALVES {
                    for half in 0..2 {
                        columns.scales[half][f] = s.scales[j / 4][j % 4 * 2 + half];
                        columns.offsets[half][f] = s.offsets[j / 4][j % 4 * 2 + half];
                    }
                } else {
                    columns.scales[0][f] = s.scales[0][j];
                    columns.offsets[0][f] = s.offsets[0][j];
                }
            }
        }
        for (j, columns) in panel.iter_mut().enumerate() {
            let mut rows = [isa.bytes([0; 32]); PANEL];
            for f in 0..PANEL {
                rows[f] = F::codes(isa, &features[f][j / F::SUB_BLOCKS], j % F::SUB_BLOCKS);
            }
            let rows = isa.transpose(rows);
            for (codes, row) in columns.codes.iter_mut().zip(rows) {
                *codes = isa.stored(row);
            }
        }
    }
}

/// R rows times the panel.
#[inline(always)]
fn product<I: Isa, F: Format<B>, const B: usize, const R: usize>(
    isa: I,
    panel: &[Columns],
    x: [&[Group]; R],
) -> [[f32; PANEL]; R] {
    let mut y = [isa.splat(0.0); R];
    for (g, panel) in panel.chunks(GROUP).enumerate() {
        for (j, columns) in panel.iter().enumerate() {
            let halves = if F::HALVES { 2 } else { 1 };
            for half in 0..halves {
                let words = BLOCK / 4 / halves;
                let codes = &columns.codes[half * words..][..words];
                let mut x_codes = [&x[0][g].codes[j][..0]; R];
                for r in 0..R {
                    x_codes[r] = &x[r][g].codes[j][half * words..][..words];
                }
                let sums = match (F::SIGNED, F::SUMMABLE) {
                    (true, _) => isa.tile::<true, 1, R>(codes, x_codes),
                    (false, 8) => isa.tile::<false, 8, R>(codes, x_codes),
                    (false, 4) => isa.tile::<false, 4, R>(codes, x_codes),
                    (false, _) => isa.tile::<false, 2, R>(codes, x_codes),
                };
                let (scales, offsets) = (isa.floats(columns.scales[half]), isa.floats(columns.offsets[half]));
                for r in 0..R {
                    let scale = isa.mul(scales, isa.splat(x[r][g].scales[j]));
                    y[r] = isa.mul_add(isa.converted(sums[r]), scale, y[r]);
                    if F::OFFSETS {
                        let x = &x[r][g];
                        let sum = if F::HALVES { x.halves[j / 4][j % 4 * 2 + half] } else { x.sums[j] };
                        y[r] = isa.mul_add(offsets, isa.splat(sum), y[r]);
                    }
                }
            }
        }
    }
    let mut numbers = [[0.0; PANEL]; R];
    for r in 0..R {
        numbers[r] = isa.numbers(y[r]);
    }
    numbers
}
