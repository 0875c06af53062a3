//! What model families call things: each turns its `config.json` into a [`ModelConfig`]. Families exist only here; the
//! manifest stores numbers and the decoder sees nothing else.

mod gemma;
mod hf_config;
mod llama;
mod mistral;
mod phi3;
mod qwen;
mod rope;
mod smollm3;

pub use hf_config::HfConfig;

use crate::inference::{MAX_LAYERS, POSSIBLE_SIZE, impossible_size};
use crate::{Error, LayerType, ModelConfig};

/// A family of models, described by how it differs from Llama.
#[derive(Debug)]
pub struct Family {
    /// Its name in reports.
    pub name: &'static str,
    /// The class names that `config.json` may give under `architectures`.
    pub architectures: &'static [&'static str],
    /// Reads the hyperparameters.
    pub config: fn(&HfConfig) -> Result<ModelConfig, Error>,
    /// Parts of tensor names that differ from Llama's, theirs first.
    pub renames: &'static [(&'static str, &'static str)],
    /// Beginnings of the names of tensors that belong to no text decoder; the manifest tells how many were left out.
    pub left_out: &'static [&'static str],
}

/// Every family that can be converted.
pub static FAMILIES: &[Family] = &[
    llama::FAMILY,
    mistral::FAMILY,
    gemma::GEMMA2,
    gemma::GEMMA3,
    gemma::GEMMA3_VISION,
    phi3::FAMILY,
    qwen::QWEN2,
    qwen::QWEN3,
    smollm3::FAMILY,
];

impl Family {
    /// The family of a model's description.
    ///
    /// # Errors
    /// [`Error::UnknownArchitecture`] lists the supported ones.
    pub fn of(hf: &HfConfig) -> Result<&'static Family, Error> {
        let architecture = hf.architecture()?;
        FAMILIES.iter().find(|family| family.architectures.contains(&architecture)).ok_or_else(|| {
            let supported = FAMILIES.iter().flat_map(|family| family.architectures).copied().collect();
            Error::UnknownArchitecture { found: architecture.to_owned(), supported }
        })
    }

    /// The hyperparameters, with the relations between them checked.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::KeyType`] or [`Error::UnsupportedSetting`], naming the setting.
    pub fn read(&self, hf: &HfConfig) -> Result<ModelConfig, Error> {
        let config = (self.config)(hf)?;
        check(&config)?;
        Ok(config)
    }

    /// The name of a tensor in RDRR.
    #[must_use]
    pub fn rename(&self, name: &str) -> String {
        self.renames.iter().fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
    }
}

/// Checks the relations between the hyperparameters, and that each is of a size that a model can have.
pub(crate) fn check(config: &ModelConfig) -> Result<(), Error> {
    if let Some((key, _, size)) = impossible_size(config) {
        return wrong(key, POSSIBLE_SIZE, size);
    }
    if !config.head_dim.is_multiple_of(2) {
        return wrong("head_dim", "an even number", config.head_dim);
    }
    if !config.num_attention_heads.is_multiple_of(config.num_key_value_heads) {
        return wrong("num_key_value_heads", "a divisor of num_attention_heads", config.num_key_value_heads);
    }
    if config.sliding_window == Some(0) {
        return wrong("sliding_window", "at least 1", 0);
    }
    for (key, value) in [("rms_norm_eps", config.rms_norm_eps), ("rope_theta", config.rope_theta)] {
        if !(value.is_finite() && value > 0.0) {
            return wrong(key, "a positive number", value);
        }
    }
    // What is left are relations that only some families have.
    crate::inference::validate(config)?;
    let id = config.bos_token_id.iter().chain(&config.eos_token_ids).find(|&&id| id as usize >= config.vocab_size);
    id.map_or(Ok(()), |id| wrong("bos_token_id, eos_token_id", "an id below vocab_size", id))
}

/// The number of layers; bounded, since lists with an entry for each are made of it.
fn num_layers(hf: &HfConfig) -> Result<usize, Error> {
    match hf.size("num_hidden_layers")? {
        layers @ 1..=MAX_LAYERS => Ok(layers),
        layers => wrong("num_hidden_layers", POSSIBLE_SIZE, layers),
    }
}

fn all_layers(layers: usize, kind: LayerType) -> Vec<LayerType> {
    vec![kind; layers]
}

/// What each layer sees: as the model lists it, else by the family's rule.
fn layer_types(hf: &HfConfig, layers: usize, rule: impl Fn(usize) -> LayerType) -> Result<Vec<LayerType>, Error> {
    let Some(words) = hf.words("layer_types")? else { return Ok((0..layers).map(rule).collect()) };
    if words.len() != layers {
        return wrong("layer_types", "one entry for each layer", words.len());
    }
    let read = |word: &str| match word {
        "full_attention" => Ok(LayerType::FullAttention),
        "sliding_attention" => Ok(LayerType::SlidingAttention),
        other => Err(unsupported("layer_types", other)),
    };
    words.into_iter().map(read).collect()
}

fn unsupported(key: &str, found: impl ToString) -> Error {
    Error::UnsupportedSetting { key: key.to_owned(), found: found.to_string() }
}

fn wrong<T>(key: &str, expected: &'static str, found: impl ToString) -> Result<T, Error> {
    Err(Error::KeyType { key: key.to_owned(), expected, found: found.to_string() })
}

/// Name and shape of every weight of a decoder with these hyperparameters, in the order in which it runs.
pub fn expected_tensors(config: &ModelConfig) -> impl Iterator<Item = (String, Vec<usize>)> + use<> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.q_dim(), config.kv_dim());
    let table = vec![config.vocab_size, hidden];
    let (bias, qk_norm, sandwich) = (config.attention_bias, config.qk_norm, config.sandwich_norms);
    let head_dim = config.head_dim;
    let layer = move |index: usize| {
        let attention = [
            (true, "input_layernorm.weight", vec![hidden]),
            (true, "self_attn.q_proj.weight", vec![q, hidden]),
            (bias, "self_attn.q_proj.bias", vec![q]),
            (true, "self_attn.k_proj.weight", vec![kv, hidden]),
            (bias, "self_attn.k_proj.bias", vec![kv]),
            (true, "self_attn.v_proj.weight", vec![kv, hidden]),
            (bias, "self_attn.v_proj.bias", vec![kv]),
            (qk_norm, "self_attn.q_norm.weight", vec![head_dim]),
            (qk_norm, "self_attn.k_norm.weight", vec![head_dim]),
            (true, "self_attn.o_proj.weight", vec![hidden, q]),
            (true, "post_attention_layernorm.weight", vec![hidden]),
        ];
        let mlp = [
            (sandwich, "pre_feedforward_layernorm.weight", vec![hidden]),
            (true, "mlp.gate_proj.weight", vec![inner, hidden]),
            (true, "mlp.up_proj.weight", vec![inner, hidden]),
            (true, "mlp.down_proj.weight", vec![hidden, inner]),
            (sandwich, "post_feedforward_layernorm.weight", vec![hidden]),
        ];
        let present = attention.into_iter().chain(mlp).filter(|(present, ..)| *present);
        present.map(move |(_, part, shape)| (format!("model.layers.{index}.{part}"), shape))
    };
    let head = (!config.tie_word_embeddings).then(|| ("lm_head.weight".to_owned(), table.clone()));
    [("model.embed_tokens.weight".to_owned(), table)]
        .into_iter()
        .chain((0..config.num_hidden_layers).flat_map(layer))
        .chain([("model.norm.weight".to_owned(), vec![hidden])])
        .chain(head)
}
