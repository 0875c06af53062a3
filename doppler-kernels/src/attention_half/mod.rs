//! Attention of many rows on matrix units.

use doppler_rdrr::DType;

use crate::kernel::host_by_reference;
use crate::{Attention, Entry, Kernel, Operand, Tier, Variant, attention};

/// [`Attention`] with queries and softmax weights rounded to f16 and sums in f32.
///
/// Operands as [`Attention`], with a cache of f16 or C8.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionHalf(pub Attention);

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "attention_half",
    edge_cases: attention::cases::half_edge_cases,
    #[cfg(feature = "testing")]
    strategy: attention::cases::half_strategy,
};

impl AttentionHalf {
    /// Whether it takes heads of this size from such a cache.
    #[must_use]
    pub fn takes(head_dim: usize, kv: DType) -> bool {
        matches!(kv, DType::F16 | DType::C8) && head_dim.is_multiple_of(16) && head_dim <= 256
    }

    /// Rows of a workgroup: as many as its memory holds.
    fn bq(&self) -> usize {
        if self.0.head_dim <= 128 { 64 } else { 32 }
    }
}

impl Kernel for AttentionHalf {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let (bq, head_dim) = (self.bq() as u32, self.0.head_dim as u32);
        let needs = Tier {
            cooperative_matrix: true,
            f16: true,
            subgroup_size: 32,
            workgroup_bytes: (bq + 32) * (head_dim + 8) * 2 + bq * (80 + 128),
            ..Tier::SUBGROUP
        };
        let consts = vec![("BQ", bq), ("HEAD_DIM", head_dim)];
        let kv = if self.0.kv == DType::C8 { include_str!("kv_c8.wgsl") } else { include_str!("kv_f16.wgsl") };
        let files = vec![kv, include_str!("attention_half.wgsl")];
        let mut variants = vec![Variant { name: "coop", needs, consts, files }];
        variants.extend(self.0.variants());
        variants
    }

    fn operands(&self) -> Vec<Operand> {
        self.0.operands()
    }

    fn params(&self) -> Vec<u8> {
        self.0.params()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        match variant.name {
            "coop" => [self.0.num_attention_heads as u32, self.0.rows.div_ceil(self.bq()) as u32, 1],
            _ => self.0.workgroups(variant),
        }
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        // Twice with the keys.
        self.0.multiply_adds(positions) / 2 * 3
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        self.0.reference(inputs)
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
