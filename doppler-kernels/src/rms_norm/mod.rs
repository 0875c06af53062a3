//! Root-mean-square normalisation of rows.

mod cases;
mod host;
mod reference;

use doppler_rdrr::DType;

use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// Root-mean-square normalisation of each row: `y = x / sqrt(mean(x²) + eps) · weight`.
///
/// | operand  | shape          | dtype |
/// |----------|----------------|-------|
/// | `x`, `y` | `[rows, cols]` | f32   |
/// | `weight` | `[cols]`       | f32   |
///
/// Any `rows` and `cols`; accumulates in f32.
/// # Source
/// Zhang and Sennrich 2019, <https://arxiv.org/abs/1910.07467>
#[derive(Debug, Clone, PartialEq)]
pub struct RmsNorm {
    /// Rows of `x`.
    pub rows: usize,
    /// Columns of `x`.
    pub cols: usize,
    /// Added to the mean square.
    pub eps: f32,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "rms_norm",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

const BODY: &str = include_str!("rms_norm.wgsl");

impl Kernel for RmsNorm {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let variant =
            |name, needs, reduce| Variant { name, needs, consts: vec![("WG", 256)], files: vec![reduce, BODY] };
        vec![
            variant("subgroup", Tier::SUBGROUP, shared::REDUCE_SUBGROUP),
            variant("portable", Tier::PORTABLE, shared::REDUCE),
        ]
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", &[self.rows, self.cols], DType::F32),
            Operand::read("weight", &[self.cols], DType::F32),
            Operand::write("y", &[self.rows, self.cols], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        bytemuck::cast_slice(&[self.rows as u32, self.cols as u32, self.eps.to_bits()]).to_vec()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.rows)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        vec![reference::rms_norm(inputs[0], inputs[1], self.eps)]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let y = bytemuck::cast_slice_mut(writes[0]);
        host::rms_norm(bytemuck::cast_slice(reads[0]), bytemuck::cast_slice(reads[1]), self.eps, y);
    }
}
