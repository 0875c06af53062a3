//! Everything between the product that makes queries, keys and values and the one that takes the attention's output, for
//! one new position or a few.

mod append;
mod cases;
mod heads;
mod reference;
mod whole;

pub use append::{AttentionAppend, ENTRY as APPEND_ENTRY};
pub use heads::{AttentionHeads, ENTRY as HEADS_ENTRY};
pub use whole::{AttentionWhole, ENTRY as WHOLE_ENTRY};

use doppler_rdrr::DType;

use crate::kernel::host_by_reference;
use crate::{Access, Attention, Entry, Kernel, Operand, Tier, Variant};

/// Bias, norm and rotation of the new position's queries and keys, writing of its keys and values, and
/// [`crate::AttentionSplit`] of its queries. With several rows nothing is written: an [`AttentionAppend`] has done that.
///
/// | operand      | shape                                        | dtype                   |
/// |--------------|----------------------------------------------|-------------------------|
/// | `qkv`        | `[rows, q_dim + 2 · kv_dim]`, or without the values | f32              |
/// | `vectors`    | [`AttentionDecode::vectors_len`]             | f32                     |
/// | `table`      | `[positions, rotary_dim / 2, 2]`             | f32: cos, sin           |
/// | `start`      | `[1]`                                        | u32: the first row's position |
/// | `k`, `v`     | `[capacity, num_key_value_heads, head_dim]`  | f32, f16 or C8, one row of each written |
/// | `partials`   | `[rows, num_attention_heads, splits, head_dim + 2]` | f32              |
/// | `values`     | `[rows, kv_dim]`                             | f32; only if `values_apart` |
///
/// `vectors` holds, as far as there are such, the biases of q, k and v, then the norm weights of a query head and of a key
/// head; one zero if there are none.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionDecode {
    /// The attention.
    pub attention: Attention,
    /// Pieces of the context.
    pub splits: usize,
    /// Elements of a head that rotate; even.
    pub rotary_dim: usize,
    /// Positions in the table.
    pub positions: usize,
    /// Whether the layer rotates at all.
    pub rope: bool,
    /// Whether q, k and v have biases.
    pub bias: bool,
    /// The norm of each query and key head, if there is one: its eps.
    pub qk_norm: Option<f32>,
    /// Whether the values come in a buffer of their own.
    pub values_apart: bool,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "attention_decode",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

const WG: usize = 256;
const HEADS: &str = include_str!("heads.wgsl");
const NEW: &str = include_str!("new.wgsl");
const NEW_ROW: &str = include_str!("new_row.wgsl");
const MAIN: &str = include_str!("main.wgsl");
const PIECES_END: &str = include_str!("pieces_end.wgsl");
const TOGETHER: &str = include_str!("together.wgsl");
const APART: &str = include_str!("apart.wgsl");

impl AttentionDecode {
    /// Elements of `vectors`.
    #[must_use]
    pub fn vectors_len(&self) -> usize {
        let a = &self.attention;
        let biases = (a.num_attention_heads + 2 * a.num_key_value_heads) * a.head_dim;
        let norms = 2 * a.head_dim;
        (usize::from(self.bias) * biases + usize::from(self.qk_norm.is_some()) * norms).max(1)
    }

    /// Whether there is a variant for these sizes: heads of whole quads, and a group that leaves room for a tile.
    #[must_use]
    pub fn fits(attention: &Attention) -> bool {
        attention.head_dim.is_multiple_of(4) && tile(attention, 0).is_some()
    }

