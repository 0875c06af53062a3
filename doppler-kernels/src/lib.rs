//! The kernels of DOPPLER: WGSL text, plain f64 references, CPU implementations and the choice among variants.
//!
//! A kernel is a plain struct of its sizes; it knows no GPU API.
//!
//! ```
//! use doppler_kernels::{Kernel, RmsNorm, Tier, select};
//! let norm = RmsNorm { rows: 1, cols: 3, eps: 0.0 };
//! let y = norm.reference(&[&[1.0, 2.0, 2.0], &[1.0, 1.0, 10.0]]);
//! assert!((y[0][2] - 2.0 * 10.0 / 3f32.sqrt()).abs() < 1e-5);
//! let choice = select(&norm, &Tier::WEBGPU, None)?;
//! assert_eq!(choice.variant.name, "portable");
//! # Ok::<(), doppler_kernels::Error>(())
//! ```

pub mod cases;
mod error;
mod kernel;
pub mod rms_norm;
mod shared;
mod tier;
mod variant;

pub use cases::{Case, Entry, Tolerance};
pub use error::Error;
pub use kernel::{Access, Kernel, Operand};
pub use rms_norm::RmsNorm;
pub use tier::{Choice, Tier, select};
pub use variant::Variant;

/// Every kernel, for tests, benches and the tuner.
pub static KERNELS: &[Entry] = &[rms_norm::ENTRY];
