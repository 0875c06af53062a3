//! Mistral 7B and its descendants. <https://arxiv.org/abs/2310.06825>
//! Differs from Llama: attention may look back only over a sliding window.

use super::{Family, HfConfig, llama};
use crate::{Error, ModelConfig};

pub(super) const FAMILY: Family =
    Family { name: "mistral", architectures: &["MistralForCausalLM"], config, renames: &[] };

fn config(hf: &HfConfig) -> Result<ModelConfig, Error> {
    Ok(ModelConfig { sliding_window: hf.optional_size("sliding_window")?, ..llama::config(hf)? })
}
