//! What a model takes in memory, before any of it is taken.

use doppler_kernels::{Attention, Kernel, MatMul, linear};
use doppler_rdrr::{DType, Model, ModelConfig};

use crate::Error;
use crate::decoder::{NextToken, logits_bytes, most_scratch_bytes, scratch_bytes, splits};
use crate::gpu::MOST_QUEUED_BYTES;
use crate::kv_cache::KvCache;

/// Bytes by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// All tensors of the model, as stored; those stored transposed as they are read, turned and perhaps unpacked.
    pub weights: u64,
    /// Keys, values and the rotary table at the full context.
    pub kv_cache: u64,
    /// The smaller cache that the full one is copied from.
    pub kv_growth: u64,
    /// Activations of one prefill chunk and one decode step, logits included; on the CPU, what its kernels take besides.
    pub scratch: u64,
    /// Transfers to and from a GPU: pieces of weights on their way, and logits on theirs. Nothing on the CPU.
    pub staging: u64,
}

impl MemoryPlan {
    /// For `model` with a context of `max_seq_len` tokens, a cache of `kv_dtype` and prefill in chunks, on so many
    /// `threads` of the CPU; none of them is a GPU.
    #[must_use]
    pub fn new(
        model: &Model,
        max_seq_len: usize,
        kv_dtype: DType,
        prefill_chunk: usize,
        threads: Option<usize>,
    ) -> MemoryPlan {
        let config: &ModelConfig = model.config();
        let chunk = prefill_chunk.min(max_seq_len);
        let weights: u64 = model.tensors().iter().map(|tensor| tensor.read_bytes()).sum();
        let staging = weights.min(MOST_QUEUED_BYTES) + 4 * config.vocab_size as u64;
        let (row, logits) = (scratch_bytes(config, 1, 0), logits_bytes(config, 1));
        // A row of a decode step, and one of a prompt's last layer.
        let mut scratch = most_scratch_bytes(config, chunk).saturating_add(2 * row).saturating_add(2 * logits);
        match threads {
            // Attention in pieces and the logits of one row and of a few, the choice of a token, and what the pool rounds up.
            None => {
                // Layers may have values of their own.
                let values = (4 * config.num_hidden_layers * config.kv_dim()) as u64;
                let row = logits.saturating_add(partials_bytes(config, max_seq_len)).saturating_add(values);
                scratch = scratch.saturating_add(row.saturating_mul(linear::MOST_ROWS as u64 + 1));
                scratch = scratch.saturating_add(NextToken::bytes(config.vocab_size));
                scratch = scratch.saturating_add(scratch / 8);
            }
            Some(threads) => scratch = scratch.saturating_add(host_bytes(model, chunk, max_seq_len, threads)),
        }
        MemoryPlan {
            staging: if threads.is_none() { staging } else { 0 },
            weights,
            kv_cache: KvCache::bytes(config, kv_dtype, max_seq_len),
            kv_growth: KvCache::growth_bytes(config, kv_dtype, max_seq_len),
            scratch,
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        let parts = [self.weights, self.kv_cache, self.kv_growth, self.scratch, self.staging];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Whether it fits a budget.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] with what would.
    pub fn check(&self, budget: Option<u64>, max_seq_len: usize) -> Result<(), Error> {
        let needed = self.total();
        let Some(budget) = budget.filter(|budget| needed > *budget) else {
            return Ok(());
        };
        // What grows with the context.
        let cache = self.kv_cache.saturating_add(self.kv_growth);
        let room = budget.saturating_sub(needed.saturating_sub(cache));
        let fitting = (u128::from(room) * max_seq_len as u128 / u128::from(cache.max(1))) as usize;
        let remedy = if fitting > 0 {
            format!("a `max_seq_len` of {fitting} would fit")
        } else {
            "quantize the model further or use another device".to_owned()
        };
        Err(Error::DoesNotFit { needed, budget, plan: *self, remedy })
    }
}

impl std::fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MemoryPlan { weights, kv_cache, kv_growth, scratch, staging } = self;
        write!(
            f,
            "weights {weights}, key-value cache {kv_cache}, its growth {kv_growth}, activations {scratch}, transfers {staging}"
        )
    }
}

/// What the CPU's kernels take besides their operands for `rows` rows: the most of attention and of the products that run
/// at the same time, which are query, key and value, or gate and up.
fn host_bytes(model: &Model, rows: usize, max_seq_len: usize, threads: usize) -> u64 {
    // More than any memory has room for, and few enough to be multiplied.
    const MOST: usize = 1 << 40;
    let (rows, capacity) = (rows.min(MOST), max_seq_len.min(MOST));
    let c = model.config();
    let packed = model.tensors().iter().map(|tensor| tensor.dtype).find(|dtype| dtype.block_len() > 1);
    let product = |in_features| {
        let weight = packed.unwrap_or(DType::F32);
        let sizes = MatMul { rows, out_features: 1, in_features, weight, y_stride: 1, y_offset: 0 };
        sizes.host_scratch_bytes(threads)
    };
    let attention = Attention {
        rows,
        num_attention_heads: c.num_attention_heads,
        num_key_value_heads: c.num_key_value_heads,
        head_dim: c.head_dim,
        capacity,
        scale: 1.0,
        softcap: None,
        sliding_window: None,
        kv: DType::F32,
    };
    let products = [3 * product(c.hidden_size), product(c.q_dim()), product(c.intermediate_size)];
    products.into_iter().fold(attention.host_scratch_bytes(threads), usize::max) as u64
}

/// What the pieces of the context leave for one row on a GPU: of each piece and head its values, their maximum and sum, in whole
/// fours; those of layers with a window besides.
fn partials_bytes(config: &ModelConfig, max_seq_len: usize) -> u64 {
    let pieces = |seen: usize| splits(seen, config.num_key_value_heads) * (config.head_dim + 4);
    let windows = config.sliding_window.map_or(0, |window| pieces(window.min(max_seq_len)));
    4 * (config.num_attention_heads * (pieces(max_seq_len) + windows) + config.num_key_value_heads) as u64
}
