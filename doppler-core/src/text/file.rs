//! Reading a `tokenizer.json`: in one pass where the model is byte-pair encoding, as the library does otherwise.
//!
//! The library first makes a tree of the whole model, to find out what kind it is. For the vocabularies of today that
//! tree takes most of the time and four times the memory of the rest.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::{AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer};

use crate::Error;

/// What of the file is used. Truncation and padding are not.
#[derive(Deserialize)]
struct BpeFile {
    version: String,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    model: BPE,
}

/// The parts of the file that are known to make the library panic.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(default)]
    model: ModelParts,
}

#[derive(Deserialize, Default)]
struct ModelParts {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
}

impl Parts {
    /// Says what is wrong, if anything.
    fn check(&self) -> Result<(), String> {
        // Merges are cut behind it unasked. No byte-pair model of a language model has one.
        let prefix = self.model.continuing_subword_prefix.as_deref().unwrap_or_default();
        if !prefix.is_empty() && self.model.r#type.as_deref() != Some("WordPiece") {
            return Err("`continuing_subword_prefix` is not supported".to_owned());
        }
        let parts = [&self.normalizer, &self.pre_tokenizer, &self.decoder];
        if parts.into_iter().flat_map(objects).any(|part| part["pattern"]["String"] == "") {
            return Err("a pattern is the empty text, which is found everywhere".to_owned());
        }
        for template in objects(&self.post_processor).iter().filter(|part| part["type"] == "TemplateProcessing") {
            let used = objects(&template["single"]).into_iter().chain(objects(&template["pair"]));
            let names = used.filter_map(|part| part["SpecialToken"]["id"].as_str());
            if let Some(name) = names.into_iter().find(|name| template["special_tokens"].get(name).is_none()) {
                return Err(format!("the post-processor names the token {name:?} and does not say what it is"));
            }
        }
        Ok(())
    }
}

/// Every object in a part, itself included.
fn objects(part: &Value) -> Vec<&Value> {
    match part {
        Value::Object(fields) => std::iter::once(part).chain(fields.values().flat_map(objects)).collect(),
        Value::Array(items) => items.iter().flat_map(objects).collect(),
        _ => Vec::new(),
    }
}

/// The tokenizer of the file, without truncation and padding.
pub(super) fn read(json: &[u8]) -> Result<Tokenizer, Error> {
    let failed = |source| Error::TokenizerFile { source };
    let parts: Parts = serde_json::from_slice(json).map_err(|error| failed(error.into()))?;
    parts.check().map_err(|message| failed(message.into()))?;
    // Whatever this reader does not take, the library's own reads, or says what is wrong.
    let file = serde_json::from_slice::<BpeFile>(json).ok().filter(|file| file.version == "1.0");
    let mut tokenizer = match file {
        Some(file) => file.into_tokenizer().map_err(failed)?,
        None => Tokenizer::from_bytes(json).map_err(failed)?,
    };
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(failed)?;
    Ok(tokenizer)
}

impl BpeFile {
    fn into_tokenizer(self) -> tokenizers::Result<Tokenizer> {
        let mut tokenizer = Tokenizer::new(self.model);
        // The normalizer before the added tokens: these are stored as it leaves them.
        tokenizer.with_normalizer(self.normalizer)?;
        tokenizer.with_pre_tokenizer(self.pre_tokenizer);
        tokenizer.with_post_processor(self.post_processor);
        tokenizer.with_decoder(self.decoder);
        tokenizer.add_tokens(self.added_tokens)?;
        Ok(tokenizer)
    }
}
