//! Text to token ids and back, the way back also token by token.
//!
//! Knows no model and no template; it reads a `tokenizer.json`, whatever kind of tokenizer that describes.

use std::collections::HashSet;

use tokenizers::DecoderWrapper;

use crate::Error;

/// The largest `tokenizer.json` that is read: four times that of the largest known vocabulary.
const MAX_TOKENIZER_BYTES: usize = 128 << 20;

/// Tokens after which an unfinished character is given up. One is finished by three more bytes, so this many come only
/// from bytes that are no text.
const MAX_HELD: usize = 8;

/// Tokens of context that a running text keeps when it offers no clean place to cut.
const MAX_WINDOW: usize = 64;

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// A model's tokenizer.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: HashSet<u32>,
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
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(|source| Error::TokenizerFile { source })?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|source| Error::TokenizerFile { source })?;
        let special = inner.get_added_tokens_decoder().iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
        let byte_level = inner.get_decoder().is_some_and(is_byte_level);
        Ok(Tokenizer { inner, special, byte_level })
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
        let encoding = self.inner.encode_fast(text, add_special).map_err(|source| Error::Encode { source })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`, without special tokens. Bytes that are no UTF-8 become U+FFFD; ids that the tokenizer does not
    /// have are skipped.
    /// # Errors
    /// [`Error::Decode`] when the tokenizer's own decoder refuses.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        self.inner.decode(ids, true).map_err(|source| Error::Decode { source })
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

/// Turns a running sequence of ids into text, piece by piece. The pieces joined are the decoded whole.
///
/// A token may hold a part of a character, and how it is spelled may depend on those before it (the first word of a
/// SentencePiece text loses its space). So a short window of recent ids is decoded twice, without and with the new id,
/// and the difference is what the id adds. What ends in an unfinished character waits.
#[derive(Debug)]
pub struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    /// Recent ids; those before `clean` are context.
    window: Vec<u32>,
    /// The text of `window[..clean]` was given out whole, with no character left open.
    clean: usize,
    /// What was given out of the window's text.
    shown: String,
    /// Ids since something was last given out.
    held: usize,
}

impl<'a> Detokenizer<'a> {
    /// At the beginning of a text.
    #[must_use]
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Detokenizer { tokenizer, window: Vec::new(), clean: 0, shown: String::new(), held: 0 }
    }

    /// In the middle of a text, after `prompt`: the next piece keeps a leading space that it would lose at a beginning.
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn after(tokenizer: &'a Tokenizer, prompt: &[u32]) -> Result<Self, Error> {
        let mut this = Detokenizer::new(tokenizer);
        // A special token has no text, and the word after it would count as the first: go back to one that has, and
        // further if the first of them is the rest of a character.
        for &id in prompt.iter().rev().filter(|id| !tokenizer.is_special(**id)).take(MAX_WINDOW) {
            this.window.insert(0, id);
            this.shown = tokenizer.decode(&this.window)?;
            if !this.shown.is_empty() && !this.shown.contains(REPLACEMENT) {
                break;
            }
        }
        this.clean = this.window.len();
        Ok(this)
    }

    /// The text that became certain with `id`; often a word, sometimes nothing.
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String, Error> {
        if self.tokenizer.is_special(id) {
            return Ok(String::new());
        }
        self.window.push(id);
        self.held += 1;
        let text = self.tokenizer.decode(&self.window)?;
        let open = self.held <= MAX_HELD && text.ends_with(REPLACEMENT) && self.tokenizer.ends_open(&self.window);
        if open { self.unfinished(&text) } else { self.finished(text) }
    }

    /// What is still held: an unfinished character comes out as U+FFFD. The next id begins a new text.
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(&mut self) -> Result<String, Error> {
        let text = self.tokenizer.decode(&self.window)?;
        let rest = self.finished(text)?;
        *self = Detokenizer::new(self.tokenizer);
        Ok(rest)
    }

    /// The window's last character is open: gives out what stands before it.
    fn unfinished(&mut self, text: &str) -> Result<String, Error> {
        let certain = self.certain(text);
        let Some(new) = certain.strip_prefix(self.shown.as_str()).filter(|new| !new.is_empty()).map(str::to_owned)
        else {
            return Ok(String::new());
        };
        self.held = 1;
        self.shown.push_str(&new);
        // Byte-level vocabularies have tokens that end one character and begin the next, so a long text in some scripts
        // may never come to a clean end. The bytes before the last few tokens are settled all the same.
        if self.window.len() > MAX_WINDOW {
            self.window.drain(..self.window.len() - MAX_HELD);
            self.clean = 0;
            let text = self.tokenizer.decode(&self.window)?;
            self.shown = self.certain(&text).to_owned();
        }
        Ok(new)
    }

    /// What stands before the open character at the end of `text`.
    fn certain<'t>(&self, text: &'t str) -> &'t str {
        if self.tokenizer.byte_level {
            return text.strip_suffix(REPLACEMENT).unwrap_or(text);
        }
        // A run of byte tokens shows each of its bytes as U+FFFD until the whole run is UTF-8.
        text.trim_end_matches(REPLACEMENT)
    }

    /// The window's text is whole, or is taken as it is.
    fn finished(&mut self, text: String) -> Result<String, Error> {
        let new = match text.strip_prefix(self.shown.as_str()) {
            Some(new) => new.to_owned(),
            // A run of byte tokens that is no UTF-8 spoils the valid bytes before it too, which are out already.
            None => self.tokenizer.decode(self.window.get(self.clean..).unwrap_or_default())?,
        };
        if new.is_empty() && self.clean > 0 {
            // An id without text. Keeping it would let the window grow.
            self.window.truncate(self.clean);
        } else if !new.is_empty() || self.window.len() > MAX_WINDOW {
            // Without text the ids stay: they may be spaces that only the beginning of a text swallows.
            self.window.drain(..self.clean);
            self.clean = self.window.len();
            self.shown = self.tokenizer.decode(&self.window)?;
        }
        self.held = 0;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The characters by which byte-level vocabularies write bytes, in the order of the bytes.
    fn byte_chars() -> Vec<char> {
        let printable = |b: u32| (0x21..=0x7e).contains(&b) || (0xa1..=0xac).contains(&b) || (0xae..=0xff).contains(&b);
        let mut next = 0x100;
        (0..256)
            .map(|b| {
                let c = if printable(b) { b } else { next };
                next += u32::from(!printable(b));
                char::from_u32(c).unwrap()
            })
            .collect()
    }

    fn tokenizer(vocab: Vec<String>, merges: &[[String; 2]], parts: Value, special: &str) -> Tokenizer {
        let ids: serde_json::Map<String, Value> = vocab.iter().cloned().zip((0u32..).map(Value::from)).collect();
        let added = json!([{
            "id": vocab.len() as u32, "content": special, "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false
        }]);
        let mut file = json!({
            "version": "1.0", "added_tokens": added, "post_processor": null,
            "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                "pad_type_id": 0, "pad_token": "!"},
            "model": {"type": "BPE", "vocab": ids, "merges": merges, "byte_fallback": parts["byte_fallback"],
                "unk_token": null, "dropout": null, "fuse_unk": false, "ignore_merges": false,
                "continuing_subword_prefix": null, "end_of_word_suffix": null},
        });
        for part in ["normalizer", "pre_tokenizer", "decoder"] {
            file[part] = parts[part].clone();
        }
        Tokenizer::from_json(file.to_string().as_bytes()).unwrap()
    }

    /// 256 bytes, and merges that cross the borders of characters.
    fn byte_level() -> Tokenizer {
        let chars = byte_chars();
        let mut vocab: Vec<String> = chars.iter().map(char::to_string).collect();
        let spell = |bytes: &[u8]| bytes.iter().map(|b| chars[usize::from(*b)]).collect::<String>();
        // の字 is e3 81 ae e5 ad 97: the second pair ends one character and begins the other.
        let pairs: [(&[u8], &[u8]); 4] = [(b"a", b"b"), (&[0xe3], &[0x81]), (&[0xae], &[0xe5]), (&[0x97], &[0xe3])];
        let merges: Vec<[String; 2]> = pairs.iter().map(|(a, b)| [spell(a), spell(b)]).collect();
        vocab.extend(merges.iter().map(|m| m.concat()));
        let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        let parts = json!({"byte_fallback": false, "normalizer": null, "pre_tokenizer": level, "decoder": level});
        tokenizer(vocab, &merges, parts, "<|end|>")
    }

    /// Llama 2's kind: spaces as ▁, one put before the text, other characters as byte tokens.
    fn sentencepiece() -> Tokenizer {
        let mut vocab: Vec<String> = (0..256).map(|b| format!("<0x{b:02X}>")).collect();
        vocab.extend(["▁", "a", "b", "▁a", "é"].map(str::to_owned));
        let merges = [["▁".to_owned(), "a".to_owned()]];
        let replace = |from, to| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let parts = json!({
            "byte_fallback": true,
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]},
            "pre_tokenizer": null,
            "decoder": {"type": "Sequence", "decoders": [
                replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}
            ]},
        });
        tokenizer(vocab, &merges, parts, "<s>")
    }

    static BYTE_LEVEL: LazyLock<Tokenizer> = LazyLock::new(byte_level);
    static SENTENCEPIECE: LazyLock<Tokenizer> = LazyLock::new(sentencepiece);

    fn stream(mut detokenizer: Detokenizer, ids: &[u32]) -> Vec<String> {
        let mut pieces: Vec<String> = ids.iter().map(|id| detokenizer.push(*id).unwrap()).collect();
        pieces.push(detokenizer.finish().unwrap());
        pieces
    }

    #[test]
    fn truncation_and_padding_are_ignored() {
        assert_eq!(BYTE_LEVEL.encode("xyzxyz", true).unwrap().len(), 6);
        assert_eq!(BYTE_LEVEL.encode("x", true).unwrap().len(), 1);
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let tokenizer = &*BYTE_LEVEL;
        let ids = tokenizer.encode("x😀y", false).unwrap();
        assert_eq!(stream(Detokenizer::new(tokenizer), &ids), ["x", "", "", "", "😀", "y", ""]);
        let cut = &ids[..3];
        assert_eq!(stream(Detokenizer::new(tokenizer), cut), ["x", "", "", "\u{fffd}"]);
    }

    #[test]
    fn tokens_across_characters_do_not_hold_back_whole_ones() {
        let tokenizer = &*BYTE_LEVEL;
        let text = "の字".repeat(100);
        let ids = tokenizer.encode(&text, false).unwrap();
        let pieces = stream(Detokenizer::new(tokenizer), &ids);
        assert_eq!(pieces.concat(), text);
        assert!(pieces.last().unwrap().is_empty());
        assert!(pieces.windows(3).all(|three| !three.concat().is_empty()), "{pieces:?}");
    }

    #[test]
    fn spaces_between_words_stay() {
        let tokenizer = &*SENTENCEPIECE;
        let ids = tokenizer.encode("a a é漢 b", false).unwrap();
        assert_eq!(stream(Detokenizer::new(tokenizer), &ids).concat(), "a a é漢 b");
        // The same ids as an answer: its first word is no longer the beginning of a text.
        let (prompt, answer) = ids.split_at(1);
        assert_eq!(stream(Detokenizer::after(tokenizer, prompt).unwrap(), answer).concat(), " a é漢 b");
        let special = tokenizer.token_to_id("<s>").unwrap();
        let prompt = [prompt, &[special]].concat();
        assert_eq!(stream(Detokenizer::after(tokenizer, &prompt).unwrap(), answer).concat(), " a é漢 b");
        assert_eq!(stream(Detokenizer::after(tokenizer, &[special]).unwrap(), answer).concat(), "a é漢 b");
    }

    #[test]
    fn special_and_unknown_ids_have_no_text() {
        for tokenizer in [&*BYTE_LEVEL, &SENTENCEPIECE] {
            let special = *tokenizer.special.iter().next().unwrap();
            let mut ids = tokenizer.encode("a a", false).unwrap();
            ids.splice(1..1, std::iter::repeat_n([special, 9999], 200).flatten());
            let mut detokenizer = Detokenizer::new(tokenizer);
            let text: String = ids.iter().map(|id| detokenizer.push(*id).unwrap()).collect();
            assert_eq!(text + &detokenizer.finish().unwrap(), "a a");
            assert!(detokenizer.window.len() <= MAX_WINDOW);
        }
    }

    #[test]
    fn bytes_that_are_no_text_come_out_soon() {
        for tokenizer in [&*BYTE_LEVEL, &SENTENCEPIECE] {
            let byte =
                tokenizer.token_to_id("<0x80>").or_else(|| tokenizer.token_to_id(&byte_chars()[0x80].to_string()));
            let mut detokenizer = Detokenizer::new(tokenizer);
            let mut shown = 0;
            for n in 0..500 {
                shown += detokenizer.push(byte.unwrap()).unwrap().chars().count();
                assert!(shown + 1 >= n, "{shown} of {n} shown");
                assert!(detokenizer.window.len() < MAX_HELD);
            }
        }
    }

    #[test]
    fn characters_that_are_never_finished_come_out_too() {
        for tokenizer in [&*BYTE_LEVEL, &SENTENCEPIECE] {
            let byte = tokenizer.token_to_id("<0xE5>").or_else(|| tokenizer.token_to_id("å")).unwrap();
            let mut detokenizer = Detokenizer::new(tokenizer);
            let mut shown = 0;
            for n in 1..500 {
                shown += detokenizer.push(byte).unwrap().chars().count();
                assert!(shown + MAX_HELD >= n, "{shown} of {n} shown");
                assert!(detokenizer.window.len() <= MAX_WINDOW + MAX_HELD);
            }
        }
    }

    #[test]
    fn the_byte_alphabet() {
        for (byte, c) in (0..=255).zip(byte_chars()) {
            assert_eq!(byte_of(c), Some(byte));
        }
        assert_eq!(byte_of('漢'), None);
    }

    #[test]
    fn a_model_may_write_the_replacement_character() {
        let tokenizer = &*BYTE_LEVEL;
        let ids = tokenizer.encode("a\u{fffd}\u{fffd}b", false).unwrap();
        assert_eq!(stream(Detokenizer::new(tokenizer), &ids).concat(), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn broken_files_are_errors() {
        for file in ["", "{}", "[]", r#"{"model": {"type": "BPE"}}"#, "\u{0}"] {
            let error = Tokenizer::from_json(file.as_bytes()).unwrap_err();
            assert!(matches!(error, Error::TokenizerFile { .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole(text in "([ab ]|[a-zé漢の字😀]|\\PC){0,60}", cut in 0usize..30) {
            for tokenizer in [&*BYTE_LEVEL, &SENTENCEPIECE] {
                let ids = tokenizer.encode(&text, false).unwrap();
                let whole = tokenizer.decode(&ids).unwrap();
                let pieces = stream(Detokenizer::new(tokenizer), &ids);
                prop_assert!(whole.contains(REPLACEMENT) || pieces.iter().all(|p| !p.contains(REPLACEMENT)));
                prop_assert_eq!(pieces.concat(), whole.clone());
                // An answer after a prompt is what the whole has more than the prompt.
                let (prompt, answer) = ids.split_at(cut.min(ids.len()));
                let before = tokenizer.decode(prompt).unwrap();
                if !before.is_empty() && !before.ends_with(REPLACEMENT) {
                    let pieces = stream(Detokenizer::after(tokenizer, prompt).unwrap(), answer);
                    prop_assert_eq!(before + &pieces.concat(), whole);
                }
            }
        }

        #[test]
        fn any_bytes_give_the_decoded_whole(ids in prop::collection::vec(0u32..261, 0..120)) {
            let tokenizer = &*BYTE_LEVEL;
            let pieces = stream(Detokenizer::new(tokenizer), &ids);
            prop_assert_eq!(pieces.concat(), tokenizer.decode(&ids).unwrap());
        }

        #[test]
        fn any_ids_give_some_text(ids in prop::collection::vec(0u32..300, 0..120)) {
            stream(Detokenizer::new(&SENTENCEPIECE), &ids);
        }
    }
}
