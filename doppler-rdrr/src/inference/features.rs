//! Fields that ask for what [`ModelConfig`](crate::ModelConfig) has no number for. Knows their names and what turns them
//! off, not what the others mean.

use serde_json::Value;

use super::{section, unsupported};
use crate::Error;
use crate::json::Object;

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

/// Every required field is there, and nothing asks for more than the decoder has.
pub(super) fn check(root: Object<'_>) -> Result<(), Error> {
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
    check_unknown(root)
}

fn is_off(value: &Value, off: &[&str]) -> bool {
    value.is_null() || (value == &Value::Bool(false) && !off.contains(&"true")) || off.contains(&&*value.to_string())
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
