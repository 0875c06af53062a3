//! [`ModelConfig`] out of a manifest's `architecture` and `inference`, and back. A feature that `ModelConfig` cannot
//! express is an error that names it: reading on would give wrong numbers without a sign.

mod features;
mod validate;
mod write;

use serde_json::{Map, Value};

use crate::json::{Object, brief, whole};
use crate::{Activation, Error, LayerType, ModelConfig, RopeScaling};

use validate::check_layers;
pub(crate) use validate::{MAX_LAYERS, POSSIBLE_SIZE, impossible_size, validate};
pub(crate) use write::{architecture_json, inference_json};

/// Reads the decoder's numbers from a whole manifest.
pub(crate) fn config(manifest: &Map<String, Value>) -> Result<ModelConfig, Error> {
    let root = Object::new(manifest, "");
    let model_type = root.string("modelType")?;
    if model_type != "transformer" {
        return Err(unsupported("modelType", &model_type.into(), "models other than causal transformers are"));
    }
    if let Some(name) = root.field("architecture")?.as_str() {
        return Err(unsupported("architecture", &name.into(), "manifests with a name in place of the sizes are"));
    }
    features::check(root)?;
    read(root)
}

fn unsupported(field: &str, value: &Value, what: &'static str) -> Error {
    Error::UnsupportedField { field: field.to_owned(), found: brief(value), what }
}

/// The object at a path of at most two names.
fn section<'a>(root: Object<'a>, path: &'static str) -> Result<&'a Map<String, Value>, Error> {
    match path.split_once('.') {
        Some((outer, inner)) => Object::new(root.object(outer)?, outer).object(inner),
        None if path.is_empty() => Ok(root.map),
        None => root.object(path),
    }
}

fn read(root: Object<'_>) -> Result<ModelConfig, Error> {
    let of = |path: &'static str| section(root, path).map(|map| Object::new(map, path));
    let (architecture, attention) = (of("architecture")?, of("inference.attention")?);
    let (rope, output) = (of("inference.rope")?, of("inference.output")?);
    let head_dim = architecture.size("headDim")?;
    let vocab_size = architecture.size("vocabSize")?;
    if let Some(rows) = output.size_or_null("embeddingVocabSize")?.filter(|rows| *rows != vocab_size) {
        let what = "embeddings with another number of rows than vocabSize are";
        return Err(unsupported("inference.output.embeddingVocabSize", &rows.into(), what));
    }
    let hidden_size = architecture.size("hiddenSize")?;
    let num_hidden_layers = architecture.size("numLayers")?;
    check_layers(num_hidden_layers)?;
    let normalization = of("inference.normalization")?;
    let sandwich_norms = normalization.bool("preFeedforwardNorm")?;
    let after = (normalization.bool("postAttentionNorm")?, normalization.bool("postFeedforwardNorm")?);
    if after.1 != sandwich_norms || sandwich_norms && !after.0 {
        let what = "norms before the MLP without norms after it and after attention (or the reverse) are";
        return Err(unsupported("inference.normalization.postFeedforwardNorm", &after.1.into(), what));
    }
    let rope_theta = rope.positive("ropeTheta")?;
    let rotary_dim = match newer(rope, "partialRotaryFactor")? {
        Some(factor) if factor <= 1.0 => (head_dim as f64 * factor).round() as usize,
        Some(factor) => return Err(rope.invalid("partialRotaryFactor", "at most 1", &factor.into())),
        None => head_dim,
    };
    let sliding_window = attention.size_or_null("slidingWindow")?;
    let pattern = of("inference.layerPattern")?;
    let max_position_embeddings = architecture.size("maxSeqLen")?;
    let config = ModelConfig {
        hidden_size,
        intermediate_size: architecture.size("intermediateSize")?,
        num_hidden_layers,
        num_attention_heads: architecture.size("numAttentionHeads")?,
        num_key_value_heads: architecture.size("numKeyValueHeads")?,
        head_dim,
        vocab_size,
        max_position_embeddings,
        rms_norm_eps: normalization.positive("rmsNormEps")?,
        rms_norm_weight_offset: normalization.bool("rmsNormWeightOffset")?,
        sandwich_norms,
        qk_norm: attention.bool("queryKeyNorm")?,
        attention_bias: attention.bool("attentionBias")?,
        rope_theta,
        rope_scaling: rope_scaling(rope, max_position_embeddings)?,
        rope_local_base_freq: rope.positive_or_null("ropeLocalTheta")?,
        rotary_dim,
        rope_layers: rope_layers(rope, num_hidden_layers)?,
        layer_types: layer_types(pattern, num_hidden_layers, sliding_window)?,
        query_pre_attn_scalar: query_pre_attn_scalar(root, attention.positive("queryPreAttnScalar")?, head_dim),
        sliding_window,
        attn_logit_softcapping: attention.positive_or_null("attnLogitSoftcapping")?,
        final_logit_softcapping: output.positive_or_null("finalLogitSoftcapping")?,
        hidden_act: activation(of("inference.ffn")?)?,
        embedding_scale: match newer(output, "embeddingScale")? {
            Some(scale) => scale,
            None if output.bool("scaleEmbeddings")? => (hidden_size as f64).sqrt(),
            None => 1.0,
        },
        residual_scale: newer(pattern, "residualBranchScale")?.unwrap_or(1.0),
        logit_input_scale: newer(output, "logitInputScale")?.unwrap_or(1.0),
        tie_word_embeddings: output.bool("tieWordEmbeddings")?,
        bos_token_id: bos_token_id(root)?,
        eos_token_ids: eos_token_ids(root)?,
    };
    validate(&config)?;
    Ok(config)
}

