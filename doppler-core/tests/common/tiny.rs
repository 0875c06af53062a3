//! A tiny model on every device at hand.

use std::path::{Path, PathBuf};

use doppler_core::prelude::*;
use doppler_core::rdrr::convert::{ConvertOptions, convert};
use doppler_core::{DeviceChoice, DeviceOptions, Error};
use pollster::block_on;
use tempfile::TempDir;

const FIXTURE: &str = "tests/fixtures/llama/llama3_scaled";

/// A converted tiny model in a folder of its own, to be broken.
pub fn model() -> (TempDir, PathBuf) {
    model_of(FIXTURE)
}

/// Another one.
pub fn model_of(fixture: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.rdrr");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture);
    convert(&fixture, &out, &ConvertOptions::default(), |_| {}).unwrap();
    (folder, out)
}

pub fn open(choice: DeviceChoice) -> Device {
    block_on(Device::open(&DeviceOptions { choice, ..DeviceOptions::default() })).unwrap()
}

/// Every device at hand, for what must be the same on all.
pub fn devices() -> Vec<Device> {
    let mut devices = vec![open(DeviceChoice::Host), open(DeviceChoice::Oracle)];
    if cfg!(feature = "gpu-tests") {
        let adapter = block_on(Device::adapters()).remove(0);
        devices.push(open(DeviceChoice::Named(adapter.name)));
    }
    devices
}

pub fn load(device: &Device, path: &Path) -> Result<DecoderPipeline, Error> {
    block_on(DecoderPipeline::builder(device, path).max_seq_len(48).prefill_chunk(7).kv_dtype(DType::F32).build())
}
