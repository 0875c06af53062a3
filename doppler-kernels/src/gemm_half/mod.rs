//! Matrix products of many rows in f16 on matrix units, with f32 sums.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::host_by_reference;
use crate::{Access, Entry, Kernel, MatMul, Operand, Tier, Variant, linear, shared};

/// [`MatMul`] of rows that [`crate::HalfRows`] made: `y[r, y_offset + n] = scale[r] · Σ_k x[r, k] · weight[n, k]`.
///
/// | operand  | shape                         | dtype                                |
/// |----------|-------------------------------|--------------------------------------|
/// | `x`      | `[rows, in_features]`         | f16                                  |
/// | `weight` | `[out_features, in_features]` | packed or f16: see [`GemmHalf::takes`] |
/// | `y`      | `[rows, y_stride]`            | f32                                  |
/// | `scale`  | `[rows]`                      | f32                                  |
///
/// The `coop` variants round weights to f16 and add in f32; the portable one computes in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct GemmHalf(pub MatMul);

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "gemm_half",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl GemmHalf {
    /// Whether weights of this format and so many columns can be taken.
    #[must_use]
    pub fn takes(weight: DType, in_features: usize) -> bool {
        // The others have numbers beyond the range of f16.
        let format = DType::WEIGHTS.contains(&weight) && !matches!(weight, DType::F32 | DType::BF16);
        format && in_features.is_multiple_of(32)
    }

    fn coop(&self, name: &'static str, tm: u32, tn: u32) -> Variant {
        let subgroups = tm / 64 * (tn / 32);
        let needs = Tier {
            cooperative_matrix: true,
            f16: true,
            subgroup_size: 32,
            workgroup_bytes: (tm + tn) * 144 + subgroups * 1024,
            ..Tier::SUBGROUP
        };
        let mut files = vec![include_str!("params.wgsl"), include_str!("coop.wgsl")];
        // A unit of Q6_K has weights of two steps.
        match linear::units_of(self.0.weight).filter(|_| self.0.weight != DType::Q6_K) {
            Some(units) => {
                files.extend(units);
                files.extend([linear::UNIT_TYPES, include_str!("b_units.wgsl")]);
            }
            None => {
                files.extend(shared::load(self.0.weight));
                files.extend([include_str!("weight.wgsl"), include_str!("b_chunks.wgsl")]);
            }
        }
        Variant { name, needs, consts: vec![("TM", tm), ("TN", tn)], files }
    }
}

impl Kernel for GemmHalf {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let mut files = vec![
            include_str!("params.wgsl"),
            include_str!("weight.wgsl"),
            include_str!("x_portable.wgsl"),
            crate::matmul::GEMM,
        ];
        files.extend(shared::load(self.0.weight));
        let gemm = Variant { name: "gemm", needs: Tier::PORTABLE, consts: vec![], files };
        let (large, small) = (self.coop("coop_128x128", 128, 128), self.coop("coop_64x64", 64, 64));
        // Large tiles use memory better, small ones fill the device when there are few.
        let tiles = self.0.rows.div_ceil(128) * self.0.out_features.div_ceil(128);
        if tiles >= 96 { vec![large, small, gemm] } else { vec![small, large, gemm] }
    }

    fn operands(&self) -> Vec<Operand> {
        let MatMul { rows, out_features, in_features, weight, y_stride, .. } = self.0;
        let access = if y_stride == out_features { Access::Write } else { Access::ReadWrite };
        vec![
            Operand::read("x", &[rows, in_features], DType::F16),
            Operand::read("weight", &[out_features, in_features], weight),
            Operand { access, ..Operand::write("y", &[rows, y_stride], DType::F32) },
            Operand::read("scale", &[rows], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        self.0.params()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        let tile = |name| if variant.name == "gemm" { 64 } else { variant.constant(name) as usize };
        let (tm, tn) = (tile("TM"), tile("TN"));
        [self.0.out_features.div_ceil(tn) as u32, self.0.rows.div_ceil(tm) as u32, 1]
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        self.0.multiply_adds(positions)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let scale = inputs.last().expect("a scale for each row");
        let row = |(row, scale): (&[f32], &f32)| row.iter().map(|v| v * scale).collect::<Vec<_>>();
        let x: Vec<f32> = inputs[0].chunks_exact(self.0.in_features).zip(*scale).flat_map(row).collect();
        let mut inputs: Vec<&[f32]> = inputs[..inputs.len() - 1].to_vec();
        inputs[0] = &x;
        self.0.reference(&inputs)
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
