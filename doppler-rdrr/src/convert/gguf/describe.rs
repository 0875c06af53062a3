//! GGUF's metadata keys and tensor names in Hugging Face's terms, so that a family is written only once.

use serde_json::{Map, Number, json};

use super::{Gguf, Value};
use crate::{DType, Error, families::HfConfig};

/// GGUF's architectures and the Hugging Face classes of the same models.
const ARCHITECTURES: &[(&str, &str)] = &[("llama", "LlamaForCausalLM")];

/// GGUF's keys (behind the architecture's name), Hugging Face's, and whether a file must have them.
const KEYS: &[(&str, &str, bool)] = &[
    ("block_count", "num_hidden_layers", true),
    ("context_length", "max_position_embeddings", true),
    ("embedding_length", "hidden_size", true),
    ("feed_forward_length", "intermediate_size", true),
    ("attention.head_count", "num_attention_heads", true),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps", true),
    ("attention.head_count_kv", "num_key_value_heads", false),
    ("attention.key_length", "head_dim", false),
    ("attention.sliding_window", "sliding_window", false),
    ("rope.freq_base", "rope_theta", false),
    ("vocab_size", "vocab_size", false),
];

/// The description of a model as its `config.json` would have it.
///
/// # Errors
/// [`Error::UnknownArchitecture`], [`Error::MissingKey`], [`Error::KeyType`] or [`Error::UnsupportedSetting`].
pub(crate) fn hf_config(gguf: &Gguf<'_>) -> Result<HfConfig, Error> {
    let found = string(gguf, "general.architecture")?;
    let Some(&(architecture, class)) = ARCHITECTURES.iter().find(|(name, _)| *name == found) else {
        let supported = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
        return Err(Error::UnknownArchitecture { found: found.to_owned(), supported });
    };
    let mut settings = Map::new();
    for &(suffix, name, required) in KEYS {
        let key = format!("{architecture}.{suffix}");
        match gguf.get(&key) {
            Some(value) => drop(settings.insert(name.to_owned(), scalar(&key, value)?)),
            None if required => return Err(Error::MissingKey { key }),
            None => {}
        }
    }
    let class = if settings.contains_key("sliding_window") { "MistralForCausalLM" } else { class };
    settings.insert("architectures".to_owned(), json!([class]));
    if let (None, Some(Value::Array(tokens))) = (settings.get("vocab_size"), gguf.get("tokenizer.ggml.tokens")) {
        settings.insert("vocab_size".to_owned(), json!(tokens.len()));
    }
    let tied = !gguf.tensors().iter().any(|tensor| tensor.name == "output.weight");
    settings.insert("tie_word_embeddings".to_owned(), json!(tied));
    refuse_unsupported(gguf, architecture, &settings)?;
    if let Some(scaling) = rope_scaling(gguf, architecture, &settings)? {
        settings.insert("rope_scaling".to_owned(), scaling);
    }
    Ok(HfConfig::new(settings))
}

/// Keys of Llama files whose mathematics the decoder does not have.
fn refuse_unsupported(
    gguf: &Gguf<'_>,
    architecture: &str,
    settings: &Map<String, serde_json::Value>,
) -> Result<(), Error> {
    let size = |name: &str| settings.get(name).and_then(serde_json::Value::as_u64);
    if let Some(Value::Unsigned(count @ 2..)) = gguf.get("split.count") {
        return Err(Error::UnsupportedSetting { key: "split.count".to_owned(), found: count.to_string() });
    }
    let heads = size("num_attention_heads").unwrap_or(0);
    let head_dim = size("head_dim").or_else(|| size("hidden_size")?.checked_div(heads));
    let neutral = [("rope.dimension_count", head_dim), ("attention.value_length", head_dim), ("expert_count", Some(0))];
    for (suffix, neutral) in neutral {
        let key = format!("{architecture}.{suffix}");
        if let Some(value) = gguf.get(&key) {
            let value = scalar(&key, value)?;
            if value.as_u64() != neutral {
                return Err(Error::UnsupportedSetting { key, found: value.to_string() });
            }
        }
    }
    Ok(())
}

