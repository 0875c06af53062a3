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

pub mod add;
pub mod argmax;
pub mod attention;
pub mod attention_decode;
pub mod attention_half;
pub mod cases;
pub mod embed;
mod error;
pub mod gated_act;
pub mod gated_half;
pub mod gemm_a8;
pub mod gemm_half;
pub mod half_rows;
pub mod int8_rows;
mod isa;
pub mod join_half;
mod kernel;
pub mod kv_write;
pub mod layout;
pub mod linear;
pub mod matmul;
pub mod norm_residual;
pub mod quantize;
pub mod rms_norm;
pub mod rope;
pub mod sample;
mod shared;
pub mod softcap;
pub mod softmax;
pub mod stream;
mod tier;
pub mod top_k;
pub mod tuning;
mod variant;

pub use add::Add;
pub use argmax::{ArgMax, ArgMaxReduce, ArgMaxSplit};
pub use attention::{Attention, AttentionReduce, AttentionSplit};
pub use attention_decode::{AttentionAppend, AttentionDecode, AttentionHeads, AttentionWhole};
pub use attention_half::AttentionHalf;
pub use cases::{Case, Entry, Tolerance};
pub use embed::{Embed, EmbedQuantize};
pub use error::Error;
pub use gated_act::GatedActivation;
pub use gated_half::GatedHalf;
pub use gemm_a8::GemmA8;
pub use gemm_half::GemmHalf;
pub use half_rows::HalfRows;
pub use int8_rows::Int8Rows;
pub use isa::Instructions;
pub use join_half::JoinHalf;
pub use kernel::{Access, Kernel, Operand};
pub use kv_write::KvWrite;
pub use linear::{Linear, LinearGated, LinearResidual};
pub use matmul::MatMul;
pub use norm_residual::NormResidual;
pub use quantize::Quantize;
pub use rms_norm::RmsNorm;
pub use rope::Rope;
pub use sample::{SampleBuckets, SampleGather, SampleSettle};
pub use softcap::SoftCap;
pub use softmax::Softmax;
pub use stream::Stream;
pub use tier::{Advice, Choice, Tier, check_names, select, select_with};
pub use top_k::TopK;
pub use tuning::{Tuned, Tuning};
pub use variant::Variant;

/// Every kernel, for tests and self-tests.
pub static KERNELS: &[Entry] = &[
    add::ENTRY,
    argmax::ENTRY,
    argmax::REDUCE_ENTRY,
    argmax::SPLIT_ENTRY,
    attention::ENTRY,
    attention::REDUCE_ENTRY,
    attention::SPLIT_ENTRY,
    attention_decode::APPEND_ENTRY,
    attention_decode::ENTRY,
    attention_decode::WHOLE_ENTRY,
    attention_decode::HEADS_ENTRY,
    attention_half::ENTRY,
    embed::ENTRY,
    embed::QUANTIZED_ENTRY,
    gated_act::ENTRY,
    gated_half::ENTRY,
    gemm_a8::ENTRY,
    gemm_half::ENTRY,
    half_rows::ENTRY,
    int8_rows::ENTRY,
    join_half::ENTRY,
    kv_write::ENTRY,
    linear::ENTRY,
    linear::GATED_ENTRY,
    linear::RESIDUAL_ENTRY,
    matmul::ENTRY,
    norm_residual::ENTRY,
    quantize::ENTRY,
    rms_norm::ENTRY,
    rope::ENTRY,
    sample::ENTRY,
    sample::GATHER_ENTRY,
    sample::SETTLE_ENTRY,
    softcap::ENTRY,
    softmax::ENTRY,
    stream::ENTRY,
    top_k::ENTRY,
];
