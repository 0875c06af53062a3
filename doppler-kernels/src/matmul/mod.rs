//! Matrix products with weights in any format: few rows (decode) and many (prefill).

mod cases;
mod decode;
pub(crate) use decode::row as decode_row;
mod host;
mod int8;
mod reference;

use doppler_rdrr::DType;

use crate::{Entry, Instructions, Kernel, Operand, Tier, Variant, shared};

/// `y[r, y_offset + n] = Σ_k x[r, k] · weight[n, k]`, straight from packed blocks.
///
/// | operand  | shape                         | dtype                   |
/// |----------|-------------------------------|-------------------------|
/// | `x`      | `[rows, in_features]`         | f32                     |
/// | `weight` | `[out_features, in_features]` | any of `DType::WEIGHTS` |
/// | `y`      | `[rows, y_stride]`            | f32                     |
///
/// Accumulates in f32. A matrix that is too large to bind is given in parts of whole rows, each of which fills its
/// columns of `y` and leaves the others.
#[derive(Debug, Clone, PartialEq)]
pub struct MatMul {
    /// Rows of `x`.
    pub rows: usize,
    /// Rows of `weight`.
    pub out_features: usize,
    /// Columns of `x` and `weight`; whole blocks.
    pub in_features: usize,
    /// Format of `weight`.
    pub weight: DType,
    /// Columns of `y`.
    pub y_stride: usize,
    /// First column of `y` that is written.
    pub y_offset: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "matmul",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

/// More rows than this are a GEMM.
const GEMV_ROWS: usize = 8;
/// Output features of a workgroup of the subgroup GEMV.
const FEATURES: u32 = 4;

pub(crate) const PARAMS: &str = include_str!("params.wgsl");
const GEMV: &str = include_str!("gemv.wgsl");
const GEMV_SUBGROUP: &str = include_str!("gemv_subgroup.wgsl");
pub(crate) const GEMM: &str = include_str!("gemm.wgsl");

impl MatMul {
    fn variant(
        &self,
        name: &'static str,
        needs: Tier,
        mut consts: Vec<(&'static str, u32)>,
        body: &'static str,
    ) -> Variant {
        if body != GEMM {
            // Rows that share a decoded chunk; more rows take more workgroups.
            consts.push(("ROWS", self.rows.min(GEMV_ROWS) as u32));
        }
        let mut files = vec![PARAMS, shared::activations(self.in_features), body];
        files.extend(shared::load(self.weight));
        Variant { name, needs, consts, files }
    }
}

impl Kernel for MatMul {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let subgroup =
            self.variant("gemv_subgroup", Tier::SUBGROUP, vec![("WG", 128), ("FEATURES", FEATURES)], GEMV_SUBGROUP);
        let gemv = self.variant("gemv", Tier::PORTABLE, vec![("WG", 64), ("LANES", 16)], GEMV);
        let gemm = self.variant("gemm", Tier::PORTABLE, vec![], GEMM);
        if self.rows <= GEMV_ROWS { vec![subgroup, gemm, gemv] } else { vec![gemm, subgroup, gemv] }
    }

    fn operands(&self) -> Vec<Operand> {
        let MatMul { rows, out_features, in_features, weight, y_stride, .. } = *self;
        vec![
            Operand::read("x", &[rows, in_features], DType::F32),
            Operand::read("weight", &[out_features, in_features], weight),
            Operand::product(rows, out_features, y_stride),
        ]
    }

    fn params(&self) -> Vec<u8> {
        let Self { rows, out_features, in_features, y_stride, y_offset, .. } = self;
        [rows, out_features, in_features, y_stride, y_offset].iter().flat_map(|n| (**n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        let grouped = |features: usize| {
            let [x, y, _] = crate::kernel::grid(self.out_features.div_ceil(features));
            [x, y, self.rows.div_ceil(GEMV_ROWS) as u32]
        };
        match variant.name {
            "gemm" => [self.out_features.div_ceil(64) as u32, self.rows.div_ceil(64) as u32, 1],
            "gemv_subgroup" => grouped(FEATURES as usize),
            _ => grouped((variant.constant("WG") / variant.constant("LANES")) as usize),
        }
    }

    fn multiply_adds(&self, _positions: usize) -> u64 {
        self.rows as u64 * self.out_features as u64 * self.in_features as u64
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let before = inputs.get(2).map_or_else(|| vec![0.0; self.rows * self.y_stride], |y| y.to_vec());
        vec![reference::matmul(self, inputs[0], inputs[1], before)]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host::matmul(self, bytemuck::cast_slice(reads[0]), reads[1], bytemuck::cast_slice_mut(writes[0]));
    }

    fn host_scratch_bytes(&self, threads: usize) -> usize {
        let activations = if self.has_int8() { int8::activation_bytes(self.rows, self.in_features) } else { 0 };
        let unpacked = host::unpacked_bytes(self.in_features).max(int8::panel_bytes(self.in_features));
        activations + threads * unpacked + host::task_bytes(self.rows, threads)
    }

    fn has_int8(&self) -> bool {
        self.weight.block_len() > 1
    }

    fn host_int8(&self, instructions: Instructions, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        if !self.has_int8() {
            return self.host(reads, writes);
        }
        let y = bytemuck::cast_slice_mut(writes[0]);
        int8::matmul(self, instructions, bytemuck::cast_slice(reads[0]), reads[1], y);
    }

    fn reference_int8(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let rounded = if self.has_int8() { int8::rounded(inputs[0]) } else { inputs[0].to_vec() };
        self.reference(&[&[&rounded[..]], &inputs[1..]].concat())
    }
}
