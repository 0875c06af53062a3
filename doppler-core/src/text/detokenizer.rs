//! Ids to text while they come. Knows a tokenizer's decoder, not what the ids are for.

use super::Tokenizer;
use crate::Error;

/// Tokens after which an unfinished character is given up. One is finished by three more bytes, so this many come only
/// from bytes that are no text.
const MAX_HELD: usize = 8;

/// Tokens of context that a running text keeps when it offers no clean place to cut.
const MAX_WINDOW: usize = 64;

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

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
#[path = "detokenizer_tests.rs"]
mod tests;
