//! Attention over pieces of the context: the first half of split decoding.

use doppler_rdrr::DType;

use super::{Attention, cases, host, reference};
use crate::{Entry, Kernel, Operand, Variant};

/// [`Attention`] over `splits` equal pieces of what each row sees, unfinished.
///
/// Operands as [`Attention`], but the last is `partials [rows, num_attention_heads, splits, head_dim + 2]` in f32: for each
/// piece its largest score (−1e30 when it is empty), the sum of exp(score − largest), and the values summed with those
/// weights.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSplit {
    /// The attention.
    pub attention: Attention,
    /// Pieces.
    pub splits: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "attention_split",
    edge_cases: cases::split_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::split_strategy,
};

impl Kernel for AttentionSplit {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        vec![self.attention.streaming(include_str!("split_main.wgsl"))]
    }

    fn operands(&self) -> Vec<Operand> {
        let a = &self.attention;
        let shape = [a.rows, a.num_attention_heads, self.splits, a.head_dim + 2];
        a.operands_with(Operand::write("partials", &shape, DType::F32))
    }

    fn params(&self) -> Vec<u8> {
        self.attention.params_with(self.splits)
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        [self.attention.num_attention_heads as u32, self.splits as u32, self.attention.rows as u32]
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        self.attention.multiply_adds(positions)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        vec![reference::split(self, inputs)]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let start = bytemuck::cast_slice::<u8, u32>(reads[3])[0] as usize;
        host::split(
            self,
            bytemuck::cast_slice(reads[0]),
            reads[1],
            reads[2],
            start,
            bytemuck::cast_slice_mut(writes[0]),
        );
    }
}
