//! Whether the numbers of a [`ModelConfig`] fit each other, wherever they came from.

use crate::{Error, LayerType, ModelConfig, RopeScaling};

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

pub(super) fn check_layers(layers: usize) -> Result<(), Error> {
    if (1..=MAX_LAYERS).contains(&layers) {
        return Ok(());
    }
    let (field, found) = ("architecture.numLayers".to_owned(), layers.to_string());
    Err(Error::InvalidField { field, expected: "a whole number from 1 to 4096", found })
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
