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

    fn coop(&self, name: &'static str, [tm, tn, sn, cols]: [u32; 4]) -> Variant {
        let subgroups = tm / 64 * (tn / sn);
        let needs = Tier {
            cooperative_matrix: true,
            f16: true,
            subgroup_size: 32,
            invocations: 32 * subgroups,
            workgroup_bytes: (tm + tn) * (2 * cols + 16) + subgroups * 1024,
            ..Tier::SUBGROUP
        };
        let main = if sn == 64 { include_str!("coop_64x64.wgsl") } else { include_str!("coop_64x32.wgsl") };
        let mut files = vec![include_str!("params.wgsl"), include_str!("coop.wgsl"), main];
        match linear::units_of(self.0.weight) {
            Some(units) => {
                files.extend(units);
                files.extend([linear::UNIT_TYPES, include_str!("b_units.wgsl")]);
            }
            None => files.push(include_str!("b_f16.wgsl")),
        }
        let signed = u32::from(self.0.weight == DType::Q8_0);
        let in_features = self.0.in_features as u32;
        let sizes = [("TM", tm), ("TN", tn), ("SN", sn), ("COLS", cols)];
        let consts = sizes.into_iter().chain([("SIGNED", signed), ("IN_FEATURES", in_features)]).collect();
        Variant { name, needs, consts, files }
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
        // Subgroups of 64 × 64 results read the least for each of them, but take all registers; those of 64 × 32 have some
        // left for formats that are unpacked from many words. Small tiles fill a device when there are few.
        let wide = self.coop("coop_128x128_64x64", [128, 128, 64, 32]);
        let large = self.coop("coop_128x128_64x32", [128, 128, 32, 64]);
        let small = self.coop("coop_64x128_64x32", [64, 128, 32, 64]);
        let tiles = self.0.rows.div_ceil(128) * self.0.out_features.div_ceil(128);
        if tiles < 96 {
            vec![small, large, wide, gemm]
        } else if self.0.weight == DType::Q6_K || self.0.in_features > 8192 {
            vec![large, wide, small, gemm]
        } else {
            vec![wide, large, small, gemm]
        }
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
