//! The pipeline: token ids in, logits out, with a key-value cache that grows and rewinds.

mod builder;
mod chunk;
mod next;
mod recordings;
mod tune;
mod warm_up;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

pub use builder::PipelineBuilder;
use doppler_rdrr::{DType, Model, ModelConfig};
use doppler_sampling::Sampler;
use next::Choice;
use recordings::{DecodeStep, Rows};

use crate::chat_template::{ChatOptions, ChatTemplate, Message};
use crate::decoder::Decoder;
use crate::device::Pending;
use crate::kv_cache::KvCache;
use crate::text::Tokenizer;
use crate::{Device, Error, KernelTimes, MemoryPlan, Tensor};

/// Decode steps submitted before their tokens are known: the GPU never waits for the CPU to look.
const AHEAD: usize = 3;

/// A causal language model with a key-value cache: token ids in, logits out.
#[allow(async_fn_in_trait)]
pub trait Pipeline {
    /// The model's numbers.
    fn config(&self) -> &ModelConfig;

    /// The longest context, in tokens.
    fn max_seq_len(&self) -> usize;

    /// The tokens so far.
    fn tokens(&self) -> &[u32];

    /// Appends `tokens` (prefill when many, decode when one); logits `[rows, vocab_size]` of the last `rows` positions.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::TokenOutOfRange`], [`Error::ContextFull`], [`Error::LogitRows`], and what the
    /// device reports. After an error the tokens before the call are still there.
    async fn forward(&mut self, tokens: &[u32], rows: usize) -> Result<Logits, Error>;

    /// The next token by `sampler`, appended. The same sampler, tokens and logits give the same token on every device.
    /// Steps may run ahead of it; [`Pipeline::rewind`] and another sampler drop the surplus.
    ///
    /// # Errors
    /// [`Error::NoLogits`] when there are no tokens, [`Error::ContextFull`], [`Error::NanLogits`], [`Error::Sampling`], and
    /// what the device reports.
    async fn next(&mut self, sampler: &Sampler) -> Result<u32, Error>;

    /// The likeliest next token, appended: [`Pipeline::next`] by [`Sampler::greedy`].
    ///
    /// # Errors
    /// As [`Pipeline::next`].
    async fn greedy(&mut self) -> Result<u32, Error> {
        self.next(&Sampler::greedy()).await
    }

    /// Forgets everything from `position` on.
    ///
    /// # Errors
    /// [`Error::RewindForward`] when there are fewer tokens.
    fn rewind(&mut self, position: usize) -> Result<(), Error>;
}

/// Raw logits, before any sampling.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// `[rows, vocab_size]`.
    pub values: Vec<f32>,
    /// Entries in a row.
    pub vocab_size: usize,
}

impl Logits {
    /// The logits of the last position.
    #[must_use]
    pub fn last(&self) -> &[f32] {
        &self.values[self.values.len() - self.vocab_size..]
    }

    /// Each position's logits.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.vocab_size)
    }
}

/// A model on a device.
#[derive(Debug)]
pub struct DecoderPipeline {
    device: Device,
    model: Arc<Model>,
    decoder: Decoder,
    cache: KvCache,
    plan: MemoryPlan,
    max_seq_len: usize,
    prefill_chunk: usize,
    tokens: Vec<u32>,
    /// Positions whose keys and values are computed or submitted; may run ahead of `tokens`, or one behind.
    computed: usize,
    /// The next tokens, oldest first, on their way.
    ahead: VecDeque<Pending>,
    /// How the tokens on their way are chosen.
    choice: Choice,
    /// The logits after the last token, when they were read.
    logits: Option<Vec<f32>>,
    /// The decode step, recorded once for the cache's capacity.
    decode: Option<DecodeStep>,
    /// The last recordings of a few rows, and of many: recording anew may take as long as running.
    few: Option<Rows>,
    many: Option<Rows>,
    /// u32 `[1]`: the next token, which the next decode step embeds.
    next: Tensor,
    /// u32 `[1]`: the position of a submission's first row.
    start: Tensor,
    /// What `start` holds when all that was submitted has run, if that is known.
    position_there: Option<usize>,
    /// u32 `[12]`: the sampler's settings.
    settings: Tensor,
}

impl DecoderPipeline {
    /// Starts to build a pipeline for the RDRR folder at `path`.
    pub fn builder(device: &Device, path: impl AsRef<Path>) -> PipelineBuilder {
        PipelineBuilder {
            device: device.clone(),
            path: path.as_ref().to_owned(),
            max_seq_len: None,
            kv_dtype: DType::F16,
            prefill_chunk: 512,
            memory_budget: None,
        }
    }

