//! The RDRR model format of DOPPLER.
//!
//! A model is a folder: `manifest.json`, `tokenizer.json` and shards of at most 64 MiB. [`Model`] opens one and lends out
//! its weights from a memory map, [`Writer`] makes one. Knows files and numbers, nothing of GPUs.
//!
//! ```no_run
//! use doppler_rdrr::Model;
//!
//! let model = Model::open("smollm2.rdrr".as_ref())?;
//! model.verify(|done, total| eprint!("\r{done} of {total} bytes"))?;
//! for tensor in model.tensors() {
//!     eprintln!("{} {} {:?}", tensor.name, tensor.dtype, tensor.shape);
//! }
//! # Ok::<(), doppler_rdrr::Error>(())
//! ```

mod blocks;
mod config;
pub mod convert;
mod dtype;
mod error;
pub mod families;
mod inference;
mod json;
mod manifest;
mod quantize;
mod reader;
mod shard;
mod shard_writer;
mod tensor;
pub mod tokenizer;
mod writer;

pub use blocks::dequantize;
pub use config::{Activation, LayerType, ModelConfig, RopeScaling};
pub use dtype::DType;
pub use error::Error;
pub use manifest::Manifest;
pub use quantize::quantize;
pub use reader::Model;
pub use shard::{HashAlgorithm, Shard};
pub use tensor::{Span, TensorEntry};
pub use writer::{NewModel, Writer};
