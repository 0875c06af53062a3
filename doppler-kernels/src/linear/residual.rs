//! The product added to the residual stream, which is made ready for the next product.

use doppler_rdrr::DType;

use super::{
    A8, ALL_OF_A_PROCESSOR, FEATURES, NO_NORM, PARAMS, Shape, cases, params, product, shape, variants, workgroups,
};
use crate::kernel::host_by_reference;
use crate::quantize::energy;
use crate::{Access, Entry, Kernel, Operand, Variant};

/// `hidden += scale · (x · weightᵀ)`, then [`crate::Quantize`] of `hidden` by the next norm's weight.
///
/// | operand       | shape                         | dtype                        |
/// |---------------|-------------------------------|------------------------------|
/// | `x`           | `[rows, in_features]`         | A8                           |
/// | `weight`      | `[out_features, in_features]` | packed, see [`super::takes`] |
/// | `norm_weight` | `[out_features]`              | f32                          |
/// | `hidden`      | `[rows, out_features]`        | f32, changed in place        |
/// | `y`           | `[rows, out_features]`        | A8                           |
/// | `energy`      | `[rows, out_features / 32]`   | f32                          |
#[derive(Debug, Clone, PartialEq)]
pub struct LinearResidual {
    /// Rows of `x`.
    pub rows: usize,
    /// Rows of `weight`; a multiple of 64.
    pub out_features: usize,
    /// Columns of `x` and `weight`; whole blocks, a multiple of 64.
    pub in_features: usize,
    /// Format of `weight`.
    pub weight: DType,
    /// Of what is added.
    pub scale: f32,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "linear_residual",
    edge_cases: cases::residual_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::residual_strategy,
};

impl LinearResidual {
    /// Rows of activations that a workgroup takes: all, or, where outputs are too few to give each processor of a large device a
    /// workgroup, one or two, as each reads its weights again. Two, too, of a few rows with little to read.
    fn rows_of_a_workgroup(&self) -> u32 {
        const PROCESSORS: usize = 128;
        let blocks = self.out_features / FEATURES;
        let own = if blocks < PROCESSORS { (self.rows * blocks).div_ceil(PROCESSORS).min(2) } else { self.rows };
        if self.rows <= 4 && self.in_features <= 4096 { own.min(2) as u32 } else { own as u32 }
    }
}

impl Kernel for LinearResidual {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        // One workgroup makes a whole block of `y`: there are few, so each is large.
        let shape = |name, wg, together| shape(name, wg, together, FEATURES as u32);
        let shapes = match (self.rows, self.in_features) {
            // Short rows leave lanes of a large one idle.
            (1, ..1024) => {
                [shape("subgroup_512x1", 512, 1), shape("subgroup_512x2", 512, 2), shape("subgroup_1024x1", 1024, 1)]
            }
            (1, _) => {
                [shape("subgroup_1024x1", 1024, 1), shape("subgroup_512x2", 512, 2), shape("subgroup_512x1", 512, 1)]
            }
            (rows, in_features) => {
                let own = self.rows_of_a_workgroup();
                let some = |name, wg| Shape { rows: own, ..shape(name, wg, 1) };
                let (large, small) = (some("subgroup_1024x1", 1024), some("subgroup_512x1", 512));
                // All rows by the only workgroup of a processor.
                let all = Shape { staged: ALL_OF_A_PROCESSOR, ..shape("subgroup_512x1_all", 512, 1) };
                // A large workgroup has registers for few sums, and needs long rows.
                match (rows, own, in_features) {
                    (3..=4, ..=2, ..=4096) if self.out_features >= 4096 => [small, large, all],
                    (..=4, ..=2, 1024..) => [large, small, all],
                    (_, 3.., 8192..) => [all, small, large],
                    // Two on a processor, each with half of the rows.
                    (_, 5.., 1024..) => [Shape { rows: 4, ..shape("subgroup_256x1", 256, 1) }, small, all],
                    _ => [small, large, all],
                }
            }
        };
        let files = [A8, NO_NORM, include_str!("residual.wgsl")];
        variants(
            [self.rows, self.out_features, self.in_features],
            (self.weight, self.out_features),
            &shapes,
            PARAMS,
            &files,
        )
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.rows, self.out_features];
        vec![
            Operand::read("x", &[self.rows, self.in_features], DType::A8),
            Operand::read("weight", &[self.out_features, self.in_features], self.weight),
            Operand::read("norm_weight", &[self.out_features], DType::F32),
            Operand { access: Access::ReadWrite, ..Operand::read("hidden", &shape, DType::F32) },
            Operand::write("y", &shape, DType::A8),
            Operand::write("energy", &[self.rows, self.out_features / 32], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        params(0.0, self.scale)
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        workgroups(variant, self.out_features, FEATURES)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (norm_weight, before) = (inputs[2], inputs[3]);
        let product = product(inputs[0], inputs[1], self.in_features, None);
        let added = |(h, p): (&f32, f64)| (f64::from(*h) + f64::from(self.scale) * p) as f32;
        let hidden: Vec<f32> = before.iter().zip(product).map(added).collect();
        let scaled = hidden.iter().enumerate().map(|(i, h)| h * norm_weight[i % self.out_features]).collect();
        let energy = energy(&hidden);
        vec![hidden, scaled, energy]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
