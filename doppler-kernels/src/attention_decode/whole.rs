//! Attention of new positions that needs no putting together, for contexts that one workgroup a head goes through in time.

use doppler_rdrr::DType;

use super::{APART, AttentionDecode, HEADS, TOGETHER, WG, cases, tile};
use crate::kernel::host_by_reference;
use crate::{Attention, AttentionReduce, Entry, Kernel, Operand, Tier, Variant, shared};

/// [`AttentionDecode`] in one piece. In place of its partials it has what [`AttentionReduce`] makes of them.
///
/// | operand      | shape                             | dtype |
/// |--------------|-----------------------------------|-------|
/// | `y`          | `[rows, num_attention_heads · head_dim]` | A8 |
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

impl AttentionWhole {
    /// Lanes that share a position; `None` where heads do not fill lanes evenly.
    #[must_use]
    pub fn lanes(&self) -> Option<u32> {
        let (quads, rotary_dim) = (self.0.attention.head_dim / 4, self.0.rotary_dim);
        let fits = quads.is_power_of_two() && (8..=64).contains(&quads);
        (fits && (!self.0.rope || rotary_dim.is_multiple_of(8))).then_some(quads as u32 / 4)
    }

    /// Whether there is a variant for any device: heads of whole blocks, and a group that leaves room for a tile.
    #[must_use]
    pub fn fits(&self) -> bool {
        let a = &self.0.attention;
        self.0.splits == 1 && a.head_dim.is_multiple_of(32) && tile(a, A8_BYTES).is_some()
    }

    /// A head a workgroup of `wg`, with whatever subgroups share a position.
    fn by_lanes(&self, name: &'static str, wg: u32, subgroup_size: u32, bindings: &[&'static str]) -> Option<Variant> {
        let a8 = if subgroup_size == 32 { shared::A8_SUBGROUP } else { shared::A8 };
        let files = [include_str!("subgroup_heads.wgsl"), include_str!("whole.wgsl"), a8];
        let lanes = self.lanes()?;
        let mut variant = self.0.variants_with(bindings, &files, 0).pop()?;
        variant.name = name;
        variant.consts.iter_mut().filter(|(name, _)| *name == "WG").for_each(|(_, value)| *value = wg);
        let new_heads = 4 * ((self.0.group() + 2) * self.0.attention.head_dim) as u32;
        let merged = 64 * wg + 8 * wg / lanes;
        variant.needs = Tier {
            subgroup_size: subgroup_size.max(lanes),
            invocations: wg,
            workgroup_bytes: new_heads + merged + 8 * wg,
            ..Tier::SUBGROUP
        };
        Some(variant)
    }
}

impl Kernel for AttentionWhole {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let bindings = if self.0.values_apart {
            [include_str!("whole_apart.wgsl"), APART]
        } else {
            [include_str!("whole_together.wgsl"), TOGETHER]
        };
        let shapes = [("subgroup_32_512", 512, 32), ("subgroup_32_256", 256, 32), ("subgroup", 256, 0)];
        let by_lanes = |(name, wg, subgroup_size)| self.by_lanes(name, wg, subgroup_size, &bindings);
        let mut variants: Vec<Variant> = shapes.into_iter().filter_map(by_lanes).collect();
        let files = [HEADS, include_str!("main.wgsl"), include_str!("whole_end.wgsl"), shared::A8];
        variants.extend(self.0.variants_with(&bindings, &files, A8_BYTES));
        let rows = ("ROWS", self.0.attention.rows as u32);
        variants.iter_mut().for_each(|variant| variant.consts.push(rows));
        variants
    }

    fn operands(&self) -> Vec<Operand> {
        let a = &self.0.attention;
        let mut operands = self.0.operands();
        operands
            .iter_mut()
            .filter(|operand| operand.name == "partials")
            .for_each(|y| *y = Operand::write("y", &[a.rows, a.num_attention_heads * a.head_dim], DType::A8));
        operands
    }

    fn params(&self) -> Vec<u8> {
        self.0.params()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        let a = &self.0.attention;
        let heads = if variant.name == "portable" { a.num_key_value_heads } else { a.num_attention_heads };
        [heads as u32, 1, a.rows as u32]
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        self.0.multiply_adds(positions)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let Attention { rows, num_attention_heads, head_dim, .. } = self.0.attention;
        let reduce = AttentionReduce { rows, num_attention_heads, head_dim, splits: 1, y: DType::A8 };
        let mut written = self.0.reference(inputs);
        let partials = written.pop().expect("partials");
        written.extend(reduce.reference(&[&partials]));
        written
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
