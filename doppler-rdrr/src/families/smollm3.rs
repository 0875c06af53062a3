//! SmolLM3. Differs from Llama: some layers do not rotate queries and keys (NoPE, <https://arxiv.org/abs/2501.18795>).

use super::{Family, HfConfig, llama, rope, wrong};
use crate::{Error, ModelConfig};

pub(super) const FAMILY: Family =
    Family { name: "smollm3", architectures: &["SmolLM3ForCausalLM"], config, renames: &[], left_out: &[] };

/// `no_rope_layers` has, in spite of its name, a 1 for each layer that rotates.
fn config(hf: &HfConfig) -> Result<ModelConfig, Error> {
    // The window would go to the layers without rotation; no model has one.
    hf.refuse("use_sliding_window")?;
    let base = llama::config(hf)?;
    let layers = base.num_hidden_layers;
    let rope_layers = match hf.numbers("no_rope_layers")? {
        Some(list) if list.len() == layers => list.iter().map(|flag| *flag != 0.0).collect(),
        Some(list) => return wrong("no_rope_layers", "one entry for each layer", list.len()),
        None => match hf.optional_size("no_rope_layer_interval")?.unwrap_or(4) {
            0 => return wrong("no_rope_layer_interval", "at least 1", 0),
            interval => (1..=layers).map(|layer| layer % interval != 0).collect(),
        },
    };
    let tie_word_embeddings = hf.optional_flag("tie_word_embeddings")?.unwrap_or(true);
    let rope_theta = if rope::has_theta(hf)? { base.rope_theta } else { 2e6 };
    Ok(ModelConfig { rope_layers, rope_theta, tie_word_embeddings, ..base })
}
