//! A GGUF file's tokenizer as a `tokenizer.json` with the same ids. Knows the format's tables, not the library that
//! reads the result.

mod byte_level;
mod charsmap;
mod pre;
mod sentencepiece;
mod spaced_bpe;
mod unigram;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

use crate::Error;
use crate::convert::gguf::{Array, Gguf, Value, ValueType, string, wrong_type};
use crate::json::MAX_JSON_BYTES;

/// The largest `tokenizer.json` that is written and read, in bytes: three times that of the largest known vocabulary.
pub const MAX_TOKENIZER_BYTES: u64 = MAX_JSON_BYTES;

/// What no reader would take is not written.
pub(crate) fn check_size(tokenizer_json: &[u8]) -> Result<(), Error> {
    let (what, size, limit) = ("tokenizer.json", tokenizer_json.len() as u64, MAX_TOKENIZER_BYTES);
    if size > limit { Err(Error::TooLarge { what: what.to_owned(), size, limit }) } else { Ok(()) }
}

/// More tokens than any vocabulary has; it bounds every table made from one.
const MAX_TOKENS: usize = 1 << 21;

/// Texts of control tokens that end an answer. Files name one of them, models emit the others too.
const END_TEXTS: &[&str] = &[
    "</s>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<turn|>",
];

const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const SCORES: &str = "tokenizer.ggml.scores";

/// What a model's text files are made of.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct TextParts {
    /// The file that the tokenizer library reads.
    pub tokenizer_json: Vec<u8>,
    /// The chat template, a Jinja text.
    pub chat_template: Option<String>,
    /// Text of the token that begins a sequence.
    pub bos_token: Option<String>,
    /// Text of the token that ends a sequence.
    pub eos_token: Option<String>,
    /// Id of the token that begins a sequence.
    pub bos_id: Option<u32>,
    /// Every token that ends an answer, the main one first.
    pub eos_ids: Vec<u32>,
}

/// What a token is for, in GGUF's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// The tables that all tokenizer kinds share.
struct Vocabulary<'a> {
    tokens: Vec<Cow<'a, str>>,
    kinds: Vec<Kind>,
    ids: HashMap<Cow<'a, str>, u32>,
}

/// Translates the `tokenizer.*` metadata.
///
/// # Errors
/// [`Error::UnknownTokenizer`], [`Error::UnknownPreTokenizer`], or what is wrong with the tables.
pub fn from_gguf(gguf: &Gguf<'_>) -> Result<TextParts, Error> {
    let kind = string(gguf, "tokenizer.ggml.model")?;
    let vocabulary = match kind {
        "gpt2" | "t5" => Vocabulary::read(gguf, |text, _| Cow::Borrowed(text))?,
        "llama" | "gemma4" => Vocabulary::read(gguf, sentencepiece::text_of)?,
        _ => return Err(Error::UnknownTokenizer { found: kind.to_owned() }),
    };
    let bos_id = vocabulary.id(gguf, "tokenizer.ggml.bos_token_id")?;
    let eos_ids = vocabulary.eos_ids(gguf)?;
    let (parts, adds_bos) = match kind {
        "gpt2" => byte_level::parts(gguf, &vocabulary)?,
        "gemma4" => (spaced_bpe::parts(gguf, &vocabulary)?, true),
        "t5" => (unigram::parts(gguf, &vocabulary)?, false),
        _ => sentencepiece::parts(gguf, &vocabulary)?,
    };
    let bos = flag(gguf, "tokenizer.ggml.add_bos_token", adds_bos)?.then_some("tokenizer.ggml.bos_token_id");
    let eos = flag(gguf, "tokenizer.ggml.add_eos_token", kind == "t5")?.then_some("tokenizer.ggml.eos_token_id");
    let template = |key: Option<&str>| match key {
        None => Ok(None),
        Some(key) => match vocabulary.id(gguf, key)? {
            Some(id) => Ok(Some(id)),
            None => Err(Error::MissingKey { key: key.to_owned() }),
        },
    };
    let file = File {
        version: "1.0",
        truncation: None,
        padding: None,
        added_tokens: vocabulary.added_tokens(bos_id.iter().chain(&eos_ids), parts.swallows),
        normalizer: parts.normalizer,
        pre_tokenizer: parts.pre_tokenizer,
        post_processor: vocabulary.post_processor(template(bos)?, template(eos)?),
        decoder: parts.decoder,
        model: parts.model,
    };
    let json = |source| Error::Json { file: "tokenizer.json".to_owned(), source };
    let tokenizer_json = serde_json::to_vec(&file).map_err(json)?;
    let text = |id: Option<u32>| id.map(|id| vocabulary.text(id).to_owned());
    Ok(TextParts {
        tokenizer_json,
        chat_template: chat_template(gguf)?,
        bos_token: text(bos_id),
        eos_token: text(eos_ids.first().copied()),
        bos_id,
        eos_ids,
    })
}

