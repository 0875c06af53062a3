//! Attention of new positions in one dispatch, which ends in the next product's input.

use doppler_rdrr::DType;

use super::{APART, AttentionDecode, HEADS, MAIN, NEW, NEW_ROW, TOGETHER, WG, cases, reference, tile};
use crate::kernel::host_by_reference;
use crate::{Access, Attention, AttentionReduce, Entry, Kernel, Operand, Tier, Variant, shared};

/// [`AttentionDecode`] and what [`AttentionReduce`] makes of its pieces: the workgroup of a group of heads that ends last puts
/// them together. Several rows are written to the cache too: a workgroup makes all new keys and values that it sees, and writes
/// those of its own row. Its operands are those of the first, but for
///
/// | operand    | shape                                         | dtype |
/// |------------|-----------------------------------------------|-------|
/// | `partials` | `[rows, num_attention_heads, splits, head_dim + 4]` | f32; what is left there means nothing |
/// | `arrivals` | `[rows, num_key_value_heads]`                 | u32: zeros before and after |
/// | `y`        | `[rows, num_attention_heads · head_dim]`      | A8    |
///
/// Variants without `coherent` memory go through all positions in one workgroup.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionWhole(pub AttentionDecode);

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "attention_whole",
    edge_cases: cases::whole_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::whole_strategy,
};

/// Workgroup memory that writing int8 takes without subgroups.
const A8_BYTES: usize = 8 * WG;

/// The same of putting pieces together.
const LAST_BYTES: usize = 24 * WG + 16;

/// The variant of a head a workgroup.
const BY_LANES: &str = "subgroup";

/// Where what is left of the pieces is: in memory that workgroups share, or nowhere.
const COHERENT: &str = include_str!("whole_coherent.wgsl");
const ALONE: &str = include_str!("whole_alone.wgsl");
const LAST_END: &str = include_str!("last_end.wgsl");

impl AttentionWhole {
    /// Pieces that can be put together at the end.
    pub const MOST_PIECES: usize = 64;

    /// Whether there are variants: heads of whole blocks of 32, all of them of 64, and a group that leaves room for a tile.
    #[must_use]
    pub fn fits(&self) -> bool {
        let a = &self.0.attention;
        let whole = a.head_dim.is_multiple_of(32) && (a.num_attention_heads * a.head_dim).is_multiple_of(64);
        whole && tile(a, A8_BYTES + self.new_bytes()).is_some()
    }

    /// Whether a device of this tier takes pieces of the context at a time, by subgroups of workgroups of their own.
    #[must_use]
    pub fn in_pieces(&self, tier: &Tier) -> bool {
        self.first(tier).is_some_and(|variant| variant.needs.coherent && variant.needs.subgroups)
    }

    /// Whether its subgroups share out the positions of one workgroup.
    #[must_use]
    pub fn by_lanes(&self, tier: &Tier) -> bool {
        self.first(tier).is_some_and(|variant| variant.name == BY_LANES)
    }

    fn first(&self, tier: &Tier) -> Option<Variant> {
        let variants = if self.fits() { self.variants() } else { Vec::new() };
        variants.into_iter().find(|variant| tier.lacks(&variant.needs).is_none())
    }

    /// Bytes of workgroup memory that the keys of several rows take besides.
    fn new_bytes(&self) -> usize {
        let rows = self.0.attention.rows;
        if rows > 1 { 64 * rows } else { 0 }
    }

    fn bindings(&self, scratch: &'static str) -> [&'static str; 3] {
        let [y, values] = if self.0.values_apart {
            [include_str!("whole_apart.wgsl"), APART]
        } else {
            [include_str!("whole_together.wgsl"), TOGETHER]
        };
        [scratch, y, values]
    }

    /// A head a workgroup, of which LANES consecutive invocations share a position.
    fn one_head_each(&self) -> Option<Variant> {
        let (quads, rotary_dim) = (self.0.attention.head_dim / 4, self.0.rotary_dim);
        let fits = quads.is_power_of_two() && (8..=64).contains(&quads);
        let lanes = (fits && (!self.0.rope || rotary_dim.is_multiple_of(8))).then_some(quads as u32 / 4)?;
        let files = [NEW, include_str!("subgroup_heads.wgsl"), include_str!("whole.wgsl"), shared::A8];
        let mut variant = self.0.variants_with(&self.bindings(ALONE), &files, 0).pop()?;
        variant.name = BY_LANES;
        let Attention { rows, head_dim, .. } = self.0.attention;
        let (first, merged) = (4 * (self.0.group() + 2 * rows) * head_dim, 64 * WG);
        let bytes = first.max(merged) + 8 * WG / lanes as usize + A8_BYTES;
        variant.needs = Tier { subgroup_size: lanes, workgroup_bytes: bytes as u32, ..Tier::SUBGROUP };
        Some(variant)
    }
}