    /// The variant of these bindings behind those that all take, of a way to read what was projected, and of files with an
    /// entry point that take `more` bytes of workgroup memory.
    fn variants_with(&self, bindings: &[&'static str], files: &[&'static str], more: usize) -> Vec<Variant> {
        let a = &self.attention;
        let Some(tile) = tile(a, more) else { return Vec::new() };
        let group = self.group();
        let consts = vec![
            ("WG", WG as u32),
            ("HEAD_DIM", a.head_dim as u32),
            ("GROUP", group as u32),
            ("TILE", tile as u32),
            ("PER", items(a).div_ceil(WG) as u32),
            ("KEYS", (tile * a.head_dim / 4).div_ceil(WG) as u32),
            ("VALUES", tile.div_ceil((WG / items(a)).max(1)) as u32),
            ("MERGED", merged(a) as u32),
            ("ROTARY_DIM", if self.rope { self.rotary_dim as u32 } else { 0 }),
            ("BIAS", u32::from(self.bias)),
            ("QK_NORM", u32::from(self.qk_norm.is_some())),
            ("SOFTCAP", u32::from(a.softcap.is_some())),
            ("ONE_PIECE", 0),
        ];
        let quads = match a.kv {
            DType::F16 => include_str!("quads_f16.wgsl"),
            DType::C8 => include_str!("quads_c8.wgsl"),
            _ => include_str!("quads_f32.wgsl"),
        };
        let shared = [quads, include_str!("common.wgsl"), include_str!("inputs.wgsl")];
        let files = [&shared, bindings, files].concat();
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts, files }]
    }

    /// Variants that keep everything in registers, for heads that fill lanes evenly and groups that leave registers: two
    /// positions of a lane at a time, or four, which long pieces want. `end` is what becomes of pieces, with `more` bytes of
    /// workgroup memory; the keys and values of `new_rows` rows are made here.
    fn subgroups_32(
        &self,
        bindings: &[&'static str],
        end: &[&'static str],
        more: usize,
        new_rows: usize,
    ) -> Vec<Variant> {
        let Attention { head_dim, .. } = self.attention;
        let (quads, group) = (head_dim / 4, self.group());
        let lanes = quads.min(32);
        let held = group * quads / lanes;
        if !quads.is_power_of_two()
            || !(8..=WG).contains(&quads)
            || held > 16
            || (self.rope && !self.rotary_dim.is_multiple_of(8))
        {
            return Vec::new();
        }
        let files = [&[NEW, include_str!("subgroup_heads.wgsl"), include_str!("subgroup.wgsl")], end].concat();
        let (first, merged) = (group + 2 * new_rows, WG / 32 * group);
        let bytes = 4 * head_dim * first.max(merged) + 8 * merged + more;
        let variant = |(name, four)| {
            // Each lane has one score of four heads at so many positions.
            if (8usize << four) > lanes {
                return None;
            }
            let mut variant = self.variants_with(bindings, &files, 0).pop()?;
            variant.name = name;
            variant.consts.push(("FOUR", four));
            variant.needs = Tier { subgroup_size: 32, workgroup_bytes: bytes as u32, ..Tier::SUBGROUP };
            Some(variant)
        };
        let mut variants: Vec<Variant> =
            [("subgroup_32x2", 0), ("subgroup_32x4", 1)].into_iter().filter_map(variant).collect();
        let Attention { capacity, sliding_window, .. } = self.attention;
        if capacity.min(sliding_window.unwrap_or(capacity)).div_ceil(self.splits) > 256 {
            variants.reverse();
        }
        variants
    }

    fn group(&self) -> usize {
        self.attention.num_attention_heads / self.attention.num_key_value_heads
    }
}

/// Invocations whose sums are added up at the end: all, if several share an item.
fn merged(a: &Attention) -> usize {
    if 2 * items(a) <= WG { WG } else { 1 }
}

/// Fours of output elements of a group of heads.
fn items(a: &Attention) -> usize {
    a.num_attention_heads / a.num_key_value_heads * a.head_dim / 4
}

/// Bytes of workgroup memory with tiles of `positions`.
fn workgroup_bytes(a: &Attention, positions: usize) -> usize {
    let group = a.num_attention_heads / a.num_key_value_heads;
    // Of C8, a word of quants and its scale.
    let quad = if a.kv == DType::F32 { 16 } else { 8 };
    let rounded = |bytes: usize| bytes.next_multiple_of(16);
    rounded((group + 1) * a.head_dim * 4)
        + rounded(a.head_dim * 4)
        + rounded((group + 1) * 16 * 4)
        + rounded(positions * (a.head_dim / 4 + 1) * quad)
        + rounded(group * positions * 4)
        + rounded(16 * merged(a))
        + rounded(4 * merged(a))
}

/// Positions of a tile: the most that the least workgroup memory holds besides `more` bytes.
fn tile(a: &Attention, more: usize) -> Option<usize> {
    [64, 32, 16, 8]
        .into_iter()
        .find(|positions| workgroup_bytes(a, *positions) + more <= Tier::WEBGPU.workgroup_bytes as usize)
}

impl Kernel for AttentionDecode {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let bindings = if self.values_apart {
            [include_str!("attend_apart.wgsl"), APART]
        } else {
            [include_str!("attend_together.wgsl"), TOGETHER]
        };
        let new_rows = usize::from(self.attention.rows == 1);
        let mut variants = self.subgroups_32(&bindings, &[PIECES_END], 0, new_rows);
        variants.extend(self.variants_with(&bindings, &[HEADS, NEW, NEW_ROW, MAIN, PIECES_END], 0));
        let rows = [("ROWS", self.attention.rows as u32), ("NEW_ROWS", new_rows as u32)];
        variants.iter_mut().for_each(|variant| variant.consts.extend(rows));
        variants
    }

    fn operands(&self) -> Vec<Operand> {
        let a = &self.attention;
        let (q_dim, kv_dim) = (a.num_attention_heads * a.head_dim, a.num_key_value_heads * a.head_dim);
        let cache = [a.capacity, a.num_key_value_heads, a.head_dim];
        let in_place =
            |name, shape: &[usize], dtype| Operand { access: Access::ReadWrite, ..Operand::read(name, shape, dtype) };
        let qkv = if self.values_apart { q_dim + kv_dim } else { q_dim + 2 * kv_dim };
        let mut operands = vec![
            Operand::read("qkv", &[a.rows, qkv], DType::F32),
            Operand::read("vectors", &[self.vectors_len()], DType::F32),
            Operand::read("table", &[self.positions, self.rotary_dim / 2, 2], DType::F32),
            Operand::read("start", &[1], DType::U32),
            in_place("k", &cache, a.kv),
            in_place("v", &cache, a.kv),
            Operand::write("partials", &[a.rows, a.num_attention_heads, self.splits, a.head_dim + 2], DType::F32),
        ];
        operands.extend(self.values_apart.then(|| Operand::read("values", &[a.rows, kv_dim], DType::F32)));
        operands
    }

    fn params(&self) -> Vec<u8> {
        let a = &self.attention;
        let window = a.sliding_window.unwrap_or(0);
        let sizes = [a.num_attention_heads, a.num_key_value_heads, a.capacity, window, self.splits];
        let floats = [a.scale, a.softcap.unwrap_or(0.0), self.qk_norm.unwrap_or(0.0)].map(f32::to_bits);
        let rows = [a.rows as u32];
        sizes.iter().map(|n| *n as u32).chain(floats).chain(rows).flat_map(u32::to_le_bytes).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        [self.attention.num_key_value_heads as u32, self.splits as u32, self.attention.rows as u32]
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        self.attention.multiply_adds(positions)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        reference::attention_decode(self, inputs, self.attention.rows == 1)
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