/// A `tokenizer.json`. Written from the borrowed tables: as a tree of JSON values, a vocabulary of 262 144 tokens and
/// twice as many merges takes a second and hundreds of megabytes.
#[derive(Serialize)]
struct File<'a> {
    version: &'static str,
    truncation: Option<()>,
    padding: Option<()>,
    added_tokens: Vec<Json>,
    normalizer: Json,
    pre_tokenizer: Json,
    post_processor: Json,
    decoder: Json,
    model: Model<'a>,
}

/// The parts of a `tokenizer.json` in which the kinds differ.
struct Parts<'a> {
    normalizer: Json,
    pre_tokenizer: Json,
    decoder: Json,
    model: Model<'a>,
    /// Which of the tokens that are found first take the white space behind them along.
    swallows: fn(&str, Kind) -> bool,
}

/// What cuts a text into tokens.
#[derive(Serialize)]
#[serde(untagged)]
enum Model<'a> {
    Bpe(Bpe<'a>),
    Unigram(unigram::Unigram<'a>),
}

/// Byte-pair encoding.
#[derive(Serialize)]
struct Bpe<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    dropout: Option<f32>,
    unk_token: Option<&'a str>,
    continuing_subword_prefix: Option<&'a str>,
    end_of_word_suffix: Option<&'a str>,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: &'a Vocabulary<'a>,
    merges: Vec<(&'a str, &'a str)>,
}

impl<'a> Bpe<'a> {
    fn new(vocab: &'a Vocabulary<'a>, merges: Vec<(&'a str, &'a str)>) -> Self {
        Bpe {
            kind: "BPE",
            dropout: None,
            unk_token: None,
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: false,
            vocab,
            merges,
        }
    }
}

/// Every token under its id, also those that are found before: the file stays the only source of ids.
impl Serialize for Vocabulary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries().map(|(id, text, _)| (text, id)))
    }
}

impl<'a> Vocabulary<'a> {
    /// `text_of` is how `tokenizer.json` writes a token of the file.
    fn read(gguf: &Gguf<'a>, text_of: fn(&'a str, Kind) -> Cow<'a, str>) -> Result<Self, Error> {
        const TOKENS: &str = "tokenizer.ggml.tokens";
        let list = array(gguf, TOKENS, "an array of strings", |items| items == ValueType::String)?;
        if list.len() > MAX_TOKENS {
            let (size, limit) = (list.len() as u64, MAX_TOKENS as u64);
            return Err(Error::TooLarge { what: "the number of tokens".to_owned(), size, limit });
        }
        let mut kinds = kinds(gguf, list.len())?;
        let mut tokens = Vec::with_capacity(list.len());
        let mut ids = HashMap::with_capacity(list.len());
        for ((id, text), kind) in (0u32..).zip(strings(list)).zip(&mut kinds) {
            // How converters fill ids without a token. Some give the kind of a real one, which would find these texts.
            if text.strip_prefix("[PAD").and_then(|text| text.strip_suffix(']')) == Some(id.to_string().as_str()) {
                *kind = Kind::Unused;
            }
            let text = text_of(text, *kind);
            if let Some(first) = ids.insert(text.clone(), id) {
                return Err(Error::DuplicateToken { text: text.into_owned(), first, second: id });
            }
            tokens.push(text);
        }
        Ok(Vocabulary { tokens, kinds, ids })
    }

    fn text(&self, id: u32) -> &str {
        self.tokens.get(id as usize).map(AsRef::as_ref).unwrap_or_default()
    }

    fn has(&self, text: &str) -> bool {
        self.ids.contains_key(text)
    }

    fn is_control(&self, text: &str) -> bool {
        let kind = self.ids.get(text).and_then(|id| self.kinds.get(*id as usize));
        kind == Some(&Kind::Control)
    }

    /// Whether it has a token for every byte.
    fn has_all_bytes(&self) -> bool {
        (0..=u8::MAX).all(|byte| self.has(&format!("<0x{byte:02X}>")))
    }

    /// The token for what no other stands for.
    fn unknown(&self, gguf: &Gguf<'_>) -> Result<Option<u32>, Error> {
        let first = || self.entries().find(|(_, _, kind)| *kind == Kind::Unknown).map(|(id, _, _)| id);
        Ok(self.id(gguf, UNKNOWN)?.or_else(first))
    }

    fn entries(&self) -> impl Iterator<Item = (u32, &str, Kind)> + '_ {
        (0..).zip(&self.tokens).zip(&self.kinds).map(|((id, text), kind)| (id, text.as_ref(), *kind))
    }

    /// The token that a metadata key points at, if the file has the key.
    fn id(&self, gguf: &Gguf<'_>, key: &str) -> Result<Option<u32>, Error> {
        let id = match gguf.get(key) {
            None => return Ok(None),
            Some(Value::Unsigned(id)) => id,
            Some(other) => return Err(wrong_type(key, "a token id", &other)),
        };
        let tokens = self.tokens.len();
        match u32::try_from(id) {
            Ok(id) if (id as usize) < tokens => Ok(Some(id)),
            _ => Err(Error::TokenId { key: key.to_owned(), id, tokens }),
        }
    }

    fn eos_ids(&self, gguf: &Gguf<'_>) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        for name in ["eos", "eot", "eom"] {
            ids.extend(self.id(gguf, &format!("tokenizer.ggml.{name}_token_id"))?);
        }
        let ends = self.entries().filter(|(_, text, kind)| *kind == Kind::Control && END_TEXTS.contains(text));
        ids.extend(ends.map(|(id, _, _)| id));
        let mut seen = Vec::new();
        ids.retain(|id| {
            !seen.contains(id) && {
                seen.push(*id);
                true
            }
        });
        Ok(ids)
    }

    /// The tokens that are found in a text before anything else looks at it.
    fn added_tokens<'i>(&self, special: impl Iterator<Item = &'i u32>, swallows: fn(&str, Kind) -> bool) -> Vec<Json> {
        let special: Vec<u32> = special.copied().collect();
        let found_first = |id: u32, kind: Kind| {
            matches!(kind, Kind::Control | Kind::Unknown | Kind::UserDefined) || special.contains(&id)
        };
        self.entries()
            .filter(|(id, text, kind)| !text.is_empty() && found_first(*id, *kind))
            .map(|(id, text, kind)| {
                json!({
                    "id": id,
                    "content": text,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": swallows(text, kind),
                    "normalized": false,
                    "special": kind != Kind::UserDefined || special.contains(&id),
                })
            })
            .collect()
    }

    /// Puts the first and last token around a text, where the model wants them.
    fn post_processor(&self, bos: Option<u32>, eos: Option<u32>) -> Json {
        if bos.is_none() && eos.is_none() {
            return Json::Null;
        }
        let special = |id: u32, type_id: u32| json!({ "SpecialToken": { "id": self.text(id), "type_id": type_id } });
        let around = |sequence: &str, type_id: u32| {
            let text = json!({ "Sequence": { "id": sequence, "type_id": type_id } });
            let bos = bos.map(|id| special(id, type_id));
            let eos = eos.map(|id| special(id, type_id));
            bos.into_iter().chain([text]).chain(eos).collect::<Vec<Json>>()
        };
        let tokens: Map<String, Json> = [bos, eos]
            .into_iter()
            .flatten()
            .map(|id| (self.text(id), id))
            .map(|(text, id)| (text.to_owned(), json!({ "id": text, "ids": [id], "tokens": [text] })))
            .collect();
        let pair = [around("A", 0), around("B", 1)].concat();
        json!({ "type": "TemplateProcessing", "single": around("A", 0), "pair": pair, "special_tokens": tokens })
    }
}

