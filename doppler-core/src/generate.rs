//! Generation: prompt in, a stream of text pieces out. Dropping the stream cancels it.

use doppler_sampling::Sampler;
use futures_util::Stream;

use crate::stop::StopMatcher;
use crate::text::{Detokenizer, Tokenizer};
use crate::{Error, Logits, Pipeline};

/// How to choose tokens and when to end.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// Tokens at most; fewer when the context is full.
    pub max_tokens: usize,
    /// How tokens are drawn.
    pub sampler: Sampler,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the answer besides the model's own.
    pub stop_ids: Vec<u32>,
    /// Go on after the model's own end-of-sequence tokens.
    pub ignore_eos: bool,
}

impl Default for GenerateOptions {
    /// Greedy, up to 256 tokens, until the model ends.
    fn default() -> Self {
        GenerateOptions {
            max_tokens: 256,
            sampler: Sampler::greedy(),
            stop: Vec::new(),
            stop_ids: Vec::new(),
            ignore_eos: false,
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it.
    Eos,
    /// A stop string or stop token came.
    Stop,
    /// `max_tokens` came.
    Length,
    /// The context is full.
    Context,
}

impl FinishReason {
    /// One lower-case word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FinishReason::Eos => "eos",
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Context => "context",
        }
    }
}

/// One token's part of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The token.
    pub id: u32,
    /// The text that became certain with it: whole characters, nothing that may yet be a stop string. May be empty.
    pub text: String,
    /// Set on the last piece.
    pub finish_reason: Option<FinishReason>,
}

/// Generates after `prompt`, the ids of the whole text so far. What the pipeline's cache shares with its beginning is
/// kept, the rest is computed. A prompt that fills the context exactly still gets one token.
///
/// The stream ends after the piece with a `finish_reason`, or after an error. Dropping it cancels: the pipeline then
/// holds the tokens that were handed out.
pub fn generate<'a, P: Pipeline>(
    pipeline: &'a mut P,
    tokenizer: &'a Tokenizer,
    prompt: &[u32],
    options: GenerateOptions,
) -> impl Stream<Item = Result<Piece, Error>> + use<'a, P> {
    let generation = Generation {
        tokenizer,
        text: Detokenizer::new(tokenizer),
        stop: StopMatcher::new(&options.stop),
        prompt: prompt.to_vec(),
        count: 0,
        done: options.max_tokens == 0,
        pipeline,
        options,
    };
    futures_util::stream::unfold(generation, |mut generation| async move {
        if generation.done {
            return None;
        }
        let piece = generation.step().await;
        generation.done = piece.as_ref().map_or(true, |piece| piece.finish_reason.is_some());
        Some((piece, generation))
    })
}

struct Generation<'a, P> {
    pipeline: &'a mut P,
    options: GenerateOptions,
    tokenizer: &'a Tokenizer,
    text: Detokenizer<'a>,
    stop: StopMatcher,
    prompt: Vec<u32>,
    /// Tokens handed out.
    count: usize,
    done: bool,
}

impl<P: Pipeline> Generation<'_, P> {
    async fn step(&mut self) -> Result<Piece, Error> {
        let mut full = None;
        if self.count == 0 {
            self.options.sampler.validate()?;
            self.continue_text()?;
            let logits = self.prefill().await?;
            full = (self.room() == 0).then_some(logits);
        }
        let id = match full {
            // The pipeline cannot append to a full context; a last token can be drawn all the same.
            Some(logits) => self.draw(logits)?,
            None => self.pipeline.next(&self.options.sampler).await?,
        };
        self.count += 1;
        self.piece(id)
    }

    /// The answer goes on in the middle of the prompt's text. After a special token, where turns begin, it is a text of
    /// its own.
    fn continue_text(&mut self) -> Result<(), Error> {
        if self.prompt.last().is_some_and(|id| !self.tokenizer.is_special(*id)) {
            self.text = Detokenizer::after(self.tokenizer, &self.prompt)?;
        }
        Ok(())
    }

    /// Positions that the context has left.
    fn room(&self) -> usize {
        self.pipeline.max_seq_len().saturating_sub(self.pipeline.tokens().len())
    }

    /// Computes what the cache does not hold of the prompt; at least its last token, for the logits.
    async fn prefill(&mut self) -> Result<Logits, Error> {
        let Some(last) = self.prompt.len().checked_sub(1) else {
            return Err(Error::EmptyPrompt);
        };
        let shared = self.pipeline.tokens().iter().zip(&self.prompt[..last]).take_while(|(a, b)| a == b).count();
        self.pipeline.rewind(shared)?;
        self.pipeline.forward(&self.prompt[shared..], 1).await
    }

    fn draw(&self, mut logits: Logits) -> Result<u32, Error> {
        // The position of the token selects its random number: the same seed and text give the same draw.
        let position = self.pipeline.tokens().len() as u64;
        Ok(self.options.sampler.sample(&mut logits.values, self.pipeline.tokens(), position)?)
    }

    /// The text that the token makes certain, and whether it is the last.
    fn piece(&mut self, id: u32) -> Result<Piece, Error> {
        let ends = !self.options.ignore_eos && self.pipeline.config().eos_token_ids.contains(&id);
        let stops = self.options.stop_ids.contains(&id);
        let mut text = String::new();
        if !ends && !stops {
            let new = self.text.push(id)?;
            text = self.stop.push(&new);
        }
        let finish_reason = if ends {
            Some(FinishReason::Eos)
        } else if stops || self.stop.stopped() {
            Some(FinishReason::Stop)
        } else if self.count >= self.options.max_tokens {
            Some(FinishReason::Length)
        } else if self.room() == 0 {
            Some(FinishReason::Context)
        } else {
            None
        };
        if finish_reason.is_some() && !self.stop.stopped() {
            let rest = self.text.finish()?;
            text.push_str(&self.stop.push(&rest));
            text.push_str(&self.stop.finish());
        }
        Ok(Piece { id, text, finish_reason })
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
