//! GGUF's metadata keys and tensor names in Hugging Face's terms, so that a family is written only once.

use serde_json::{Map, Number, json};

use super::{Gguf, Value};
use crate::{DType, Error, families::HfConfig};

/// GGUF's architectures and the Hugging Face classes of the same models.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("llama", "LlamaForCausalLM"),
    ("gemma2", "Gemma2ForCausalLM"),
    ("gemma3", "Gemma3ForCausalLM"),
    ("phi3", "Phi3ForCausalLM"),
    ("qwen2", "Qwen2ForCausalLM"),
    ("qwen3", "Qwen3ForCausalLM"),
    ("smollm3", "SmolLM3ForCausalLM"),
];

/// Architectures whose files keep the two rows that a rotation mixes side by side.
const ROWS_IN_PAIRS: &[&str] = &["llama", "smollm3"];

/// LongRoPE's divisors, which are tensors in GGUF and numbers here.
const LONGROPE_DIVISORS: [(&str, &str); 2] =
    [("short_factor", "rope_factors_short.weight"), ("long_factor", "rope_factors_long.weight")];

/// Tensors that hold hyperparameters.
pub(crate) const ROPE_TENSORS: [&str; 3] = ["rope_freqs.weight", LONGROPE_DIVISORS[0].1, LONGROPE_DIVISORS[1].1];

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
    ("rope.freq_base_swa", "rope_local_base_freq", false),
    ("attn_logit_softcapping", "attn_logit_softcapping", false),
    ("final_logit_softcapping", "final_logit_softcapping", false),
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
    let windowed = settings.contains_key("sliding_window");
    let class = if windowed && architecture == "llama" { "MistralForCausalLM" } else { class };
    family_rules(architecture, &mut settings);
    settings.insert("architectures".to_owned(), json!([class]));
    if let (None, Some(Value::Array(tokens))) = (settings.get("vocab_size"), gguf.get("tokenizer.ggml.tokens")) {
        settings.insert("vocab_size".to_owned(), json!(tokens.len()));
    }
    let tied = !gguf.tensors().iter().any(|tensor| tensor.name == "output.weight");
    settings.insert("tie_word_embeddings".to_owned(), json!(tied));
    refuse_unsupported(gguf, architecture, &settings)?;
    if let Some(factor) = partial_rotary_factor(gguf, architecture, &settings)? {
        settings.insert("partial_rotary_factor".to_owned(), json!(factor));
    }
    if let Some(scaling) = rope_scaling(gguf, architecture, &settings)? {
        settings.insert("rope_scaling".to_owned(), scaling);
    }
    Ok(HfConfig::new(settings))
}

/// What the files leave out because it is the same in all models of a family; these are llama.cpp's rules.
fn family_rules(architecture: &str, settings: &mut Map<String, serde_json::Value>) {
    let size = |settings: &Map<String, serde_json::Value>, name: &str| settings.get(name)?.as_u64();
    // Of all sizes, the two of 27B scale by the width of a head that hidden_size would have.
    let layers_of_27b = match architecture {
        "gemma2" => Some(46),
        "gemma3" => Some(62),
        _ => None,
    };
    if layers_of_27b.is_some() {
        let scalar = if size(settings, "num_hidden_layers") == layers_of_27b {
            size(settings, "num_attention_heads").and_then(|heads| size(settings, "hidden_size")?.checked_div(heads))
        } else {
            head_dim(settings)
        };
        settings.insert("query_pre_attn_scalar".to_owned(), json!(scalar));
    }
    // A window of 0 is none.
    if size(settings, "sliding_window") == Some(0) {
        settings.remove("sliding_window");
    }
}

/// The elements of a head, where the settings say so or imply it.
fn head_dim(settings: &Map<String, serde_json::Value>) -> Option<u64> {
    let size = |name: &str| settings.get(name).and_then(serde_json::Value::as_u64);
    size("head_dim").or_else(|| size("hidden_size")?.checked_div(size("num_attention_heads")?))
}

/// The part of each head that rotates, where it is not the whole.
fn partial_rotary_factor(
    gguf: &Gguf<'_>,
    architecture: &str,
    settings: &Map<String, serde_json::Value>,
) -> Result<Option<f64>, Error> {
    let key = format!("{architecture}.rope.dimension_count");
    let (Some(value), Some(head_dim)) = (gguf.get(&key), head_dim(settings)) else { return Ok(None) };
    match scalar(&key, value)?.as_u64() {
        Some(rotary) if rotary == head_dim => Ok(None),
        // Half an element more, so that the product is not cut to one less.
        Some(rotary) if (1..head_dim).contains(&rotary) => Ok(Some((rotary as f64 + 0.5) / head_dim as f64)),
        _ => Err(Error::KeyType { key, expected: "a size up to that of a head", found: format!("{value:?}") }),
    }
}

