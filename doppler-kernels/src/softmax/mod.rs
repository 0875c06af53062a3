//! Softmax of rows.

mod cases;

use doppler_rdrr::DType;

use crate::isa::{self, Isa, WithIsa};
use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// Each row: `y = exp(x − max) / Σ exp(x − max)`.
///
/// | operand  | shape          | dtype |
/// |----------|----------------|-------|
/// | `x`, `y` | `[rows, cols]` | f32   |
#[derive(Debug, Clone, PartialEq)]
pub struct Softmax {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "softmax",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl Kernel for Softmax {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let body = include_str!("softmax.wgsl");
        let variant =
            |name, needs, reduce| Variant { name, needs, consts: vec![("WG", 256)], files: vec![reduce, body] };
        vec![
            variant("subgroup", Tier::SUBGROUP, shared::REDUCE_SUBGROUP),
            variant("portable", Tier::PORTABLE, shared::REDUCE),
        ]
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.rows, self.cols];
        vec![Operand::read("x", &shape, DType::F32), Operand::write("y", &shape, DType::F32)]
    }

    fn params(&self) -> Vec<u8> {
        [self.rows, self.cols].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.rows)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let mut y = Vec::with_capacity(inputs[0].len());
        for row in inputs[0].chunks_exact(self.cols) {
            let largest = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(f64::from(*v)));
            let powers: Vec<f64> = row.iter().map(|v| (f64::from(*v) - largest).exp()).collect();
            let sum: f64 = powers.iter().sum();
            y.extend(powers.iter().map(|p| (p / sum) as f32));
        }
        vec![y]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let x: &[f32] = bytemuck::cast_slice(reads[0]);
        let y: &mut [f32] = bytemuck::cast_slice_mut(writes[0]);
        for (x, y) in x.chunks_exact(self.cols).zip(y.chunks_exact_mut(self.cols)) {
            isa::run(Row { x, y });
        }
    }
}

struct Row<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithIsa for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with<I: Isa>(self, isa: I) {
        let mut largest = isa.splat(f32::NEG_INFINITY);
        let (eights, rest) = self.x.as_chunks::<8>();
        for eight in eights {
            largest = isa.max(isa.floats(*eight), largest);
        }
        let largest = isa.numbers(largest).iter().chain(rest).fold(f32::NEG_INFINITY, |m, v| m.max(*v));
        let shift = isa.splat(-largest);
        let mut total = 0.0;
        for (x, y) in self.x.chunks(8).zip(self.y.chunks_mut(8)) {
            let powers = isa.exp(isa.add(isa.floats(isa::padded(x)), shift));
            isa::put(y, isa.numbers(powers));
            total += y.iter().map(|p| f64::from(*p)).sum::<f64>();
        }
        let scale = (1.0 / total) as f32;
        self.y.iter_mut().for_each(|y| *y *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let y = Softmax { rows: 1, cols: 3 }.reference(&[&[1000.0, 1000.0, -1000.0]]);
        assert_eq!(y[0], [0.5, 0.5, 0.0]);
    }
}
