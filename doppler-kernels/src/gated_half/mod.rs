//! The gated activation of an MLP as rows of f16, for products on matrix units.

mod cases;

use doppler_rdrr::{Activation, DType};

use crate::gated_act::activate;
use crate::half_rows::half_row;
use crate::kernel::{grid, host_by_reference};
use crate::{Entry, GatedActivation, Kernel, Operand, Tier, Variant, shared};

/// [`crate::HalfRows`] of `activation(gate) · up`.
///
/// | operand   | shape             | dtype                                      |
/// |-----------|-------------------|--------------------------------------------|
/// | `gate_up` | `[rows, 2, cols]` | f32: of each row the gate, then what it is multiplied with |
/// | `y`       | `[rows, cols]`    | f16                                        |
/// | `scale`   | `[rows]`          | f32                                        |
#[derive(Debug, Clone, PartialEq)]
pub struct GatedHalf {
    /// Rows.
    pub rows: usize,
    /// Columns; a multiple of 4.
    pub cols: usize,
    /// Of the gate.
    pub activation: Activation,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "gated_half",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl Kernel for GatedHalf {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let variant = |name, needs, wg, reduce| Variant {
            name,
            needs,
            consts: vec![("WG", wg), ("IN_FEATURES", self.cols as u32)],
            files: vec![reduce, shared::HALF_SCALE, activate(self.activation), include_str!("gated_half.wgsl")],
        };
        let subgroup = |invocations| Tier { invocations, ..Tier::SUBGROUP };
        vec![
            variant("subgroup_512", subgroup(512), 512, shared::REDUCE_SUBGROUP),
            variant("subgroup_1024", subgroup(1024), 1024, shared::REDUCE_SUBGROUP),
            variant("subgroup", subgroup(256), 256, shared::REDUCE_SUBGROUP),
            variant("portable", Tier::PORTABLE, 256, shared::REDUCE),
        ]
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("gate_up", &[self.rows, 2, self.cols], DType::F32),
            Operand::write("y", &[self.rows, self.cols], DType::F16),
            Operand::write("scale", &[self.rows], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        (self.rows as u32).to_le_bytes().to_vec()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.rows)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let row = GatedActivation { rows: 1, cols: self.cols, activation: self.activation };
        let gated = |both: &[f32]| {
            let (gate, up) = both.split_at(self.cols);
            half_row(&row.reference(&[gate, up])[0])
        };
        let (rows, scales): (Vec<_>, Vec<_>) = inputs[0].chunks_exact(2 * self.cols).map(gated).unzip();
        vec![rows.concat(), scales]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let kernel = GatedHalf { rows: 1, cols: 4, activation: Activation::Silu };
        let y = kernel.reference(&[&[0.0, 100.0, 0.0, -200.0, 5.0, 3.0, 9.0, 1.0]]);
        // 100 · 3 lies between 256 and 512; the gate of -200 is closed.
        assert_eq!(y, [vec![0.0, 1200.0, 0.0, 0.0], vec![0.25]]);
    }
}
