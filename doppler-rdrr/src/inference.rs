//! [`ModelConfig`] out of a manifest's `architecture` and `inference`, and back. A feature that `ModelConfig` cannot
//! express is an error that names it: reading on would give wrong numbers without a sign.

use serde_json::{Map, Value, json};

use crate::json::{Object, brief, whole};
use crate::{Activation, Error, LayerType, ModelConfig, RopeScaling};

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
    feature("inference.attention", "queryKeyNormType", &["\"rmsnorm\""], "norms on queries and keys of this type are"),
    feature("inference.attention", "queryKeyNormAxis", &["\"head\""], "norms on queries and keys over this axis are"),
    feature("inference.attention", "queryKeyNormLayers", &[], "norms on queries and keys in some layers are"),
    feature("inference.attention", "queryKeyNormWeightLayers", &[], "norms on queries and keys in some layers are"),
    feature("inference.attention", "valueNorm", &[], "norms on values are"),
    feature("inference.attention", "attentionOutputGate", &[], "gates on the attention's output are"),
    feature("inference.normalization", "type", &["\"rmsnorm\""], "norms other than the RMS norm are"),
    feature("inference.ffn", "gatedActivation", &["true"], "MLPs without a gate are"),
    feature("inference.ffn", "swigluLimit", &[], "limits on the gate's activation are"),
    feature("inference.ffn", "branchMode", &["\"auto\"", "\"dense\""], "mixtures of experts are"),
    feature("inference.ffn", "useDoubleWideMlp", &[], "double-wide MLPs are"),
    feature("inference.rope", "ropeLocalScalingType", &[], "rotary scaling that differs between layers is"),
    feature("inference.rope", "ropeLocalPartialRotaryFactor", &["1", "1.0"], "rotating only a part of each head is"),
    feature("inference.rope", "ropeInterleaved", &[], "rotation of neighbouring elements is"),
    feature("inference.rope", "mropeInterleaved", &[], "rotation by several positions is"),
    feature("inference.rope", "mropeSection", &[], "rotation by several positions is"),
    feature("inference.output", "embeddingTranspose", &[], "embeddings stored column by column are"),
    feature("inference.output", "embeddingPostprocessor", &[], "text embedding models are"),
    feature("inference.output", "lmHeadBiasTensor", &[], "a bias on the logits is"),
];

