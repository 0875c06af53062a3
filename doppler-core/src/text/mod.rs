//! Text to token ids and back, the way back also token by token.
//!
//! Knows no model and no template; it reads a `tokenizer.json`, whatever kind of tokenizer that describes.

mod detokenizer;
mod file;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::{DecoderWrapper, ModelWrapper};

use crate::Error;

pub use detokenizer::Detokenizer;

/// The largest `tokenizer.json` that is read.
const MAX_TOKENIZER_BYTES: usize = doppler_rdrr::tokenizer::MAX_TOKENIZER_BYTES as usize;

/// A model's tokenizer.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: HashSet<u32>,
    /// The token that stands for all that the vocabulary lacks.
    unknown: Option<u32>,
    byte_level: bool,
}

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`. Truncation and padding that it asks for are ignored: they belong to
    /// training, and a prompt must not lose its end in silence.
    /// # Errors
    /// [`Error::TokenizerTooLarge`] and [`Error::TokenizerFile`].
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        if json.len() > MAX_TOKENIZER_BYTES {
            return Err(Error::TokenizerTooLarge { bytes: json.len(), limit: MAX_TOKENIZER_BYTES });
        }
        let inner = guarded(|| file::read(json), |source| Error::TokenizerFile { source })?;
        let special = inner.get_added_tokens_decoder().iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
        let byte_level = inner.get_decoder().is_some_and(is_byte_level);
        let unknown = match inner.get_model() {
            ModelWrapper::BPE(bpe) => bpe.unk_token.as_deref().and_then(|token| inner.token_to_id(token)),
            _ => None,
        };
        Ok(Tokenizer { inner, special, unknown, byte_level })
    }

    /// The tokenizer of an opened model.
    /// # Errors
    /// As [`Tokenizer::from_json`], and when the model's file cannot be read.
    pub fn of(model: &doppler_rdrr::Model) -> Result<Self, Error> {
        Tokenizer::from_json(&model.tokenizer_json()?)
    }

    /// The ids of `text`. Special tokens that stand in the text are recognised; `add_special` adds those that the
    /// tokenizer itself puts around a text (a BOS token, mostly). A rendered chat template already has them.
    /// # Errors
    /// [`Error::Encode`] when the tokenizer has no id for a part of the text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
        let failed = |source| Error::Encode { source };
        let encoding = guarded(|| self.inner.encode_fast(text, add_special).map_err(failed), failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`, without special tokens. Bytes that are no UTF-8 become U+FFFD; ids that the tokenizer does not
    /// have are skipped.
    /// # Errors
    /// [`Error::Decode`] when the tokenizer's own decoder refuses.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        let failed = |source| Error::Decode { source };
        guarded(|| self.inner.decode(ids, true).map_err(failed), failed)
    }

    /// The first special token that `text` would be encoded with: a text of people should have none, since the model
    /// could not tell it from a turn of its own template.
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn special_token_in(&self, text: &str) -> Result<Option<String>, Error> {
        let ids = self.encode(text, false)?;
        let token = |id: &u32| self.id_to_token(*id).unwrap_or_default();
        // What the vocabulary lacks is no attempt at control, even where a control token stands for it.
        let written = |id: &&u32| Some(**id) != self.unknown || text.contains(&token(id));
        Ok(ids.iter().filter(|id| self.is_special(**id)).find(written).map(token))
    }

    /// The id of a token, written as in the vocabulary.
    #[must_use]
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token as the vocabulary writes it, which is not always its text.
    #[must_use]
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether the token controls the model and has no text of its own.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// Number of tokens, added ones included. The model may have rows for more.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether the last bytes of `ids` begin a character and do not finish it.
    fn ends_open(&self, ids: &[u32]) -> bool {
        let mut bytes = [0; 4];
        let mut start = bytes.len();
        for &id in ids.iter().rev() {
            let token = self.id_to_token(id).unwrap_or_default();
            for byte in self.token_bytes(&token).into_iter().rev() {
                start -= 1;
                bytes[start] = byte;
                // Continuation bytes are 10xxxxxx; any other byte is where the character begins.
                if byte & 0xc0 != 0x80 || start == 0 {
                    return std::str::from_utf8(&bytes[start..]).is_err_and(|error| error.error_len().is_none());
                }
            }
        }
        false
    }

    /// The bytes that a token stands for, as far as characters are concerned.
    fn token_bytes(&self, token: &str) -> Vec<u8> {
        let fallback = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>')).filter(|t| t.len() == 2);
        if self.byte_level {
            token.chars().map(byte_of).collect::<Option<_>>().unwrap_or_else(|| token.into())
        } else if let Some(byte) = fallback.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            vec![byte]
        } else {
            token.into()
        }
    }
}

/// Runs what the tokenizer library does with a foreign file: it has places that panic, and a file must not take the
/// program down.
fn guarded<T>(
    work: impl FnOnce() -> Result<T, Error>,
    failed: impl FnOnce(tokenizers::Error) -> Error,
) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(failed("the tokenizer library panicked".into())))
}

fn is_byte_level(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteLevel(_) => true,
        DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().any(is_byte_level),
        _ => false,
    }
}

/// The byte that a character of a byte-level vocabulary means: itself where it is printable Latin-1, the others follow
/// from U+0100 on in the order of the bytes.
fn byte_of(c: char) -> Option<u8> {
    let code = u32::from(c);
    let byte = match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::byte_of;

    #[test]
    fn the_byte_alphabet() {
        let printable = |b: u32| (0x21..=0x7e).contains(&b) || (0xa1..=0xac).contains(&b) || (0xae..=0xff).contains(&b);
        let mut next = 0x100;
        for byte in 0..=255 {
            let c = if printable(byte.into()) { byte.into() } else { next };
            next += u32::from(!printable(byte.into()));
            assert_eq!(char::from_u32(c).and_then(byte_of), Some(byte));
        }
        assert_eq!(byte_of('漢'), None);
    }
}
