//! [`ModelConfig`] out of a manifest's `architecture` and `inference`, and back. A feature that `ModelConfig` cannot
//! express is an error that names it: reading on would give wrong numbers without a sign.

use serde_json::{Map, Value, json};

use crate::json::{Object, brief, whole};
use crate::{Activation, Error, ModelConfig, RopeScaling};

/// A field that may only have a value that leaves the decoder as it is.
struct Feature {
    section: &'static str,
    field: &'static str,
    /// Values, as JSON, that mean "off"; none where only null and false do.
    off: &'static [&'static str],
    /// What any other value asks for.
    what: &'static str,
}

const fn feature(
    section: &'static str,
    field: &'static str,
    off: &'static [&'static str],
    what: &'static str,
) -> Feature {
    Feature { section, field, off, what }
}

/// Features of the format that `ModelConfig` has no number for.
const FEATURES: &[Feature] = &[
    feature("", "moeConfig", &[], "mixtures of experts are"),
    feature("", "adapterType", &[], "adapters in place of models are"),
    feature("", "weightsRef", &[], "models whose weights lie in another model's folder are"),
    feature("", "image_token_id", &[], "vision is"),
    feature("", "audio_token_id", &[], "audio is"),
    feature("", "video_token_id", &[], "video is"),
    feature("inference", "pipeline", &[], "custom layer plans are"),
    feature("inference", "diffusionGemma", &[], "text diffusion is"),
    feature("inference.attention", "causal", &["true"], "attention to later tokens is"),
    feature("inference.attention", "queryKeyNorm", &[], "norms on queries and keys are"),
    feature("inference.attention", "valueNorm", &[], "norms on values are"),
    feature("inference.attention", "attentionBias", &[], "biases in the attention's projections are"),
    feature("inference.attention", "attentionOutputGate", &[], "gates on the attention's output are"),
    feature("inference.normalization", "type", &["\"rmsnorm\""], "norms other than the RMS norm are"),
    feature("inference.normalization", "rmsNormWeightOffset", &[], "norm weights stored as an offset from 1 are"),
    feature("inference.normalization", "preFeedforwardNorm", &[], "norms around the MLP are"),
    feature("inference.normalization", "postFeedforwardNorm", &[], "norms around the MLP are"),
    feature("inference.ffn", "gatedActivation", &["true"], "MLPs without a gate are"),
    feature("inference.ffn", "swigluLimit", &[], "limits on the gate's activation are"),
    feature("inference.ffn", "branchMode", &["\"auto\"", "\"dense\""], "mixtures of experts are"),
    feature("inference.ffn", "useDoubleWideMlp", &[], "double-wide MLPs are"),
    feature("inference.rope", "ropeLocalTheta", &[], "rotary frequencies that differ between layers are"),
    feature("inference.rope", "ropeLocalScalingType", &[], "rotary scaling that differs between layers is"),
    feature("inference.rope", "partialRotaryFactor", &["1", "1.0"], "rotating only a part of each head is"),
    feature("inference.rope", "ropeLocalPartialRotaryFactor", &["1", "1.0"], "rotating only a part of each head is"),
    feature("inference.rope", "ropeInterleaved", &[], "rotation of neighbouring elements is"),
    feature("inference.rope", "mropeInterleaved", &[], "rotation by several positions is"),
    feature("inference.rope", "mropeSection", &[], "rotation by several positions is"),
    feature("inference.output", "scaleEmbeddings", &[], "scaled embeddings are"),
    feature("inference.output", "embeddingScale", &["1", "1.0"], "scaled embeddings are"),
    feature("inference.output", "logitInputScale", &["1", "1.0"], "scaling before the output head is"),
    feature("inference.output", "embeddingTranspose", &[], "embeddings stored column by column are"),
    feature("inference.output", "embeddingPostprocessor", &[], "text embedding models are"),
    feature("inference.output", "lmHeadBiasTensor", &[], "a bias on the logits is"),
    feature("inference.layerPattern", "type", &["\"uniform\""], "layers that differ from each other are"),
    feature("inference.layerPattern", "layerTypes", &[], "layers that differ from each other are"),
    feature("inference.layerPattern", "residualBranchScale", &["1", "1.0"], "scaled residual branches are"),
];

/// Fields that are read below, or that mean nothing while the features above are off.
const PLAIN: &[(&str, &str)] = &[
    (
        "architecture",
        "numLayers hiddenSize intermediateSize numAttentionHeads numKeyValueHeads headDim vocabSize maxSeqLen ropeTheta \
         rmsNormEps",
    ),
    (
        "inference.attention",
        "queryPreAttnScalar attnLogitSoftcapping slidingWindow queryKeyNormType queryKeyNormAxis queryKeyNormLayers \
         queryKeyNormWeightLayers",
    ),
    // Every Llama has a norm between attention and MLP, and manifests say so here.
    ("inference.normalization", "rmsNormEps postAttentionNorm"),
    ("inference.ffn", "activation"),
    (
        "inference.rope",
        "ropeTheta ropeScalingType ropeScalingFactor ropeLocalScalingFactor yarnBetaFast yarnBetaSlow \
         yarnOriginalMaxPos ropeLocalYarnBetaFast ropeLocalYarnBetaSlow ropeLocalYarnOriginalMaxPos \
         longropeShortFactor longropeLongFactor longropeOriginalMaxPos llama3LowFreqFactor llama3HighFreqFactor \
         llama3OriginalMaxPos",
    ),
    ("inference.output", "finalLogitSoftcapping tieWordEmbeddings embeddingVocabSize"),
    ("inference.layerPattern", "globalPattern period offset"),
];