fn activation(ffn: Object<'_>) -> Result<Activation, Error> {
    match ffn.string("activation")? {
        "silu" | "swiglu" => Ok(Activation::Silu),
        "gelu" | "geglu" => Ok(Activation::GeluTanh),
        other => Err(unsupported("inference.ffn.activation", &other.into(), "this activation is")),
    }
}

/// A number that the first manifests did not have yet.
fn newer(object: Object<'_>, name: &str) -> Result<Option<f64>, Error> {
    object.maybe(name).map_or(Ok(None), |_| object.positive(name).map(Some))
}

/// What each layer sees. A pattern names the layers that see everything.
fn layer_types(pattern: Object<'_>, layers: usize, window: Option<usize>) -> Result<Vec<LayerType>, Error> {
    let all = |sees_all: &dyn Fn(usize) -> bool| {
        let kind = |layer| if sees_all(layer) { LayerType::FullAttention } else { LayerType::SlidingAttention };
        (0..layers).map(kind).collect::<Vec<_>>()
    };
    let types = match pattern.string("type")? {
        "uniform" => all(&|_| window.is_none()),
        "alternating" => match pattern.string("globalPattern")? {
            "odd" => all(&|layer| layer % 2 == 1),
            "even" => all(&|layer| layer % 2 == 0),
            other => return Err(pattern.invalid("globalPattern", "odd or even", &other.into())),
        },
        "every_n" => {
            let period = pattern.size("period")?.max(1);
            let offset = pattern.maybe("offset").map_or(Ok(0), |_| pattern.whole("offset"))?;
            all(&|layer| (layer % period) as u64 == offset)
        }
        "custom" => {
            let list = pattern.list("layerTypes")?;
            if list.len() != layers {
                return Err(pattern.invalid("layerTypes", "one entry for each layer", &list.len().into()));
            }
            let read = |value: &Value| match value.as_str() {
                Some("full_attention") => Ok(LayerType::FullAttention),
                Some("sliding_attention") => Ok(LayerType::SlidingAttention),
                _ => Err(unsupported("inference.layerPattern.layerTypes", value, "layers of this type are")),
            };
            list.iter().map(read).collect::<Result<_, _>>()?
        }
        other => return Err(unsupported("inference.layerPattern.type", &other.into(), "this pattern of layers is")),
    };
    if window.is_none() && types.contains(&LayerType::SlidingAttention) {
        let (field, found) = ("inference.attention.slidingWindow".to_owned(), "null".to_owned());
        return Err(Error::InvalidField { field, expected: "a size, since layers slide", found });
    }
    Ok(types)
}

