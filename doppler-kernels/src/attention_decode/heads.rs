//! The queries, keys and values of a prompt's rows, between the product that makes them and their attention.

use doppler_rdrr::DType;

use super::{AttentionDecode, HEADS, cases, reference};
use crate::kernel::{grid, host_by_reference};
use crate::{Entry, Kernel, Operand, Variant};

/// Bias, norm and rotation of new queries and keys, and writing of keys and values: what an [`AttentionDecode`] does before
/// it attends, for any number of rows. Its operands, with these differences:
///
/// | operand      | shape                                          | dtype                   |
/// |--------------|------------------------------------------------|-------------------------|
/// | `qkv`        | `[parts, rows, q_dim + 2 · kv_dim]`, or without the values | f32         |
/// | `q`          | `[rows, num_attention_heads, head_dim]`        | f32; instead of the partials |
/// | `values`     | `[value_parts, rows, kv_dim]`                  | f32; only if `values_apart` |
///
/// `splits`, the scale, the cap and the window of the attention are of no matter.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionHeads {
    /// The rows, their heads and the cache.
    pub of: AttentionDecode,
    /// Partial sums that `qkv` comes in, 1 at least.
    pub parts: usize,
    /// The same of values that are apart.
    pub value_parts: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "attention_heads",
    edge_cases: cases::heads_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::heads_strategy,
};

impl Kernel for AttentionHeads {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let bindings = if self.of.values_apart {
            [include_str!("write_apart.wgsl"), include_str!("parts_apart.wgsl")]
        } else {
            [include_str!("write_together.wgsl"), include_str!("parts_together.wgsl")]
        };
        let parts = [("PARTS", self.parts as u32), ("VALUE_PARTS", self.value_parts as u32)];
        let mut variants = self.of.variants_with(&bindings, &[HEADS, include_str!("write.wgsl")], 0);
        variants.iter_mut().for_each(|variant| variant.consts.extend(parts));
        variants
    }

    fn operands(&self) -> Vec<Operand> {
        let a = &self.of.attention;
        let mut operands = self.of.operands();
        for operand in &mut operands {
            match operand.name {
                "qkv" => operand.shape.insert(0, self.parts),
                "values" => operand.shape.insert(0, self.value_parts),
                "partials" => {
                    *operand = Operand::write("q", &[a.rows, a.num_attention_heads, a.head_dim], DType::F32);
                }
                _ => {}
            }
        }
        operands
    }

    fn params(&self) -> Vec<u8> {
        self.of.params()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.of.attention.rows * self.of.attention.num_key_value_heads)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        reference::heads(self, inputs)
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attention;

    /// Two rows of one query head and one key-value head of four elements.
    fn two_rows() -> AttentionHeads {
        let attention = Attention {
            rows: 2,
            num_attention_heads: 1,
            num_key_value_heads: 1,
            head_dim: 4,
            capacity: 3,
            scale: 1.0,
            softcap: None,
            sliding_window: None,
            kv: DType::F32,
        };
        let of = AttentionDecode {
            attention,
            splits: 1,
            rotary_dim: 2,
            positions: 3,
            rope: true,
            bias: false,
            qk_norm: None,
            values_apart: true,
        };
        AttentionHeads { of, parts: 2, value_parts: 1 }
    }

    #[test]
    fn by_hand() {
        // Of the first part, row 0 is (1 2 3 4 | 5 6 7 8), row 1 the same and one; the second part is ten times ones.
        let first = (1..9).map(|i| i as f32);
        let qkv: Vec<f32> = first.clone().chain(first.map(|x| x + 1.0)).chain([10.0; 16]).collect();
        // Position 1 turns by a quarter, position 2 not at all.
        let table = [9.0, 9.0, 0.0, 1.0, 1.0, 0.0];
        let values: Vec<f32> = (0..8).map(|i| i as f32).collect();
        let y = two_rows().reference(&[&qkv, &[0.0], &table, &[1.0], &[-1.0; 12], &[-2.0; 12], &values]);
        let keys = [-1.0, -1.0, -1.0, -1.0, -16.0, 15.0, 17.0, 18.0, 16.0, 17.0, 18.0, 19.0];
        assert_eq!(y[0], keys);
        assert_eq!(y[1], [&[-2.0; 4], &values[..]].concat());
        assert_eq!(y[2], [-12.0, 11.0, 13.0, 14.0, 12.0, 13.0, 14.0, 15.0]);
    }
}
