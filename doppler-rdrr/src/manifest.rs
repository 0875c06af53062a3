//! The manifest of a model: everything about it but its bytes. Keeps what it does not understand.

use serde_json::{Map, Value};

use crate::json::{Object, brief, parse_object};
use crate::layout::Defaults;
use crate::shard::{self, HashAlgorithm, Shard, check_filename};
use crate::tensor::{self, TensorEntry};
use crate::{Error, ModelConfig, inference};

/// A model's `manifest.json`, checked as far as it can be without the model's other files.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    json: Map<String, Value>,
    model_id: String,
    quantization: String,
    hash_algorithm: HashAlgorithm,
    shards: Vec<Shard>,
    tensors_file: Option<String>,
}

impl Manifest {
    /// Parses the bytes of a `manifest.json`.
    ///
    /// # Errors
    /// A required field that is missing or wrong, a key that is repeated, a file name that leads out of the folder,
    /// sizes that do not add up. What the decoder cannot compute is found by [`Manifest::config`] only.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let json = parse_object("manifest.json", bytes)?;
        let root = Object::new(&json, "");
        check_version(root)?;
        let model_id = root.string("modelId")?.to_owned();
        let quantization = root.string("quantization")?.to_owned();
        root.string("modelType")?;
        root.field("architecture")?;
        root.object("inference")?;
        root.field("eos_token_id")?;
        let hash_algorithm = hash_algorithm(root)?;
        let shards = shard::parse_list(root, hash_algorithm)?;
        let tensors_file = match root.maybe("tensors") {
            Some(_) => root.object("tensors").map(|_| None)?,
            None => Some(tensors_file(root)?),
        };
        if let Some(tokenizer) = root.maybe("tokenizer").filter(|value| !value.is_object()) {
            return Err(root.invalid("tokenizer", "an object or null", tokenizer));
        }
        Ok(Manifest { model_id, quantization, hash_algorithm, shards, tensors_file, json })
    }

    /// The model's name.
    #[must_use]
    pub fn model_id(&self) -> &str {
        &self.model_id
    }

    /// The format that most of the weights have, for people: `Q4_K_M`, `F16`, ….
    #[must_use]
    pub fn quantization(&self) -> &str {
        &self.quantization
    }

    /// The function that made the shards' digests.
    #[must_use]
    pub fn hash_algorithm(&self) -> HashAlgorithm {
        self.hash_algorithm
    }

    /// The files that hold the weights, in order.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Bytes of all shards.
    #[must_use]
    pub fn total_size(&self) -> u64 {
        self.shards.iter().map(|shard| shard.size).sum()
    }

    /// The numbers of the decoder.
    ///
    /// # Errors
    /// [`Error::UnsupportedField`] for a feature that [`ModelConfig`] cannot express, [`Error::MissingField`] and
    /// [`Error::InvalidField`] with the path of a field that is absent or wrong.
    pub fn config(&self) -> Result<ModelConfig, Error> {
        inference::config(&self.json)
    }

    /// The field at a path of names, such as `["metadata", "source"]`; also those that nothing here reads.
    #[must_use]
    pub fn field(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.json.get(*first)?, |value, name| value.get(name))
    }

    /// The chat template, where the manifest carries one: a Jinja text in Hugging Face's dialect.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.field(&["inference", "chatTemplate", "template"])?.as_str()
    }

    /// Text of the token that begins a sequence, for the chat template.
    #[must_use]
    pub fn bos_token(&self) -> Option<&str> {
        self.field(&["tokenizer", "bosToken"])?.as_str()
    }

    /// Text of the token that ends a sequence, for the chat template.
    #[must_use]
    pub fn eos_token(&self) -> Option<&str> {
        self.field(&["tokenizer", "eosToken"])?.as_str()
    }

    /// Name of the tokenizer's file in the model's folder.
    ///
    /// # Errors
    /// [`Error::UnsupportedField`] for another kind of tokenizer than `tokenizer.json`, [`Error::FileName`].
    pub fn tokenizer_file(&self) -> Result<&str, Error> {
        let tokenizer = self.json.get("tokenizer").and_then(Value::as_object);
        let Some(tokenizer) = tokenizer.map(|map| Object::new(map, "tokenizer")) else { return Ok("tokenizer.json") };
        if let Some(kind) = tokenizer.maybe_string("type")?.filter(|kind| !matches!(*kind, "bundled" | "huggingface")) {
            let what = "tokenizers other than a tokenizer.json in the model's folder are";
            return Err(Error::UnsupportedField { field: "tokenizer.type".into(), found: kind.into(), what });
        }
        let file = tokenizer.maybe_string("file")?.unwrap_or("tokenizer.json");
        check_filename("tokenizer.file".into(), file)?;
        Ok(file)
    }

    /// The manifest as JSON, unknown fields included.
    #[must_use]
    pub fn to_json(&self) -> &Map<String, Value> {
        &self.json
    }

    /// Name of the file that holds the tensor map, where the manifest does not hold it itself.
    #[must_use]
    pub fn tensors_file(&self) -> Option<&str> {
        self.tensors_file.as_deref()
    }

    /// The tensors, from the manifest or from the bytes of its [`Manifest::tensors_file`].
    ///
    /// # Errors
    /// What is wrong with an entry, naming the tensor; [`Error::TensorCount`]; [`Error::Overlap`].
    pub fn tensors(&self, file: Option<&[u8]>) -> Result<Vec<TensorEntry>, Error> {
        let external = file.map(|bytes| parse_object("tensors.json", bytes)).transpose()?;
        let root = Object::new(&self.json, "");
        let map = match &external {
            Some(map) => map,
            None => root.object("tensors")?,
        };
        if root.maybe("tensorCount").is_some() {
            let expected = root.whole("tensorCount")?;
            if expected != map.len() as u64 {
                return Err(Error::TensorCount { expected, actual: map.len() as u64 });
            }
        }
        tensor::parse_map(map, &self.shards, Defaults::read(root)?)
    }
}