impl Kernel for AttentionWhole {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let coherent = self.bindings(COHERENT);
        let few = self.0.splits <= Self::MOST_PIECES;
        let rows = self.0.attention.rows;
        let mut variants = Vec::new();
        if few {
            variants = self.0.subgroups_32(&coherent, &[LAST_END, shared::A8_SUBGROUP], LAST_BYTES, rows);
        }
        variants.iter_mut().for_each(|variant| variant.needs.coherent = true);
        let one_piece = |mut variant: Variant| {
            variant.consts.iter_mut().filter(|(name, _)| *name == "ONE_PIECE").for_each(|(_, value)| *value = 1);
            variant
        };
        if self.0.splits == 1 {
            // More pieces may be many positions.
            variants.extend(self.one_head_each().map(one_piece));
        }
        let new = if rows > 1 { include_str!("new_rows.wgsl") } else { NEW_ROW };
        let more = A8_BYTES + self.new_bytes();
        if few {
            let files = [HEADS, NEW, new, MAIN, LAST_END, shared::A8];
            for mut variant in self.0.variants_with(&coherent, &files, more + LAST_BYTES) {
                variant.name = "coherent";
                variant.needs.coherent = true;
                variants.push(variant);
            }
        }
        let files = [HEADS, NEW, new, MAIN, include_str!("whole_end.wgsl"), shared::A8];
        variants.extend(self.0.variants_with(&self.bindings(ALONE), &files, more).into_iter().map(one_piece));
        for variant in &mut variants {
            variant.consts.extend([("ROWS", rows as u32), ("NEW_ROWS", rows as u32)]);
            variant.needs.storage_buffers = 9 + u32::from(self.0.values_apart);
        }
        variants
    }

    fn operands(&self) -> Vec<Operand> {
        let Attention { rows, num_attention_heads, num_key_value_heads, head_dim, .. } = self.0.attention;
        let mut operands = self.0.operands();
        let at = operands.iter().position(|operand| operand.name == "partials").expect("partials");
        let partials = [rows, num_attention_heads, self.0.splits, head_dim + 4];
        let own = [
            Operand { access: Access::Scratch, ..Operand::write("partials", &partials, DType::F32) },
            Operand::read_write("arrivals", &[rows, num_key_value_heads], DType::U32),
            Operand::write("y", &[rows, num_attention_heads * head_dim], DType::A8),
        ];
        operands.splice(at..=at, own);
        operands
    }

    fn params(&self) -> Vec<u8> {
        self.0.params()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        let a = &self.0.attention;
        let heads = if variant.name == BY_LANES { a.num_attention_heads } else { a.num_key_value_heads };
        let pieces = if variant.needs.coherent { self.0.splits } else { 1 };
        [heads as u32, pieces as u32, a.rows as u32]
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        self.0.multiply_adds(positions)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let Attention { rows, num_attention_heads, head_dim, .. } = self.0.attention;
        let splits = self.0.splits;
        let reduce = AttentionReduce { rows, num_attention_heads, head_dim, splits, y: DType::A8 };
        let arrivals = inputs[6].to_vec();
        let mut written = reference::attention_decode(&self.0, &[&inputs[..6], &inputs[7..]].concat(), true);
        let partials = written.pop().expect("partials");
        let y = reduce.reference(&[&partials]);
        written.extend([Vec::new(), arrivals].into_iter().chain(y));
        written
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_rows_are_appended_and_see_no_later_ones() {
        let attention = Attention {
            rows: 2,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            head_dim: 32,
            capacity: 4,
            scale: 1.0,
            softcap: None,
            sliding_window: Some(1),
            kv: DType::F32,
        };
        let whole = AttentionWhole(AttentionDecode {
            attention,
            splits: 1,
            rotary_dim: 32,
            positions: 4,
            rope: false,
            bias: false,
            qk_norm: None,
            values_apart: true,
        });
        let rows = |a: f32, b: f32, len| [vec![a; len], vec![b; len]].concat();
        // A window of one position: each row gets its own value.
        let inputs = [rows(1.0, 2.0, 96), vec![0.0], vec![0.0; 128], vec![1.0], rows(7.0, 8.0, 64), rows(9.0, 9.0, 64)];
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let values = rows(3.0, 4.0, 32);
        let y = whole.reference(&[&inputs[..], &[&[0.0, 0.0], &values]].concat());
        assert_eq!(y[0], [[7.0; 32], [1.0; 32], [2.0; 32], [8.0; 32]].concat());
        assert_eq!(y[1], [[9.0; 32], [3.0; 32], [4.0; 32], [9.0; 32]].concat());
        assert_eq!(y[4], rows(3.0, 4.0, 64));
    }
}
