//! Embedding lookup that readies the rows for the first product.

use doppler_rdrr::DType;

use super::{Embed, cases};
use crate::kernel::{grid, host_by_reference};
use crate::{Entry, Kernel, Operand, Quantize, Tier, Variant, shared};

/// [`Embed`] from a whole table, then [`Quantize`] of the rows by the first norm's weight.
///
/// | operand       | shape                       | dtype                   |
/// |---------------|-----------------------------|-------------------------|
/// | `ids`         | `[rows]`                    | u32                     |
/// | `weight`      | `[vocab_size, hidden_size]` | any of `DType::WEIGHTS` |
/// | `norm_weight` | `[hidden_size]`             | f32                     |
/// | `hidden`      | `[rows, hidden_size]`       | f32                     |
/// | `y`           | `[rows, hidden_size]`       | A8                      |
/// | `energy`      | `[rows, hidden_size / 32]`  | f32                     |
///
/// An id outside of the vocabulary gives a row of NaN.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedQuantize {
    /// Ids.
    pub rows: usize,
    /// Columns of the table; whole blocks, a multiple of 64.
    pub hidden_size: usize,
    /// Rows of the table.
    pub vocab_size: usize,
    /// Format of the table.
    pub weight: DType,
    /// Factor.
    pub scale: f32,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "embed_quantize",
    edge_cases: cases::quantized_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::quantized_strategy,
};

const WG: u32 = 256;

impl EmbedQuantize {
    fn embed(&self) -> Embed {
        let EmbedQuantize { rows, hidden_size, vocab_size, weight, scale } = *self;
        Embed { rows, hidden_size, vocab_start: 0, vocab_rows: vocab_size, vocab_size, weight, scale }
    }
}

impl Kernel for EmbedQuantize {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let variant = |name, needs, a8| {
            let mut files = vec![a8, include_str!("quantized.wgsl")];
            files.extend(shared::load(self.weight));
            Variant { name, needs, consts: vec![("WG", WG)], files }
        };
        let subgroups_of_32 = Tier { subgroup_size: 32, ..Tier::SUBGROUP };
        vec![
            variant("subgroup_32", subgroups_of_32, shared::A8_SUBGROUP),
            variant("portable", Tier::PORTABLE, shared::A8),
        ]
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.rows, self.hidden_size];
        vec![
            Operand::read("ids", &[self.rows], DType::U32),
            Operand::read("weight", &[self.vocab_size, self.hidden_size], self.weight),
            Operand::read("norm_weight", &[self.hidden_size], DType::F32),
            Operand::write("hidden", &shape, DType::F32),
            Operand::write("y", &shape, DType::A8),
            Operand::write("energy", &[self.rows, self.hidden_size / 32], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        let sizes = [self.rows, self.hidden_size, self.vocab_size];
        sizes.iter().map(|n| *n as u32).chain([self.scale.to_bits()]).flat_map(u32::to_le_bytes).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid((self.rows * self.hidden_size).div_ceil(WG as usize))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let hidden = self.embed().reference(&inputs[..2]).remove(0);
        let quantize = Quantize { rows: self.rows, cols: self.hidden_size };
        let quantized = quantize.reference(&[&hidden, inputs[2]]);
        [vec![hidden], quantized].concat()
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
