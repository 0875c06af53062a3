//! Rows as f16 with a scale each, for products on matrix units.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::{grid, host_by_reference};
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// `y = x / scale` in f16: no element of a row is beyond its range, however large the row is.
///
/// | operand | shape          | dtype |
/// |---------|----------------|-------|
/// | `x`     | `[rows, cols]` | f32   |
/// | `y`     | `[rows, cols]` | f16   |
/// | `scale` | `[rows]`       | f32: the power of two that brings a row's largest magnitude to 1024 … 2048 |
#[derive(Debug, Clone, PartialEq)]
pub struct HalfRows {
    /// Rows.
    pub rows: usize,
    /// Columns; even.
    pub cols: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "half_rows",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

/// A row in f16 and its scale.
pub(crate) fn half_row(row: &[f32]) -> (Vec<f32>, f32) {
    let largest = row.iter().fold(0f32, |m, v| m.max(v.abs()));
    let scale = if largest > 1e-30 { f32::from_bits(largest.to_bits() & 0x7F80_0000) / 1024.0 } else { 1.0 };
    (row.iter().map(|v| half::f16::from_f32(v / scale).to_f32()).collect(), scale)
}

impl Kernel for HalfRows {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let body = include_str!("half_rows.wgsl");
        let variant = |name, needs, reduce| Variant {
            name,
            needs,
            consts: vec![("WG", 256)],
            files: vec![reduce, shared::HALF_SCALE, body],
        };
        vec![
            variant("subgroup", Tier::SUBGROUP, shared::REDUCE_SUBGROUP),
            variant("portable", Tier::PORTABLE, shared::REDUCE),
        ]
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", &[self.rows, self.cols], DType::F32),
            Operand::write("y", &[self.rows, self.cols], DType::F16),
            Operand::write("scale", &[self.rows], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        [self.rows, self.cols].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.rows)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (rows, scales): (Vec<_>, Vec<_>) = inputs[0].chunks_exact(self.cols).map(half_row).unzip();
        vec![rows.concat(), scales]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn by_hand() {
        let (row, scale) = super::half_row(&[3.0, -1e6, 0.25]);
        assert_eq!(scale, 512.0, "2^19 is the power below a million");
        assert_eq!(row, [0.005_859_375, -1953.0, 0.000_488_281_25]);
        assert_eq!(super::half_row(&[0.0, 0.0]).1, 1.0);
    }
}