/// `1`, or a text such as `"1"` or `"1.0"`.
fn check_version(root: Object<'_>) -> Result<(), Error> {
    let value = root.field("version")?;
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    match number {
        Some(version) if (1.0..2.0).contains(&version) => Ok(()),
        Some(version) if version >= 2.0 => Err(Error::UnsupportedField {
            field: "version".into(),
            found: brief(value),
            what: "versions of the format above 1 are",
        }),
        _ => Err(root.invalid("version", "1", value)),
    }
}

/// The manifest's algorithm; some manifests name it with each shard only.
fn hash_algorithm(root: Object<'_>) -> Result<HashAlgorithm, Error> {
    let of_shard = || root.list("shards").ok()?.iter().find_map(|shard| shard.get("hashAlgorithm"));
    let value = root.maybe("hashAlgorithm").or_else(of_shard);
    let value = value.ok_or_else(|| Error::MissingField { field: "hashAlgorithm".into() })?;
    let algorithm = value.as_str().and_then(HashAlgorithm::parse);
    algorithm.ok_or_else(|| root.invalid("hashAlgorithm", "sha256 or blake3", value))
}

fn tensors_file(root: Object<'_>) -> Result<String, Error> {
    let missing = |_| Error::MissingField { field: "tensors".into() };
    let name = root.string("tensorsFile").map_err(missing)?;
    check_filename("tensorsFile".into(), name)?;
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn tensors_of_real_manifests() {
        let manifest = Manifest::parse(include_bytes!("../tests/fixtures/manifests/gemma-3-270m-q4k.json")).unwrap();
        let tensors = manifest.tensors(None).unwrap();
        let of = |dtype| tensors.iter().find(|entry| entry.dtype == dtype).unwrap();
        assert_eq!(of(DType::F16).spans.len(), 5);
        assert_eq!(of(DType::BF16).shape, [640]);
        let packed = of(DType::Q4_K);
        assert_eq!((packed.rows(), packed.cols()), (640, 2048));
        assert_eq!(packed.row_bytes, 8 * 144);
    }

    #[test]
    fn scales_in_other_tensors() {
        let manifest = Manifest::parse(include_bytes!("../tests/fixtures/manifests/gemma-4-12b-w4a16.json")).unwrap();
        let error = manifest.tensors(None).unwrap_err();
        assert!(
            matches!(&error, Error::UnsupportedField { field, .. } if field.ends_with("weight.storage")),
            "{error}"
        );
    }

    #[test]
    fn versions() {
        for (version, accepted) in [("1", true), ("1.0", true), ("\"1\"", true), ("\"1.0\"", true), ("2", false)] {
            let map = parse_object("f", format!("{{\"version\":{version}}}").as_bytes()).unwrap();
            assert_eq!(check_version(Object::new(&map, "")).is_ok(), accepted, "{version}");
        }
    }

    #[test]
    fn algorithms_by_shard() {
        let parse = |text: &str| hash_algorithm(Object::new(&parse_object("f", text.as_bytes()).unwrap(), ""));
        assert_eq!(parse(r#"{"shards":[{"hashAlgorithm":"blake3"}]}"#).unwrap(), HashAlgorithm::Blake3);
        assert!(matches!(parse(r#"{"shards":[{}]}"#), Err(Error::MissingField { field }) if field == "hashAlgorithm"));
    }
}
