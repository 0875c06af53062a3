//! Llama 2, 3, 3.1 and 3.2, and the many models of the same shape, SmolLM2 among them.
//! <https://arxiv.org/abs/2302.13971>, <https://arxiv.org/abs/2407.21783>
//! The family that the others are described by.

use super::{Family, HfConfig};
use crate::{Activation, Error, ModelConfig, RopeScaling};

pub(super) const FAMILY: Family = Family { name: "llama", architectures: &["LlamaForCausalLM"], config, renames: &[] };

/// Absent settings take the values of Hugging Face's `LlamaConfig`.
pub(super) fn config(hf: &HfConfig) -> Result<ModelConfig, Error> {
    hf.refuse("attention_bias")?;
    hf.refuse("mlp_bias")?;
    let num_attention_heads = hf.size("num_attention_heads")?;
    let hidden_size = hf.size("hidden_size")?;
    let head_dim = match hf.optional_size("head_dim")? {
        Some(head_dim) => head_dim,
        None => hidden_size.checked_div(num_attention_heads).unwrap_or(0),
    };
    // Transformers 5 moved everything about RoPE into one group; version 4 had `rope_theta` beside `rope_scaling`.
    let parameters = hf.group("rope_parameters")?;
    let rope_theta = match parameters.as_ref().map_or(Ok(None), |group| group.number("rope_theta"))? {
        Some(theta) => theta,
        None => hf.number("rope_theta")?.unwrap_or(10_000.0),
    };
    for group in [Some(hf), parameters.as_ref()].into_iter().flatten() {
        if let Some(factor) = group.number("partial_rotary_factor")?.filter(|factor| *factor != 1.0) {
            return Err(unsupported("partial_rotary_factor", factor));
        }
    }
    let scaling = match parameters {
        Some(group) => Some(group),
        None => hf.group("rope_scaling")?,
    };
    Ok(ModelConfig {
        hidden_size,
        intermediate_size: hf.size("intermediate_size")?,
        num_hidden_layers: hf.size("num_hidden_layers")?,
        num_attention_heads,
        num_key_value_heads: hf.optional_size("num_key_value_heads")?.unwrap_or(num_attention_heads),
        head_dim,
        vocab_size: hf.size("vocab_size")?,
        max_position_embeddings: hf.optional_size("max_position_embeddings")?.unwrap_or(2048),
        rms_norm_eps: hf.number("rms_norm_eps")?.unwrap_or(1e-6),
        rope_theta,
        rope_scaling: scaling.as_ref().map_or(Ok(RopeScaling::None), rope_scaling)?,
        query_pre_attn_scalar: head_dim as f64,
        sliding_window: None,
        attn_logit_softcapping: None,
        final_logit_softcapping: None,
        hidden_act: activation(hf)?,
        tie_word_embeddings: hf.flag("tie_word_embeddings")?,
        bos_token_id: hf.ids("bos_token_id")?.first().copied(),
        eos_token_ids: hf.ids("eos_token_id")?,
    })
}

fn activation(hf: &HfConfig) -> Result<Activation, Error> {
    match hf.word("hidden_act")?.unwrap_or("silu") {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        other => Err(unsupported("hidden_act", other)),
    }
}

fn rope_scaling(group: &HfConfig) -> Result<RopeScaling, Error> {
    let kind = match group.word("rope_type")? {
        Some(kind) => kind,
        None => group.word("type")?.unwrap_or("default"),
    };
    let positive = |key: &str| match group.number(key)? {
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        Some(value) => super::wrong(key, "a positive number", value),
        None => Err(Error::MissingKey { key: format!("rope_scaling.{key}") }),
    };
    match kind {
        "default" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor: positive("factor")? }),
        "llama3" => {
            let (low, high) = (positive("low_freq_factor")?, positive("high_freq_factor")?);
            if low >= high {
                return super::wrong("high_freq_factor", "more than low_freq_factor", high);
            }
            Ok(RopeScaling::Llama3 {
                factor: positive("factor")?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: group.size("original_max_position_embeddings")?,
            })
        }
        other => Err(unsupported("rope_scaling.rope_type", other)),
    }
}

fn unsupported(key: &str, found: impl ToString) -> Error {
    Error::UnsupportedSetting { key: key.to_owned(), found: found.to_string() }
}
