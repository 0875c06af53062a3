//! Run language models on any GPU through wgpu, or on the CPU, from Rust alone.

mod decoder;
pub mod chat_template;
mod device;
mod error;
mod gpu;
mod host;
mod kv_cache;
mod oracle;
mod pipeline;
mod plan;
mod recorder;
mod selftest;
pub mod stop;
mod strftime;
mod tensor;
pub mod text;
mod weights;

pub use device::{Device, DeviceChoice, DeviceOptions, DeviceReport};
pub use error::Error;
pub use gpu::AdapterReport;
pub use pipeline::{DecoderPipeline, Logits, Pipeline, PipelineBuilder};
pub use plan::MemoryPlan;
pub use recorder::{Recorder, Recording, Step};
pub use selftest::{SelfTest, selftest, selftest_cases, selftest_kernel, time_case};
pub use tensor::Tensor;
