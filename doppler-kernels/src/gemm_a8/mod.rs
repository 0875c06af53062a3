//! Matrix products of many rows of int8 activations, by integer dot products.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::host_by_reference;
use crate::{Entry, Kernel, MatMul, Operand, Tier, Variant, linear, matmul, shared};

/// [`MatMul`] of rows that [`crate::Int8Rows`] rounded: `y[r, y_offset + n] = Σ_k x[r, k] · weight[n, k]`.
///
/// | operand  | shape                         | dtype                          |
/// |----------|-------------------------------|--------------------------------|
/// | `x`      | `[rows, in_features]`         | A8                             |
/// | `weight` | `[out_features, in_features]` | packed: see [`GemmA8::takes`]  |
/// | `y`      | `[rows, y_stride]`            | f32                            |
///
/// Products are exact integers in each block of 32, their sums f32; the `f32` variant multiplies the same numbers in f32, for
/// devices where that is faster.
#[derive(Debug, Clone, PartialEq)]
pub struct GemmA8(pub MatMul);

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "gemm_a8",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

/// Rows and features of a workgroup's results.
const TILE: usize = 64;

impl GemmA8 {
    /// Whether weights of this format and so many columns can be taken.
    #[must_use]
    pub fn takes(weight: DType, in_features: usize) -> bool {
        linear::takes(weight) && linear::takes_cols(in_features)
    }
}

impl Kernel for GemmA8 {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        // Of the packed formats, Q6_K alone has scales of 16 weights.
        let scales =
            if self.0.weight == DType::Q6_K { include_str!("halves.wgsl") } else { include_str!("whole.wgsl") };
        let mut files = vec![include_str!("gemm_a8.wgsl"), scales, linear::UNIT_TYPES];
        files.extend(linear::units_of(self.0.weight).into_iter().flatten());
        let consts = vec![("IN_FEATURES", self.0.in_features as u32)];
        let int8 = Variant { name: "int8", needs: Tier::PORTABLE, consts, files };
        let mut files = vec![matmul::PARAMS, include_str!("x_f32.wgsl"), matmul::GEMM];
        files.extend(shared::load(self.0.weight));
        vec![int8, Variant { name: "f32", needs: Tier::PORTABLE, consts: vec![], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        let MatMul { rows, out_features, in_features, weight, y_stride, .. } = self.0;
        vec![
            Operand::read("x", &[rows, in_features], DType::A8),
            Operand::read("weight", &[out_features, in_features], weight),
            Operand::product(rows, out_features, y_stride),
        ]
    }

    fn params(&self) -> Vec<u8> {
        self.0.params()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        [self.0.out_features.div_ceil(TILE) as u32, self.0.rows.div_ceil(TILE) as u32, 1]
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        self.0.multiply_adds(positions)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        self.0.reference(inputs)
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
