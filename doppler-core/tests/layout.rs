//! Models whose matrices are stored column by column give the logits of the same models stored row by row.
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

use std::path::Path;

use doppler_core::prelude::*;
use doppler_core::rdrr::convert::{ConvertOptions, convert};
use doppler_core::rdrr::{Model, dequantize, quantize};
use doppler_core::{DeviceChoice, DeviceOptions, MemoryPlan};
use serde_json::{Value, json};

/// A matrix's numbers and those of its transpose.
struct Matrix {
    rows: usize,
    cols: usize,
    numbers: Vec<f32>,
}

impl Matrix {
    fn transposed(&self) -> Vec<f32> {
        let at = |i: usize| self.numbers[i % self.rows * self.cols + i / self.rows];
        (0..self.numbers.len()).map(at).collect()
    }
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Each row in whole blocks of Q4_K, as other writers of the format pad them.
fn packed(numbers: &[f32], cols: usize) -> Vec<u8> {
    let row = |row: &[f32]| {
        let mut padded = row.to_vec();
        padded.resize(cols.next_multiple_of(256), 0.0);
        let mut bytes = vec![0; padded.len() / 256 * 144];
        quantize(DType::Q4_K, &padded, &mut bytes).unwrap();
        bytes
    };
    numbers.chunks(cols).flat_map(row).collect()
}

/// The numbers that those blocks hold.
fn unpacked(bytes: &[u8], cols: usize) -> Vec<f32> {
    let row = |bytes: &[u8]| {
        let mut padded = vec![0.0; cols.next_multiple_of(256)];
        dequantize(DType::Q4_K, bytes, &mut padded).unwrap();
        padded.truncate(cols);
        padded
    };
    bytes.chunks(cols.div_ceil(256) * 144).flat_map(row).collect()
}

/// A copy of `model` in `out` with other matrices: `change` gives their bytes and the fields that say so.
fn rewrite(model: &Model, out: &Path, change: impl Fn(&Matrix) -> (Vec<u8>, Value)) {
    std::fs::create_dir(out).unwrap();
    let mut manifest = Value::Object(model.manifest().to_json().clone());
    let mut shard = Vec::new();
    for entry in model.tensors() {
        let mut bytes = model.bytes(entry).into_owned();
        let fields = &mut manifest["tensors"][&entry.name];
        if let [rows, cols] = *entry.shape {
            let mut numbers = vec![0.0; rows * cols];
            dequantize(entry.dtype, &bytes, &mut numbers).unwrap();
            let (changed, told) = change(&Matrix { rows, cols, numbers });
            bytes = changed;
            told.as_object().unwrap().iter().for_each(|(key, value)| fields[key] = value.clone());
        }
        fields.as_object_mut().unwrap().remove("spans");
        (fields["shard"], fields["offset"], fields["size"]) = (0.into(), shard.len().into(), bytes.len().into());
        shard.extend(bytes);
    }
    let told = json!({ "index": 0, "filename": "shard_00000.bin", "size": shard.len(), "hash": "00".repeat(32) });
    (manifest["shards"], manifest["totalSize"]) = (json!([told]), shard.len().into());
    std::fs::write(out.join("shard_00000.bin"), shard).unwrap();
    std::fs::write(out.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::copy(model.path().join("tokenizer.json"), out.join("tokenizer.json")).unwrap();
}

fn logits(path: &Path, device: &Device) -> Vec<f32> {
    let builder = DecoderPipeline::builder(device, path).kv_dtype(DType::F32).max_seq_len(64);
    let mut pipeline = pollster::block_on(builder.build()).unwrap();
    pollster::block_on(pipeline.forward(&[3, 1, 4, 1, 5, 9, 2, 6], 1)).unwrap().last().to_vec()
}

fn weights(path: &Path) -> u64 {
    MemoryPlan::new(&Model::open(path).unwrap(), 64, DType::F32, 64, Some(1)).weights
}

fn check(options: &DeviceOptions) {
    let (device, choice) = (pollster::block_on(Device::open(options)).unwrap(), &options.choice);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama/llama_blocks");
    convert(&fixture, &at("source"), &ConvertOptions::default(), |_| {}).unwrap();
    let source = Model::open(&at("source")).unwrap();

    // Both ways of telling the shape.
    rewrite(&source, &at("rows"), |m| (bytes_of(&m.numbers), json!({ "dtype": "F32" })));
    rewrite(&source, &at("columns"), |m| (bytes_of(&m.transposed()), json!({ "dtype": "F32", "layout": "column" })));
    rewrite(&source, &at("original"), |m| {
        let (shape, original) = ([m.cols, m.rows], [m.rows, m.cols]);
        let told = json!({ "dtype": "F32", "layout": "column", "shape": shape, "originalShape": original });
        (bytes_of(&m.transposed()), told)
    });
    let expected = logits(&at("rows"), &device);
    assert!(expected.iter().all(|x| x.is_finite()) && expected.iter().any(|x| *x != expected[0]));
    assert_eq!(logits(&at("columns"), &device), expected, "{choice:?}");
    assert_eq!(logits(&at("original"), &device), expected, "{choice:?}");
    assert_eq!(weights(&at("columns")), weights(&at("rows")));

    // Two bytes an element.
    let halves = |numbers: &[f32]| -> Vec<u8> { numbers.iter().flat_map(|x| x.to_le_bytes()[2..].to_vec()).collect() };
    rewrite(&source, &at("half_rows"), |m| (halves(&m.numbers), json!({ "dtype": "BF16" })));
    rewrite(&source, &at("half_columns"), |m| (halves(&m.transposed()), json!({ "dtype": "BF16", "layout": "col" })));
    assert_eq!(logits(&at("half_columns"), &device), logits(&at("half_rows"), &device), "{choice:?}");

    // Blocks along the columns: the numbers that they hold, as f32, and counted so.
    rewrite(&source, &at("packed"), |m| (packed(&m.transposed(), m.rows), json!({ "dtype": "Q4_K", "layout": "col" })));
    rewrite(&source, &at("unpacked"), |m| {
        let held = unpacked(&packed(&m.transposed(), m.rows), m.rows);
        let turned = Matrix { rows: m.cols, cols: m.rows, numbers: held };
        (bytes_of(&turned.transposed()), json!({ "dtype": "F32", "layout": "row" }))
    });
    assert_eq!(logits(&at("packed"), &device), logits(&at("unpacked"), &device), "{choice:?}");
    assert_eq!(weights(&at("packed")), weights(&at("unpacked")));
    assert_ne!(logits(&at("packed"), &device), expected);

    // The manifest may say it for all packed matrices.
    rewrite(&source, &at("all"), |m| (packed(&m.transposed(), m.rows), json!({ "dtype": "Q4_K", "layout": null })));
    let path = at("all").join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["quantizationInfo"] = json!({ "layout": "col" });
    std::fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(logits(&at("all"), &device), logits(&at("packed"), &device), "{choice:?}");
}

fn on(choice: DeviceChoice) -> DeviceOptions {
    DeviceOptions { choice, ..DeviceOptions::default() }
}

#[test]
fn on_the_host() {
    check(&on(DeviceChoice::Host));
}

#[test]
fn on_the_oracle() {
    check(&on(DeviceChoice::Oracle));
}

/// Every adapter, whole matrices and in parts.
#[test]
#[cfg(feature = "gpu-tests")]
fn on_the_gpu() {
    for adapter in pollster::block_on(Device::adapters()) {
        let whole = on(DeviceChoice::Named(adapter.name));
        check(&whole);
        check(&DeviceOptions { max_binding_bytes: Some(64 << 10), ..whole });
    }
}
