//! Small models of random weights, of whatever differs between families.
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

use std::path::Path;

use doppler_kernels::cases::{random_f32, random_weights};
use doppler_rdrr::families::expected_tensors;
use doppler_rdrr::{Activation, DType, LayerType, ModelConfig, NewModel, RopeScaling, Writer};

/// A small Llama: rows of whole k-quant blocks, grouped heads, untied.
pub fn llama() -> ModelConfig {
    ModelConfig {
        hidden_size: 256,
        intermediate_size: 512,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 64,
        vocab_size: 333,
        max_position_embeddings: 600,
        rms_norm_eps: 1e-5,
        rms_norm_weight_offset: false,
        sandwich_norms: false,
        qk_norm: false,
        attention_bias: false,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        rope_local_base_freq: None,
        rotary_dim: 64,
        rope_layers: vec![true; 2],
        layer_types: vec![LayerType::FullAttention; 2],
        query_pre_attn_scalar: 64.0,
        sliding_window: None,
        attn_logit_softcapping: None,
        final_logit_softcapping: None,
        hidden_act: Activation::Silu,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_input_scale: 1.0,
        tie_word_embeddings: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    }
}

/// Writes a model of random weights, matrices as `formats` says by their name.
pub fn write(config: ModelConfig, formats: impl Fn(&str) -> DType, out: &Path) {
    let mut writer = Writer::create(out).unwrap();
    for (seed, (name, shape)) in (1..).zip(expected_tensors(&config)) {
        let len: usize = shape.iter().product();
        let vector = shape.len() == 1;
        let dtype = if vector { DType::F32 } else { formats(&name) };
        writer.begin_tensor(&name, dtype, &shape).unwrap();
        let bytes = if vector {
            // Random matrices are larger than trained ones: small norms keep scores where softmax is no mere maximum.
            let (centre, spread) = match &*name {
                name if name.ends_with("bias") => (0.0, 0.3),
                name if name.contains("q_norm") || name.contains("k_norm") => (1.0, 0.3),
                _ if config.rms_norm_weight_offset => (-0.9, 0.03),
                _ => (0.1, 0.03),
            };
            random_f32(len, seed).iter().flat_map(|v| (centre + spread * v).to_le_bytes()).collect()
        } else {
            random_weights(dtype, len, seed)
        };
        writer.write(&bytes).unwrap();
    }
    let new = NewModel {
        model_id: "step".to_owned(),
        model_type: "transformer".to_owned(),
        config,
        tokenizer_json: br#"{"version":"1.0","model":{"type":"BPE","vocab":{},"merges":[]}}"#.to_vec(),
        chat_template: None,
        bos_token: None,
        eos_token: None,
        source: serde_json::Value::Null,
    };
    writer.finish(new).unwrap();
}
