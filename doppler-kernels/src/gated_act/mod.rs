//! The gated activation of an MLP.

mod cases;

use doppler_rdrr::{Activation, DType};
use rayon::prelude::*;

use crate::isa::{self, Isa, WithIsa};
use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant};

/// `y = activation(gate) · up`.
///
/// | operand           | shape          | dtype |
/// |-------------------|----------------|-------|
/// | `gate`, `up`, `y` | `[rows, cols]` | f32   |
///
/// # Source
/// Shazeer 2020, <https://arxiv.org/abs/2002.05202>
#[derive(Debug, Clone, PartialEq)]
pub struct GatedActivation {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Of the gate.
    pub activation: Activation,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "gated_act",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

/// `fn activate(v)` in WGSL.
pub(crate) fn activate(activation: Activation) -> &'static str {
    match activation {
        Activation::Silu => include_str!("silu.wgsl"),
        Activation::GeluTanh => include_str!("gelu_tanh.wgsl"),
    }
}

impl Kernel for GatedActivation {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let (consts, files) = (vec![("WG", 256)], vec![activate(self.activation), include_str!("gated_act.wgsl")]);
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts, files }]
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.rows, self.cols];
        vec![
            Operand::read("gate", &shape, DType::F32),
            Operand::read("up", &shape, DType::F32),
            Operand::write("y", &shape, DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        ((self.rows * self.cols) as u32).to_le_bytes().to_vec()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        grid((self.rows * self.cols).div_ceil(variant.constant("WG") as usize))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let activate = |v: f64| match self.activation {
            Activation::Silu => v / (1.0 + (-v).exp()),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v.powi(3));
                0.5 * v * (1.0 + inner.tanh())
            }
        };
        let gated = |(gate, up): (&f32, &f32)| (activate(f64::from(*gate)) * f64::from(*up)) as f32;
        vec![inputs[0].iter().zip(inputs[1]).map(gated).collect()]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let (gate, up): (&[f32], &[f32]) = (bytemuck::cast_slice(reads[0]), bytemuck::cast_slice(reads[1]));
        let y: &mut [f32] = bytemuck::cast_slice_mut(writes[0]);
        let pieces = y.par_chunks_mut(PIECE).zip(gate.par_chunks(PIECE).zip(up.par_chunks(PIECE)));
        pieces.for_each(|(y, (gate, up))| isa::run(Gate { activation: self.activation, gate, up, y }));
    }
}

/// Elements that a thread takes at a time on the CPU; fewer are not worth one.
const PIECE: usize = 1 << 13;

struct Gate<'a> {
    activation: Activation,
    gate: &'a [f32],
    up: &'a [f32],
    y: &'a mut [f32],
}

impl WithIsa for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn with<I: Isa>(self, isa: I) {
        for (y, gate) in self.y.chunks_mut(8).zip(self.gate.chunks(8)) {
            let gate = isa.floats(isa::padded(gate));
            let z = match self.activation {
                Activation::Silu => gate,
                Activation::GeluTanh => {
                    let inner = isa.mul_add(isa.mul(gate, gate), isa.splat(0.044_715), isa.splat(1.0));
                    isa.mul(isa.mul(gate, inner), isa.splat(2.0 * 0.797_884_6))
                }
            };
            // Both are gate / (1 + e^−z): tanh(z / 2) = 2 / (1 + e^−z) − 1.
            let power = isa.exp(isa.mul(z, isa.splat(-1.0)));
            isa::put(y, isa.numbers(isa.div(gate, isa.add(isa.splat(1.0), power))));
        }
        self.y.iter_mut().zip(self.up).for_each(|(y, up)| *y *= up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let silu = GatedActivation { rows: 1, cols: 2, activation: Activation::Silu };
        let y = silu.reference(&[&[0.0, 2.0], &[5.0, 3.0]]);
        assert_eq!(y[0][0], 0.0);
        assert!((y[0][1] - 5.284_782).abs() < 1e-5, "2 / (1 + e^-2) * 3");
        let gelu = GatedActivation { activation: Activation::GeluTanh, ..silu };
        assert!((gelu.reference(&[&[1.0, -1e4], &[1.0, 1.0]])[0][0] - 0.841_192).abs() < 1e-5);
    }
}
