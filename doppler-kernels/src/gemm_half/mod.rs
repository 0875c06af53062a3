//! Matrix products of many rows in f16 on matrix units, with f32 sums.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::host_by_reference;
use crate::{Entry, Kernel, MatMul, Operand, Tier, Variant, linear, shared};

/// [`MatMul`] of rows that [`crate::HalfRows`] made: `y[p, r, y_offset + n] = scale[r] · Σ_k x[r, k] · weight[n, k]`, where k
/// goes over the columns of part p: as many blocks of 256 as in any other, but for the last ones.
///
/// | operand  | shape                         | dtype                                |
/// |----------|-------------------------------|--------------------------------------|
/// | `x`      | `[rows, in_features]`         | f16                                  |
/// | `weight` | `[out_features, in_features]` | packed or f16: see [`GemmHalf::takes`] |
/// | `y`      | `[parts · rows, y_stride]`    | f32                                  |
/// | `scale`  | `[rows]`                      | f32                                  |
///
/// The `coop` variants round weights to f16 and add in f32; the portable one computes in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct GemmHalf {
    /// The product.
    pub of: MatMul,
    /// Partial sums that it is made in.
    pub parts: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "gemm_half",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl GemmHalf {
    /// Rows of the most common tile; up to each multiple of them a product is made in equally many parts.
    pub const TILE_ROWS: usize = 128;
    /// Products of more rows than this are made in one part, and the parts of others have no more rows in all.
    pub const MOST_PARTIAL_ROWS: usize = 4096;

    /// Whether weights of this format and so many columns can be taken.
    #[must_use]
    pub fn takes(weight: DType, in_features: usize) -> bool {
        // The others have numbers beyond the range of f16.
        let format = DType::WEIGHTS.contains(&weight) && !matches!(weight, DType::F32 | DType::BF16);
        format && in_features.is_multiple_of(32)
    }

    /// The number of parts in which a product of these sizes takes a large device the least time.
    #[must_use]
    pub fn parts_that_fill(rows: usize, out_features: usize, in_features: usize) -> usize {
        // Workgroups that run at a time, two on each of 128 processors: a product takes as long when they are fewer.
        const AT_A_TIME: usize = 256;
        let (tiles, blocks) = (tiles(rows, out_features), in_features.div_ceil(256));
        // In ns, as one such device has it: what a block of columns takes those that run at a time, and what an element takes to
        // be written and read.
        let time = |parts: usize| {
            (tiles * parts).div_ceil(AT_A_TIME) * blocks.div_ceil(parts) * 11_200 + parts * rows * out_features / 200
        };
        // More than eight parts would be read for longer than they save; each has columns.
        let most = (Self::MOST_PARTIAL_ROWS / rows.max(1)).min(blocks).clamp(1, 8);
        if most == 1 {
            return 1;
        }
        let parts = (1..=most).min_by_key(|parts| time(*parts)).unwrap_or(1);
        blocks.div_ceil(blocks.div_ceil(parts))
    }

    fn coop(&self, name: &'static str, [tm, tn, sm, sn, cols]: [u32; 5]) -> Variant {
        let subgroups = tm / sm * (tn / sn);
        let needs = Tier {
            cooperative_matrix: true,
            f16: true,
            subgroup_size: 32,
            invocations: 32 * subgroups,
            workgroup_bytes: (tm + tn) * (2 * cols + 16) + subgroups * 1024,
            ..Tier::SUBGROUP
        };
        let main = match (sm, sn) {
            (64, 64) => include_str!("coop_64x64.wgsl"),
            (64, _) => include_str!("coop_64x32.wgsl"),
            (32, _) => include_str!("coop_32x32.wgsl"),
            _ => include_str!("coop_16x32.wgsl"),
        };
        let mut files = vec![include_str!("params.wgsl"), include_str!("coop.wgsl"), main];
        match linear::units_of(self.of.weight) {
            Some(units) => {
                files.extend(units);
                files.extend([linear::UNIT_TYPES, include_str!("b_units.wgsl")]);
            }
            None => files.push(include_str!("b_f16.wgsl")),
        }
        let signed = u32::from(self.of.weight == DType::Q8_0);
        let in_features = self.of.in_features as u32;
        let sizes = [("TM", tm), ("TN", tn), ("SM", sm), ("SN", sn), ("COLS", cols)];
        let consts = sizes.into_iter().chain([("SIGNED", signed), ("IN_FEATURES", in_features)]).collect();
        Variant { name, needs, consts, files }
    }
}

