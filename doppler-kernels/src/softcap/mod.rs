//! A smooth limit on numbers: Gemma 2's final logits.

mod cases;

use doppler_rdrr::DType;
use rayon::prelude::*;

use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant};

/// `y = cap · tanh(x / cap)`.
///
/// | operand  | shape   | dtype |
/// |----------|---------|-------|
/// | `x`, `y` | `[len]` | f32   |
/// # Source
/// Gemma 2, section 2, <https://arxiv.org/abs/2408.00118>
#[derive(Debug, Clone, PartialEq)]
pub struct SoftCap {
    /// Elements.
    pub len: usize,
    /// What no result exceeds.
    pub cap: f32,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "softcap",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl Kernel for SoftCap {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let files = vec![include_str!("softcap.wgsl")];
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![("WG", 256)], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", &[self.len], DType::F32), Operand::write("y", &[self.len], DType::F32)]
    }

    fn params(&self) -> Vec<u8> {
        [(self.len as u32).to_le_bytes(), self.cap.to_le_bytes()].concat()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        grid(self.len.div_ceil(variant.constant("WG") as usize))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let cap = f64::from(self.cap);
        vec![inputs[0].iter().map(|x| (cap * (f64::from(*x) / cap).tanh()) as f32).collect()]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let x: &[f32] = bytemuck::cast_slice(reads[0]);
        let y: &mut [f32] = bytemuck::cast_slice_mut(writes[0]);
        y.par_iter_mut().with_min_len(1 << 14).zip(x).for_each(|(y, x)| *y = self.cap * (x / self.cap).tanh());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let y = &SoftCap { len: 3, cap: 2.0 }.reference(&[&[0.0, 2.0, -1e9]])[0];
        assert_eq!(y[..], [0.0, 2.0 * 1f64.tanh() as f32, -2.0]);
    }
}
