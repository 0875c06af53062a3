//! Putting the pieces of a split attention together.

use doppler_rdrr::DType;

use super::cases;
use crate::kernel::{grid, host_by_reference};
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// Finishes an [`super::AttentionSplit`].
///
/// | operand    | shape                                               | dtype |
/// |------------|-----------------------------------------------------|-------|
/// | `partials` | `[rows, num_attention_heads, splits, head_dim + 2]` | f32   |
/// | `y`        | `[rows, num_attention_heads · head_dim]`            | f32, or A8 in heads of whole blocks |
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionReduce {
    /// Rows.
    pub rows: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Pieces.
    pub splits: usize,
    /// F32 or A8.
    pub y: DType,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "attention_reduce",
    edge_cases: cases::reduce_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::reduce_strategy,
};

const WG: usize = 256;

impl AttentionReduce {
    /// Output elements of a workgroup, whole blocks of int8: fewer, and more invocations for each, where there are many pieces.
    fn elements(&self) -> usize {
        if self.splits > 64 { 32 } else { 64 }
    }

    fn reduce(&self, partials: &[f32], mut write: impl FnMut(usize, f64)) {
        let pitch = self.head_dim + 2;
        for (query, pieces) in partials.chunks_exact(self.splits * pitch).enumerate() {
            let largest = pieces.chunks_exact(pitch).map(|p| f64::from(p[0])).fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = pieces.chunks_exact(pitch).map(|p| (f64::from(p[0]) - largest).exp()).collect();
            let of = |i: usize| pieces.chunks_exact(pitch).zip(&weights).map(|(p, w)| w * f64::from(p[i])).sum::<f64>();
            let total = of(1);
            (0..self.head_dim).for_each(|d| write(query * self.head_dim + d, of(2 + d) / total));
        }
    }
}

impl Kernel for AttentionReduce {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let consts = vec![("WG", WG as u32), ("SLICES", (WG / self.elements()) as u32)];
        let mut files = match self.y {
            DType::A8 => vec![shared::A8, include_str!("reduce_a8.wgsl")],
            _ => vec![include_str!("reduce_f32.wgsl")],
        };
        files.push(include_str!("reduce.wgsl"));
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts, files }]
    }

    fn operands(&self) -> Vec<Operand> {
        let (rows, heads) = (self.rows, self.num_attention_heads);
        vec![
            Operand::read("partials", &[rows, heads, self.splits, self.head_dim + 2], DType::F32),
            Operand::write("y", &[rows, heads * self.head_dim], self.y),
        ]
    }

    fn params(&self) -> Vec<u8> {
        let sizes = [self.rows, self.num_attention_heads, self.head_dim, self.splits];
        sizes.iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid((self.rows * self.num_attention_heads * self.head_dim).div_ceil(self.elements()))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let mut y = vec![0.0; self.rows * self.num_attention_heads * self.head_dim];
        self.reduce(inputs[0], |i, v| y[i] = v as f32);
        vec![y]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        if self.y == DType::A8 {
            return host_by_reference(self, reads, writes);
        }
        let y: &mut [f32] = bytemuck::cast_slice_mut(writes[0]);
        self.reduce(bytemuck::cast_slice(reads[0]), |i, v| y[i] = v as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Two pieces with equal maxima, weights 1 and 3, and an empty one.
        let partials = [0.0, 1.0, 10.0, 0.0, 3.0, 60.0, -1e30, 0.0, 0.0];
        let reduce = AttentionReduce { rows: 1, num_attention_heads: 1, head_dim: 1, splits: 3, y: DType::F32 };
        assert_eq!(reduce.reference(&[&partials])[0], [17.5]);
    }
}