/// Tiles of the most common size.
fn tiles(rows: usize, out_features: usize) -> usize {
    rows.div_ceil(GemmHalf::TILE_ROWS) * out_features.div_ceil(128)
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
        files.extend(shared::load(self.of.weight));
        let gemm = Variant { name: "gemm", needs: Tier::PORTABLE, consts: vec![], files };
        // Subgroups of 64 × 64 results read the least for each of them. Small tiles waste less of few rows, and give more
        // workgroups where there are few.
        let wide = self.coop("coop_128x128_64x64", [128, 128, 64, 64, 32]);
        let large = self.coop("coop_128x128_64x32", [128, 128, 64, 32, 64]);
        let small = self.coop("coop_64x128_64x32", [64, 128, 64, 32, 64]);
        // Of few rows those would make 64 at least; a subgroup that is a workgroup waits for nobody.
        let few = self.coop("coop_32x32_32x32", [32, 32, 32, 32, 32]);
        let fewest = self.coop("coop_16x32_16x32", [16, 32, 16, 32, 32]);
        let MatMul { rows, out_features, in_features, .. } = self.of;
        let fills = self.parts * tiles(rows, out_features) >= 96;
        if rows <= 16 {
            vec![fewest, few, small, large, wide, gemm]
        } else if rows <= 32 {
            vec![few, small, large, wide, fewest, gemm]
        } else if rows <= 64 && in_features <= 8192 || !fills {
            vec![small, large, wide, few, fewest, gemm]
        } else {
            vec![wide, large, small, few, fewest, gemm]
        }
    }

    fn operands(&self) -> Vec<Operand> {
        let MatMul { rows, out_features, in_features, weight, y_stride, .. } = self.of;
        vec![
            Operand::read("x", &[rows, in_features], DType::F16),
            Operand::read("weight", &[out_features, in_features], weight),
            Operand::product(self.parts * rows, out_features, y_stride),
            Operand::read("scale", &[rows], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        self.of.params()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        let tile = |name| if variant.name == "gemm" { 64 } else { variant.constant(name) as usize };
        let (tm, tn) = (tile("TM"), tile("TN"));
        [self.of.out_features.div_ceil(tn) as u32, self.of.rows.div_ceil(tm) as u32, self.parts as u32]
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        self.of.multiply_adds(positions)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let scale = inputs.last().expect("a scale for each row");
        let row = |(row, scale): (&[f32], &f32)| row.iter().map(|v| v * scale).collect::<Vec<_>>();
        let x: Vec<f32> = inputs[0].chunks_exact(self.of.in_features).zip(*scale).flat_map(row).collect();
        let part_cols = self.of.in_features.div_ceil(256).div_ceil(self.parts) * 256;
        let part = |p: usize| {
            let own = |(i, v): (usize, &f32)| if i % self.of.in_features / part_cols == p { *v } else { 0.0 };
            let x: Vec<f32> = x.iter().enumerate().map(own).collect();
            let mut inputs: Vec<&[f32]> = inputs[..inputs.len() - 1].to_vec();
            inputs[0] = &x;
            self.of.reference(&inputs).remove(0)
        };
        vec![(0..self.parts).flat_map(part).collect()]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}

#[cfg(test)]
mod tests {
    use doppler_rdrr::DType;

    use super::GemmHalf;
    use crate::tuning::source_hash;
    use crate::{Kernel, MatMul};

    #[test]
    fn few_rows_begin_with_small_tiles_and_are_not_tuned_as_many() {
        let (out_features, in_features, weight) = (28_672, 4096, DType::Q4_K);
        let variants = |rows| {
            let of = MatMul { rows, out_features, in_features, weight, y_stride: out_features, y_offset: 0 };
            GemmHalf { of, parts: 1 }.variants()
        };
        let first = [9, 16, 17, 32, 33, 512].map(|rows| variants(rows)[0].name);
        let [fewest, few] = ["coop_16x32_16x32", "coop_32x32_32x32"];
        assert_eq!(first, [fewest, fewest, few, few, "coop_64x128_64x32", "coop_128x128_64x64"]);
        // Both are looked up as 64 rows.
        assert_ne!(source_hash(&variants(32)), source_hash(&variants(64)));
    }

    #[test]
    fn parts_fill_and_are_never_empty() {
        // Queries to values, o, gate and up, down and the values alone of an 8B Llama; a small model; a short prompt.
        let sizes = [(512, 6144, 4096), (512, 4096, 4096), (512, 28_672, 4096), (512, 4096, 14_336), (512, 1024, 4096)];
        assert_eq!(sizes.map(|(r, n, k)| GemmHalf::parts_that_fill(r, n, k)), [1, 2, 2, 2, 8]);
        assert_eq!([(512, 576, 576), (16, 576, 1536)].map(|(r, n, k)| GemmHalf::parts_that_fill(r, n, k)), [3, 6]);
        for parts in 1..40 {
            let k = 256 * parts;
            let made = GemmHalf::parts_that_fill(16, 128, k);
            assert!(GemmHalf::parts_that_fill(usize::MAX, 128, k) == 1 && GemmHalf::parts_that_fill(2048, 128, k) <= 2);
            assert!(made >= 1 && (made - 1) * k.div_ceil(256).div_ceil(made) < k.div_ceil(256), "{k}: {made}");
        }
    }
}
