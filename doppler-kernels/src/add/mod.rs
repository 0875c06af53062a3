//! Element-wise sum: the residual connection, and biases.

mod cases;

use doppler_rdrr::DType;
use rayon::prelude::*;

use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant};

/// `y[i] = a[i] + scale · b[i mod period]`.
///
/// | operand  | shape      | dtype |
/// |----------|------------|-------|
/// | `a`, `y` | `[len]`    | f32   |
/// | `b`      | `[period]` | f32   |
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    /// Elements.
    pub len: usize,
    /// Elements of `b`, which repeats: `len` for a sum, the length of a row for a bias.
    pub period: usize,
    /// What `b` is multiplied by.
    pub scale: f32,
}

impl Add {
    /// `a + b`.
    #[must_use]
    pub fn sum(len: usize) -> Add {
        Add { len, period: len, scale: 1.0 }
    }

    /// A bias for each of `rows` rows.
    #[must_use]
    pub fn bias(rows: usize, cols: usize) -> Add {
        Add { len: rows * cols, period: cols, scale: 1.0 }
    }
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "add",
    edge_cases: cases::edge_cases,
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
            Operand::read("b", &[self.period], DType::F32),
            Operand::write("y", &shape, DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        [(self.len as u32).to_le_bytes(), (self.period as u32).to_le_bytes(), self.scale.to_le_bytes()].concat()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        grid(self.len.div_ceil(variant.constant("WG") as usize))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let sum = |(a, b): (&f32, &f32)| (f64::from(*a) + f64::from(self.scale) * f64::from(*b)) as f32;
        vec![inputs[0].iter().zip(inputs[1].iter().cycle()).map(sum).collect()]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let (a, b): (&[f32], &[f32]) = (bytemuck::cast_slice(reads[0]), bytemuck::cast_slice(reads[1]));
        let y: &mut [f32] = bytemuck::cast_slice_mut(writes[0]);
        let add = |y: &mut [f32], a: &[f32], b: &[f32]| {
            y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = a + self.scale * b);
        };
        if self.period == self.len {
            let pieces = y.par_chunks_mut(PIECE).zip(a.par_chunks(PIECE).zip(b.par_chunks(PIECE)));
            return pieces.for_each(|(y, (a, b))| add(y, a, b));
        }
        let piece = self.period * (PIECE / self.period).max(1);
        y.par_chunks_mut(piece).zip(a.par_chunks(piece)).for_each(|(y, a)| {
            y.chunks_mut(self.period).zip(a.chunks(self.period)).for_each(|(y, a)| add(y, a, b));
        });
    }
}

/// Elements that a thread takes at a time on the CPU; fewer are not worth one.
const PIECE: usize = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(Add::sum(2).reference(&[&[1.0, -2.0], &[0.5, 2.0]])[0], [1.5, 0.0]);
        let bias = Add { scale: 2.0, ..Add::bias(2, 2) };
        assert_eq!(bias.reference(&[&[1.0, 2.0, 3.0, 4.0], &[0.5, -1.0]])[0], [2.0, 0.0, 4.0, 2.0]);
    }
}
