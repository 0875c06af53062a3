//! Tokenizers of the kind `t5`: SentencePiece's unigram model, where the cut of a text with the best sum of scores wins.
//! Spaces and characters are normalized as the file says.

use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use super::charsmap::Charsmap;
use super::sentencepiece::{SPACE, decoder};
use super::{Kind, Model, Parts, SCORES, UNKNOWN, Vocabulary, array, flag, scores};
use crate::Error;
use crate::convert::gguf::{Gguf, Value, ValueType, wrong_type};

/// How far below the worst learned token the others lie: never worth taking where a learned token fits.
const FAR_BELOW: f32 = 100.0;

/// The unigram model.
#[derive(Serialize)]
pub(super) struct Unigram<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    unk_id: u32,
    byte_fallback: bool,
    vocab: Scored<'a>,
}

/// Every token with its score, in the order of the ids.
struct Scored<'a> {
    vocabulary: &'a Vocabulary<'a>,
    scores: Vec<f32>,
}

impl Serialize for Scored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.vocabulary.entries().zip(&self.scores).map(|((_, text, _), score)| (text, score)))
    }
}

pub(super) fn parts<'a>(gguf: &Gguf<'_>, vocabulary: &'a Vocabulary<'a>) -> Result<Parts<'a>, Error> {
    let vocab = Scored { vocabulary, scores: usable_scores(gguf, vocabulary)? };
    let model = Unigram {
        kind: "Unigram",
        unk_id: vocabulary.unknown(gguf)?.ok_or_else(|| Error::MissingKey { key: UNKNOWN.to_owned() })?,
        byte_fallback: vocabulary.has_all_bytes(),
        vocab,
    };
    let prefix = flag(gguf, "tokenizer.ggml.add_space_prefix", false)?;
    let merge_spaces = flag(gguf, "tokenizer.ggml.remove_extra_whitespaces", false)?;
    // Where spaces were merged, none that came first is the text's own.
    let leading = if merge_spaces { u32::MAX } else { u32::from(prefix) };
    Ok(Parts {
        normalizer: normalizer(charsmap(gguf)?, prefix, merge_spaces),
        pre_tokenizer: Json::Null,
        decoder: decoder(leading),
        model: Model::Unigram(model),
        swallows: |_, _| false,
    })
}

/// The file's scores for what was learned. Control, byte and unused tokens are found by other means or not at all, but
/// the library looks for all that have a score.
fn usable_scores(gguf: &Gguf<'_>, vocabulary: &Vocabulary<'_>) -> Result<Vec<f32>, Error> {
    let mut scores = scores(gguf, vocabulary.tokens.len())?;
    if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
        return Err(wrong_type(SCORES, "an array of finite numbers", &Value::F32(*score)));
    }
    let learned = scores.iter().zip(&vocabulary.kinds).filter(|(_, kind)| **kind == Kind::Normal);
    let lowest = learned.map(|(score, _)| *score).fold(0.0, f32::min);
    for (score, kind) in scores.iter_mut().zip(&vocabulary.kinds) {
        match kind {
            Kind::Normal => {}
            Kind::UserDefined => *score = 0.0,
            Kind::Unknown | Kind::Control | Kind::Unused | Kind::Byte => *score = lowest - FAR_BELOW,
        }
    }
    Ok(scores)
}

/// Characters first, then spaces: SentencePiece knows no white space but these.
fn normalizer(charsmap: Option<Charsmap>, prefix: bool, merge_spaces: bool) -> Json {
    let replace = |regex: &str, by: &str| json!({ "type": "Replace", "pattern": { "Regex": regex }, "content": by });
    let mut steps = Vec::new();
    if let Some(map) = charsmap {
        // Of the replacements that fit, the library takes the shortest where SentencePiece takes the longest: it would
        // drop the accents of a text that is not composed.
        if map.composes {
            steps.push(json!({ "type": "NFC" }));
        }
        steps.push(json!({ "type": "Precompiled", "precompiled_charsmap": map.to_base64() }));
    }
    if merge_spaces {
        steps.extend([replace("^ +|[ \u{2581}]+$", ""), replace(" {2,}", " ")]);
    }
    if prefix {
        steps.push(json!({ "type": "Prepend", "prepend": " " }));
    }
    steps.push(json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE }));
    json!({ "type": "Sequence", "normalizers": steps })
}

/// The table that normalizes characters, where the file has one.
fn charsmap(gguf: &Gguf<'_>) -> Result<Option<Charsmap>, Error> {
    const KEY: &str = "tokenizer.ggml.precompiled_charsmap";
    if gguf.get(KEY).is_none() {
        return Ok(None);
    }
    let is_byte = |items| matches!(items, ValueType::I8 | ValueType::U8);
    Charsmap::checked(KEY, array(gguf, KEY, "an array of bytes", is_byte)?).map(Some)
}
