//! Tokenizers of the kind `llama`: SentencePiece's byte-pair encoding, where a pair is joined in the order of the
//! joined token's score and unknown characters fall back to byte tokens. Scores become an ordered list of merges.

use std::cmp::Ordering;

use serde_json::{Value as Json, json};

use super::{Kind, Parts, Vocabulary, array, check_length, flag};
use crate::Error;
use crate::convert::gguf::{Gguf, Value, ValueType};

/// Longer tokens are never the result of a merge: it bounds the search for their halves.
const MAX_MERGED_BYTES: usize = 256;
/// Gemma's 262 144 tokens give half a million.
const MAX_MERGES: usize = 1 << 23;

/// How SentencePiece writes a space.
const SPACE: &str = "\u{2581}";

pub(super) fn parts(gguf: &Gguf<'_>, vocabulary: &Vocabulary<'_>) -> Result<Parts, Error> {
    const SCORES: &str = "tokenizer.ggml.scores";
    let list = array(gguf, SCORES, "an array of 32-bit floats", |items| items == ValueType::F32)?;
    check_length(SCORES, list.len(), vocabulary.tokens.len())?;
    let scores: Vec<f32> = list.iter().map(|value| if let Value::F32(score) = value { score } else { 0.0 }).collect();
    let space_prefix = flag(gguf, "tokenizer.ggml.add_space_prefix", true)?;
    let byte_fallback = (0..=u8::MAX).all(|byte| vocabulary.ids.contains_key(format!("<0x{byte:02X}>").as_str()));
    let unknown = match vocabulary.id(gguf, "tokenizer.ggml.unknown_token_id")? {
        Some(id) => Some(vocabulary.text(id)),
        None => vocabulary.entries().find(|(_, _, kind)| *kind == Kind::Unknown).map(|(_, text, _)| text),
    };
    let mut normalizers = vec![json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE })];
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if space_prefix {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": SPACE }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    Ok(Parts {
        normalizer: json!({ "type": "Sequence", "normalizers": normalizers }),
        pre_tokenizer: Json::Null,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": byte_fallback,
            "ignore_merges": false,
            "vocab": vocabulary.to_json(),
            "merges": merges(vocabulary, &scores)?,
        }),
    })
}

/// Every way to make a token of two others, best score first. Among equals the longer left half wins, which is where
/// SentencePiece, working from left to right, arrives too.
fn merges(vocabulary: &Vocabulary<'_>, scores: &[f32]) -> Result<Vec<Json>, Error> {
    let mut found: Vec<(f32, &str, &str)> = Vec::new();
    for ((_, text, kind), &score) in vocabulary.entries().zip(scores) {
        if kind != Kind::Normal || text.len() > MAX_MERGED_BYTES {
            continue;
        }
        let halves = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        let known = |half: &str| vocabulary.ids.contains_key(half);
        found.extend(halves.filter(|(l, r)| known(l) && known(r)).map(|(left, right)| (score, left, right)));
        if found.len() > MAX_MERGES {
            let what = "the number of merges".to_owned();
            return Err(Error::TooLarge { what, size: found.len() as u64, limit: MAX_MERGES as u64 });
        }
    }
    let length = |text: &str| text.chars().count();
    found.sort_by(|a, b| match b.0.total_cmp(&a.0) {
        Ordering::Equal => (length(b.1), length(b.2)).cmp(&(length(a.1), length(a.2))),
        different => different,
    });
    Ok(found.into_iter().map(|(_, left, right)| json!([left, right])).collect())
}
