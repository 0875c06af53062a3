//! Tokenizers of the kind `llama`: SentencePiece's byte-pair encoding, where a pair is joined in the order of the
//! joined token's score and unknown characters fall back to byte tokens. Scores become an ordered list of merges.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Value as Json, json};

use super::{Bpe, Kind, Model, Parts, Vocabulary, flag, scores};
use crate::Error;
use crate::convert::gguf::Gguf;

/// Longer tokens are never the result of a merge: it bounds the search for their halves.
const MAX_MERGED_BYTES: usize = 256;
/// Gemma's 262 144 tokens give half a million.
const MAX_MERGES: usize = 1 << 23;

/// How SentencePiece writes a space.
pub(super) const SPACE: &str = "\u{2581}";

/// Where a space is put before a text that has none.
enum SpacePrefix {
    Never,
    /// Before every stretch of text, also behind a special token: Llama 2.
    EveryStretch,
    /// Where the whole text begins: Mistral, since it has tokens for its turns.
    Beginning,
}

/// A token as `tokenizer.json` has it. llama.cpp's converter writes runs of spaces that the user defined as spaces, but
/// they are matched against texts in which spaces are already `▁`.
pub(super) fn text_of(text: &str, kind: Kind) -> Cow<'_, str> {
    let is_run = kind == Kind::UserDefined && !text.is_empty() && text.bytes().all(|byte| byte == b' ');
    if is_run { Cow::Owned(SPACE.repeat(text.len())) } else { Cow::Borrowed(text) }
}

/// The parts of the file, and whether such models begin a sequence with BOS by default: they do.
pub(super) fn parts<'a>(gguf: &Gguf<'_>, vocabulary: &'a Vocabulary<'a>) -> Result<(Parts<'a>, bool), Error> {
    let scores = scores(gguf, vocabulary.tokens.len())?;
    let unknown = vocabulary.unknown(gguf)?.map(|id| vocabulary.text(id));
    let prefix = match flag(gguf, "tokenizer.ggml.add_space_prefix", true)? {
        false => SpacePrefix::Never,
        true if vocabulary.is_control("[INST]") => SpacePrefix::Beginning,
        true => SpacePrefix::EveryStretch,
    };
    let (normalizer, pre_tokenizer) = spaces(&prefix);
    // The file does not say which tokens take the white space behind them along. Of this kind only Phi-3's do, which
    // are known by their names.
    let is_phi = vocabulary.is_control("<|assistant|>") && vocabulary.is_control("<|end|>");
    let (byte_fallback, merges) = (vocabulary.has_all_bytes(), merges(vocabulary, &scores)?);
    let parts = Parts {
        normalizer,
        pre_tokenizer,
        decoder: decoder(u32::from(!matches!(prefix, SpacePrefix::Never))),
        model: Model::Bpe(Bpe { unk_token: unknown, fuse_unk: true, byte_fallback, ..Bpe::new(vocabulary, merges) }),
        swallows: if is_phi { phi_swallows } else { |_, _| false },
    };
    Ok((parts, true))
}

/// `▁` and byte tokens back to text, without so many of the spaces before it.
pub(super) fn decoder(leading: u32) -> Json {
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if leading > 0 {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": leading, "stop": 0 }));
    }
    json!({ "type": "Sequence", "decoders": decoders })
}

fn phi_swallows(text: &str, kind: Kind) -> bool {
    text == "</s>" || (kind == Kind::Control && !["<s>", "<|endoftext|>"].contains(&text))
}

/// The normalizer and the pre-tokenizer that write spaces as `▁`.
fn spaces(prefix: &SpacePrefix) -> (Json, Json) {
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    match prefix {
        SpacePrefix::Never => (replace, Json::Null),
        SpacePrefix::EveryStretch => {
            let prepend = json!({ "type": "Prepend", "prepend": SPACE });
            (json!({ "type": "Sequence", "normalizers": [prepend, replace] }), Json::Null)
        }
        SpacePrefix::Beginning => (
            Json::Null,
            json!({ "type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": false }),
        ),
    }
}

/// Every way to make a token of two others, best score first. Among equals the longer left half wins, which is where
/// SentencePiece, working from left to right, arrives too.
fn merges<'a>(vocabulary: &'a Vocabulary<'a>, scores: &[f32]) -> Result<Vec<(&'a str, &'a str)>, Error> {
    let mut found: Vec<(f32, &str, &str)> = Vec::new();
    for ((_, text, kind), &score) in vocabulary.entries().zip(scores) {
        if !matches!(kind, Kind::Normal | Kind::UserDefined) || text.len() > MAX_MERGED_BYTES {
            continue;
        }
        // SentencePiece gives what the user defined a score of 0, the best; converters write whatever they like.
        // Adding 0 makes -0, the first learned token's score, its equal.
        let score = if kind == Kind::UserDefined { 0.0 } else { score + 0.0 };
        let halves = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        found.extend(
            halves.filter(|(l, r)| vocabulary.has(l) && vocabulary.has(r)).map(|(left, right)| (score, left, right)),
        );
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
    Ok(found.into_iter().map(|(_, left, right)| (left, right)).collect())
}
