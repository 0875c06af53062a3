//! What a pipeline is made with: settings with defaults, checked together when it is built.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use doppler_rdrr::{DType, Model, ModelConfig};
use doppler_sampling::WORDS;

use super::DecoderPipeline;
use super::next::Choice;
use crate::decoder::Decoder;
use crate::gpu::Uploads;
use crate::kv_cache::{KvCache, stored_as};
use crate::{Device, Error, MemoryPlan};

/// Builds a [`DecoderPipeline`].
#[derive(Debug, Clone)]
pub struct PipelineBuilder {
    pub(super) device: Device,
    pub(super) path: PathBuf,
    pub(super) max_seq_len: Option<usize>,
    pub(super) kv_dtype: DType,
    pub(super) prefill_chunk: usize,
    pub(super) memory_budget: Option<u64>,
}

impl PipelineBuilder {
    /// Tokens that the context can hold; 4096, or the model's own limit when that is less.
    #[must_use]
    pub fn max_seq_len(mut self, tokens: usize) -> Self {
        self.max_seq_len = Some(tokens);
        self
    }

    /// How keys and values are kept: [`DType::F16`] (the default), [`DType::F32`], or [`DType::Q8_0`], which takes little more
    /// than half of F16's memory (36 bytes for 32 elements) and heads of a multiple of 32 elements.
    #[must_use]
    pub fn kv_dtype(mut self, dtype: DType) -> Self {
        self.kv_dtype = dtype;
        self
    }

    /// Prompt tokens in one forward pass; 512. Fewer on a GPU where a step of so many would be more than
    /// [`DeviceOptions::submission_work`](crate::DeviceOptions::submission_work).
    #[must_use]
    pub fn prefill_chunk(mut self, tokens: usize) -> Self {
        self.prefill_chunk = tokens.max(1);
        self
    }

    /// Bytes that weights, cache and activations may take together, by the plan: a model that would take more is not
    /// loaded. [`DeviceOptions::memory_budget`](crate::DeviceOptions::memory_budget) bounds each allocation.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// What it will take, before anything is allocated.
    ///
    /// # Errors
    /// A model that cannot be opened, or a context that it does not allow.
    pub fn plan(&self) -> Result<MemoryPlan, Error> {
        let model = Model::open(&self.path)?;
        model.check_tensors()?;
        Ok(self.plan_for(&model, self.context(model.config())?))
    }

    fn plan_for(&self, model: &Model, max_seq_len: usize) -> MemoryPlan {
        MemoryPlan::new(model, max_seq_len, self.kv_dtype, self.prefill_chunk, self.device.threads())
    }

    fn context(&self, config: &ModelConfig) -> Result<usize, Error> {
        let allowed = config.max_position_embeddings;
        let asked = self.max_seq_len.unwrap_or(allowed.min(4096));
        if asked == 0 || asked > allowed { Err(Error::MaxSeqLen { asked, allowed }) } else { Ok(asked) }
    }

    /// Opens the model and loads it onto the device.
    ///
    /// # Errors
    /// Everything that can be wrong with the files, the configuration and the device.
    pub async fn build(self) -> Result<DecoderPipeline, Error> {
        self.build_with_progress(|_, _| {}).await
    }

    /// [`PipelineBuilder::build`]; `progress` hears, on the calling thread, bytes loaded and in total.
    ///
    /// # Errors
    /// As [`PipelineBuilder::build`].
    pub async fn build_with_progress(self, mut progress: impl FnMut(u64, u64)) -> Result<DecoderPipeline, Error> {
        let model = Arc::new(Model::open(&self.path)?);
        // Sizes that tensors of the file have are sizes that can be planned with.
        model.check_tensors()?;
        let config = model.config();
        let kv = stored_as(self.kv_dtype, config)?;
        let max_seq_len = self.context(config)?;
        let plan = self.plan_for(&model, max_seq_len);
        let budgets = [self.memory_budget, self.device.memory_budget()];
        plan.check(budgets.into_iter().flatten().min(), max_seq_len)?;
        let mut uploads = Uploads::default();
        let on_cpu = self.device.gpu().is_none();
        let decoder = Decoder::load(&self.device, &model, kv, &mut uploads, |done, total| {
            if on_cpu {
                progress(done, total);
            }
        })?;
        let cache = KvCache::new(&self.device, config, kv, 1, max_seq_len)?;
        let scalar = |label| self.device.alloc(label, &[1], DType::U32);
        let mut pipeline = DecoderPipeline {
            next: scalar("next_token")?,
            start: scalar("start")?,
            settings: self.device.alloc("sampler", &[WORDS], DType::U32)?,
            position_there: None,
            decoder,
            cache,
            model,
            plan,
            max_seq_len,
            prefill_chunk: self.prefill_chunk,
            device: self.device,
            tokens: Vec::new(),
            computed: 0,
            ahead: VecDeque::new(),
            choice: Choice::default(),
            logits: None,
            few: None,
            many: None,
            decode: None,
        };
        pipeline.warm_up(uploads, progress)?;
        Ok(pipeline)
    }
}