/// Keys whose mathematics the decoder does not have.
fn refuse_unsupported(
    gguf: &Gguf<'_>,
    architecture: &str,
    settings: &Map<String, serde_json::Value>,
) -> Result<(), Error> {
    if let Some(Value::Unsigned(count @ 2..)) = gguf.get("split.count") {
        return Err(Error::UnsupportedSetting { key: "split.count".to_owned(), found: count.to_string() });
    }
    let head_dim = head_dim(settings);
    // A part that is rotated belongs to Phi-3; where a Llama has one, it is of another kind.
    let rotary = (architecture != "phi3").then_some(("rope.dimension_count", head_dim));
    let neutral = [("attention.value_length", head_dim), ("expert_count", Some(0))].into_iter().chain(rotary);
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
    if let Some(factors) = divisors(gguf, "rope_freqs.weight", settings)? {
        let theta = settings.get("rope_theta").and_then(serde_json::Value::as_f64).unwrap_or(10_000.0);
        return rope_scaling_of(&factors, theta, original).map(Some);
    }
    let mut longrope = Map::new();
    for (name, tensor) in LONGROPE_DIVISORS {
        if let Some(factors) = divisors(gguf, tensor, settings)? {
            longrope.insert(name.to_owned(), json!(factors));
        }
    }
    if !longrope.is_empty() {
        longrope.insert("rope_type".to_owned(), json!("longrope"));
        longrope.insert("original_max_position_embeddings".to_owned(), json!(original));
        longrope.insert("attention_factor".to_owned(), json!(get("scaling.attn_factor")?));
        return Ok(Some(longrope.into()));
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

/// A tensor of divisors, one for each rotary frequency, if the file has it.
fn divisors(gguf: &Gguf<'_>, name: &str, settings: &Map<String, serde_json::Value>) -> Result<Option<Vec<f64>>, Error> {
    let Some(tensor) = gguf.tensors().iter().find(|tensor| tensor.name == name) else { return Ok(None) };
    let name = || tensor.name.to_owned();
    if tensor.dtype != DType::F32 {
        return Err(Error::UnsupportedTensorType { tensor: name(), found: tensor.dtype.to_string() });
    }
    let factor = settings.get("partial_rotary_factor").and_then(serde_json::Value::as_f64).unwrap_or(1.0);
    let expected = ((head_dim(settings).unwrap_or(0) as f64 * factor) as usize) / 2;
    if tensor.shape != [expected] {
        let actual = tensor.shape.clone();
        return Err(Error::SourceTensorShape { tensor: name(), expected: vec![expected], actual });
    }
    let number = |b: &[u8; 4]| f64::from(f32::from_le_bytes(*b));
    Ok(Some(gguf.data(tensor).as_chunks().0.iter().map(number).collect()))
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

/// The name of a tensor in Hugging Face's terms, and whether its rows are in pairs; `None` for one that no known
/// architecture has.
pub(crate) fn hf_name(gguf: &Gguf<'_>, name: &str) -> Result<Option<(String, bool)>, Error> {
    let architecture = string(gguf, "general.architecture")?;
    let whole = match name {
        "token_embd.weight" => Some("model.embed_tokens.weight"),
        "output_norm.weight" => Some("model.norm.weight"),
        "output.weight" => Some("lm_head.weight"),
        _ => None,
    };
    if let Some(whole) = whole {
        return Ok(Some((whole.to_owned(), false)));
    }
    Ok(layer_name(architecture, name))
}

fn layer_name(architecture: &str, name: &str) -> Option<(String, bool)> {
    let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let (part, kind) = part.rsplit_once('.').filter(|(_, kind)| matches!(*kind, "weight" | "bias"))?;
    let sandwich = architecture.starts_with("gemma");
    let part = match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_qkv" => "self_attn.qkv_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "attn_output" => "self_attn.o_proj",
        "post_attention_norm" if sandwich => "post_attention_layernorm",
        "ffn_norm" if sandwich => "pre_feedforward_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "post_ffw_norm" if sandwich => "post_feedforward_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        // Phi-3 has gate and up in one.
        "ffn_up" if architecture == "phi3" => "mlp.gate_up_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    let rotated = matches!(part, "self_attn.q_proj" | "self_attn.k_proj");
    let pairs = rotated && ROWS_IN_PAIRS.contains(&architecture);
    Some((format!("model.layers.{layer}.{part}.{kind}"), pairs))
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
