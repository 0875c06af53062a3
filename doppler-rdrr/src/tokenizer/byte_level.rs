//! Tokenizers of the kind `gpt2`: byte-pair merges in a given order, over bytes written as GPT-2's 256 letters.

use serde_json::{Value as Json, json};

use super::pre::PreTokenizer;
use super::{Bpe, Model, Parts, Vocabulary, array, string, strings};
use crate::Error;
use crate::convert::gguf::{Gguf, ValueType};

/// The parts of the file, and whether such models begin a sequence with BOS by default.
pub(super) fn parts<'a>(gguf: &Gguf<'a>, vocabulary: &'a Vocabulary<'a>) -> Result<(Parts<'a>, bool), Error> {
    let name = string(gguf, "tokenizer.ggml.pre")?;
    let pre = PreTokenizer::named(name).ok_or_else(|| Error::UnknownPreTokenizer { found: name.to_owned() })?;
    let merges = merges(gguf, vocabulary)?;
    let parts = Parts {
        normalizer: if pre.nfc { json!({ "type": "NFC" }) } else { Json::Null },
        pre_tokenizer: pre.to_json(),
        decoder: json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true }),
        model: Model::Bpe(Bpe { ignore_merges: pre.ignore_merges, ..Bpe::new(vocabulary, merges) }),
        swallows: |_, _| false,
    };
    Ok((parts, pre.adds_bos))
}

/// The file's merges, each of which joins two tokens into a third.
pub(super) fn merges<'a>(gguf: &Gguf<'a>, vocabulary: &Vocabulary<'_>) -> Result<Vec<(&'a str, &'a str)>, Error> {
    let list = array(gguf, "tokenizer.ggml.merges", "an array of strings", |items| items == ValueType::String)?;
    strings(list)
        .enumerate()
        .map(|(index, merge)| {
            let wrong = || Error::TokenizerMerge { index, merge: merge.chars().take(80).collect() };
            let (left, right) = split(merge).ok_or_else(wrong)?;
            let known = vocabulary.has(left) && vocabulary.has(right) && vocabulary.has(&[left, right].concat());
            if known { Ok((left, right)) } else { Err(wrong()) }
        })
        .collect()
}

/// Two tokens with a space between them; a token may itself begin with a space.
fn split(merge: &str) -> Option<(&str, &str)> {
    let first = merge.chars().next()?.len_utf8();
    let space = first + merge.get(first..)?.find(' ')?;
    Some((merge.get(..space)?, merge.get(space + 1..)?)).filter(|(_, right)| !right.is_empty())
}
