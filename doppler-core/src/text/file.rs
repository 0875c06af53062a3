//! Reading a `tokenizer.json`: in one pass where the model is byte-pair encoding, as the library does otherwise.
//!
//! The library first makes a tree of the whole model, to find out what kind it is. For the vocabularies of today that
//! tree takes most of the time and four times the memory of the rest.

use serde::Deserialize;
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

/// The tokenizer of the file, without truncation and padding.
pub(super) fn read(json: &[u8]) -> Result<Tokenizer, Error> {
    let failed = |source| Error::TokenizerFile { source };
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
