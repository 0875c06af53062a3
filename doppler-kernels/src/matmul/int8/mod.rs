//! Matrix products over packed weights in int8: activations are rounded block by block, as llama.cpp does it.
//!
//! Few rows go through `gemv.rs`, which dots weights as they lie in the file; many through `gemm.rs`, which unpacks the
//! codes of eight features at a time and uses them for all rows.

mod activations;
mod format;
mod gemm;
mod gemv;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use doppler_rdrr::DType;

use super::{MatMul, host};
use crate::isa::{self, Instructions, Isa, WithIsa};
use activations::Activations;
pub use activations::{bytes as activation_bytes, rounded};
use format::{Format, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
pub use gemm::panel_bytes;

/// From this many rows on, unpacking for all of them is the faster way.
const GEMM_ROWS: usize = 4;
/// Features of a panel.
pub const PANEL: usize = 8;

/// As [`super::host::matmul`], for packed weights.
pub fn matmul(m: &MatMul, instructions: Instructions, x: &[f32], weight: &[u8], y: &mut [f32]) {
    if m.out_features == 0 || m.rows == 0 {
        return;
    }
    let x = Activations::new(x, m.in_features);
    match m.weight {
        DType::Q4_0 => share::<Q4_0, 18>(m, instructions, &x, weight, y),
        DType::Q4_1 => share::<Q4_1, 20>(m, instructions, &x, weight, y),
        DType::Q5_0 => share::<Q5_0, 22>(m, instructions, &x, weight, y),
        DType::Q5_1 => share::<Q5_1, 24>(m, instructions, &x, weight, y),
        DType::Q8_0 => share::<Q8_0, 34>(m, instructions, &x, weight, y),
        DType::Q4_K => share::<Q4K, 144>(m, instructions, &x, weight, y),
        DType::Q5_K => share::<Q5K, 176>(m, instructions, &x, weight, y),
        DType::Q6_K => share::<Q6K, 210>(m, instructions, &x, weight, y),
        DType::F32 | DType::F16 | DType::BF16 | DType::U32 | DType::A8 | DType::C8 => {
            unreachable!("unpacked weights have no int8 form")
        }
    }
}

fn share<F: Format<B>, const B: usize>(
    m: &MatMul,
    instructions: Instructions,
    x: &Activations,
    weight: &[u8],
    y: &mut [f32],
) {
    let row_blocks = weight.len() / m.out_features / B;
    host::share(m, weight, y, PANEL, |weights, y| {
        let work = Work::<F, B> { x, weights: weights.as_chunks().0, row_blocks, y, format: PhantomData };
        isa::run_with(instructions, work);
    });
}

/// Consecutive features for all rows.
struct Work<'a, 'y, F, const B: usize> {
    x: &'a Activations,
    /// `[features, row_blocks]`
    weights: &'a [[u8; B]],
    row_blocks: usize,
    /// `[rows, features]`
    y: &'a mut [&'y mut [f32]],
    format: PhantomData<F>,
}

impl<F: Format<B>, const B: usize> WithIsa for Work<'_, '_, F, B> {
    type Output = ();

    #[inline(always)]
    fn with<I: Isa>(self, isa: I) {
        let Work { x, weights, row_blocks, y, .. } = self;
        if y.len() < GEMM_ROWS {
            gemv::features::<I, F, B>(isa, x, weights, row_blocks, y);
        } else {
            gemm::features::<I, F, B>(isa, x, weights, row_blocks, y);
        }
    }
}
