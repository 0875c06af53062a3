//! What a passed test of a model leaves behind: a record, from which `cargo xtask matrix` makes MODELS.md.
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

use std::path::Path;

use doppler_core::MemoryPlan;
use doppler_core::prelude::*;
use serde_json::json;

/// Records that the test of a model passed on the pipeline's device, with so many `prompts` if it was not all of them.
pub fn passed(
    family: &str,
    model: &str,
    pipeline: &DecoderPipeline,
    tolerance: f32,
    prompts: Option<usize>,
    tokens: usize,
) {
    let mut formats: Vec<_> =
        pipeline.model().tensors().iter().filter(|t| t.shape.len() == 2).map(|t| t.dtype.name()).collect();
    formats.sort_unstable();
    formats.dedup();
    let report = pipeline.device().report();
    let device = if report.executor == "gpu" { report.adapter } else { report.executor.to_owned() };
    let context = pipeline.config().max_position_embeddings.min(4096);
    let memory = MemoryPlan::new(pipeline.model(), context, DType::F16, 512, None).total();
    let record = json!({
        "family": family, "model": model, "formats": formats, "device": device, "tolerance": tolerance,
        "prompts": prompts, "tokens": tokens, "context": context, "memory_bytes": memory,
    });
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("models-passed");
    std::fs::create_dir_all(&folder).unwrap();
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    std::fs::write(folder.join(format!("{}--{}.json", plain(model), plain(&device))), record.to_string()).unwrap();
}
