//! Element-wise sum: the residual connection.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant};

/// `y = a + b`.
///
/// | operand       | shape   | dtype |
/// |---------------|---------|-------|
/// | `a`, `b`, `y` | `[len]` | f32   |
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    /// Elements.
    pub len: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "add",
    edge_cases: cases::edge_cases,
    bench_cases: cases::bench_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl Kernel for Add {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let files = vec![include_str!("add.wgsl")];
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![("WG", 256)], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.len];
        vec![
            Operand::read("a", &shape, DType::F32),
            Operand::read("b", &shape, DType::F32),
            Operand::write("y", &shape, DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        (self.len as u32).to_le_bytes().to_vec()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        grid(self.len.div_ceil(variant.constant("WG") as usize))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let sum = |(a, b): (&f32, &f32)| (f64::from(*a) + f64::from(*b)) as f32;
        vec![inputs[0].iter().zip(inputs[1]).map(sum).collect()]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let (a, b): (&[f32], &[f32]) = (bytemuck::cast_slice(reads[0]), bytemuck::cast_slice(reads[1]));
        let y: &mut [f32] = bytemuck::cast_slice_mut(writes[0]);
        y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = a + b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(Add { len: 2 }.reference(&[&[1.0, -2.0], &[0.5, 2.0]])[0], [1.5, 0.0]);
    }
}
