//! A Hugging Face folder as a [`Source`]: config.json, tokenizer.json and one or many safetensors files.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::source::{Bytes, RowOrder, Source, Weight, arrange, map};
use crate::families::{Family, HfConfig};
use crate::json::parse_object;
use crate::tokenizer::{self, TextParts};
use crate::{DType, Error, ModelConfig, families, shard};

/// The format's own limit.
const MAX_HEADER: u64 = 100_000_000;
const INDEX: &str = "model.safetensors.index.json";

/// One tensor of a safetensors file.
#[derive(Debug, Clone, PartialEq)]
pub struct SafeTensor {
    /// The name in the file.
    pub name: String,
    /// F32, F16 or BF16.
    pub dtype: DType,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Where the data begins, from the start of the file.
    pub offset: usize,
    /// Size of the data.
    pub bytes: usize,
}

/// Reads the header of a safetensors file and checks it against the file: the tensors cover the data without overlap,
/// gap or rest. `file` names it in errors.
///
/// # Errors
/// A `Safetensors…` variant of [`Error`], [`Error::UnsupportedTensorType`], or an error of the header's JSON.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Vec<SafeTensor>, Error> {
    let length = bytes.len() as u64;
    let header = bytes.first_chunk().map_or(u64::MAX, |first| u64::from_le_bytes(*first));
    let outside = || Error::SafetensorsHeader { file: file.to_owned(), header, length };
    if header > MAX_HEADER {
        return Err(outside());
    }
    let start = 8 + header as usize;
    let entries = parse_object(file, bytes.get(8..start).ok_or_else(outside)?)?;
    let mut tensors = entries
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, entry)| read_entry(file, name, entry))
        .collect::<Result<Vec<_>, Error>>()?;
    tensors.sort_by_key(|tensor| tensor.offset);
    let layout = |what: String, expected: usize, actual: usize| Error::SafetensorsLayout {
        file: file.to_owned(),
        what,
        expected: expected as u64,
        actual: actual as u64,
    };
    let mut end = 0;
    for tensor in &mut tensors {
        if tensor.offset != end {
            return Err(layout(format!("tensor `{}`", tensor.name), end, tensor.offset));
        }
        // `read_entry` has checked the sum.
        end = tensor.offset + tensor.bytes;
        tensor.offset = start.saturating_add(tensor.offset);
    }
    if end != bytes.len() - start {
        return Err(layout("the whole file".to_owned(), bytes.len() - start, end));
    }
    Ok(tensors)
}

/// One entry of the header; the offset still counts from the start of the data.
fn read_entry(file: &str, name: &str, entry: &Json) -> Result<SafeTensor, Error> {
    let wrong = || Error::SafetensorsEntry { file: file.to_owned(), tensor: name.to_owned() };
    let sizes = |key: &str| {
        let list = entry.get(key)?.as_array().filter(|list| list.len() <= 8)?;
        list.iter().map(|value| usize::try_from(value.as_u64()?).ok()).collect::<Option<Vec<usize>>>()
    };
    let found = entry.get("dtype").and_then(Json::as_str).ok_or_else(wrong)?;
    let dtype =
        [DType::F32, DType::F16, DType::BF16].into_iter().find(|dtype| dtype.name() == found).ok_or_else(|| {
            let (tensor, found) = (name.to_owned(), found.chars().take(80).collect());
            Error::UnsupportedTensorType { tensor, found }
        })?;
    let shape = sizes("shape").ok_or_else(wrong)?;
    let Some(&[begin, end]) = sizes("data_offsets").as_deref() else { return Err(wrong()) };
    let (bytes, expected) = match (end.checked_sub(begin), dtype.tensor_bytes(&shape)) {
        (Some(bytes), Some(expected)) => (bytes, expected),
        _ => return Err(wrong()),
    };
    if bytes != expected {
        let (file, tensor) = (file.to_owned(), name.to_owned());
        return Err(Error::SafetensorsSize { file, tensor, expected: expected as u64, actual: bytes as u64 });
    }
    Ok(SafeTensor { name: name.to_owned(), dtype, shape, offset: begin, bytes })
}

pub(super) fn open(folder: &Path) -> Result<Source, Error> {
    let hf = HfConfig::new(read_object(folder, "config.json")?);
    let family = Family::of(&hf)?;
    let (text, eos_ids) = text_parts(folder)?;
    let mut config = family.read(&hf)?;
    if let Some(eos_ids) = eos_ids {
        config.eos_token_ids = eos_ids;
        families::check(&config)?;
    }
    let names = file_names(folder)?;
    let files = names.keys().map(|name| map(&folder.join(name))).collect::<Result<Vec<_>, Error>>()?;
    let (mut found, mut left_out) = (Vec::new(), 0);
    for (file, ((name, listed), bytes)) in names.iter().zip(&files).enumerate() {
        let tensors = parse(name, bytes)?;
        if let Some(listed) = listed {
            check_index(name, listed, &tensors)?;
        }
        let is_left_out = |name: &str| family.left_out.iter().any(|start| name.starts_with(start));
        let before = tensors.len();
        let tensors: Vec<_> = tensors.into_iter().filter(|tensor| !is_left_out(&tensor.name)).collect();
        left_out += before - tensors.len();
        found.extend(tensors.into_iter().filter(|tensor| !is_derived(&tensor.name)).map(|tensor| Weight {
            name: family.rename(&tensor.name),
            dtype: tensor.dtype,
            shape: tensor.shape,
            file,
            offset: tensor.offset,
            bytes: tensor.bytes,
            rows: RowOrder::Same,
        }));
    }
    drop_tied_head(&mut found, &config, &files);
    let weights = arrange(found, &config)?;
    let name = folder.file_name().map(|name| name.to_string_lossy());
    let architecture = hf.architecture()?;
    let provenance =
        json!({ "format": "safetensors", "folder": name, "architecture": architecture, "tensorsLeftOut": left_out });
    Ok(Source { files, format: "safetensors", config, weights, text, provenance })
}