/// Fields that every manifest has; "undefined" is never "off".
const REQUIRED: &[(&str, &[&str])] = &[
    ("inference.attention", &["queryKeyNorm", "attentionBias"]),
    (
        "inference.normalization",
        &["rmsNormWeightOffset", "postAttentionNorm", "preFeedforwardNorm", "postFeedforwardNorm"],
    ),
    ("inference.ffn", &["gatedActivation", "swigluLimit"]),
    ("inference.rope", &["ropeLocalTheta", "ropeScalingType", "ropeScalingFactor"]),
    ("inference.output", &["scaleEmbeddings", "embeddingTranspose"]),
    ("inference.layerPattern", &["type"]),
];

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
    for (path, names) in REQUIRED {
        let map = section(root, path)?;
        names.iter().try_for_each(|name| Object::new(map, path).field(name).map(drop))?;
    }
    for rule in FEATURES {
        let map = section(root, rule.section)?;
        if let Some(value) = map.get(rule.field).filter(|value| !is_off(value, rule.off)) {
            return Err(unsupported(&Object::new(map, rule.section).path(rule.field), value, rule.what));
        }
    }
    check_unknown(root)?;
    read(root)
}

fn unsupported(field: &str, value: &Value, what: &'static str) -> Error {
    Error::UnsupportedField { field: field.to_owned(), found: brief(value), what }
}

fn is_off(value: &Value, off: &[&str]) -> bool {
    value.is_null() || (value == &Value::Bool(false) && !off.contains(&"true")) || off.contains(&&*value.to_string())
}

/// The object at a path of at most two names.
fn section<'a>(root: Object<'a>, path: &'static str) -> Result<&'a Map<String, Value>, Error> {
    match path.split_once('.') {
        Some((outer, inner)) => Object::new(root.object(outer)?, outer).object(inner),
        None if path.is_empty() => Ok(root.map),
        None => root.object(path),
    }
}

/// A field that nobody here knows may change the mathematics: accepted only where it is off.
fn check_unknown(root: Object<'_>) -> Result<(), Error> {
    for (path, plain) in PLAIN {
        let map = section(root, path)?;
        for (name, value) in map {
            let known = plain.split(' ').any(|plain| plain == name)
                || FEATURES.iter().any(|rule| rule.section == *path && rule.field == name.as_str());
            let off = if *path == "architecture" { &["0"][..] } else { &[] };
            if !known && !is_off(value, off) {
                return Err(unsupported(&format!("{path}.{name}"), value, "what this field asks for is"));
            }
        }
    }
    Ok(())
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
    let config = ModelConfig {
        hidden_size: architecture.size("hiddenSize")?,
        intermediate_size: architecture.size("intermediateSize")?,
        num_hidden_layers: architecture.size("numLayers")?,
        num_attention_heads: architecture.size("numAttentionHeads")?,
        num_key_value_heads: architecture.size("numKeyValueHeads")?,
        head_dim,
        vocab_size,
        max_position_embeddings: architecture.size("maxSeqLen")?,
        rms_norm_eps: of("inference.normalization")?.positive("rmsNormEps")?,
        rope_theta: rope.positive("ropeTheta")?,
        rope_scaling: rope_scaling(rope)?,
        query_pre_attn_scalar: query_pre_attn_scalar(root, attention.positive("queryPreAttnScalar")?, head_dim),
        sliding_window: attention.size_or_null("slidingWindow")?,
        attn_logit_softcapping: attention.positive_or_null("attnLogitSoftcapping")?,
        final_logit_softcapping: output.positive_or_null("finalLogitSoftcapping")?,
        hidden_act: activation(of("inference.ffn")?)?,
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

fn rope_scaling(rope: Object<'_>) -> Result<RopeScaling, Error> {
    match rope.maybe_string("ropeScalingType")? {
        None => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: rope.positive("ropeScalingFactor")? }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: rope.positive("ropeScalingFactor")?,
            low_freq_factor: rope.positive("llama3LowFreqFactor")?,
            high_freq_factor: rope.positive("llama3HighFreqFactor")?,
            original_max_position_embeddings: rope.size("llama3OriginalMaxPos")?,
        }),
        Some(other) => {
            Err(unsupported("inference.rope.ropeScalingType", &other.into(), "rotary scaling of this type is"))
        }
    }
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