fn rope_scaling(
    gguf: &Gguf<'_>,
    architecture: &str,
    settings: &Map<String, serde_json::Value>,
) -> Result<Option<serde_json::Value>, Error> {
    let get = |suffix: &str| {
        let key = format!("{architecture}.rope.{suffix}");
        gguf.get(&key).map(|value| scalar(&key, value)).transpose()
    };
    let original = get("scaling.original_context_length")?.and_then(|value| value.as_u64());
    if let Some(tensor) = gguf.tensors().iter().find(|tensor| tensor.name == "rope_freqs.weight") {
        if tensor.dtype != DType::F32 {
            let (tensor, found) = (tensor.name.to_owned(), tensor.dtype.to_string());
            return Err(Error::UnsupportedTensorType { tensor, found });
        }
        let size = |name: &str| settings.get(name).and_then(serde_json::Value::as_u64);
        let hidden_per_head = || size("hidden_size")?.checked_div(size("num_attention_heads")?);
        let expected = (size("head_dim").or_else(hidden_per_head).unwrap_or(0) / 2) as usize;
        if tensor.shape != [expected] {
            let (tensor, actual) = (tensor.name.to_owned(), tensor.shape.clone());
            return Err(Error::SourceTensorShape { tensor, expected: vec![expected], actual });
        }
        let factors: Vec<f64> = gguf
            .data(tensor)
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
            .collect();
        let theta = settings.get("rope_theta").and_then(serde_json::Value::as_f64).unwrap_or(10_000.0);
        return rope_scaling_of(&factors, theta, original).map(Some);
    }
    if let Some(factor) = get("scale_linear")?.filter(|factor| factor.as_f64() != Some(1.0)) {
        return Ok(Some(json!({ "rope_type": "linear", "factor": factor })));
    }
    let kind = get("scaling.type")?;
    match kind.as_ref().and_then(serde_json::Value::as_str) {
        None | Some("none") => Ok(None),
        Some(kind) => Ok(Some(json!({ "rope_type": kind, "factor": get("scaling.factor")? }))),
    }
}

/// The numbers of Llama 3.1's scaling from the divisors that GGUF stores instead of them, one for each frequency.
///
/// A divisor `d` says `1 / d = s + (1 - s) / factor`, and `s`, between its ends 0 and 1, is a straight line over the
/// frequency; the line gives the other three numbers. They have one degree of freedom too many (all three times the same
/// number is the same scaling), which the original context length settles, or else Llama's own `low_freq_factor` of 1.
pub(crate) fn rope_scaling_of(divisors: &[f64], theta: f64, original: Option<u64>) -> Result<serde_json::Value, Error> {
    let factor = divisors.iter().copied().fold(1.0, f64::max);
    if divisors.iter().all(|d| *d == factor) {
        return Ok(json!({ "rope_type": if factor == 1.0 { "default" } else { "linear" }, "factor": factor }));
    }
    let turns_per_token = |i: usize| theta.powf(-(i as f64) / divisors.len() as f64) / std::f64::consts::TAU;
    let points: Vec<(f64, f64)> = divisors
        .iter()
        .enumerate()
        .map(|(i, d)| (turns_per_token(i), (1.0 / d - 1.0 / factor) / (1.0 - 1.0 / factor)))
        .collect();
    let fits = |low: f64, high: f64, original: f64| {
        points.iter().all(|(x, s)| (((original * x - low) / (high - low)).clamp(0.0, 1.0) - s).abs() < 2e-5)
    };
    let fitted = line(&points).map(|(slope, intercept)| {
        let width = -1.0 / intercept;
        let fitted_original = slope * width;
        let low = original.map_or(1.0, |original| original as f64 / fitted_original);
        let rounded = |x: f64| (x * 1000.0).round() / 1000.0;
        (rounded(low), rounded(low + low * width), (fitted_original * low).round())
    });
    let usual = (1.0, 4.0, original.unwrap_or(8192) as f64);
    let found = [Some(usual), fitted].into_iter().flatten().find(|&(low, high, original)| fits(low, high, original));
    let Some((low, high, original)) = found else {
        let found = "divisors that are no llama3 scaling".to_owned();
        return Err(Error::UnsupportedSetting { key: "rope_freqs.weight".to_owned(), found });
    };
    Ok(json!({
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original as u64,
    }))
}

/// Slope and intercept through the outermost points strictly inside the band.
fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let mut inside = points.iter().filter(|(_, s)| *s > 1e-6 && *s < 1.0 - 1e-6);
    let (first, last) = (inside.next()?, inside.next_back()?);
    let slope = (first.1 - last.1) / (first.0 - last.0);
    Some((slope, first.1 - slope * first.0)).filter(|(slope, intercept)| *slope > 0.0 && *intercept < 0.0)
}

