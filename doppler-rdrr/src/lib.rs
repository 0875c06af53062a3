//! The RDRR model format of DOPPLER.

mod blocks;
mod config;
mod dtype;
mod error;

pub use blocks::dequantize;
pub use config::{Activation, ModelConfig, RopeScaling};
pub use dtype::DType;
pub use error::Error;
