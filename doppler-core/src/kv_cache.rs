//! The keys and values of every position so far, and the rotary table; grows in steps.

use doppler_rdrr::{DType, LayerType, ModelConfig};

use crate::{Device, Error, Tensor};

/// Positions are added in multiples of this.
const STEP: usize = 256;

/// Keys and values `[capacity, num_key_value_heads, head_dim]` of each layer.
#[derive(Debug)]
pub(crate) struct KvCache {
    pub layers: Vec<(Tensor, Tensor)>,
    /// cos and sin of every position, `[capacity, rotary_dim / 2, 2]`.
    rope: Tensor,
    /// The same for layers with a sliding window, where that differs.
    local_rope: Option<Tensor>,
    /// Positions that fit.
    pub capacity: usize,
    /// As kernels know it: C8 where the caller said Q8_0.
    pub dtype: DType,
}

/// How a cache that is asked for as `kv` is stored.
///
/// # Errors
/// [`Error::KvDType`] for a format that no kernel keeps a cache in, [`Error::KvHeads`] for heads that it cannot hold.
pub(crate) fn stored_as(kv: DType, config: &ModelConfig) -> Result<DType, Error> {
    match kv {
        DType::F16 | DType::F32 => Ok(kv),
        DType::Q8_0 if config.head_dim.is_multiple_of(DType::C8.block_len()) => Ok(DType::C8),
        DType::Q8_0 => Err(Error::KvHeads { head_dim: config.head_dim }),
        _ => Err(Error::KvDType { dtype: kv }),
    }
}

impl KvCache {
    /// A cache that holds at least `positions`, at most `max_seq_len`.
    pub fn new(
        device: &Device,
        config: &ModelConfig,
        dtype: DType,
        positions: usize,
        max_seq_len: usize,
    ) -> Result<KvCache, Error> {
        let capacity = capacity(positions, max_seq_len);
        let shape = [capacity, config.num_key_value_heads, config.head_dim];
        let layers = (0..config.num_hidden_layers)
            .map(|i| {
                let keys = device.alloc_once(&format!("kv_cache.{i}.k"), &shape, dtype)?;
                Ok((keys, device.alloc_once(&format!("kv_cache.{i}.v"), &shape, dtype)?))
            })
            .collect::<Result<_, Error>>()?;
        let table = |layer_type| {
            let table = device.alloc_once("rope_table", &[capacity, config.rotary_dim / 2, 2], DType::F32)?;
            let frequencies = config.rope_frequencies(layer_type, max_seq_len);
            let values = rope_table(&frequencies, config.rope_attention_factor(), capacity);
            device.write(&table, bytemuck::cast_slice(&values))?;
            Ok::<_, Error>(table)
        };
        let rope = table(LayerType::FullAttention)?;
        let local_rope = config.rope_local_base_freq.map(|_| table(LayerType::SlidingAttention)).transpose()?;
        Ok(KvCache { layers, rope, local_rope, capacity, dtype })
    }

    /// The rotary table of a layer.
    pub fn rope(&self, layer_type: LayerType) -> &Tensor {
        match (&self.local_rope, layer_type) {
            (Some(local), LayerType::SlidingAttention) => local,
            _ => &self.rope,
        }
    }

    /// A larger cache with the first `used` positions of this one: at least `positions`, doubled while that fits.
    pub fn grown(
        &self,
        device: &Device,
        config: &ModelConfig,
        positions: usize,
        used: usize,
        max_seq_len: usize,
    ) -> Result<KvCache, Error> {
        let wanted = positions.max(self.capacity.saturating_mul(2).min(max_seq_len));
        let grown = KvCache::new(device, config, self.dtype, wanted, max_seq_len)?;
        for ((old_k, old_v), (k, v)) in self.layers.iter().zip(&grown.layers) {
            device.copy(old_k, k, used * config.kv_dim())?;
            device.copy(old_v, v, used * config.kv_dim())?;
        }
        Ok(grown)
    }

    /// Bytes for `positions` of a cache that was asked for as `kv`, rotary tables included.
    pub fn bytes(config: &ModelConfig, kv: DType, positions: usize) -> u64 {
        let dtype = if kv == DType::Q8_0 { DType::C8 } else { kv };
        let blocks = config.kv_dim().div_ceil(dtype.block_len());
        // No overflow: layers and heads have limits.
        let kv = 2 * config.num_hidden_layers as u64 * (blocks * dtype.block_bytes()) as u64;
        let tables = if config.rope_local_base_freq.is_some() { 2 } else { 1 };
        (positions as u64).saturating_mul(kv + tables * config.rotary_dim as u64 * 4)
    }

    /// Bytes that a cache on its way to `max_seq_len` takes besides: the smaller one that it is copied from.
    pub fn growth_bytes(config: &ModelConfig, kv: DType, max_seq_len: usize) -> u64 {
        if capacity(1, max_seq_len) == max_seq_len { 0 } else { KvCache::bytes(config, kv, max_seq_len / 2) }
    }
}

/// Positions of a cache for at least `positions`: whole steps, and all of the context from its half on, so that while it
/// grows there are never more than one and a half.
fn capacity(positions: usize, max_seq_len: usize) -> usize {
    let steps = positions.next_multiple_of(STEP);
    if steps > max_seq_len / 2 { max_seq_len } else { steps }
}

fn rope_table(frequencies: &[f64], factor: f64, positions: usize) -> Vec<f32> {
    let mut table = Vec::with_capacity(positions * frequencies.len() * 2);
    for position in 0..positions {
        for frequency in frequencies {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            table.extend([(factor * cos) as f32, (factor * sin) as f32]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_copied_from_one_of_half_the_context_at_most() {
        assert_eq!(capacity(1, 48), 48);
        assert_eq!(capacity(1, 511), 511);
        assert_eq!([1, 256, 257, 512, 513, 1024].map(|n| capacity(n, 1024)), [256, 256, 512, 512, 1024, 1024]);
        for max_seq_len in 1..2000 {
            for positions in 1..=max_seq_len {
                let capacity = capacity(positions, max_seq_len);
                assert!((positions..=max_seq_len).contains(&capacity));
                assert!(capacity == max_seq_len || capacity <= max_seq_len / 2);
            }
        }
    }
}