    /// The opened model.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The device that it runs on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Why decode steps compute with f32 activations; `None` when with int8 ones: on the CPU as far as weights are packed, on a GPU
    /// but for an output head that is not.
    #[must_use]
    pub fn why_not_int8(&self) -> Option<&str> {
        let rounds = self.device.host().is_some() && !self.device.exact();
        self.decoder.why_not_int8().filter(|_| !rounds)
    }

    /// Why prompts do not go from product to product in f16 on matrix units, in as few dispatches as they can; `None` where
    /// they do.
    #[must_use]
    pub fn why_prompts_are_not_fused(&self) -> Option<&str> {
        self.decoder.why_prompts_are_not_fused(&self.device)
    }

    /// How often each kernel runs in a decode step and how long all its runs take, at the present depth; `None` where the
    /// device has no timestamps. The token is chosen as the last one was. What it computes is thrown away.
    ///
    /// # Errors
    /// [`Error::NoLogits`] when there are no tokens, and what the device reports.
    pub fn profile_decode(&mut self) -> Result<Option<KernelTimes>, Error> {
        let last = self.tokens.len().checked_sub(1).ok_or(Error::NoLogits)?;
        self.forget_flight();
        self.computed = last;
        self.go_to(last)?;
        self.device.write(&self.next, bytemuck::bytes_of(&self.tokens[last]))?;
        // The choice moves on.
        self.position_there = None;
        let (device, choice) = (self.device.clone(), self.choice);
        let step = self.decode_step()?;
        device.profile(&[&step.forward.recording, step.choice(choice)?])
    }

    /// The same of one chunk of a prompt, computed from an empty context: what was there is forgotten.
    ///
    /// # Errors
    /// As [`Pipeline::forward`].
    pub fn profile_prefill(&mut self, chunk: &[u32]) -> Result<Option<KernelTimes>, Error> {
        self.rewind(0)?;
        self.profile_rows(chunk)
    }

    /// The same of these tokens behind the context, which is as it was when this ends.
    ///
    /// # Errors
    /// As [`Pipeline::forward`].
    pub fn profile_rows(&mut self, tokens: &[u32]) -> Result<Option<KernelTimes>, Error> {
        self.check_ids(tokens)?;
        self.forget_flight();
        self.computed = self.valid();
        self.reserve(self.computed + tokens.len())?;
        self.go_to(self.computed)?;
        let device = self.device.clone();
        let forward = self.several_rows(tokens.len(), 1)?;
        device.write(&forward.ids, bytemuck::cast_slice(tokens))?;
        device.profile(&[&forward.recording])
    }

    /// What it takes in memory.
    #[must_use]
    pub fn plan(&self) -> MemoryPlan {
        self.plan
    }