/// Fields that are read below, or that mean nothing while the features above are off.
const PLAIN: &[(&str, &str)] = &[
    (
        "architecture",
        "numLayers hiddenSize intermediateSize numAttentionHeads numKeyValueHeads headDim vocabSize maxSeqLen ropeTheta \
         rmsNormEps",
    ),
    ("inference.attention", "queryPreAttnScalar attnLogitSoftcapping slidingWindow queryKeyNorm attentionBias"),
    (
        "inference.normalization",
        "rmsNormEps rmsNormWeightOffset postAttentionNorm preFeedforwardNorm postFeedforwardNorm",
    ),
    ("inference.ffn", "activation"),
    (
        "inference.rope",
        "ropeTheta ropeLocalTheta partialRotaryFactor ropeLayers ropeScalingType ropeScalingFactor \
         ropeLocalScalingFactor yarnBetaFast yarnBetaSlow \
         yarnOriginalMaxPos ropeLocalYarnBetaFast ropeLocalYarnBetaSlow ropeLocalYarnOriginalMaxPos \
         longropeShortFactor longropeLongFactor longropeOriginalMaxPos longropeAttentionFactor llama3LowFreqFactor llama3HighFreqFactor \
         llama3OriginalMaxPos",
    ),
    (
        "inference.output",
        "finalLogitSoftcapping tieWordEmbeddings embeddingVocabSize scaleEmbeddings embeddingScale logitInputScale",
    ),
    ("inference.layerPattern", "type globalPattern period offset layerTypes residualBranchScale"),
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

/// Layers above this are a mistake or an attack; it bounds the lists with an entry for each.
pub(crate) const MAX_LAYERS: usize = 4096;

/// Heads and sizes above these are mistakes or attacks; products of any few of them can be counted.
const MAX_SIZE: usize = 1 << 30;
const MAX_HEADS: usize = 1 << 15;

/// What a size is that is none of [`impossible_size`].
pub(crate) const POSSIBLE_SIZE: &str = "a size that a model can have";

/// The first size that no model has, with its names in `config.json` and in the manifest: one list for both readers.
pub(crate) fn impossible_size(c: &ModelConfig) -> Option<(&'static str, &'static str, usize)> {
    let sizes = [
        ("hidden_size", "hiddenSize", c.hidden_size, MAX_SIZE),
        ("intermediate_size", "intermediateSize", c.intermediate_size, MAX_SIZE),
        ("num_hidden_layers", "numLayers", c.num_hidden_layers, MAX_LAYERS),
        ("num_attention_heads", "numAttentionHeads", c.num_attention_heads, MAX_HEADS),
        ("num_key_value_heads", "numKeyValueHeads", c.num_key_value_heads, MAX_HEADS),
        ("head_dim", "headDim", c.head_dim, MAX_HEADS),
        ("vocab_size", "vocabSize", c.vocab_size, MAX_SIZE),
        ("max_position_embeddings", "maxSeqLen", c.max_position_embeddings, MAX_SIZE),
    ];
    let impossible = sizes.into_iter().find(|(.., size, limit)| !(1..=*limit).contains(size));
    impossible.map(|(theirs, ours, size, _)| (theirs, ours, size))
}

/// Above 0, finite, and so as f32 too: kernels take these numbers as that, and may take the smallest of all as 0.
fn is_positive(x: f64) -> bool {
    let x = x as f32;
    x.is_normal() && x > 0.0
}

fn check_layers(layers: usize) -> Result<(), Error> {
    if (1..=MAX_LAYERS).contains(&layers) {
        return Ok(());
    }
    let (field, found) = ("architecture.numLayers".to_owned(), layers.to_string());
    Err(Error::InvalidField { field, expected: "a whole number from 1 to 4096", found })
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

/// Checks what no single field shows: heads that divide, numbers that are finite and positive.
pub(crate) fn validate(c: &ModelConfig) -> Result<(), Error> {
    let invalid =
        |field: &str, expected, found: String| Err(Error::InvalidField { field: field.into(), expected, found });
    check_layers(c.num_hidden_layers)?;
    if let Some((_, name, found)) = impossible_size(c) {
        return invalid(&format!("architecture.{name}"), POSSIBLE_SIZE, found.to_string());
    }
    if c.sliding_window.is_some_and(|window| !(1..=1 << 31).contains(&window)) {
        let found = c.sliding_window.unwrap_or(0).to_string();
        return invalid("inference.attention.slidingWindow", "a whole number from 1 to 2147483648", found);
    }
    if c.layer_types.len() != c.num_hidden_layers || c.rope_layers.len() != c.num_hidden_layers {
        let found = format!("{} and {}", c.layer_types.len(), c.rope_layers.len());
        return invalid("layerTypes, ropeLayers", "one entry for each layer", found);
    }
    let (factor, low, high) = match &c.rope_scaling {
        RopeScaling::None => (1.0, 1.0, 2.0),
        RopeScaling::Linear { factor } => (*factor, 1.0, 2.0),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => {
            (*factor, *low_freq_factor, *high_freq_factor)
        }
        RopeScaling::Longrope { short_factor, long_factor, original_max_position_embeddings, attention_factor } => {
            let expected = c.rotary_dim / 2;
            for (name, list) in [("longropeShortFactor", short_factor), ("longropeLongFactor", long_factor)] {
                if list.len() != expected || !list.iter().all(|x| is_positive(*x)) {
                    let found = format!("{} numbers", list.len());
                    return invalid(
                        &format!("inference.rope.{name}"),
                        "half as many positive numbers as a head has rotated elements",
                        found,
                    );
                }
            }
            if *original_max_position_embeddings < 2 {
                let found = original_max_position_embeddings.to_string();
                return invalid("inference.rope.longropeOriginalMaxPos", "at least 2", found);
            }
            (*attention_factor, 1.0, 2.0)
        }
    };
    let numbers = [
        ("normalization.rmsNormEps", c.rms_norm_eps),
        ("rope.ropeTheta", c.rope_theta),
        ("rope.ropeLocalTheta", c.rope_local_base_freq.unwrap_or(1.0)),
        ("rope.ropeScalingFactor", factor),
        ("rope.llama3LowFreqFactor", low),
        ("rope.llama3HighFreqFactor", high),
        ("attention.queryPreAttnScalar", c.query_pre_attn_scalar),
        ("attention.attnLogitSoftcapping", c.attn_logit_softcapping.unwrap_or(1.0)),
        ("output.finalLogitSoftcapping", c.final_logit_softcapping.unwrap_or(1.0)),
        ("output.embeddingScale", c.embedding_scale),
        ("output.logitInputScale", c.logit_input_scale),
        ("layerPattern.residualBranchScale", c.residual_scale),
    ];
    if let Some((name, found)) = numbers.into_iter().find(|(_, x)| !is_positive(*x)) {
        return invalid(&format!("inference.{name}"), "a number above 0 within f32", found.to_string());
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
    if !(2..=c.head_dim).contains(&c.rotary_dim) || !c.rotary_dim.is_multiple_of(2) {
        let expected = "a factor that makes an even number of elements, up to headDim";
        return invalid("inference.rope.partialRotaryFactor", expected, format!("{} elements", c.rotary_dim));
    }
    if c.sliding_window.is_none() && c.layer_types.contains(&LayerType::SlidingAttention) {
        return invalid("inference.attention.slidingWindow", "a size, since layers slide", "null".to_owned());
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
