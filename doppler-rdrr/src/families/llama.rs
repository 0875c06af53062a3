//! Llama 2, 3, 3.1 and 3.2, and the many models of the same shape, SmolLM2 among them.
//! <https://arxiv.org/abs/2302.13971>, <https://arxiv.org/abs/2407.21783>
//! The family that the others are described by.

use super::{Family, HfConfig, all_layers, num_layers, rope, unsupported};
use crate::{Activation, Error, LayerType, ModelConfig};

pub(super) const FAMILY: Family =
    Family { name: "llama", architectures: &["LlamaForCausalLM"], config, renames: &[], left_out: &[] };

/// Absent settings take the values of Hugging Face's `LlamaConfig`.
pub(super) fn config(hf: &HfConfig) -> Result<ModelConfig, Error> {
    hf.refuse("attention_bias")?;
    hf.refuse("mlp_bias")?;
    let num_hidden_layers = num_layers(hf)?;
    let num_attention_heads = hf.size("num_attention_heads")?;
    let hidden_size = hf.size("hidden_size")?;
    let head_dim = match hf.optional_size("head_dim")? {
        Some(head_dim) => head_dim,
        None => hidden_size.checked_div(num_attention_heads).unwrap_or(0),
    };
    let max_position_embeddings = hf.optional_size("max_position_embeddings")?.unwrap_or(2048);
    // Transformers 5 moved everything about RoPE into one group; version 4 had `rope_theta` beside `rope_scaling`.
    let parameters = hf.group("rope_parameters")?;
    let rope = rope::read(hf, parameters.as_ref(), max_position_embeddings)?;
    Ok(ModelConfig {
        hidden_size,
        intermediate_size: hf.size("intermediate_size")?,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads: hf.optional_size("num_key_value_heads")?.unwrap_or(num_attention_heads),
        head_dim,
        vocab_size: hf.size("vocab_size")?,
        max_position_embeddings,
        rms_norm_eps: hf.number("rms_norm_eps")?.unwrap_or(1e-6),
        rms_norm_weight_offset: false,
        sandwich_norms: false,
        qk_norm: false,
        attention_bias: false,
        rope_theta: rope.theta.unwrap_or(10_000.0),
        rope_scaling: rope.scaling,
        rope_local_base_freq: None,
        rotary_dim: rope::rotary_dim(head_dim, rope.partial_rotary_factor)?,
        rope_layers: vec![true; num_hidden_layers],
        layer_types: all_layers(num_hidden_layers, LayerType::FullAttention),
        query_pre_attn_scalar: head_dim as f64,
        sliding_window: None,
        attn_logit_softcapping: None,
        final_logit_softcapping: None,
        hidden_act: activation(hf)?,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_input_scale: 1.0,
        tie_word_embeddings: hf.flag("tie_word_embeddings")?,
        bos_token_id: hf.ids("bos_token_id")?.first().copied(),
        eos_token_ids: hf.ids("eos_token_id")?,
    })
}

fn activation(hf: &HfConfig) -> Result<Activation, Error> {
    // Gemma's name for it goes first: its files have both, and `hidden_act` is left over there.
    let (key, word) = match hf.word("hidden_activation")? {
        Some(word) => ("hidden_activation", word),
        None => ("hidden_act", hf.word("hidden_act")?.unwrap_or("silu")),
    };
    match word {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        other => Err(unsupported(key, other)),
    }
}
