//! What a model takes on the CPU stays within its plan.
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

use std::alloc::System;
use std::path::Path;

use cap::Cap;
use doppler_core::prelude::*;
use doppler_core::rdrr::convert::{ConvertOptions, convert};
use doppler_core::{DeviceChoice, DeviceOptions};
use pollster::block_on;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// What the plan leaves out: the manifest, recordings, threads.
const SMALL: usize = 1 << 20;

/// The most bytes that a model took besides its weights while it ran, and what was planned.
fn peak(path: &Path, exact: bool, prompt: usize) -> (usize, usize) {
    let options = DeviceOptions { choice: DeviceChoice::Host, exact, threads: Some(2), ..DeviceOptions::default() };
    let device = block_on(Device::open(&options)).unwrap();
    let (before, peak) = (MEMORY.allocated(), MEMORY.max_allocated());
    // The peak can only be seen where it is passed.
    let filler = vec![0u8; peak - before];
    let builder = DecoderPipeline::builder(&device, path).max_seq_len(1024).prefill_chunk(prompt).kv_dtype(DType::F32);
    let mut pipeline = block_on(builder.build()).unwrap();
    block_on(async {
        for length in [prompt, prompt / 3, prompt] {
            pipeline.rewind(0).unwrap();
            pipeline.forward(&vec![5; length], 1).await.unwrap();
            pipeline.greedy().await.unwrap();
        }
    });
    let plan = pipeline.plan();
    drop(filler);
    (MEMORY.max_allocated() - peak, (plan.total() - plan.weights) as usize)
}

/// One test: another one's memory would be counted, too.
#[test]
fn the_cpu_stays_within_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.rdrr");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama/llama_blocks");
    let options = ConvertOptions { quantize: Some(DType::Q8_0), ..ConvertOptions::default() };
    convert(&fixture, &path, &options, |_| {}).unwrap();
    // A longer context than the fixture's, so that activations outweigh the rest.
    let file = path.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    manifest["architecture"]["maxSeqLen"] = 1024.into();
    std::fs::write(file, serde_json::to_vec(&manifest).unwrap()).unwrap();

    for exact in [false, true] {
        let (taken, planned) = peak(&path, exact, 1000);
        assert!(taken <= planned + SMALL, "exact {exact}: {taken} bytes taken, {planned} planned");
        assert!(2 * taken >= planned, "exact {exact}: only {taken} bytes taken, {planned} planned");
    }
}
