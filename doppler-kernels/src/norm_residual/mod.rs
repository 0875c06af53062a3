//! A branch's own norm, the residual stream, and the next product's input: families that norm what a branch gives.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::{grid, host_by_reference};
use crate::quantize::energy;
use crate::{Access, Entry, Kernel, Operand, RmsNorm, Tier, Variant, shared};

/// `hidden += scale · rms_norm(x) · weight`, then [`crate::Quantize`] of `hidden` by the next norm's weight.
///
/// | operand                 | shape               | dtype                 |
/// |-------------------------|---------------------|-----------------------|
/// | `x`                     | `[rows, cols]`      | f32                   |
/// | `weight`, `norm_weight` | `[cols]`            | f32                   |
/// | `hidden`                | `[rows, cols]`      | f32, changed in place |
/// | `y`                     | `[rows, cols]`      | A8                    |
/// | `energy`                | `[rows, cols / 32]` | f32                   |
#[derive(Debug, Clone, PartialEq)]
pub struct NormResidual {
    /// Rows.
    pub rows: usize,
    /// Columns; a multiple of 64.
    pub cols: usize,
    /// Added to the mean square.
    pub eps: f32,
    /// Of what is added.
    pub scale: f32,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "norm_residual",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl Kernel for NormResidual {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let variant = |name, needs, wg, reduce| Variant {
            name,
            needs,
            consts: vec![("WG", wg)],
            files: vec![reduce, shared::A8, include_str!("norm_residual.wgsl")],
        };
        vec![
            variant("subgroup_1024", Tier { invocations: 1024, ..Tier::SUBGROUP }, 1024, shared::REDUCE_SUBGROUP),
            variant("subgroup", Tier::SUBGROUP, 256, shared::REDUCE_SUBGROUP),
            variant("portable", Tier::PORTABLE, 256, shared::REDUCE),
        ]
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.rows, self.cols];
        vec![
            Operand::read("x", &shape, DType::F32),
            Operand::read("weight", &[self.cols], DType::F32),
            Operand::read("norm_weight", &[self.cols], DType::F32),
            Operand { access: Access::ReadWrite, ..Operand::read("hidden", &shape, DType::F32) },
            Operand::write("y", &shape, DType::A8),
            Operand::write("energy", &[self.rows, self.cols / 32], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        bytemuck::cast_slice(&[self.rows as u32, self.cols as u32, self.eps.to_bits(), self.scale.to_bits()]).to_vec()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.rows)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let [x, weight, norm_weight, before] = inputs else { unreachable!("four inputs") };
        let branch = RmsNorm { rows: self.rows, cols: self.cols, eps: self.eps }.reference(&[x, weight]).remove(0);
        let hidden: Vec<f32> = before.iter().zip(branch).map(|(h, b)| h + self.scale * b).collect();
        let scaled = hidden.iter().enumerate().map(|(i, h)| h * norm_weight[i % self.cols]).collect();
        let energy = energy(&hidden);
        vec![hidden, scaled, energy]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
