//! A GGUF file as a [`Source`]: its tensors under Hugging Face's names, its tokenizer as `tokenizer.json`.

use std::path::Path;

use serde_json::{Map, json};

use super::gguf::{Gguf, ROPE_TENSORS, Value, hf_config, hf_name};
use super::source::{Bytes, RowOrder, Source, Weight, arrange, map};
use crate::families::{self, Family};
use crate::{Error, tokenizer};

pub(super) fn open(path: &Path) -> Result<Source, Error> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    read(map(path)?, &name)
}

pub(super) fn read(file: Bytes, name: &str) -> Result<Source, Error> {
    let gguf = Gguf::parse(&file)?;
    let hf = hf_config(&gguf)?;
    let family = Family::of(&hf)?;
    let text = tokenizer::from_gguf(&gguf)?;
    tokenizer::check_size(&text.tokenizer_json)?;
    let mut config = family.read(&hf)?;
    config.bos_token_id = text.bos_id;
    config.eos_token_ids.clone_from(&text.eos_ids);
    // Whoever wrote the file has added the 1.
    config.rms_norm_weight_offset = false;
    families::check(&config)?;
    check_vocabulary(&gguf, config.vocab_size)?;
    let found = gguf
        .tensors()
        .iter()
        .filter(|tensor| !ROPE_TENSORS.contains(&tensor.name))
        .map(|tensor| {
            let unexpected = || Error::SourceTensorUnexpected { tensor: tensor.name.to_owned() };
            let (name, pairs) = hf_name(&gguf, tensor.name)?.ok_or_else(unexpected)?;
            Ok(Weight {
                rows: if pairs { RowOrder::Pairs { head_dim: config.head_dim } } else { RowOrder::Same },
                name,
                dtype: tensor.dtype,
                shape: tensor.shape.clone(),
                file: 0,
                offset: tensor.offset,
                bytes: tensor.bytes,
            })
        })
        .collect::<Result<Vec<Weight>, Error>>()?;
    let weights = arrange(found, &config)?;
    let provenance = provenance(&gguf, name);
    Ok(Source { files: vec![file], format: "gguf", config, weights, text, provenance })
}

/// Every token has a row in the embedding; the embedding may have rows to spare.
fn check_vocabulary(gguf: &Gguf<'_>, rows: usize) -> Result<(), Error> {
    const TOKENS: &str = "tokenizer.ggml.tokens";
    match gguf.get(TOKENS) {
        Some(Value::Array(tokens)) if tokens.len() > rows => {
            Err(Error::TokenizerLength { key: TOKENS.to_owned(), expected: rows, actual: tokens.len() })
        }
        _ => Ok(()),
    }
}

/// Where the model is from, in the file's own words: name, author, licence.
fn provenance(gguf: &Gguf<'_>, name: &str) -> serde_json::Value {
    let general: Map<String, serde_json::Value> = gguf
        .metadata()
        .filter_map(|(key, value)| match value {
            Value::String(text) if text.len() <= 1024 => Some((key.strip_prefix("general.")?.to_owned(), text.into())),
            _ => None,
        })
        .collect();
    json!({ "format": "gguf", "version": gguf.version(), "file": name, "general": general })
}
