//! Rows as blocks of int8, for products of many rows with integer dot products.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::{grid, host_by_reference};
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// `y = x` in blocks of int8. A block's scale is its largest magnitude over 127.
///
/// | operand | shape          | dtype |
/// |---------|----------------|-------|
/// | `x`     | `[rows, cols]` | f32   |
/// | `y`     | `[rows, cols]` | A8    |
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Rows {
    /// Rows.
    pub rows: usize,
    /// Columns; a multiple of 64.
    pub cols: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "int8_rows",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl Kernel for Int8Rows {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let params = include_str!("params.wgsl");
        let subgroup = Variant {
            name: "subgroup",
            needs: Tier { subgroup_size: 32, ..Tier::SUBGROUP },
            consts: vec![("WG", 256), ("ELEMENTS", 1)],
            files: vec![params, shared::A8_SUBGROUP, include_str!("subgroup.wgsl")],
        };
        let portable = Variant {
            name: "portable",
            needs: Tier::PORTABLE,
            consts: vec![("WG", 64), ("ELEMENTS", 32)],
            files: vec![params, shared::A8_PLACES, include_str!("portable.wgsl")],
        };
        vec![subgroup, portable]
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.rows, self.cols];
        vec![Operand::read("x", &shape, DType::F32), Operand::write("y", &shape, DType::A8)]
    }

    fn params(&self) -> Vec<u8> {
        [self.rows, self.cols].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        let elements = variant.constant("WG") * variant.constant("ELEMENTS");
        grid((self.rows * self.cols).div_ceil(elements as usize))
    }

    /// What is rounded is the form in which it is stored.
    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        vec![inputs[0].to_vec()]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
