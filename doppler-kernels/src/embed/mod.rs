//! Embedding lookup in a table of any weight format.

mod cases;
mod quantized;

use doppler_rdrr::DType;

use crate::kernel::grid;
use crate::{Access, Entry, Kernel, Operand, Tier, Variant, shared};

pub use quantized::{ENTRY as QUANTIZED_ENTRY, EmbedQuantize};

/// `y[r] = scale · weight[ids[r]]`.
///
/// | operand  | shape                       | dtype                   |
/// |----------|-----------------------------|-------------------------|
/// | `ids`    | `[rows]`                    | u32                     |
/// | `weight` | `[vocab_rows, hidden_size]` | any of `DType::WEIGHTS` |
/// | `y`      | `[rows, hidden_size]`       | f32                     |
///
/// A table that is too large to bind is given in parts of whole rows: each part writes the rows whose ids it holds and
/// leaves the others. An id outside of the vocabulary gives a row of NaN.
#[derive(Debug, Clone, PartialEq)]
pub struct Embed {
    /// Ids.
    pub rows: usize,
    /// Columns of the table; whole blocks.
    pub hidden_size: usize,
    /// The id of this part's first row.
    pub vocab_start: usize,
    /// Rows of this part.
    pub vocab_rows: usize,
    /// Rows of the whole table.
    pub vocab_size: usize,
    /// Format of the table.
    pub weight: DType,
    /// Factor.
    pub scale: f32,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "embed",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

const BODY: &str = include_str!("embed.wgsl");

impl Embed {
    fn is_whole(&self) -> bool {
        self.vocab_rows == self.vocab_size
    }

    /// The row of this part that `id` names; `Some(None)` for a row of NaN, `None` to leave the row.
    fn row_of(&self, id: u32) -> Option<Option<usize>> {
        let id = id as usize;
        if id >= self.vocab_size {
            return (self.vocab_start == 0).then_some(None);
        }
        id.checked_sub(self.vocab_start).filter(|row| *row < self.vocab_rows).map(Some)
    }
}

impl Kernel for Embed {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let mut files = vec![BODY];
        files.extend(shared::load(self.weight));
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        let y = Operand::write("y", &[self.rows, self.hidden_size], DType::F32);
        vec![
            Operand::read("ids", &[self.rows], DType::U32),
            Operand::read("weight", &[self.vocab_rows, self.hidden_size], self.weight),
            Operand { access: if self.is_whole() { Access::Write } else { Access::ReadWrite }, ..y },
        ]
    }

    fn params(&self) -> Vec<u8> {
        let sizes = [self.rows, self.hidden_size, self.vocab_start, self.vocab_rows, self.vocab_size];
        sizes.iter().map(|n| *n as u32).chain([self.scale.to_bits()]).flat_map(u32::to_le_bytes).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid((self.rows * self.hidden_size.div_ceil(32)).div_ceil(64))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (ids, weight) = (inputs[0], inputs[1]);
        let mut y = inputs.get(2).map_or_else(|| vec![0.0; self.rows * self.hidden_size], |y| y.to_vec());
        for (id, y) in ids.iter().zip(y.chunks_exact_mut(self.hidden_size)) {
            match self.row_of(*id as u32) {
                Some(Some(row)) => {
                    let row = &weight[row * self.hidden_size..][..self.hidden_size];
                    y.iter_mut().zip(row).for_each(|(y, w)| *y = (f64::from(self.scale) * f64::from(*w)) as f32);
                }
                Some(None) => y.fill(f32::NAN),
                None => {}
            }
        }
        vec![y]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let row_bytes = reads[1].len() / self.vocab_rows;
        let y: &mut [f32] = bytemuck::cast_slice_mut(writes[0]);
        for (id, y) in bytemuck::cast_slice::<u8, u32>(reads[0]).iter().zip(y.chunks_exact_mut(self.hidden_size)) {
            match self.row_of(*id) {
                Some(Some(row)) => {
                    crate::matmul::decode_row(self.weight, &reads[1][row * row_bytes..][..row_bytes], y);
                    y.iter_mut().for_each(|v| *v *= self.scale);
                }
                Some(None) => y.fill(f32::NAN),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let part = Embed {
            rows: 3,
            hidden_size: 2,
            vocab_start: 2,
            vocab_rows: 2,
            vocab_size: 9,
            weight: DType::F32,
            scale: 2.0,
        };
        let y = part.reference(&[&[3.0, 1.0, 2.0], &[1.0, 2.0, 3.0, 4.0], &[0.5; 6]]);
        assert_eq!(y[0], [6.0, 8.0, 0.5, 0.5, 2.0, 4.0]);
        let whole = Embed { rows: 1, vocab_start: 0, vocab_rows: 2, vocab_size: 2, ..part };
        assert!(whole.reference(&[&[2.0], &[0.0; 4]])[0].iter().all(|v| v.is_nan()));
    }
}
