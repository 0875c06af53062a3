//! Rotary position embedding.

mod cases;

use doppler_rdrr::DType;
use rayon::prelude::*;

use crate::isa::{self, Isa, WithIsa};
use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant};

/// Rotates pairs of each head by an angle that grows with the position: element i with element i + rotary_dim / 2
/// (rotate-half); elements beyond `rotary_dim` are copied.
///
/// | operand  | shape                             | dtype |
/// |----------|-----------------------------------|-------|
/// | `x`, `y` | `[rows, num_heads, head_dim]`     | f32   |
/// | `table`  | `[positions, rotary_dim / 2, 2]`  | f32   |
/// | `start`  | `[1]`                             | u32   |
///
/// Row r has position start + r, which must lie in the table; the table holds cos and sin, made in f64.
/// # Source
/// Su et al. 2021, <https://arxiv.org/abs/2104.09864>
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Rows: consecutive positions.
    pub rows: usize,
    /// Heads in a row.
    pub num_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Elements of a head that rotate; even.
    pub rotary_dim: usize,
    /// Positions in the table.
    pub positions: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "rope",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

/// Elements that a thread takes at a time; fewer are not worth one.
const PIECE: usize = 1 << 14;

impl Kernel for Rope {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let files = vec![include_str!("rope.wgsl")];
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![("WG", 256)], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.rows, self.num_heads, self.head_dim];
        vec![
            Operand::read("x", &shape, DType::F32),
            Operand::read("table", &[self.positions, self.rotary_dim / 2, 2], DType::F32),
            Operand::read("start", &[1], DType::U32),
            Operand::write("y", &shape, DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        let sizes = [self.rows, self.num_heads, self.head_dim, self.rotary_dim, self.positions];
        sizes.iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        grid((self.rows * self.num_heads * self.head_dim).div_ceil(variant.constant("WG") as usize))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (x, table, start) = (inputs[0], inputs[1], inputs[2][0] as usize);
        let half = self.rotary_dim / 2;
        let mut y = x.to_vec();
        for (h, (x, y)) in x.chunks_exact(self.head_dim).zip(y.chunks_exact_mut(self.head_dim)).enumerate() {
            let position = start + h / self.num_heads;
            for i in 0..half {
                let at = (position * half + i) * 2;
                let (cos, sin) = (f64::from(table[at]), f64::from(table[at + 1]));
                let (a, b) = (f64::from(x[i]), f64::from(x[i + half]));
                y[i] = (a * cos - b * sin) as f32;
                y[i + half] = (b * cos + a * sin) as f32;
            }
        }
        vec![y]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let (x, table): (&[f32], &[f32]) = (bytemuck::cast_slice(reads[0]), bytemuck::cast_slice(reads[1]));
        let start = bytemuck::cast_slice::<u8, u32>(reads[2])[0] as usize;
        let y: &mut [f32] = bytemuck::cast_slice_mut(writes[0]);
        let row = self.num_heads * self.head_dim;
        let rows = (PIECE / row).max(1);
        let pieces = x.par_chunks(rows * row).zip(y.par_chunks_mut(rows * row)).enumerate();
        pieces.for_each(|(i, (x, y))| {
            let table = &table[(start + i * rows) * self.rotary_dim..];
            isa::run(Turn { rope: self, x, table, y });
        });
    }
}

/// Whole rows, and the table from the first one's position on.
struct Turn<'a> {
    rope: &'a Rope,
    x: &'a [f32],
    table: &'a [f32],
    y: &'a mut [f32],
}

impl WithIsa for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with<I: Isa>(self, _: I) {
        let Rope { num_heads, head_dim, rotary_dim, .. } = *self.rope;
        for (h, (x, y)) in self.x.chunks_exact(head_dim).zip(self.y.chunks_exact_mut(head_dim)).enumerate() {
            let turns = self.table[h / num_heads * rotary_dim..][..rotary_dim].as_chunks::<2>().0;
            let ((x, x_rest), (y, y_rest)) = (x.split_at(rotary_dim), y.split_at_mut(rotary_dim));
            let ((a, b), (y_a, y_b)) = (x.split_at(turns.len()), y.split_at_mut(turns.len()));
            for (i, [cos, sin]) in turns.iter().enumerate() {
                y_a[i] = a[i] * cos - b[i] * sin;
                y_b[i] = b[i] * cos + a[i] * sin;
            }
            y_rest.copy_from_slice(x_rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // A quarter turn at position 1 takes (1, 2) to (-2, 1); element 2 does not rotate.
        let rope = Rope { rows: 1, num_heads: 1, head_dim: 3, rotary_dim: 2, positions: 2 };
        assert_eq!(rope.reference(&[&[1.0, 2.0, 5.0], &[1.0, 0.0, 0.0, 1.0], &[1.0]])[0], [-2.0, 1.0, 5.0]);
    }
}
