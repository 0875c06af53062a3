//! What a device could do at best, measured, and how much a model asks of it.

use anyhow::{Context, Result};
use doppler_core::kernels::cases::random_weights;
use doppler_core::kernels::{Case, GemmA8, GemmHalf, Kernel, MatMul, Stream, Tolerance};
use doppler_core::prelude::*;
use doppler_core::time_case;

/// The best that was measured.
#[derive(Debug, Clone)]
pub struct Roofs {
    /// Bytes a second that the kernel `stream` reads from memory that no cache holds.
    pub bandwidth: f64,
    /// Multiply-adds a second, times two, of the fastest product of large matrices.
    pub arithmetic: f64,
    /// That product.
    pub product: String,
}

/// Measures a device in a few seconds; with `exact`, products in f32.
///
/// # Errors
/// No variant that ran.
pub fn measure(device: &Device, exact: bool) -> Result<Roofs> {
    let report = device.report();
    let software = pollster::block_on(Device::adapters()).iter().any(|a| a.software && a.name == report.adapter);
    let small = report.executor != "gpu" || software;
    let (len, n) = if small { (1 << 24, 512) } else { (1 << 26, 4096) };
    let (_, seconds) = fastest(device, case(Stream { len, pieces: if small { 256 } else { 4096 } }))?;
    let bandwidth = 4.0 * len as f64 / seconds;
    let weight = if small { DType::Q8_0 } else { DType::F16 };
    let product = MatMul { rows: n / 2, out_features: n, in_features: n, weight, y_stride: n, y_offset: 0 };
    let mut timed = vec![fastest(device, case(product.clone()))?];
    if !exact && !small {
        timed.push(fastest(device, case(GemmHalf { of: product.clone(), parts: 1 }))?);
    }
    if !exact && report.executor == "gpu" {
        timed.push(fastest(device, case(GemmA8(MatMul { weight: DType::Q8_0, ..product })))?);
    }
    let (name, seconds) = timed.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).context("products")?;
    Ok(Roofs { bandwidth, arithmetic: (n * n * n) as f64 / seconds, product: name })
}

/// Operands of a repeated piece: as good as noise here, and made in no time.
fn case(kernel: impl Kernel + 'static) -> Case {
    let mut case = Case::new("roof", Box::new(kernel), Tolerance::F32);
    for operand in case.kernel.operands().iter().filter(|operand| operand.access.has_input()) {
        let mut bytes = random_weights(operand.dtype, 1 << 14, 1).repeat(operand.len().div_ceil(1 << 14));
        bytes.truncate(operand.bytes());
        case = case.input(bytes);
    }
    case
}

/// The fastest variant, and its seconds.
fn fastest(device: &Device, case: Case) -> Result<(String, f64)> {
    let timed = time_case(device, &case).into_iter().filter_map(|(variant, seconds)| Some((variant, seconds.ok()?)));
    let best = timed.min_by(|a, b| a.1.total_cmp(&b.1));
    let (variant, seconds) = best.with_context(|| format!("no variant of {} ran", case.kernel.name()))?;
    Ok((format!("{}/{variant}", case.kernel.name()), seconds))
}

/// Bytes that one decoded token reads behind `depth` others: matrices, and keys and values.
#[must_use]
pub fn bytes_of_a_token(pipeline: &DecoderPipeline, depth: usize) -> f64 {
    let weights: u64 = matrices(pipeline).filter(|(_, read)| *read).map(|(entry, _)| entry.read_bytes()).sum();
    let cache = pipeline.plan().kv_cache as f64 / pipeline.max_seq_len() as f64;
    weights as f64 + cache * depth as f64
}

/// Multiply-adds, times two, of one token of a prompt in the matrices of the layers; attention and output head are left out.
#[must_use]
pub fn flops_of_a_row(pipeline: &DecoderPipeline) -> f64 {
    let layers = matrices(pipeline).filter(|(entry, _)| entry.name.starts_with("model.layers."));
    layers.map(|(entry, _)| 2.0 * entry.shape.iter().product::<usize>() as f64).sum()
}

/// All matrices, and whether a token reads them as a whole: not so an embedding that is no output head.
fn matrices(pipeline: &DecoderPipeline) -> impl Iterator<Item = (&doppler_core::rdrr::TensorEntry, bool)> {
    let tied = pipeline.config().tie_word_embeddings;
    let matrices = pipeline.model().tensors().iter().filter(|entry| entry.shape.len() == 2);
    matrices.map(move |entry| (entry, tied || entry.name != "model.embed_tokens.weight"))
}
