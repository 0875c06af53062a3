//! The pipeline: token ids in, logits out, with a key-value cache that grows and rewinds.

mod builder;
mod chunk;
mod tune;
mod warm_up;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

pub use builder::PipelineBuilder;
use doppler_rdrr::{DType, Model, ModelConfig};

use crate::chat_template::{ChatOptions, ChatTemplate, Message};
use crate::decoder::{Decoder, Forward, Inputs};
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

    /// The likeliest next token, appended. Steps may run ahead of it; [`Pipeline::rewind`] drops the surplus.
    ///
    /// # Errors
    /// [`Error::NoLogits`] when there are no tokens, [`Error::ContextFull`], [`Error::NanLogits`], and what the device
    /// reports.
    async fn greedy(&mut self) -> Result<u32, Error>;

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
    /// The decode step, recorded once for the cache's capacity.
    decode: Option<Forward>,
    /// u32 `[1]`: the likeliest next token, which the next decode step embeds.
    next: Tensor,
    /// u32 `[1]`: the position of a submission's first row.
    start: Tensor,
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

    /// Why decode steps compute with f32 activations; `None` when with int8 ones.
    #[must_use]
    pub fn why_not_int8(&self) -> Option<&str> {
        self.decoder.why_not_int8()
    }

    /// How often each kernel runs in a decode step and how long all its runs take, at the present depth; `None` where the
    /// device has no timestamps. What it computes is thrown away.
    ///
    /// # Errors
    /// [`Error::NoLogits`] when there are no tokens, and what the device reports.
    pub fn profile_decode(&mut self) -> Result<Option<KernelTimes>, Error> {
        let last = self.tokens.len().checked_sub(1).ok_or(Error::NoLogits)?;
        self.ahead.clear();
        self.computed = last;
        self.device.write(&self.start, bytemuck::bytes_of(&(last as u32)))?;
        self.device.write(&self.next, bytemuck::bytes_of(&self.tokens[last]))?;
        let device = self.device.clone();
        device.profile(&self.decode_step()?.recording)
    }

    /// The same of one chunk of a prompt, computed from an empty context: what was there is forgotten.
    ///
    /// # Errors
    /// As [`Pipeline::forward`].
    pub fn profile_prefill(&mut self, chunk: &[u32]) -> Result<Option<KernelTimes>, Error> {
        self.rewind(0)?;
        self.reserve(chunk.len())?;
        self.device.write(&self.start, bytemuck::bytes_of(&0u32))?;
        let ids = self.device.alloc("ids", &[chunk.len()], DType::U32)?;
        self.device.write(&ids, bytemuck::cast_slice(chunk))?;
        let forward = self.record(ids, chunk.len(), 1)?;
        self.device.profile(&forward.recording)
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

    fn reserve(&mut self, positions: usize) -> Result<(), Error> {
        if positions > self.max_seq_len {
            let (max_seq_len, allowed) = (self.max_seq_len, self.config().max_position_embeddings);
            return Err(Error::ContextFull { wanted: positions, max_seq_len, allowed });
        }
        if positions > self.cache.capacity {
            // Recorded for the old capacity.
            self.decode = None;
            let used = self.computed;
            self.cache = self.cache.grown(&self.device, &self.decoder.config, positions, used, self.max_seq_len)?;
        }
        Ok(())
    }

    fn record(&self, ids: Tensor, rows: usize, logit_rows: usize) -> Result<Forward, Error> {
        let (cache, start, next) = (&self.cache, &self.start, &self.next);
        self.decoder.record(&self.device, Inputs { cache, ids, start, next, rows, logit_rows })
    }

    /// Submits one chunk; its logits when any are wanted.
    fn submit_chunk(&mut self, chunk: &[u32], logit_rows: usize) -> Result<Option<Pending>, Error> {
        let end = self.computed + chunk.len();
        self.reserve(end)?;
        self.device.write(&self.start, bytemuck::bytes_of(&(self.computed as u32)))?;
        let device = self.device.clone();
        let fresh;
        let forward = if chunk.len() == 1 && logit_rows == 1 {
            self.decode_step()?
        } else {
            let ids = device.alloc("ids", &[chunk.len()], DType::U32)?;
            fresh = self.record(ids, chunk.len(), logit_rows)?;
            &fresh
        };
        device.write(&forward.ids, bytemuck::cast_slice(chunk))?;
        let read = forward.logits.as_ref().map(|logits| (logits, logits.len()));
        let pending = device.submit_paced(&forward.recording, read, end)?;
        self.computed = end;
        Ok(pending)
    }

    fn decode_step(&mut self) -> Result<&Forward, Error> {
        let forward = match self.decode.take() {
            Some(forward) => forward,
            None => self.record(self.next.clone(), 1, 1)?,
        };
        Ok(self.decode.insert(forward))
    }

    /// Submits the decode step of the token at `computed`, which is on the device already when steps are in flight.
    fn step_ahead(&mut self) -> Result<Pending, Error> {
        self.reserve(self.computed + 1)?;
        self.device.write(&self.start, bytemuck::bytes_of(&(self.computed as u32)))?;
        if let Some(token) = self.tokens.get(self.computed) {
            self.device.write(&self.next, bytemuck::bytes_of(token))?;
        }
        let (device, next) = (self.device.clone(), self.next.clone());
        let recording = &self.decode_step()?.recording;
        let pending = device.submit(recording, Some((&next, 1)))?.ok_or(Error::NoLogits)?;
        self.computed += 1;
        Ok(pending)
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
        let vocab_size = self.config().vocab_size;
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if rows > tokens.len() {
            return Err(Error::LogitRows { rows, tokens: tokens.len() });
        }
        if let Some(&id) = tokens.iter().find(|id| **id as usize >= vocab_size) {
            return Err(Error::TokenOutOfRange { id, vocab_size });
        }
        self.ahead.clear();
        self.computed = self.valid();
        // The last greedy token may not have been through the model yet.
        let input: Vec<u32> = self.tokens[self.computed..].iter().chain(tokens).copied().collect();
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
                    return Err(error);
                }
            }
        }
        let mut values = Vec::with_capacity(rows * vocab_size);
        for logits in pending {
            values.extend_from_slice(bytemuck::cast_slice(&logits.bytes().await?));
        }
        self.tokens.extend_from_slice(tokens);
        if rows > 0 {
            let best = argmax(&values[values.len() - vocab_size..]);
            self.ahead.push_back(Pending::Ready(best.to_le_bytes().to_vec()));
        }
        Ok(Logits { values, vocab_size })
    }

    async fn greedy(&mut self) -> Result<u32, Error> {
        if self.tokens.len() >= self.max_seq_len {
            let (wanted, allowed) = (self.tokens.len() + 1, self.config().max_position_embeddings);
            return Err(Error::ContextFull { wanted, max_seq_len: self.max_seq_len, allowed });
        }
        if self.computed + 1 != self.tokens.len() + self.ahead.len() {
            // After a rewind, or when a step in flight was lost to a cancelled call: the last token goes through again.
            self.ahead.clear();
            let before_last = self.tokens.len().checked_sub(1).ok_or(Error::NoLogits)?;
            self.computed = self.computed.min(before_last);
        }
        // The CPU computes at once: running ahead would only waste work there.
        let wanted = if self.device.gpu().is_some() { 1 + AHEAD } else { 1 };
        while self.ahead.len() < wanted && self.computed < self.max_seq_len {
            let step = self.step_ahead()?;
            self.ahead.push_back(step);
        }
        let bytes = self.ahead.pop_front().ok_or(Error::NoLogits)?.bytes().await?;
        let id: u32 = bytemuck::pod_read_unaligned(&bytes);
        if id == NAN {
            return Err(Error::NanLogits);
        }
        self.tokens.push(id);
        Ok(id)
    }

    fn rewind(&mut self, position: usize) -> Result<(), Error> {
        if position > self.tokens.len() {
            return Err(Error::RewindForward { position, end: self.tokens.len() });
        }
        self.tokens.truncate(position);
        self.ahead.clear();
        self.computed = self.computed.min(position);
        Ok(())
    }
}

/// What stands for the likeliest token when a logit is NaN: the kernel's answer, and [`argmax`]'s.
const NAN: u32 = u32::MAX;

/// The index of the largest value; the lowest wins ties.
fn argmax(values: &[f32]) -> u32 {
    if values.iter().any(|value| value.is_nan()) {
        return NAN;
    }
    let best =
        values.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, &v)| if v > best.1 { (i, v) } else { best });
    best.0 as u32
}