    /// The ids of a conversation by the model's own chat template. Messages are text and nothing else: one that contains
    /// a token by which the template marks turns could speak for somebody else, and is refused. To allow it, encode
    /// what [`DecoderPipeline::chat`] gives.
    ///
    /// # Errors
    /// [`Error::ControlToken`], and as [`DecoderPipeline::chat`] and [`Tokenizer::encode`].
    pub fn prompt(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>, Error> {
        for Message { role, content } in messages {
            for text in [role, content] {
                if let Some(token) = tokenizer.special_token_in(text)? {
                    return Err(Error::ControlToken { role: role.clone(), token });
                }
            }
        }
        tokenizer.encode(&self.chat(messages)?, false)
    }

    /// The prompt of a conversation by the model's own chat template, ready for `Tokenizer::encode(…, false)`. Special
    /// tokens that stand in a message control the model then; [`DecoderPipeline::prompt`] refuses them.
    ///
    /// The template is a program that comes with the model. Its time and output are bounded, its memory is not: one that
    /// doubles a text in a loop can end the process. Take models from where you would take programs.
    ///
    /// # Errors
    /// A model without a template, and a template that fails.
    pub fn chat(&self, messages: &[Message]) -> Result<String, Error> {
        let (source, model) = (self.model.chat_template().unwrap_or_default(), &self.model);
        let template = ChatTemplate::new(source, model.bos_token(), model.eos_token())?;
        template.render(messages, &ChatOptions::default())
    }

    /// Tokens whose keys and values are there and belong to `tokens`.
    fn valid(&self) -> usize {
        self.computed.min(self.tokens.len())
    }

    fn context_full(&self, wanted: usize) -> Error {
        let (max_seq_len, allowed) = (self.max_seq_len, self.config().max_position_embeddings);
        Error::ContextFull { wanted, max_seq_len, allowed }
    }

    /// Tells the device the position of the next submission's first row, unless it knows.
    fn go_to(&mut self, position: usize) -> Result<(), Error> {
        if self.position_there != Some(position) {
            self.device.write(&self.start, bytemuck::bytes_of(&(position as u32)))?;
            self.position_there = Some(position);
        }
        Ok(())
    }

    /// Whether there are tokens, all of the vocabulary.
    fn check_ids(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocab_size = self.config().vocab_size;
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        match tokens.iter().find(|id| **id as usize >= vocab_size) {
            Some(&id) => Err(Error::TokenOutOfRange { id, vocab_size }),
            None => Ok(()),
        }
    }

    /// Gives up tokens on their way and logits that are no longer those of the last token.
    fn forget_flight(&mut self) {
        self.ahead.clear();
        self.logits = None;
    }

    fn reserve(&mut self, positions: usize) -> Result<(), Error> {
        if positions > self.max_seq_len {
            return Err(self.context_full(positions));
        }
        if positions > self.cache.capacity {
            // Recorded for the old capacity.
            self.forget_recordings();
            let used = self.computed;
            self.cache = self.cache.grown(&self.device, &self.decoder.config, positions, used, self.max_seq_len)?;
        }
        Ok(())
    }

    /// Submits one chunk; its logits when any are wanted.
    fn submit_chunk(&mut self, chunk: &[u32], logit_rows: usize) -> Result<Option<Pending>, Error> {
        let end = self.computed + chunk.len();
        self.reserve(end)?;
        self.go_to(self.computed)?;
        let device = self.device.clone();
        let forward = match chunk.len() {
            1 if logit_rows == 1 => &self.decode_step()?.forward,
            rows => self.several_rows(rows, logit_rows)?,
        };
        device.write(&forward.ids, bytemuck::cast_slice(chunk))?;
        let read = forward.logits.as_ref().map(|logits| (logits, logits.len()));
        let pending = match chunk.len() {
            1 => device.submit(&[&forward.recording], read)?,
            _ => device.submit_paced(&forward.recording, read, end)?,
        };
        self.computed = end;
        Ok(pending)
    }

    /// Appends the keys and values of what is missing of the tokens and of `new` ones; the logits of the last `rows`.
    async fn compute(&mut self, new: &[u32], rows: usize) -> Result<Vec<f32>, Error> {
        self.forget_flight();
        self.computed = self.valid();
        // The last chosen token may not have been through the model yet.
        let input: Vec<u32> = self.tokens[self.computed..].iter().chain(new).copied().collect();
        self.reserve(self.computed + input.len())?;
        let before = self.computed;
        let mut pending = Vec::new();
        let mut rest = &input[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(self.chunk_rows(rest.len(), rows));
            rest = after;
            let wanted = rows.saturating_sub(rest.len()).min(chunk.len());
            match self.submit_chunk(chunk, wanted) {
                Ok(logits) => pending.extend(logits),
                Err(error) => {
                    self.computed = before;
                    self.position_there = None;
                    return Err(error);
                }
            }
        }
        let mut values = Vec::with_capacity(rows * self.config().vocab_size);
        for logits in pending {
            values.extend_from_slice(bytemuck::cast_slice(&logits.bytes().await?));
        }
        Ok(values)
    }
}

impl Pipeline for DecoderPipeline {
    fn config(&self) -> &ModelConfig {
        &self.decoder.config
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    async fn forward(&mut self, tokens: &[u32], rows: usize) -> Result<Logits, Error> {
        self.check_ids(tokens)?;
        if rows > tokens.len() {
            return Err(Error::LogitRows { rows, tokens: tokens.len() });
        }
        let vocab_size = self.config().vocab_size;
        let values = self.compute(tokens, rows).await?;
        self.tokens.extend_from_slice(tokens);
        self.logits = (rows > 0).then(|| values[values.len() - vocab_size..].to_vec());
        Ok(Logits { values, vocab_size })
    }

    async fn next(&mut self, sampler: &Sampler) -> Result<u32, Error> {
        self.choose(sampler).await
    }

    fn rewind(&mut self, position: usize) -> Result<(), Error> {
        if position > self.tokens.len() {
            return Err(Error::RewindForward { position, end: self.tokens.len() });
        }
        if position < self.tokens.len() || !self.ahead.is_empty() {
            self.forget_flight();
        }
        self.tokens.truncate(position);
        self.computed = self.computed.min(position);
        Ok(())
    }
}
