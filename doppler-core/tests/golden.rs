//! Tiny random models against the logits and tokens of Hugging Face transformers in fp32, on every executor.
//!
//! `cargo xtask golden llama` makes the fixtures.
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

mod common;

use std::path::{Path, PathBuf};

use doppler_core::prelude::*;
use doppler_core::rdrr::convert::{ConvertOptions, convert};
use doppler_core::{DeviceChoice, DeviceOptions};
use serde_json::Value;

/// |Δlogit| in f32, over all logits of the last position.
const TOLERANCE: f32 = 1e-3;
/// The same with a cache of Q8_0, for models whose heads are whole blocks: rounded to int8, random keys and values move
/// logits around 2.5 by up to 0.113, on every executor.
const Q8_0_TOLERANCE: f32 = 0.13;
/// From the oracle, which rounds as well: a value between two int8 may go either way.
const Q8_0_APART: f32 = 1e-2;

const FAMILIES: [&str; 7] = ["gemma2", "gemma3", "llama", "phi3", "qwen2", "qwen3", "smollm3"];

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let list = |family: &str| {
        let folders: Vec<_> =
            std::fs::read_dir(root.join(family)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!folders.is_empty(), "the fixtures of {family} are missing");
        folders
    };
    let mut folders: Vec<_> = FAMILIES.iter().flat_map(|family| list(family)).collect();
    folders.sort();
    folders
}

fn floats(v: &Value) -> Vec<f32> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn ids(v: &Value) -> Vec<u32> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

fn check(options: &DeviceOptions) {
    // One for all: a driver does not open a device of its own for each of many models.
    let device = pollster::block_on(Device::open(options)).unwrap();
    let mut in_blocks = 0;
    for fixture in fixtures() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.rdrr");
        convert(&fixture, &model, &ConvertOptions::default(), |_| {}).unwrap();
        let expected: Value = serde_json::from_slice(&std::fs::read(fixture.join("expected.json")).unwrap()).unwrap();
        pollster::block_on(check_model(&device, &model, &expected, &fixture, DType::F32));
        if Model::open(&model).unwrap().config().head_dim.is_multiple_of(32) {
            pollster::block_on(check_model(&device, &model, &expected, &fixture, DType::Q8_0));
            in_blocks += 1;
        }
    }
    assert!(in_blocks > 0, "no fixture has heads that a cache of Q8_0 takes");
}

async fn check_model(device: &Device, model: &Path, expected: &Value, fixture: &Path, kv: DType) {
    let tolerance = if kv == DType::Q8_0 { Q8_0_TOLERANCE } else { TOLERANCE };
    let cases = expected["cases"].as_array().unwrap();
    assert!(cases.len() >= 3);
    let mut last = None;
    for case in cases {
        let (prompt, wanted) = (ids(&case["prompt_ids"]), floats(&case["logits"]));
        let what =
            format!("{} {} after {} tokens, {kv} cache", device.report().adapter, fixture.display(), prompt.len());
        // A small chunk makes prompts cross it.
        let mut builder = DecoderPipeline::builder(device, model).kv_dtype(kv).prefill_chunk(33);
        // LongRoPE chooses its frequencies by the context that is asked for.
        if let Some(max_seq_len) = case["max_seq_len"].as_u64() {
            builder = builder.max_seq_len(max_seq_len as usize);
        }
        let mut pipeline = builder.build().await.unwrap();
        check_text(&pipeline, expected, fixture);
        let logits = pipeline.forward(&prompt, 1).await.unwrap();
        assert_eq!(logits.last().len(), wanted.len(), "{what}");
        for (id, (actual, wanted)) in logits.last().iter().zip(&wanted).enumerate() {
            let off = (actual - wanted).abs();
            assert!(off <= tolerance, "{what}: logit {id} is {actual}, not {wanted}");
        }
        if kv == DType::Q8_0 {
            let oracle = Device::open(&on(DeviceChoice::Oracle)).await.unwrap();
            let mut oracle = DecoderPipeline::builder(&oracle, model).kv_dtype(kv).build().await.unwrap();
            let rounded = oracle.forward(&prompt, 1).await.unwrap();
            for (id, (actual, wanted)) in logits.last().iter().zip(rounded.last()).enumerate() {
                assert!((actual - wanted).abs() <= Q8_0_APART, "{what}: logit {id} is {actual}, the oracle's {wanted}");
            }
        }
        for (step, (id, margin)) in
            ids(&case["greedy_ids"]).into_iter().zip(floats(&case["greedy_margins"])).enumerate()
        {
            let actual = pipeline.greedy().await.unwrap();
            if actual != id {
                assert!(margin <= 2.0 * tolerance, "{what}: token {step} is {actual}, not {id}");
                break;
            }
        }
        last = Some(pipeline);
    }
    if kv != DType::F32 {
        return;
    }
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    common::passed(&name(fixture.parent().unwrap()), &name(fixture), &last.unwrap(), tolerance, None, 32);
}

/// The tokenizer's ids and the rendered chat are those of Hugging Face.
fn check_text(pipeline: &DecoderPipeline, expected: &Value, fixture: &Path) {
    let tokenizer = Tokenizer::of(pipeline.model()).unwrap();
    let texts = expected["texts"].as_array().unwrap();
    assert!(!texts.is_empty());
    for text in texts {
        let (text, wanted) = (text["text"].as_str().unwrap(), ids(&text["ids"]));
        assert_eq!(tokenizer.encode(text, true).unwrap(), wanted, "{}: {text:?}", fixture.display());
    }
    let field = |message: &Value, name: &str| message[name].as_str().unwrap().to_owned();
    let messages = expected["chat"]["messages"].as_array().unwrap();
    let messages: Vec<_> = messages.iter().map(|m| Message::new(field(m, "role"), field(m, "content"))).collect();
    assert_eq!(pipeline.chat(&messages).unwrap(), expected["chat"]["rendered"].as_str().unwrap());
}

fn on(choice: DeviceChoice) -> DeviceOptions {
    DeviceOptions { choice, ..DeviceOptions::default() }
}

#[test]
fn oracle() {
    check(&on(DeviceChoice::Oracle));
}

#[test]
fn host() {
    // In f32, as the references are.
    check(&DeviceOptions { exact: true, ..on(DeviceChoice::Host) });
}

/// Every adapter, with all its abilities and with no more than WebGPU's.
#[test]
#[cfg(feature = "gpu-tests")]
fn gpu() {
    let adapters = pollster::block_on(Device::adapters());
    assert!(!adapters.is_empty(), "no GPU adapter; install a software Vulkan driver (Debian: mesa-vulkan-drivers)");
    for adapter in adapters {
        let all = on(DeviceChoice::Named(adapter.name));
        check(&all);
        check(&DeviceOptions { webgpu_limits: true, max_binding_bytes: Some(64 << 10), ..all });
    }
}
