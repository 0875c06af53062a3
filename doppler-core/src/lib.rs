//! Language models on any GPU through wgpu, or on the CPU, from Rust alone.
//!
//! A [`Device`] runs recordings of kernels; a [`DecoderPipeline`] holds a model on one and turns token ids into logits;
//! [`generate()`] streams text.
//!
//! ```no_run
//! use doppler_core::prelude::*;
//! use futures_util::StreamExt;
//! # async fn example() -> Result<(), doppler_core::Error> {
//! let device = Device::new().await?;
//! let mut pipeline = DecoderPipeline::builder(&device, "smollm2.rdrr").build().await?;
//! let tokenizer = Tokenizer::of(pipeline.model())?;
//! let prompt = tokenizer.encode("The capital of France is", true)?;
//! let mut answer = std::pin::pin!(generate(&mut pipeline, &tokenizer, &prompt, GenerateOptions::default()));
//! while let Some(piece) = answer.next().await {
//!     eprint!("{}", piece?.text);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! - `catalog` (default): models by id, fetched through the Python packages that ship them.
//! - `hub`: fetch from the Hugging Face hub first. Its TLS stack compiles C.

#[cfg(feature = "catalog")]
pub mod catalog;
pub mod chat_template;
mod decoder;
mod device;
mod error;
mod generate;
mod gpu;
mod host;
mod kv_cache;
mod learned;
#[cfg(feature = "catalog")]
pub mod models;
mod oracle;
mod pipeline;
mod plan;
mod recorder;
mod selftest;
pub mod stop;
mod strftime;
mod tensor;
pub mod text;
mod timing;
mod tune;
mod weights;

pub use doppler_kernels as kernels;
pub use doppler_rdrr as rdrr;
pub use doppler_sampling as sampling;

pub use device::{Device, DeviceChoice, DeviceOptions, DeviceReport};
pub use error::Error;
pub use generate::{FinishReason, GenerateOptions, Piece, generate};
pub use gpu::{AdapterReport, GpuCounters, KernelTimes};
pub use learned::DeviceCache;
pub use pipeline::{DecoderPipeline, Logits, Pipeline, PipelineBuilder};
pub use plan::MemoryPlan;
pub use recorder::{Recorder, Recording, Step};
pub use selftest::{SelfTest, selftest, selftest_cases, selftest_kernel};
pub use tensor::Tensor;
pub use timing::{Timer, case_timers, time_case};
pub use tune::{Measured, TuningReport};

/// What most programs need.
pub mod prelude {
    pub use doppler_rdrr::{DType, Model};
    pub use doppler_sampling::Sampler;

    pub use crate::chat_template::{ChatOptions, ChatTemplate, Message};
    pub use crate::text::Tokenizer;
    pub use crate::{DecoderPipeline, Device, DeviceOptions, FinishReason, GenerateOptions, Piece, Pipeline, generate};
}

/// The README's example, compiled.
#[cfg(all(doctest, feature = "catalog"))]
#[doc = include_str!("../../README.md")]
struct Readme;
