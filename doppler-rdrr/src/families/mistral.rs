//! Mistral 7B and its descendants. <https://arxiv.org/abs/2310.06825>
//! Differs from Llama: attention may look back only over a sliding window.

use super::{Family, HfConfig, all_layers, llama};
use crate::{Error, LayerType, ModelConfig};

pub(super) const FAMILY: Family =
    Family { name: "mistral", architectures: &["MistralForCausalLM"], config, renames: &[], left_out: &[] };

fn config(hf: &HfConfig) -> Result<ModelConfig, Error> {
    let sliding_window = hf.optional_size("sliding_window")?;
    let kind = if sliding_window.is_some() { LayerType::SlidingAttention } else { LayerType::FullAttention };
    let base = llama::config(hf)?;
    Ok(ModelConfig { sliding_window, layer_types: all_layers(base.num_hidden_layers, kind), ..base })
}
