//! Layers whose matrices lie one behind the other, as decode steps and prompts on matrix units take them.

use doppler_kernels::AttentionDecode;
use doppler_rdrr::{DType, Model, ModelConfig};

use super::{Decoder, Layer, attention_of};
use crate::kv_cache::KvCache;
use crate::weights::{Matrix, read_vector};
use crate::{Device, Error, Tensor};

/// What a fused layer takes besides a [`Layer`].
#[derive(Debug)]
pub(super) struct FusedLayer {
    /// Queries, keys and, unless they are `values`, values.
    pub qkv: Tensor,
    /// Values of another format.
    pub values: Option<Tensor>,
    pub o_proj: Tensor,
    pub gate_up: Tensor,
    pub down_proj: Tensor,
    /// Biases and norms of heads, as [`AttentionDecode`](doppler_kernels::AttentionDecode) takes them.
    pub vectors: Tensor,
}

/// What of a layer could be loaded as one matrix.
pub(super) struct Stacked {
    /// Queries, keys and, unless they are apart, values.
    pub qkv: Option<Tensor>,
    pub values_apart: bool,
    pub gate_up: Option<Tensor>,
    pub vectors: Tensor,
}

impl Stacked {
    /// The fused form of `layer`, if it can be put together and `takes` takes its matrices; else why not.
    pub fn fuse(&self, layer: &Layer, takes: impl Fn(&Tensor) -> Result<Tensor, String>) -> Result<FusedLayer, String> {
        let whole = |matrix: &Matrix, name: &str| {
            matrix.whole().ok_or_else(|| format!("`{name}` is split over bindings")).and_then(&takes)
        };
        Ok(FusedLayer {
            qkv: takes(self.qkv.as_ref().ok_or("queries and keys cannot be put together")?)?,
            values: self.values_apart.then(|| whole(&layer.v_proj.matrix, "v_proj")).transpose()?,
            o_proj: whole(&layer.o_proj, "o_proj")?,
            gate_up: takes(self.gate_up.as_ref().ok_or("gate and up cannot be put together")?)?,
            down_proj: whole(&layer.down_proj, "down_proj")?,
            vectors: self.vectors.clone(),
        })
    }
}

/// Adds a layer to those before it, unless one of them or this one is refused.
pub(super) fn push(layers: &mut Result<Vec<FusedLayer>, String>, layer: impl FnOnce() -> Result<FusedLayer, String>) {
    if let Ok(before) = layers {
        match layer() {
            Ok(layer) => before.push(layer),
            Err(why) => *layers = Err(why),
        }
    }
}

/// The biases of q, k and v and the norms of query and key heads of layer `i`, as far as there are such.
pub(super) fn vectors(device: &Device, model: &Model, c: &ModelConfig, i: usize) -> Result<Tensor, Error> {
    let mut values = Vec::new();
    let name = |part: &str| format!("model.layers.{i}.self_attn.{part}");
    if c.attention_bias {
        for (part, len) in [("q_proj.bias", c.q_dim()), ("k_proj.bias", c.kv_dim()), ("v_proj.bias", c.kv_dim())] {
            values.extend(read_vector(model, &name(part), len)?);
        }
    }
    if c.qk_norm {
        let offset = if c.rms_norm_weight_offset { 1.0 } else { 0.0 };
        for part in ["q_norm.weight", "k_norm.weight"] {
            values.extend(read_vector(model, &name(part), c.head_dim)?.iter().map(|w| w + offset));
        }
    }
    if values.is_empty() {
        values.push(0.0);
    }
    let tensor = device.alloc("attention_vectors", &[values.len()], DType::F32)?;
    device.write(&tensor, bytemuck::cast_slice(&values))?;
    Ok(tensor)
}

impl Decoder {
    /// The attention of `rows` new positions in layer `i`, from what its product gives on.
    pub(super) fn attention_decode(
        &self,
        i: usize,
        cache: &KvCache,
        rows: usize,
        splits: usize,
        values_apart: bool,
    ) -> AttentionDecode {
        let c = &self.config;
        AttentionDecode {
            attention: attention_of(c, rows, cache.capacity, cache.dtype, c.window(i)),
            splits,
            rotary_dim: c.rotary_dim,
            positions: cache.rope(c.layer_types[i]).len() / c.rotary_dim,
            rope: c.rope_layers[i],
            bias: c.attention_bias,
            qk_norm: c.qk_norm.then_some(c.rms_norm_eps as f32),
            values_apart,
        }
    }
}
