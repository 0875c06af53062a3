//! Phi-3 and Phi-3.5-mini. <https://arxiv.org/abs/2404.14219>
//! Differs from Llama: one matrix for queries, keys and values, one for gate and up (split by [`super::split`]), LongRoPE,
//! and rotation of a part of each head.

use super::{Family, HfConfig, all_layers, llama};
use crate::{Error, LayerType, ModelConfig};

pub(super) const FAMILY: Family =
    Family { name: "phi3", architectures: &["Phi3ForCausalLM"], config, renames: &[], left_out: &[] };

fn config(hf: &HfConfig) -> Result<ModelConfig, Error> {
    let base = llama::config(hf)?;
    let sliding_window = hf.optional_size("sliding_window")?;
    let kind = if sliding_window.is_some() { LayerType::SlidingAttention } else { LayerType::FullAttention };
    Ok(ModelConfig { sliding_window, layer_types: all_layers(base.num_hidden_layers, kind), ..base })
}
