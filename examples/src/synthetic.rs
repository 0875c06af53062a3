//! Models of well-known shapes with random weights: a large model's speed without its download.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use doppler_core::kernels::cases::{random_f32, random_weights};
use doppler_core::rdrr::families::expected_tensors;
use doppler_core::rdrr::{Activation, DType, LayerType, ModelConfig, NewModel, RopeScaling, Writer};

/// Names that [`write()`] knows.
pub const NAMES: &[&str] = &["llama-8b", "llama-1b", "smollm2-135m"];
/// A tensor's random bytes repeat after so many elements: no cache holds them, and they are made quickly.
const PATTERN: usize = 1 << 22;

/// A folder that goes with the handle: in memory where the system has such a place.
///
/// # Errors
/// No room for temporary files.
pub fn folder() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? })
}

/// Writes the model `name` as an RDRR folder inside `folder`, in the mix of formats that llama.cpp calls Q4_K_M: Q4_K, with
/// Q6_K for the output head and half of the values and down projections. (SmolLM2's rows are no whole blocks of 256: Q4_1.)
///
/// # Errors
/// An unknown name, a full disk.
pub fn write(name: &str, folder: &Path) -> Result<PathBuf> {
    let config = config(name).with_context(|| format!("no shape `{name}`; known: {}", NAMES.join(", ")))?;
    let path = folder.join(format!("{name}.rdrr"));
    let mut writer = Writer::create(&path)?;
    for (seed, (tensor, shape)) in expected_tensors(&config).enumerate() {
        let dtype = format(&tensor, &shape, &config);
        writer.begin_tensor(&tensor, dtype, &shape)?;
        let len: usize = shape.iter().product();
        let pattern = match dtype {
            // Near one, as trained norms are.
            DType::F32 => {
                let values: Vec<f32> = random_f32(len, seed as u64).iter().map(|v| 1.0 + 0.1 * v).collect();
                values.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
            _ => random_weights(dtype, len.min(PATTERN), seed as u64),
        };
        let mut left = dtype.tensor_bytes(&shape).context("whole blocks")?;
        while left > 0 {
            let bytes = &pattern[..left.min(pattern.len())];
            writer.write(bytes)?;
            left -= bytes.len();
        }
    }
    writer.finish(NewModel {
        model_id: format!("synthetic-{name}"),
        model_type: "transformer".to_owned(),
        config,
        // Token ids go in and come out; there is no text.
        tokenizer_json: br#"{"version":"1.0","model":{"type":"BPE","vocab":{},"merges":[]}}"#.to_vec(),
        chat_template: None,
        bos_token: None,
        eos_token: None,
        source: serde_json::Value::Null,
    })?;
    Ok(path)
}

/// The format of a tensor in the mix.
fn format(tensor: &str, shape: &[usize], c: &ModelConfig) -> DType {
    if shape.len() == 1 {
        return DType::F32;
    }
    if !c.hidden_size.is_multiple_of(256) {
        return if tensor.contains("embed") { DType::Q8_0 } else { DType::Q4_1 };
    }
    let head = if c.tie_word_embeddings { "embed_tokens" } else { "lm_head" };
    let layers = c.num_hidden_layers;
    let layer = tensor.split('.').nth(2).and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
    let better = layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
    let larger = tensor.contains(head) || better && (tensor.contains("v_proj") || tensor.contains("down_proj"));
    if larger { DType::Q6_K } else { DType::Q4_K }
}

fn config(name: &str) -> Option<ModelConfig> {
    let (hidden_size, intermediate_size, layers, heads, kv_heads, vocab_size, tied) = match name {
        "llama-8b" => (4096, 14_336, 32, 32, 8, 128_256, false),
        "llama-1b" => (2048, 8192, 16, 32, 8, 128_256, true),
        "smollm2-135m" => (576, 1536, 30, 9, 3, 49_152, true),
        _ => return None,
    };
    let head_dim = hidden_size / heads;
    Some(ModelConfig {
        hidden_size,
        intermediate_size,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim,
        vocab_size,
        max_position_embeddings: 131_072,
        rms_norm_eps: 1e-5,
        rms_norm_weight_offset: false,
        sandwich_norms: false,
        qk_norm: false,
        attention_bias: false,
        rope_theta: 500_000.0,
        rope_scaling: RopeScaling::None,
        rope_local_base_freq: None,
        rotary_dim: head_dim,
        rope_layers: vec![true; layers],
        layer_types: vec![LayerType::FullAttention; layers],
        query_pre_attn_scalar: head_dim as f64,
        sliding_window: None,
        attn_logit_softcapping: None,
        final_logit_softcapping: None,
        hidden_act: Activation::Silu,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_input_scale: 1.0,
        tie_word_embeddings: tied,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    })
}
