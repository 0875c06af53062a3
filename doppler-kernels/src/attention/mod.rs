//! Causal attention over the key-value cache, in three tiers, and split over the context for decoding.

pub(crate) mod cases;
mod host;
mod reduce;
mod reference;
mod split;

use doppler_rdrr::DType;

use crate::{Entry, Kernel, Operand, Tier, Variant};

pub use reduce::{AttentionReduce, ENTRY as REDUCE_ENTRY};
pub use split::{AttentionSplit, ENTRY as SPLIT_ENTRY};

/// Each row attends to the positions up to its own: `y = Σ softmax(scale · q·k) · v`, with grouped heads, an optional
/// sliding window and an optional soft cap of the scores (`cap · tanh(score / cap)`).
///
/// | operand  | shape                                       | dtype          |
/// |----------|---------------------------------------------|----------------|
/// | `q`, `y` | `[rows, num_attention_heads, head_dim]`     | f32            |
/// | `k`, `v` | `[capacity, num_key_value_heads, head_dim]` | f32, f16 or C8 |
/// | `start`  | `[1]`                                       | u32            |
///
/// Row r has position start + r < capacity, and sees positions max(0, start + r + 1 − window) … start + r. The tiers are
/// `large` (heads of up to 64 elements, 32 KiB of workgroup memory), `small` (up to 256 elements) and `streaming` (any).
/// # Source
/// Milakov and Gimelshein 2018, <https://arxiv.org/abs/1805.02867>; Dao et al. 2022, <https://arxiv.org/abs/2205.14135>
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Rows: consecutive positions.
    pub rows: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Elements of a head; even, and with C8 whole blocks of 32.
    pub head_dim: usize,
    /// Positions of the cache.
    pub capacity: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Cap of the scores.
    pub softcap: Option<f32>,
    /// Positions that a row sees, its own included.
    pub sliding_window: Option<usize>,
    /// F32, F16 or C8.
    pub kv: DType,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "attention",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

const PARAMS: &str = include_str!("params.wgsl");
const STREAMING: &str = include_str!("streaming.wgsl");
/// Invocations of the streaming tier.
const STREAMING_WG: u32 = 64;

impl Attention {
    fn kv_file(&self) -> &'static str {
        match self.kv {
            DType::F16 => include_str!("kv_f16.wgsl"),
            DType::C8 => include_str!("kv_c8.wgsl"),
            _ => include_str!("kv_f32.wgsl"),
        }
    }

    /// A tiled variant with BQ rows and BK positions a tile.
    fn tiled(&self, name: &'static str, needs: Tier, bq: u32, bk: u32, kv: &'static str) -> Variant {
        const WG: u32 = 128;
        let head_dim = self.head_dim as u32;
        let per = (bq * head_dim).div_ceil(WG);
        Variant {
            name,
            needs,
            consts: vec![("WG", WG), ("HEAD_DIM", head_dim), ("BQ", bq), ("BK", bk), ("PER", per)],
            files: vec![PARAMS, kv, include_str!("tiled.wgsl")],
        }
    }

    fn streaming(&self, main: &'static str) -> Variant {
        let head_dim = self.head_dim as u32;
        let pairs = (head_dim / 2).div_ceil(STREAMING_WG);
        Variant {
            name: "streaming",
            needs: Tier { workgroup_bytes: 4 * (head_dim + 2 * STREAMING_WG).max(4096), ..Tier::PORTABLE },
            consts: vec![("WG", STREAMING_WG), ("HEAD_DIM", head_dim), ("PAIRS", pairs)],
            files: vec![PARAMS, self.kv_file(), STREAMING, main],
        }
    }

    fn operands_with(&self, output: Operand) -> Vec<Operand> {
        let cache = [self.capacity, self.num_key_value_heads, self.head_dim];
        vec![
            Operand::read("q", &[self.rows, self.num_attention_heads, self.head_dim], DType::F32),
            Operand::read("k", &cache, self.kv),
            Operand::read("v", &cache, self.kv),
            Operand::read("start", &[1], DType::U32),
            output,
        ]
    }

    fn params_with(&self, splits: usize) -> Vec<u8> {
        let window = self.sliding_window.unwrap_or(0);
        let sizes = [self.rows, self.num_attention_heads, self.num_key_value_heads, self.capacity, window];
        let floats = [self.scale.to_bits(), self.softcap.unwrap_or(0.0).to_bits(), splits as u32];
        sizes.iter().map(|n| *n as u32).chain(floats).flat_map(u32::to_le_bytes).collect()
    }

    /// The positions that a row sees.
    fn seen(&self, position: usize) -> std::ops::Range<usize> {
        let first = self.sliding_window.map_or(0, |window| (position + 1).saturating_sub(window));
        first..(position + 1).min(self.capacity)
    }
}

impl Kernel for Attention {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let mut variants = Vec::new();
        let kv = self.kv_file();
        if self.rows > 1 {
            let (bq, bk) = match self.head_dim {
                0..=64 => (16, 32),
                65..=128 => (8, 16),
                _ => (4, 8),
            };
            if self.head_dim <= 64 {
                let needs = Tier { workgroup_bytes: 36_864, ..Tier::PORTABLE };
                variants.push(self.tiled("large", needs, 32, 64, kv));
            }
            if self.head_dim <= 256 {
                variants.push(self.tiled("small", Tier::PORTABLE, bq, bk, kv));
                if self.kv == DType::F16 {
                    variants.push(self.tiled("small_f16", Tier::F16, bq, bk, include_str!("kv_f16_native.wgsl")));
                }
            }
        }
        variants.push(self.streaming(include_str!("streaming_main.wgsl")));
        variants
    }

    fn operands(&self) -> Vec<Operand> {
        self.operands_with(Operand::write("y", &[self.rows, self.num_attention_heads, self.head_dim], DType::F32))
    }

    fn params(&self) -> Vec<u8> {
        self.params_with(1)
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        let rows = if variant.name == "streaming" { 1 } else { variant.constant("BQ") as usize };
        [self.num_attention_heads as u32, self.rows.div_ceil(rows) as u32, 1]
    }

    fn multiply_adds(&self, positions: usize) -> u64 {
        // Each row with the keys and with the values that some row of a tile sees.
        let seen = self.sliding_window.map_or(positions, |window| positions.min(window + self.rows));
        2 * (self.rows * self.num_attention_heads * self.head_dim) as u64 * seen as u64
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        vec![reference::attention(self, inputs)]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let start = bytemuck::cast_slice::<u8, u32>(reads[3])[0] as usize;
        host::attention(
            self,
            bytemuck::cast_slice(reads[0]),
            reads[1],
            reads[2],
            start,
            bytemuck::cast_slice_mut(writes[0]),
        );
    }

    fn host_scratch_bytes(&self, threads: usize) -> usize {
        host::scratch_bytes(self, threads)
    }
}
