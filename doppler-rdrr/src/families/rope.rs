//! Hugging Face's settings of the rotary embedding, as versions 4 and 5 of transformers write them.

use super::{HfConfig, unsupported, wrong};
use crate::inference::longrope_attention_factor;
use crate::{Error, RopeScaling};

/// What a model says about its rotary embedding.
pub(super) struct Rope {
    pub theta: Option<f64>,
    pub scaling: RopeScaling,
    pub partial_rotary_factor: f64,
}

/// Reads `parameters`, the group of version 5, with the settings of version 4 where it is silent.
pub(super) fn read(hf: &HfConfig, parameters: Option<&HfConfig>, max_positions: usize) -> Result<Rope, Error> {
    let number = |key: &str| match parameters.map_or(Ok(None), |group| group.number(key))? {
        Some(number) => Ok(Some(number)),
        None => hf.number(key),
    };
    let scaling = match parameters {
        Some(group) => Some(group.clone()),
        None => hf.group("rope_scaling")?,
    };
    Ok(Rope {
        theta: number("rope_theta")?,
        partial_rotary_factor: number("partial_rotary_factor")?.unwrap_or(1.0),
        scaling: scaling.as_ref().map_or(Ok(RopeScaling::None), |group| read_scaling(hf, group, max_positions))?,
    })
}

/// Whether the model names its base at all; families differ in what they take otherwise.
pub(super) fn has_theta(hf: &HfConfig) -> Result<bool, Error> {
    let group = hf.group("rope_parameters")?;
    let grouped = group.map_or(Ok(None), |group| group.number("rope_theta"))?;
    Ok(grouped.or(hf.number("rope_theta")?).is_some())
}

/// Elements of a head that rotate.
pub(super) fn rotary_dim(head_dim: usize, factor: f64) -> Result<usize, Error> {
    if !(factor > 0.0 && factor <= 1.0) {
        return wrong("partial_rotary_factor", "a number above 0, up to 1", factor);
    }
    // Truncated, as transformers does.
    Ok((head_dim as f64 * factor) as usize)
}

fn read_scaling(hf: &HfConfig, group: &HfConfig, max_positions: usize) -> Result<RopeScaling, Error> {
    let kind = match group.word("rope_type")? {
        Some(kind) => kind,
        None => group.word("type")?.unwrap_or("default"),
    };
    let positive = |key: &str| match group.number(key)? {
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        Some(value) => wrong(key, "a positive number", value),
        None => Err(Error::MissingKey { key: format!("rope_scaling.{key}") }),
    };
    match kind {
        "default" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor: positive("factor")? }),
        "llama3" => {
            let (low, high) = (positive("low_freq_factor")?, positive("high_freq_factor")?);
            if low >= high {
                return wrong("high_freq_factor", "more than low_freq_factor", high);
            }
            Ok(RopeScaling::Llama3 {
                factor: positive("factor")?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: group.size("original_max_position_embeddings")?,
            })
        }
        "longrope" | "su" => longrope(hf, group, max_positions),
        other => Err(unsupported("rope_scaling.rope_type", other)),
    }
}

fn longrope(hf: &HfConfig, group: &HfConfig, max_positions: usize) -> Result<RopeScaling, Error> {
    const ORIGINAL: &str = "original_max_position_embeddings";
    let list = |key: &str| group.numbers(key)?.ok_or_else(|| Error::MissingKey { key: format!("rope_scaling.{key}") });
    let original = match group.optional_size(ORIGINAL)? {
        Some(original) => original,
        None => hf.size(ORIGINAL)?,
    };
    if original < 2 {
        return wrong(ORIGINAL, "at least 2", original);
    }
    Ok(RopeScaling::Longrope {
        short_factor: list("short_factor")?,
        long_factor: list("long_factor")?,
        original_max_position_embeddings: original,
        attention_factor: match group.number("attention_factor")? {
            Some(factor) if factor.is_finite() && factor > 0.0 => factor,
            Some(factor) => return wrong("attention_factor", "a positive number", factor),
            None => {
                let ratio = group.number("factor")?.unwrap_or(max_positions as f64 / original as f64);
                longrope_attention_factor(ratio, original)
            }
        },
    })
}
