//! Gemma 2, <https://arxiv.org/abs/2408.00118>, and the text decoder of Gemma 3, <https://arxiv.org/abs/2503.19786>
//! Differ from Llama: norms on both sides of attention and MLP, whose weights are offsets from 1; scaled embeddings; layers
//! with and without a sliding window. Gemma 2 caps scores and logits; Gemma 3 has norms on queries and keys, and other
//! rotary frequencies in its sliding layers.

use super::{Family, HfConfig, layer_types, llama, rope};
use crate::{Error, LayerType, ModelConfig};

pub(super) const GEMMA2: Family =
    Family { name: "gemma2", architectures: &["Gemma2ForCausalLM"], config: gemma2, renames: &[], left_out: &[] };

pub(super) const GEMMA3: Family =
    Family { name: "gemma3", architectures: &["Gemma3ForCausalLM"], config: gemma3, renames: &[], left_out: &[] };

/// The models that also see, 4B and up: their text decoder alone.
pub(super) const GEMMA3_VISION: Family = Family {
    name: "gemma3",
    architectures: &["Gemma3ForConditionalGeneration"],
    config: gemma3_vision,
    renames: &[
        ("language_model.lm_head.", "lm_head."),
        ("model.language_model.", "model."),
        ("language_model.model.", "model."),
    ],
    left_out: &["vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."],
};

/// The decoder's settings lie in a group of their own, which leaves out what all these models share.
fn gemma3_vision(hf: &HfConfig) -> Result<ModelConfig, Error> {
    let Some(text) = hf.group("text_config")? else {
        return Err(Error::MissingKey { key: "text_config".to_owned() });
    };
    let mut settings = text.settings().clone();
    let usual = [("vocab_size", 262_208), ("num_attention_heads", 8), ("num_key_value_heads", 4), ("head_dim", 256)];
    for (key, value) in usual {
        settings.entry(key).or_insert(value.into());
    }
    settings.entry("max_position_embeddings").or_insert(131_072.into());
    for key in ["bos_token_id", "eos_token_id"] {
        if let Some(ids) = hf.settings().get(key) {
            settings.insert(key.to_owned(), ids.clone());
        }
    }
    gemma3(&HfConfig::new(settings))
}

/// What both have; every `pattern`-th layer sees all, unless the model lists its layers.
fn config(hf: &HfConfig, pattern: usize) -> Result<ModelConfig, Error> {
    let base = llama::config(hf)?;
    let head_dim = hf.optional_size("head_dim")?.unwrap_or(256);
    let layer_types = layer_types(hf, base.num_hidden_layers, |layer| {
        if (layer + 1).is_multiple_of(pattern) { LayerType::FullAttention } else { LayerType::SlidingAttention }
    })?;
    Ok(ModelConfig {
        head_dim,
        rotary_dim: head_dim,
        rms_norm_weight_offset: true,
        sandwich_norms: true,
        layer_types,
        query_pre_attn_scalar: hf.number("query_pre_attn_scalar")?.unwrap_or(256.0),
        sliding_window: Some(hf.optional_size("sliding_window")?.unwrap_or(4096)),
        hidden_act: crate::Activation::GeluTanh,
        embedding_scale: (base.hidden_size as f64).sqrt(),
        tie_word_embeddings: hf.optional_flag("tie_word_embeddings")?.unwrap_or(true),
        ..base
    })
}

fn gemma2(hf: &HfConfig) -> Result<ModelConfig, Error> {
    Ok(ModelConfig {
        attn_logit_softcapping: cap(hf, "attn_logit_softcapping", 50.0)?,
        final_logit_softcapping: cap(hf, "final_logit_softcapping", 30.0)?,
        ..config(hf, 2)?
    })
}

/// Absent means the family's own cap, null means none.
fn cap(hf: &HfConfig, key: &str, usual: f64) -> Result<Option<f64>, Error> {
    if hf.settings().get(key).is_some_and(serde_json::Value::is_null) {
        return Ok(None);
    }
    Ok(Some(hf.number(key)?.unwrap_or(usual)))
}

fn gemma3(hf: &HfConfig) -> Result<ModelConfig, Error> {
    hf.refuse("use_bidirectional_attention")?;
    let pattern = match hf.optional_size("sliding_window_pattern")? {
        Some(pattern) => pattern,
        None => hf.optional_size("_sliding_window_pattern")?.unwrap_or(6),
    };
    // Version 5 of transformers has a group of settings for each type of layer.
    let groups = hf.group("rope_parameters")?;
    let group = |name: &str| groups.as_ref().map_or(Ok(None), |groups| groups.group(name));
    let (global, local) = (group("full_attention")?, group("sliding_attention")?);
    let base = config(hf, pattern.max(1))?;
    let global = rope::read(hf, global.as_ref(), base.max_position_embeddings)?;
    let local = match local {
        Some(local) => local.number("rope_theta")?,
        None => hf.number("rope_local_base_freq")?,
    };
    Ok(ModelConfig {
        qk_norm: true,
        rope_theta: global.theta.unwrap_or(1e6),
        rope_scaling: global.scaling,
        rope_local_base_freq: Some(local.unwrap_or(10_000.0)),
        attn_logit_softcapping: hf.number("attn_logit_softcapping")?,
        final_logit_softcapping: hf.number("final_logit_softcapping")?,
        ..base
    })
}
