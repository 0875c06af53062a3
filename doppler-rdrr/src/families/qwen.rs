//! Qwen2 and Qwen2.5, <https://arxiv.org/abs/2407.10671>; Qwen3, <https://arxiv.org/abs/2505.09388>
//! Qwen2 differs from Llama by biases on queries, keys and values, Qwen3 by norms on queries and keys.

use super::{Family, HfConfig, layer_types, llama};
use crate::{Error, LayerType, ModelConfig};

pub(super) const QWEN2: Family =
    Family { name: "qwen2", architectures: &["Qwen2ForCausalLM"], config: qwen2, renames: &[], left_out: &[] };

pub(super) const QWEN3: Family =
    Family { name: "qwen3", architectures: &["Qwen3ForCausalLM"], config: qwen3, renames: &[], left_out: &[] };

fn qwen2(hf: &HfConfig) -> Result<ModelConfig, Error> {
    Ok(ModelConfig { attention_bias: true, ..config(hf)? })
}

fn qwen3(hf: &HfConfig) -> Result<ModelConfig, Error> {
    Ok(ModelConfig { qk_norm: true, ..config(hf)? })
}

/// A window counts only where `use_sliding_window` is on, and then in the layers from `max_window_layers` on.
fn config(hf: &HfConfig) -> Result<ModelConfig, Error> {
    let base = llama::config(hf)?;
    let sliding_window = if hf.flag("use_sliding_window")? { hf.optional_size("sliding_window")? } else { None };
    let first = hf.optional_size("max_window_layers")?.unwrap_or(28);
    let layer_types = layer_types(hf, base.num_hidden_layers, |layer| match sliding_window {
        Some(_) if layer >= first => LayerType::SlidingAttention,
        _ => LayerType::FullAttention,
    })?;
    Ok(ModelConfig { sliding_window, layer_types, ..base })
}
