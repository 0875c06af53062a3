//! Run language models on any GPU through wgpu, or on the CPU, from Rust alone.

mod device;
mod error;
mod gpu;
mod host;
mod model_stub;
mod oracle;
mod recorder;
mod selftest;
mod tensor;

pub use device::{Device, DeviceChoice, DeviceOptions, DeviceReport};
pub use error::Error;
pub use gpu::AdapterReport;
pub use recorder::{Recorder, Recording, Step};
pub use selftest::{SelfTest, selftest, selftest_cases, selftest_kernel, time_case};
pub use tensor::Tensor;
pub use model_stub::MemoryPlan;
