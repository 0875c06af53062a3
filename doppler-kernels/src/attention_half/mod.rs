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

    /// With `bq` rows a workgroup.
    fn coop(&self, name: &'static str, bq: u32) -> Variant {
        let head_dim = self.0.head_dim as u32;
        let needs = Tier {
            cooperative_matrix: true,
            f16: true,
            subgroup_size: 32,
            workgroup_bytes: (bq + 32) * (head_dim + 8) * 2 + bq * (80 + 160) + 16,
            ..Tier::SUBGROUP
        };
        let kv = if self.0.kv == DType::C8 { include_str!("kv_c8.wgsl") } else { include_str!("kv_f16.wgsl") };
        let files = vec![kv, include_str!("attention_half.wgsl")];
        let softcap = u32::from(self.0.softcap.is_some());
        Variant { name, needs, consts: vec![("BQ", bq), ("HEAD_DIM", head_dim), ("SOFTCAP", softcap)], files }
    }
}

impl Kernel for AttentionHalf {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        // Many rows a workgroup read keys and values less often; few fill a device when there are few.
        let mut variants = vec![self.coop("coop_64", 64), self.coop("coop_32", 32)];
        if self.0.rows.div_ceil(64) * self.0.num_attention_heads < 128 {
            variants.reverse();
        }
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
        if variant.needs.cooperative_matrix {
            let Attention { rows, num_attention_heads, .. } = self.0;
            return [num_attention_heads as u32, (rows as u32).div_ceil(variant.constant("BQ")), 1];
        }
        self.0.workgroups(variant)
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
