//! The index of the largest value: greedy sampling.

mod cases;
mod split;

pub use split::{ArgMaxReduce, ArgMaxSplit, ENTRY as SPLIT_ENTRY, REDUCE_ENTRY};

use doppler_rdrr::DType;
use rayon::prelude::*;

use crate::isa::{self, Isa, WithIsa};
use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// The index of each row's largest value; the lowest wins ties. A row with a NaN gives `u32::MAX`.
///
/// | operand | shape          | dtype |
/// |---------|----------------|-------|
/// | `x`     | `[rows, cols]` | f32   |
/// | `ids`   | `[rows]`       | u32   |
#[derive(Debug, Clone, PartialEq)]
pub struct ArgMax {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "argmax",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

fn argmax(row: &[f32]) -> u32 {
    if row.iter().any(|v| v.is_nan()) {
        return u32::MAX;
    }
    let best = row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best });
    best as u32
}

impl Kernel for ArgMax {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let files = vec![shared::REDUCE_BEST, include_str!("argmax.wgsl")];
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![("WG", 256)], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", &[self.rows, self.cols], DType::F32), Operand::write("ids", &[self.rows], DType::U32)]
    }

    fn params(&self) -> Vec<u8> {
        [self.rows, self.cols].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.rows)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        vec![inputs[0].chunks_exact(self.cols).map(|row| argmax(row) as f32).collect()]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let x: &[f32] = bytemuck::cast_slice(reads[0]);
        let ids: &mut [u32] = bytemuck::cast_slice_mut(writes[0]);
        ids.iter_mut().zip(x.chunks_exact(self.cols)).for_each(|(id, row)| {
            *id = if row.len() < 2 * PIECE { isa::run(Best(row)).1 } else { best_of_pieces(row) };
        });
    }
}

/// Elements that a thread takes at a time on the CPU.
const PIECE: usize = 1 << 14;

fn best_of_pieces(row: &[f32]) -> u32 {
    let best = row.par_chunks(PIECE).map(|piece| isa::run(Best(piece))).collect::<Vec<_>>();
    let mut result = best[0];
    for (piece, &(value, id)) in best.iter().enumerate() {
        if id == u32::MAX {
            return id;
        }
        if value > result.0 {
            result = (value, (piece * PIECE) as u32 + id);
        }
    }
    result.1
}

/// The largest value and the first index that has it; `u32::MAX` where there is a NaN.
struct Best<'a>(&'a [f32]);

impl WithIsa for Best<'_> {
    type Output = (f32, u32);

    #[inline(always)]
    fn with<I: Isa>(self, isa: I) -> (f32, u32) {
        let (eights, rest) = self.0.as_chunks::<8>();
        let mut largest = isa.splat(f32::NEG_INFINITY);
        // Zero times a finite number or NaN: only an infinity that is a logit would be mistaken, and is looked at again.
        let mut sum = isa.splat(0.0);
        for eight in eights {
            let eight = isa.floats(*eight);
            largest = isa.max(largest, eight);
            sum = isa.mul_add(eight, isa.splat(0.0), sum);
        }
        let suspect = isa.total(sum).is_nan() || rest.iter().any(|v| v.is_nan());
        if suspect && self.0.iter().any(|v| v.is_nan()) {
            return (f32::NAN, u32::MAX);
        }
        let mut best = f32::NEG_INFINITY;
        for value in isa.numbers(largest).iter().chain(rest) {
            best = if *value > best { *value } else { best };
        }
        (best, self.0.iter().position(|value| *value == best).unwrap_or(0) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let rows = [1.0, 3.0, 3.0, -1.0, f32::NAN, 9.0];
        assert_eq!(ArgMax { rows: 2, cols: 3 }.reference(&[&rows])[0], [1.0, u32::MAX as f32]);
    }
}
