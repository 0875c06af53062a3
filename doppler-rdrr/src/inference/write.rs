//! A [`ModelConfig`] as a manifest's `architecture` and `inference`.

use serde_json::{Value, json};

use crate::{Activation, LayerType, ModelConfig, RopeScaling};

/// The manifest's `architecture`.
pub(crate) fn architecture_json(c: &ModelConfig) -> Value {
    json!({
        "numLayers": c.num_hidden_layers,
        "hiddenSize": c.hidden_size,
        "intermediateSize": c.intermediate_size,
        "numAttentionHeads": c.num_attention_heads,
        "numKeyValueHeads": c.num_key_value_heads,
        "headDim": c.head_dim,
        "vocabSize": c.vocab_size,
        "maxSeqLen": c.max_position_embeddings,
        "ropeTheta": c.rope_theta,
        "rmsNormEps": c.rms_norm_eps,
    })
}

/// The manifest's `inference`: every field there is, null or false where a feature is off.
pub(crate) fn inference_json(c: &ModelConfig, chat_template: Option<&str>) -> Value {
    let rope_scaling = rope_scaling_json(&c.rope_scaling);
    let all_rotate = c.rope_layers.iter().all(|rotates| *rotates);
    let kind = c.layer_types.first().copied().unwrap_or(LayerType::FullAttention);
    // A pattern of one kind is uniform, if it is the kind that the window implies.
    let implied = if c.sliding_window.is_some() { LayerType::SlidingAttention } else { LayerType::FullAttention };
    let uniform = kind == implied && c.layer_types.iter().all(|other| *other == kind);
    let activation = match c.hidden_act {
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu",
    };
    json!({
        "attention": {
            "queryPreAttnScalar": c.query_pre_attn_scalar,
            "attnLogitSoftcapping": c.attn_logit_softcapping,
            "slidingWindow": c.sliding_window,
            "queryKeyNorm": c.qk_norm,
            "valueNorm": false,
            "causal": true,
            "attentionBias": c.attention_bias,
            "attentionOutputGate": false,
        },
        "normalization": {
            "rmsNormEps": c.rms_norm_eps,
            "rmsNormWeightOffset": c.rms_norm_weight_offset,
            // Every Llama has a norm between attention and MLP, and manifests say so here.
            "postAttentionNorm": true,
            "preFeedforwardNorm": c.sandwich_norms,
            "postFeedforwardNorm": c.sandwich_norms,
        },
        "ffn": { "activation": activation, "gatedActivation": true, "branchMode": "dense", "swigluLimit": null },
        "rope": {
            "ropeTheta": c.rope_theta,
            "ropeLocalTheta": c.rope_local_base_freq,
            "ropeInterleaved": false,
            "partialRotaryFactor": (c.rotary_dim < c.head_dim).then(|| c.rotary_dim as f64 / c.head_dim as f64),
            "ropeLayers": (!all_rotate).then_some(&c.rope_layers),
            "ropeScalingType": rope_scaling["type"],
            "ropeScalingFactor": rope_scaling.get("factor").unwrap_or(&json!(1.0)),
            "llama3LowFreqFactor": rope_scaling["low"],
            "llama3HighFreqFactor": rope_scaling["high"],
            "llama3OriginalMaxPos": rope_scaling["llama3_original"],
            "longropeShortFactor": rope_scaling["short"],
            "longropeLongFactor": rope_scaling["long"],
            "longropeOriginalMaxPos": rope_scaling["longrope_original"],
            "longropeAttentionFactor": rope_scaling["attention_factor"],
            "yarnBetaFast": null,
            "yarnBetaSlow": null,
            "yarnOriginalMaxPos": null,
        },
        "output": {
            "finalLogitSoftcapping": c.final_logit_softcapping,
            "tieWordEmbeddings": c.tie_word_embeddings,
            "scaleEmbeddings": c.embedding_scale != 1.0,
            "embeddingScale": (c.embedding_scale != 1.0).then_some(c.embedding_scale),
            "logitInputScale": c.logit_input_scale,
            "embeddingTranspose": false,
            "embeddingVocabSize": c.vocab_size,
        },
        "layerPattern": {
            "type": if uniform { "uniform" } else { "custom" },
            "globalPattern": null,
            "period": null,
            "offset": null,
            "layerTypes": (!uniform).then_some(&c.layer_types),
            "residualBranchScale": c.residual_scale,
        },
        "chatTemplate": { "type": null, "enabled": chat_template.is_some(), "template": chat_template },
        "pipeline": null,
        "defaultKernelPath": null,
    })
}

fn rope_scaling_json(scaling: &RopeScaling) -> Value {
    match scaling {
        RopeScaling::None => json!({}),
        RopeScaling::Linear { factor } => json!({ "type": "linear", "factor": factor }),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => json!({
            "type": "llama3",
            "factor": factor,
            "low": low_freq_factor,
            "high": high_freq_factor,
            "llama3_original": original_max_position_embeddings,
        }),
        RopeScaling::Longrope { short_factor, long_factor, original_max_position_embeddings, attention_factor } => {
            json!({
                "type": "longrope",
                "short": short_factor,
                "long": long_factor,
                "longrope_original": original_max_position_embeddings,
                "attention_factor": attention_factor,
            })
        }
    }
}
