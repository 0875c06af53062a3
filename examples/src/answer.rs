//! An answer while it comes: its text goes on, its timings stay.

use std::io::Write;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Result;
use doppler_core::prelude::*;
use futures_util::StreamExt;

/// What a model said, and how fast.
#[derive(Debug, Default)]
pub struct Answer {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Their text.
    pub text: String,
    /// Why it ended; `None` when it was cut short.
    pub finish_reason: Option<FinishReason>,
    /// From the call to the first token: the time of the prompt.
    pub first_token: Duration,
    /// From the first token to the last.
    pub decode: Duration,
}

impl Answer {
    /// Continues `prompt`. `each` is given every piece of the text and says whether to go on.
    ///
    /// # Errors
    /// What generation or `each` says; what came before it is kept.
    pub async fn stream(
        &mut self,
        pipeline: &mut DecoderPipeline,
        tokenizer: &Tokenizer,
        prompt: &[u32],
        options: GenerateOptions,
        mut each: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        let begun = Instant::now();
        // What the cache shares with the prompt is kept: of a conversation, only the new turn is computed.
        let mut pieces = pin!(generate(pipeline, tokenizer, prompt, options));
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            if self.ids.is_empty() {
                self.first_token = begun.elapsed();
            }
            self.decode = begun.elapsed() - self.first_token;
            self.ids.push(piece.id);
            self.text.push_str(&piece.text);
            self.finish_reason = piece.finish_reason;
            if !each(&piece.text)? {
                break;
            }
        }
        Ok(())
    }

    /// Tokens of a prompt of that length by second; 0 when no token was asked for, and so nothing computed.
    #[must_use]
    pub fn prefill_tok_s(&self, prompt: usize) -> f64 {
        if self.ids.is_empty() { 0.0 } else { prompt as f64 / self.first_token.as_secs_f64() }
    }

    /// Tokens after the first by second.
    #[must_use]
    pub fn decode_tok_s(&self) -> f64 {
        self.ids.len().saturating_sub(1) as f64 / self.decode.as_secs_f64().max(1e-9)
    }
}

/// Writes a piece of text at once.
///
/// # Errors
/// When stdout is closed.
pub fn say(text: &str) -> Result<()> {
    print!("{text}");
    Ok(std::io::stdout().flush()?)
}