fn rope_layers(rope: Object<'_>, layers: usize) -> Result<Vec<bool>, Error> {
    if rope.maybe("ropeLayers").is_none() {
        return Ok(vec![true; layers]);
    }
    let list = rope.list("ropeLayers")?;
    let flags: Option<Vec<bool>> = list.iter().map(Value::as_bool).collect();
    let invalid = || rope.invalid("ropeLayers", "true or false for each layer", &list.len().into());
    flags.filter(|flags| flags.len() == layers).ok_or_else(invalid)
}

/// Divisors of frequencies; a list longer than any head is not read.
fn factors(rope: Object<'_>, name: &str) -> Result<Vec<f64>, Error> {
    let list = rope.list(name)?;
    let numbers: Option<Vec<f64>> = list.iter().take(1 << 16).map(Value::as_f64).collect();
    numbers.ok_or_else(|| rope.invalid(name, "a list of numbers", &list.len().into()))
}

fn rope_scaling(rope: Object<'_>, max_position_embeddings: usize) -> Result<RopeScaling, Error> {
    match rope.maybe_string("ropeScalingType")? {
        None => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: rope.positive("ropeScalingFactor")? }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: rope.positive("ropeScalingFactor")?,
            low_freq_factor: rope.positive("llama3LowFreqFactor")?,
            high_freq_factor: rope.positive("llama3HighFreqFactor")?,
            original_max_position_embeddings: rope.size("llama3OriginalMaxPos")?,
        }),
        Some("longrope") => {
            let original = rope.size("longropeOriginalMaxPos")?;
            let attention_factor = newer(rope, "longropeAttentionFactor")?;
            Ok(RopeScaling::Longrope {
                short_factor: factors(rope, "longropeShortFactor")?,
                long_factor: factors(rope, "longropeLongFactor")?,
                original_max_position_embeddings: original,
                attention_factor: attention_factor.unwrap_or_else(|| {
                    longrope_attention_factor(max_position_embeddings as f64 / original as f64, original)
                }),
            })
        }
        Some(other) => {
            Err(unsupported("inference.rope.ropeScalingType", &other.into(), "rotary scaling of this type is"))
        }
    }
}

/// Hugging Face's rule where a model does not give the factor: √(1 + ln(ratio) / ln(original)).
pub(crate) fn longrope_attention_factor(ratio: f64, original: usize) -> f64 {
    if ratio <= 1.0 { 1.0 } else { (1.0 + ratio.ln() / (original as f64).ln()).sqrt() }
}

/// The first converters of the format wrote √head_dim where they meant head_dim; ours never did.
fn query_pre_attn_scalar(root: Object<'_>, scalar: f64, head_dim: usize) -> f64 {
    let ours = root.maybe("metadata").and_then(|metadata| metadata.get("writer")?.as_str());
    let root_of_head_dim = (head_dim as f64).sqrt();
    if ours.is_none() && (scalar - root_of_head_dim).abs() < 1e-6 * root_of_head_dim {
        return head_dim as f64;
    }
    scalar
}

fn token_id(value: &Value) -> Option<u32> {
    whole(value).and_then(|id| u32::try_from(id).ok())
}

fn bos_token_id(root: Object<'_>) -> Result<Option<u32>, Error> {
    let Some(map) = root.maybe("tokenizer").and_then(Value::as_object) else { return Ok(None) };
    let tokenizer = Object::new(map, "tokenizer");
    let id = |value| token_id(value).ok_or_else(|| tokenizer.invalid("bosTokenId", "a token id or null", value));
    let id = tokenizer.maybe("bosTokenId").map(id).transpose()?;
    // A token that exists and yet begins no sequence.
    let unwanted = map.get("addBosToken") == Some(&Value::Bool(false));
    Ok(id.filter(|_| !unwanted))
}

fn eos_token_ids(root: Object<'_>) -> Result<Vec<u32>, Error> {
    let value = root.field("eos_token_id")?;
    let ids = match value {
        Value::Null => Some(Vec::new()),
        Value::Array(list) => list.iter().map(token_id).collect(),
        other => token_id(other).map(|id| vec![id]),
    };
    ids.ok_or_else(|| root.invalid("eos_token_id", "a token id, a list of them or null", value))
}