/// Tables that old files carry although they follow from the hyperparameters.
fn is_derived(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

/// Some writers store a tied head a second time. It is dropped only when it really is the embedding.
fn drop_tied_head(found: &mut Vec<Weight>, config: &ModelConfig, files: &[Bytes]) {
    let data = |name: &str| {
        let weight = found.iter().find(|weight| weight.name == name)?;
        Some((weight.dtype, files.get(weight.file)?.get(weight.offset..weight.offset + weight.bytes)?))
    };
    if config.tie_word_embeddings && data("lm_head.weight") == data("model.embed_tokens.weight") {
        found.retain(|weight| weight.name != "lm_head.weight");
    }
}

/// Names of tensors that the index lists for a file, if there is an index.
type Listed = Option<Vec<String>>;

/// The safetensors files of the folder.
fn file_names(folder: &Path) -> Result<BTreeMap<String, Listed>, Error> {
    let single = "model.safetensors";
    if !folder.join(INDEX).is_file() {
        return Ok(BTreeMap::from([(single.to_owned(), None)]));
    }
    let index = read_object(folder, INDEX)?;
    let map = index.get("weight_map").ok_or_else(|| Error::MissingKey { key: "weight_map".to_owned() })?;
    let wrong = |found: &Json| Error::KeyType {
        key: "weight_map".to_owned(),
        expected: "an object of file names",
        found: crate::json::brief(found),
    };
    let mut files: BTreeMap<String, Listed> = BTreeMap::new();
    for (tensor, file) in map.as_object().ok_or_else(|| wrong(map))? {
        let file = file.as_str().ok_or_else(|| wrong(file))?;
        shard::check_filename(format!("weight_map.{tensor}"), file)?;
        files.entry(file.to_owned()).or_insert(Some(Vec::new())).get_or_insert_default().push(tensor.clone());
    }
    Ok(files)
}

/// Index and shard must list the same tensors.
fn check_index(file: &str, listed: &[String], tensors: &[SafeTensor]) -> Result<(), Error> {
    let mut there: HashMap<&str, bool> = tensors.iter().map(|tensor| (tensor.name.as_str(), false)).collect();
    let mismatch = |tensor: &str| Error::SafetensorsIndex { tensor: tensor.to_owned(), file: file.to_owned() };
    for name in listed {
        *there.get_mut(name.as_str()).ok_or_else(|| mismatch(name))? = true;
    }
    match there.into_iter().filter(|(_, listed)| !listed).map(|(name, _)| name).min() {
        Some(name) => Err(mismatch(name)),
        None => Ok(()),
    }
}

/// The tokenizer and what belongs to it; the ids that end an answer, where the folder says more than config.json.
fn text_parts(folder: &Path) -> Result<(TextParts, Option<Vec<u32>>), Error> {
    let tokenizer_json = map(&folder.join("tokenizer.json"))?;
    tokenizer::check_size(&tokenizer_json)?;
    let tokenizer_json = tokenizer_json.to_vec();
    let file = "tokenizer.json".to_owned();
    serde_json::from_slice::<serde::de::IgnoredAny>(&tokenizer_json).map_err(|source| Error::Json { file, source })?;
    let settings = read_optional(folder, "tokenizer_config.json")?.unwrap_or_default();
    let chat_template = match folder.join("chat_template.jinja") {
        path if path.is_file() => {
            let bytes = map(&path)?;
            let text = std::str::from_utf8(&bytes).map(str::to_owned);
            Some(text.map_err(|_| Error::NotUtf8 { what: "chat_template.jinja".to_owned() })?)
        }
        _ => chat_template(settings.get("chat_template")),
    };
    let generation = read_optional(folder, "generation_config.json")?.map(HfConfig::new);
    let eos_ids = generation.map_or(Ok(Vec::new()), |generation| generation.ids("eos_token_id"))?;
    let parts = TextParts {
        tokenizer_json,
        chat_template,
        bos_token: token_text(settings.get("bos_token")),
        eos_token: token_text(settings.get("eos_token")),
        bos_id: None,
        eos_ids: Vec::new(),
    };
    Ok((parts, Some(eos_ids).filter(|ids| !ids.is_empty())))
}

/// A template is a string, or one of several with names.
fn chat_template(value: Option<&Json>) -> Option<String> {
    match value? {
        Json::String(text) => Some(text.clone()),
        Json::Array(list) => {
            let named = |name: &str| list.iter().find(|entry| entry.get("name").and_then(Json::as_str) == Some(name));
            named("default").or(list.first())?.get("template")?.as_str().map(str::to_owned)
        }
        _ => None,
    }
}

/// A special token is a string or an object around one.
fn token_text(value: Option<&Json>) -> Option<String> {
    let value = value?;
    value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
}

fn read_object(folder: &Path, file: &str) -> Result<Map<String, Json>, Error> {
    parse_object(file, &map(&folder.join(file))?)
}

fn read_optional(folder: &Path, file: &str) -> Result<Option<Map<String, Json>>, Error> {
    if folder.join(file).is_file() { read_object(folder, file).map(Some) } else { Ok(None) }
}
