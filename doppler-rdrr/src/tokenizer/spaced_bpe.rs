//! Tokenizers of the kind `gemma4`: byte-pair merges in a given order, over a text whose spaces are written as `▁`.

use serde_json::json;

use super::byte_level::merges;
use super::sentencepiece::{SPACE, decoder};
use super::{Bpe, Model, Parts, Vocabulary};
use crate::Error;
use crate::convert::gguf::Gguf;

pub(super) fn parts<'a>(gguf: &Gguf<'a>, vocabulary: &'a Vocabulary<'a>) -> Result<Parts<'a>, Error> {
    let unknown = vocabulary.unknown(gguf)?;
    let model = Bpe {
        unk_token: unknown.map(|id| vocabulary.text(id)),
        fuse_unk: true,
        byte_fallback: vocabulary.has_all_bytes(),
        ..Bpe::new(vocabulary, merges(gguf, vocabulary)?)
    };
    Ok(Parts {
        normalizer: json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE }),
        pre_tokenizer: json!(null),
        decoder: decoder(0),
        model: Model::Bpe(model),
        swallows: |_, _| false,
    })
}