/// The name of a tensor in Hugging Face's Llama; `None` for one that GGUF's Llama does not have.
pub(crate) fn hf_name(name: &str) -> Option<String> {
    let whole = match name {
        "token_embd.weight" => Some("model.embed_tokens.weight"),
        "output_norm.weight" => Some("model.norm.weight"),
        "output.weight" => Some("lm_head.weight"),
        _ => None,
    };
    if let Some(whole) = whole {
        return Some(whole.to_owned());
    }
    let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let part = match part.strip_suffix(".weight")? {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{part}.weight"))
}

/// A string that must be there.
pub(crate) fn string<'a>(gguf: &Gguf<'a>, key: &str) -> Result<&'a str, Error> {
    match gguf.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong_type(key, "a string", &other)),
        None => Err(Error::MissingKey { key: key.to_owned() }),
    }
}

/// A number, truth value or string as JSON. Floats of 32 bits become the decimal that they were written as.
fn scalar(key: &str, value: Value<'_>) -> Result<serde_json::Value, Error> {
    let finite = |number: f64| Number::from_f64(number).map(serde_json::Value::Number);
    let json = match value {
        Value::Unsigned(number) => Some(number.into()),
        Value::Signed(number) => Some(number.into()),
        Value::F32(number) => number.to_string().parse().ok().and_then(finite),
        Value::F64(number) => finite(number),
        Value::Bool(flag) => Some(flag.into()),
        Value::String(text) => Some(text.into()),
        Value::Array(_) => None,
    };
    json.ok_or_else(|| wrong_type(key, "one finite number or a string", &value))
}

/// The error for a metadata value of the wrong type.
pub(crate) fn wrong_type(key: &str, expected: &'static str, value: &Value<'_>) -> Error {
    let found = match value {
        Value::Array(array) => format!("an array of {} {:?} values", array.len(), array.item_type()),
        other => format!("{other:?}").chars().take(80).collect(),
    };
    Error::KeyType { key: key.to_owned(), expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The divisors as llama.cpp's converter makes them, in 32 bits.
    fn divisors(theta: f64, head_dim: usize, [factor, low, high, original]: [f64; 4]) -> Vec<f64> {
        (0..head_dim / 2)
            .map(|i| {
                let frequency = 1.0 / (theta as f32).powf((2 * i) as f32 / head_dim as f32);
                let wavelength = std::f32::consts::TAU / frequency;
                if wavelength < (original / high) as f32 {
                    1.0
                } else if wavelength > (original / low) as f32 {
                    factor
                } else {
                    let smooth = (original as f32 / wavelength - low as f32) / (high - low) as f32;
                    f64::from(1.0 / ((1.0 - smooth) / factor as f32 + smooth))
                }
            })
            .collect()
    }

    fn recovered(theta: f64, head_dim: usize, numbers: [f64; 4], original: Option<u64>) -> [f64; 4] {
        let scaling = rope_scaling_of(&divisors(theta, head_dim, numbers), theta, original).unwrap();
        assert_eq!(scaling["rope_type"], "llama3");
        ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"]
            .map(|key| scaling[key].as_f64().unwrap())
    }

    #[test]
    fn rope_scaling_comes_back_exactly() {
        for (theta, head_dim, numbers) in [
            (500_000.0, 128, [8.0, 1.0, 4.0, 8192.0]),
            (500_000.0, 64, [32.0, 1.0, 4.0, 8192.0]),
            (500_000.0, 128, [16.0, 1.0, 8.0, 4096.0]),
            (10_000.0, 128, [4.0, 1.0, 3.0, 2048.0]),
        ] {
            assert_eq!(recovered(theta, head_dim, numbers, None), numbers);
        }
        let unusual = [8.0, 2.0, 6.0, 8192.0];
        assert_eq!(recovered(500_000.0, 128, unusual, Some(8192)), unusual);
    }

    #[test]
    fn other_divisors() {
        assert_eq!(rope_scaling_of(&[1.0; 32], 1e4, None).unwrap()["rope_type"], "default");
        assert_eq!(rope_scaling_of(&[4.0; 32], 1e4, None).unwrap()["rope_type"], "linear");
        let rising: Vec<f64> = (1..=32).map(f64::from).collect();
        assert!(rope_scaling_of(&rising, 1e4, None).is_err());
        assert!(rope_scaling_of(&[f64::NAN; 32], 1e4, None).is_err());
        assert!(rope_scaling_of(&[f64::INFINITY, 1.0], 1e4, None).is_err());
        assert!(rope_scaling_of(&[0.0, 1.0], 1e4, Some(0)).is_err());
    }
}
