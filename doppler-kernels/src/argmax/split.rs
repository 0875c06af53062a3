//! [`super::ArgMax`] of one long row in two steps: pieces, then the best of them.

use doppler_rdrr::DType;

use super::cases;
use crate::kernel::host_by_reference;
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// The largest value of each of `splits` equal pieces of a row, and its index; the lowest wins ties.
///
/// | operand  | shape      | dtype |
/// |----------|------------|-------|
/// | `x`      | `[cols]`   | f32   |
/// | `values` | `[splits]` | f32   |
/// | `ids`    | `[splits]` | u32   |
///
/// A piece with a NaN gives 3.4e38 and `u32::MAX`, an empty one -3.4e38 and `u32::MAX`.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgMaxSplit {
    /// Columns.
    pub cols: usize,
    /// Pieces.
    pub splits: usize,
}

/// Finishes an [`ArgMaxSplit`]; `start`, the position of the row, moves on by one for the next one.
///
/// | operand         | shape      | dtype    |
/// |-----------------|------------|----------|
/// | `values`, `ids` | `[splits]` | f32, u32 |
/// | `start`         | `[1]`      | u32, changed in place |
/// | `id`            | `[1]`      | u32; `u32::MAX` when there was a NaN |
#[derive(Debug, Clone, PartialEq)]
pub struct ArgMaxReduce {
    /// Pieces.
    pub splits: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "argmax_split",
    edge_cases: cases::split_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::split_strategy,
};

/// Registry entry.
pub const REDUCE_ENTRY: Entry = Entry {
    name: "argmax_reduce",
    edge_cases: cases::reduce_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::reduce_strategy,
};

const EMPTY: f32 = -3.4e38;
const NAN: f32 = 3.4e38;

fn variant(file: &'static str) -> Vec<Variant> {
    let files = vec![shared::REDUCE_BEST, file];
    vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![("WG", 256)], files }]
}

impl Kernel for ArgMaxSplit {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        variant(include_str!("split.wgsl"))
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", &[self.cols], DType::F32),
            Operand::write("values", &[self.splits], DType::F32),
            Operand::write("ids", &[self.splits], DType::U32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        [self.cols, self.splits].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        [self.splits as u32, 1, 1]
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let length = self.cols.div_ceil(self.splits);
        let piece = |i: usize| {
            let begin = (i * length).min(self.cols);
            let piece = &inputs[0][begin..(begin + length).min(self.cols)];
            match super::argmax(piece) {
                _ if piece.is_empty() => (EMPTY, u32::MAX as f32),
                u32::MAX => (NAN, u32::MAX as f32),
                best => (piece[best as usize], (begin + best as usize) as f32),
            }
        };
        let (values, ids) = (0..self.splits).map(piece).unzip();
        vec![values, ids]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}

impl Kernel for ArgMaxReduce {
    fn name(&self) -> &'static str {
        REDUCE_ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        variant(include_str!("reduce.wgsl"))
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("values", &[self.splits], DType::F32),
            Operand::read("ids", &[self.splits], DType::U32),
            Operand::read_write("start", &[1], DType::U32),
            Operand::write("id", &[1], DType::U32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        (self.splits as u32).to_le_bytes().to_vec()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        [1, 1, 1]
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (values, ids, next) = (inputs[0], inputs[1], vec![inputs[2][0] + 1.0]);
        let none = |i: usize| ids[i] == u32::MAX as f32;
        if (0..self.splits).any(|i| none(i) && values[i] > 0.0) {
            return vec![next, vec![u32::MAX as f32]];
        }
        let pieces = (0..self.splits).filter(|i| !none(*i));
        let best = pieces.reduce(|best, i| {
            let wins = values[i] > values[best] || (values[i] == values[best] && ids[i] < ids[best]);
            if wins { i } else { best }
        });
        vec![next, vec![best.map_or(u32::MAX as f32, |best| ids[best])]]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
