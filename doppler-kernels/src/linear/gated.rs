//! Both products of a gated MLP and its activation.

use doppler_rdrr::{Activation, DType};

use super::{A8, FEATURES, NORM, PARAMS, Shape, cases, params, product, shape, variants, workgroups};
use crate::kernel::host_by_reference;
use crate::{Entry, GatedActivation, Kernel, Operand, Variant};

/// `y = activation(x · gateᵀ) · (x · upᵀ)`, each product with the factor of the norm before it.
///
/// | operand  | shape                             | dtype                        |
/// |----------|-----------------------------------|------------------------------|
/// | `x`      | `[rows, in_features]`             | A8                           |
/// | `weight` | `[2 · out_features, in_features]` | packed, see [`super::takes`]; the rows of gate, then those of up |
/// | `y`      | `[rows, out_features]`            | A8                           |
/// | `energy` | `[rows, in_features / 32]`        | f32                          |
#[derive(Debug, Clone, PartialEq)]
pub struct LinearGated {
    /// Rows of `x`.
    pub rows: usize,
    /// Columns of `y`; a multiple of 64.
    pub out_features: usize,
    /// Columns of `x` and `weight`; whole blocks, a multiple of 64.
    pub in_features: usize,
    /// Format of `weight`.
    pub weight: DType,
    /// Of the gate.
    pub activation: Activation,
    /// Of the norm before it.
    pub eps: f32,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "linear_gated",
    edge_cases: cases::gated_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::gated_strategy,
};

impl Kernel for LinearGated {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let files = [
            A8,
            NORM,
            include_str!("params_4.wgsl"),
            crate::gated_act::activate(self.activation),
            include_str!("gated.wgsl"),
        ];
        let shape = |name, wg, together| shape(name, wg, together, 2 * FEATURES as u32);
        let shapes = match (self.rows, self.in_features) {
            // Where there is much to read, activations are the more worth sharing, and more lanes read what lies together.
            (1, 4096..) => [
                Shape { turns: 2, ..shape("subgroup_256x2", 256, 2) },
                shape("subgroup_512x1", 512, 1),
                shape("subgroup_512x2", 512, 2),
            ],
            (..=2, _) | (..=4, ..4096) => {
                [shape("subgroup_512x1", 512, 1), shape("subgroup_256x2", 256, 2), shape("subgroup_256x1", 256, 1)]
            }
            // As many sums as registers hold.
            _ => [shape("subgroup_256x2", 256, 2), shape("subgroup_512x1", 512, 1), shape("subgroup_512x2", 512, 2)],
        };
        variants(
            [self.rows, self.out_features, self.in_features],
            (self.weight, 2 * self.out_features),
            &shapes,
            PARAMS,
            &files,
        )
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", &[self.rows, self.in_features], DType::A8),
            Operand::read("weight", &[2 * self.out_features, self.in_features], self.weight),
            Operand::write("y", &[self.rows, self.out_features], DType::A8),
            Operand::read("energy", &[self.rows, self.in_features / 32], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        params(self.eps, 1.0)
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        workgroups(variant, self.out_features, FEATURES)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let products = product(inputs[0], inputs[1], self.in_features, Some((inputs[2], self.eps)));
        let (mut gate, mut up) = (Vec::new(), Vec::new());
        for row in products.chunks_exact(2 * self.out_features) {
            gate.extend(row[..self.out_features].iter().map(|v| *v as f32));
            up.extend(row[self.out_features..].iter().map(|v| *v as f32));
        }
        GatedActivation { rows: self.rows, cols: self.out_features, activation: self.activation }
            .reference(&[&gate, &up])
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
