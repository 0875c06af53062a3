//! The index of the largest value: greedy sampling.

mod cases;
mod split;

pub use split::{ArgMaxReduce, ArgMaxSplit, ENTRY as SPLIT_ENTRY, REDUCE_ENTRY};

use doppler_rdrr::DType;

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
        ids.iter_mut().zip(x.chunks_exact(self.cols)).for_each(|(id, row)| *id = argmax(row));
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
