//! Reading and nothing else: what the bandwidth of a memory is measured with.

mod cases;

use doppler_rdrr::DType;
use rayon::prelude::*;

use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// `y[p]` is the sum of the p-th of `pieces` equal pieces of `x`, in fours; the last may be shorter or empty.
///
/// | operand | shape      | dtype |
/// |---------|------------|-------|
/// | `x`     | `[len]`    | f32   |
/// | `y`     | `[pieces]` | f32   |
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Elements; a multiple of 4.
    pub len: usize,
    /// Pieces: workgroups.
    pub pieces: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "stream",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl Stream {
    /// The pieces of `x`, the empty ones, too.
    fn pieces<'a>(&self, x: &'a [f32]) -> Vec<&'a [f32]> {
        let length = 4 * (self.len / 4).div_ceil(self.pieces);
        (0..self.pieces).map(|p| &x[(p * length).min(x.len())..((p + 1) * length).min(x.len())]).collect()
    }
}

impl Kernel for Stream {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let files = vec![shared::REDUCE, include_str!("stream.wgsl")];
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![("WG", 256)], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", &[self.len], DType::F32), Operand::write("y", &[self.pieces], DType::F32)]
    }

    fn params(&self) -> Vec<u8> {
        [(self.len / 4) as u32, self.pieces as u32].iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.pieces)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let sum = |piece: &&[f32]| piece.iter().map(|v| f64::from(*v)).sum::<f64>() as f32;
        vec![self.pieces(inputs[0]).iter().map(sum).collect()]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let x: &[f32] = bytemuck::cast_slice(reads[0]);
        let y: &mut [f32] = bytemuck::cast_slice_mut(writes[0]);
        y.par_iter_mut().zip(self.pieces(x)).for_each(|(y, piece)| {
            // So many sums at a time are vectors.
            let (chunks, rest) = piece.as_chunks::<32>();
            let mut sums = [0f32; 32];
            chunks.iter().for_each(|chunk| sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += v));
            *y = sums.iter().sum::<f32>() + rest.iter().sum::<f32>();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let x = [1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
        assert_eq!(Stream { len: 8, pieces: 2 }.reference(&[&x])[0], [10.0, 100.0]);
        assert_eq!(Stream { len: 8, pieces: 3 }.reference(&[&x])[0], [10.0, 100.0, 0.0]);
    }
}
