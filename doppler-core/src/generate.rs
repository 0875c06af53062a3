//! Generation: prompt in, a stream of text pieces out. Dropping the stream cancels it.

use doppler_sampling::Sampler;
use futures_util::Stream;

use crate::stop::StopMatcher;
use crate::text::{Detokenizer, Tokenizer};
use crate::{Error, Pipeline};

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
        GenerateOptions { max_tokens: 256, sampler: Sampler::greedy(), stop: Vec::new(), stop_ids: Vec::new(), ignore_eos: false }
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
/// kept, the rest is computed.
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
        text: Detokenizer::new(tokenizer),
        stop: StopMatcher::new(&options.stop),
        prompt: prompt.to_vec(),
        count: 0,
        done: false,
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
    text: Detokenizer<'a>,
    stop: StopMatcher,
    /// Taken by the first step.
    prompt: Vec<u32>,
    count: usize,
    done: bool,
}

impl<P: Pipeline> Generation<'_, P> {
    async fn step(&mut self) -> Result<Piece, Error> {
        let greedy = self.options.sampler.is_greedy();
        let id = if self.count == 0 {
            let logits = self.prefill().await?;
            if greedy { self.pipeline.greedy().await? } else { self.draw(logits)? }
        } else if greedy {
            self.pipeline.greedy().await?
        } else {
            let last = self.last;
            let logits = self.pipeline.forward(&[last], 1).await?;
            self.draw(logits)?
        };
        self.count += 1;
        self.piece(id)
    }
}