/// Checks what no single field shows: heads that divide, numbers that are finite and positive.
pub(crate) fn validate(c: &ModelConfig) -> Result<(), Error> {
    let invalid =
        |field: &str, expected, found: String| Err(Error::InvalidField { field: field.into(), expected, found });
    let sizes = [
        ("numLayers", c.num_hidden_layers),
        ("hiddenSize", c.hidden_size),
        ("intermediateSize", c.intermediate_size),
        ("numAttentionHeads", c.num_attention_heads),
        ("numKeyValueHeads", c.num_key_value_heads),
        ("headDim", c.head_dim),
        ("vocabSize", c.vocab_size),
        ("maxSeqLen", c.max_position_embeddings),
        ("slidingWindow", c.sliding_window.unwrap_or(1)),
    ];
    if let Some((name, found)) = sizes.into_iter().find(|(_, size)| !(1..=1 << 31).contains(size)) {
        return invalid(&format!("architecture.{name}"), "a whole number from 1 to 2147483648", found.to_string());
    }
    let (factor, low, high) = match c.rope_scaling {
        RopeScaling::None => (1.0, 1.0, 2.0),
        RopeScaling::Linear { factor } => (factor, 1.0, 2.0),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => {
            (factor, low_freq_factor, high_freq_factor)
        }
    };
    let numbers = [
        ("normalization.rmsNormEps", c.rms_norm_eps),
        ("rope.ropeTheta", c.rope_theta),
        ("rope.ropeScalingFactor", factor),
        ("rope.llama3LowFreqFactor", low),
        ("rope.llama3HighFreqFactor", high),
        ("attention.queryPreAttnScalar", c.query_pre_attn_scalar),
        ("attention.attnLogitSoftcapping", c.attn_logit_softcapping.unwrap_or(1.0)),
        ("output.finalLogitSoftcapping", c.final_logit_softcapping.unwrap_or(1.0)),
    ];
    if let Some((name, found)) = numbers.into_iter().find(|(_, x)| !(x.is_finite() && *x > 0.0)) {
        return invalid(&format!("inference.{name}"), "a finite number above 0", found.to_string());
    }
    if high <= low {
        return invalid("inference.rope.llama3HighFreqFactor", "more than llama3LowFreqFactor", high.to_string());
    }
    if !c.num_attention_heads.is_multiple_of(c.num_key_value_heads) {
        let found = c.num_key_value_heads.to_string();
        return invalid("architecture.numKeyValueHeads", "a divisor of numAttentionHeads", found);
    }
    if !c.head_dim.is_multiple_of(2) {
        return invalid("architecture.headDim", "an even number", c.head_dim.to_string());
    }
    Ok(())
}

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
    let (scaling_type, factor, llama3) = match c.rope_scaling {
        RopeScaling::None => (None, 1.0, (None, None, None)),
        RopeScaling::Linear { factor } => (Some("linear"), factor, (None, None, None)),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings,
        } => (Some("llama3"), factor, (Some(low), Some(high), Some(original_max_position_embeddings))),
    };
    let activation = match c.hidden_act {
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu",
    };
    json!({
        "attention": {
            "queryPreAttnScalar": c.query_pre_attn_scalar,
            "attnLogitSoftcapping": c.attn_logit_softcapping,
            "slidingWindow": c.sliding_window,
            "queryKeyNorm": false,
            "valueNorm": false,
            "causal": true,
            "attentionBias": false,
            "attentionOutputGate": false,
        },
        "normalization": {
            "rmsNormEps": c.rms_norm_eps,
            "rmsNormWeightOffset": false,
            "postAttentionNorm": true,
            "preFeedforwardNorm": false,
            "postFeedforwardNorm": false,
        },
        "ffn": { "activation": activation, "gatedActivation": true, "branchMode": "dense", "swigluLimit": null },
        "rope": {
            "ropeTheta": c.rope_theta,
            "ropeLocalTheta": null,
            "ropeInterleaved": false,
            "partialRotaryFactor": null,
            "ropeScalingType": scaling_type,
            "ropeScalingFactor": factor,
            "llama3LowFreqFactor": llama3.0,
            "llama3HighFreqFactor": llama3.1,
            "llama3OriginalMaxPos": llama3.2,
            "yarnBetaFast": null,
            "yarnBetaSlow": null,
            "yarnOriginalMaxPos": null,
        },
        "output": {
            "finalLogitSoftcapping": c.final_logit_softcapping,
            "tieWordEmbeddings": c.tie_word_embeddings,
            "scaleEmbeddings": false,
            "embeddingScale": null,
            "logitInputScale": 1,
            "embeddingTranspose": false,
            "embeddingVocabSize": c.vocab_size,
        },
        "layerPattern": {
            "type": "uniform",
            "globalPattern": null,
            "period": null,
            "offset": null,
            "layerTypes": null,
            "residualBranchScale": 1,
        },
        "chatTemplate": { "type": null, "enabled": chat_template.is_some(), "template": chat_template },
        "pipeline": null,
        "defaultKernelPath": null,
    })
}
