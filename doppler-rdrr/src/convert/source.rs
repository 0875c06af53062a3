//! A model in a foreign format, opened and checked: its hyperparameters, its weights under RDRR's names, its text
//! files. What the two formats share; how they differ is in [`super::gguf`] and [`super::safetensors`].

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;
use serde_json::Value as Json;

use super::{from_gguf, safetensors};
use crate::families::expected_tensors;
use crate::tokenizer::TextParts;
use crate::{DType, Error, ModelConfig, shard};

/// A model that can be converted: a GGUF file, or a Hugging Face folder with safetensors.
#[derive(Debug)]
pub struct Source {
    pub(super) files: Vec<Bytes>,
    pub(super) format: &'static str,
    pub(super) config: ModelConfig,
    pub(super) weights: Vec<Weight>,
    pub(super) text: TextParts,
    pub(super) provenance: Json,
}

/// The bytes of one file.
#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// One weight of a [`Source`], under its name in RDRR.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Weight {
    /// The name in RDRR, which is Hugging Face's for Llama.
    pub name: String,
    /// How the source stores it.
    pub dtype: DType,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    pub(super) file: usize,
    pub(super) offset: usize,
    pub(super) bytes: usize,
    pub(super) rows: RowOrder,
}

/// How the rows in the source correspond to the rows in RDRR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    Same,
    /// GGUF's Llama keeps the two rows that a rotation mixes side by side. RDRR has them half a head apart, as Hugging
    /// Face does, so that the decoder knows one kind of rotation.
    Pairs {
        head_dim: usize,
    },
}

impl RowOrder {
    /// The row of the source that becomes `row`.
    pub(super) fn source_row(self, row: usize) -> usize {
        match self {
            RowOrder::Same => row,
            RowOrder::Pairs { head_dim } => {
                let (head, lane) = (row / head_dim, row % head_dim);
                let (part, pair) = (lane / (head_dim / 2), lane % (head_dim / 2));
                head * head_dim + pair * 2 + part
            }
        }
    }
}

impl Weight {
    /// Bytes that the source stores it in.
    #[must_use]
    pub fn num_bytes(&self) -> u64 {
        self.bytes as u64
    }
}

impl Source {
    /// Opens a GGUF file or a folder with config.json, tokenizer.json and safetensors, and checks all of it but the
    /// values of the weights.
    ///
    /// # Errors
    /// Whatever is wrong with the files: see [`Error`]. Nothing of the weights is read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // A path that leads nowhere is no folder with a file missing.
        let found = std::fs::metadata(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        if found.is_dir() { safetensors::open(path) } else { from_gguf::open(path) }
    }

    /// Checks a GGUF file that is already in memory. `name` is its name in the manifest.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn from_gguf(bytes: Vec<u8>, name: &str) -> Result<Self, Error> {
        from_gguf::read(Bytes::Owned(bytes), name)
    }

    /// `gguf` or `safetensors`.
    #[must_use]
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// The hyperparameters.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The weights in the order in which a decoder needs them.
    #[must_use]
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The tokenizer as `tokenizer.json`.
    #[must_use]
    pub fn tokenizer_json(&self) -> &[u8] {
        &self.text.tokenizer_json
    }

    /// The chat template, if the model has one.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.text.chat_template.as_deref()
    }

    /// The weight's stored bytes, in the source's order of rows.
    pub(super) fn data(&self, weight: &Weight) -> &[u8] {
        let file = self.files.get(weight.file).map(|bytes| &bytes[..]).unwrap_or_default();
        weight.offset.checked_add(weight.bytes).and_then(|end| file.get(weight.offset..end)).unwrap_or_default()
    }
}

/// Puts the weights found in a source into the decoder's order and checks that they are exactly those that the
/// hyperparameters call for.
pub(super) fn arrange(found: Vec<Weight>, config: &ModelConfig) -> Result<Vec<Weight>, Error> {
    let mut by_name = HashMap::new();
    let mut split = Vec::new();
    for weight in found {
        split_fused(weight, config, &mut split)?;
    }
    for weight in split {
        if let Some(twice) = by_name.insert(weight.name.clone(), weight) {
            return Err(Error::DuplicateSourceTensor { tensor: twice.name });
        }
    }
    // A count of layers far beyond the tensors at hand ends at the first that is missing.
    let weights = expected_tensors(config)
        .map(|(tensor, expected)| {
            let Some(weight) = by_name.remove(&tensor) else { return Err(Error::SourceTensorMissing { tensor }) };
            if weight.shape != expected {
                return Err(Error::SourceTensorShape { tensor, expected, actual: weight.shape });
            }
            Ok(weight)
        })
        .collect::<Result<Vec<Weight>, Error>>()?;
    match by_name.into_keys().min() {
        Some(tensor) => Err(Error::SourceTensorUnexpected { tensor }),
        None => Ok(weights),
    }
}

/// Some families store matrices that meet the same input as one. Apart they are what the decoder knows: whole rows, so
/// that packed weights stay as they are.
fn split_fused(weight: Weight, config: &ModelConfig, out: &mut Vec<Weight>) -> Result<(), Error> {
    let (q, kv, inner) = (config.q_dim(), config.kv_dim(), config.intermediate_size);
    let fused: [(&str, &[(&str, usize)]); 2] = [
        ("self_attn.qkv_proj", &[("self_attn.q_proj", q), ("self_attn.k_proj", kv), ("self_attn.v_proj", kv)]),
        ("mlp.gate_up_proj", &[("mlp.gate_proj", inner), ("mlp.up_proj", inner)]),
    ];
    let Some((whole, parts)) = fused.iter().find(|(whole, _)| weight.name.contains(whole)) else {
        out.push(weight);
        return Ok(());
    };
    let rows: usize = parts.iter().map(|(_, rows)| rows).sum();
    let columns = weight.shape.get(1..).unwrap_or_default();
    if weight.shape.first() != Some(&rows) || rows == 0 || !weight.bytes.is_multiple_of(rows) {
        let expected = [&[rows], columns].concat();
        return Err(Error::SourceTensorShape { tensor: weight.name, expected, actual: weight.shape });
    }
    let row_bytes = weight.bytes / rows;
    let mut offset = weight.offset;
    for (part, rows) in *parts {
        let bytes = rows * row_bytes;
        out.push(Weight {
            name: weight.name.replace(whole, part),
            shape: [&[*rows], columns].concat(),
            offset,
            bytes,
            ..weight.clone()
        });
        offset += bytes;
    }
    Ok(())
}

/// Maps a file that must be there.
pub(super) fn map(path: &Path) -> Result<Bytes, Error> {
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::MissingSourceFile { path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), source },
    };
    // Asked before opening: opening a named pipe would wait for ever.
    if !std::fs::metadata(path).map_err(io_error)?.is_file() {
        return Err(io_error(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file")));
    }
    shard::map_file(&File::open(path).map_err(io_error)?).map(Bytes::Mapped).map_err(io_error)
}