fn chat_template(gguf: &Gguf<'_>) -> Result<Option<String>, Error> {
    const KEY: &str = "tokenizer.chat_template";
    if gguf.get(KEY).is_none() { Ok(None) } else { string(gguf, KEY).map(|text| Some(text.to_owned())) }
}

fn kinds(gguf: &Gguf<'_>, tokens: usize) -> Result<Vec<Kind>, Error> {
    const KEY: &str = "tokenizer.ggml.token_type";
    let is_integer = |items| matches!(items, ValueType::I32 | ValueType::U32);
    let numbers = array(gguf, KEY, "an array of 32-bit integers", is_integer)?;
    check_length(KEY, numbers.len(), tokens)?;
    let kind = |value: Value<'_>| {
        let number = match value {
            Value::Signed(number) => number,
            Value::Unsigned(number) => number as i64,
            _ => 0,
        };
        Ok(match number {
            1 => Kind::Normal,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => return Err(wrong_type(KEY, "a token type from 1 to 6", &value)),
        })
    };
    numbers.iter().map(kind).collect()
}

fn scores(gguf: &Gguf<'_>, tokens: usize) -> Result<Vec<f32>, Error> {
    let list = array(gguf, SCORES, "an array of 32-bit floats", |items| items == ValueType::F32)?;
    check_length(SCORES, list.len(), tokens)?;
    Ok(list.iter().map(|value| if let Value::F32(score) = value { score } else { 0.0 }).collect())
}

fn check_length(key: &str, actual: usize, expected: usize) -> Result<(), Error> {
    if actual == expected { Ok(()) } else { Err(Error::TokenizerLength { key: key.to_owned(), expected, actual }) }
}

/// An array that must be there, with items of a type that `fits`.
fn array<'a>(
    gguf: &Gguf<'a>,
    key: &str,
    expected: &'static str,
    fits: impl Fn(ValueType) -> bool,
) -> Result<Array<'a>, Error> {
    match gguf.get(key) {
        Some(Value::Array(array)) if fits(array.item_type()) => Ok(array),
        Some(other) => Err(wrong_type(key, expected, &other)),
        None => Err(Error::MissingKey { key: key.to_owned() }),
    }
}

fn strings<'a>(array: Array<'a>) -> impl Iterator<Item = &'a str> {
    array.iter().map(|value| if let Value::String(text) = value { text } else { "" })
}

fn flag(gguf: &Gguf<'_>, key: &str, default: bool) -> Result<bool, Error> {
    match gguf.get(key) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(other) => Err(wrong_type(key, "a truth value", &other)),
    }
}
