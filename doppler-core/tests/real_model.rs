//! SmolLM2-135M against Hugging Face transformers in fp32: prompt ids, logits and greedy tokens, on every executor.
//!
//! Needs the model (98 MB), from the cache or its Python package; hence behind the feature `real-model-tests`.
#![cfg(feature = "real-model-tests")]
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

use std::path::PathBuf;
use std::sync::LazyLock;

use doppler_core::prelude::*;
use doppler_core::{DeviceChoice, DeviceOptions, models};
use serde_json::Value;

static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
    models::locate("smollm2-135m-instruct", None, |_| {})
        .expect("the model: in the cache or through its Python package")
});

static REFERENCE: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("fixtures/reference/hf_smollm2-135m-instruct-q4_1.json");
    serde_json::from_str(text).unwrap()
});

/// How near the logits must come: the tolerance of this project, for a cache of each type.
const F32_CACHE: f32 = 0.05;
const F16_CACHE: f32 = 0.15;

struct Case {
    prompt: String,
    prompt_ids: Vec<u32>,
    top: Vec<(u32, f32)>,
    first: Vec<f32>,
    greedy: Vec<(u32, f32)>,
}

fn cases() -> Vec<Case> {
    let ids = |v: &Value| -> Vec<u32> { v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect() };
    let floats = |v: &Value| -> Vec<f32> { v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect() };
    let cases = REFERENCE["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    cases
        .iter()
        .map(|c| Case {
            prompt: c["prompt"].as_str().unwrap().to_owned(),
            prompt_ids: ids(&c["prompt_ids"]),
            top: ids(&c["top5_ids"]).into_iter().zip(floats(&c["top5_logits"])).collect(),
            first: floats(&c["logits_first8"]),
            greedy: ids(&c["greedy_ids"]).into_iter().zip(floats(&c["greedy_margins"])).collect(),
        })
        .collect()
}

/// Checks logits and `tokens` greedy tokens of each prompt on one device.
fn check(options: DeviceOptions, kv_dtype: DType, tolerance: f32, tokens: usize) {
    pollster::block_on(async {
        let device = Device::open(&options).await.unwrap();
        let builder = DecoderPipeline::builder(&device, &*MODEL).max_seq_len(512).kv_dtype(kv_dtype);
        let mut pipeline = builder.build().await.unwrap();
        let tokenizer = Tokenizer::of(pipeline.model()).unwrap();
        for case in cases() {
            assert_eq!(tokenizer.encode(&case.prompt, true).unwrap(), case.prompt_ids, "{}", case.prompt);
            pipeline.rewind(0).unwrap();
            let logits = pipeline.forward(&case.prompt_ids, 1).await.unwrap();
            let logits = logits.last();
            let mut order: Vec<u32> = (0..logits.len() as u32).collect();
            order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
            let wanted: Vec<u32> = case.top.iter().map(|(id, _)| *id).collect();
            assert_eq!(&order[..5], &wanted[..], "{:?}: {}", options.choice, case.prompt);
            let known = case.top.iter().copied().chain((0..).zip(case.first.iter().copied()));
            for (id, expected) in known {
                let off = (logits[id as usize] - expected).abs();
                assert!(off <= tolerance, "{:?}: {}: logit {id} is off by {off}", options.choice, case.prompt);
            }
            for (step, (expected, margin)) in case.greedy.iter().take(tokens).enumerate() {
                let id = pipeline.greedy().await.unwrap();
                if id != *expected {
                    assert!(
                        *margin <= tolerance,
                        "{:?}: {}: token {step} is {id}, not {expected}",
                        options.choice,
                        case.prompt
                    );
                    break;
                }
            }
        }
    });
}

fn on(choice: DeviceChoice) -> DeviceOptions {
    DeviceOptions { choice, ..DeviceOptions::default() }
}

#[test]
fn oracle() {
    check(on(DeviceChoice::Oracle), DType::F32, F32_CACHE, 32);
}

#[test]
fn host() {
    check(on(DeviceChoice::Host), DType::F32, F32_CACHE, 32);
    check(on(DeviceChoice::Host), DType::F16, F16_CACHE, 32);
}

/// The best adapter at hand; on a software one, where a token takes seconds, fewer tokens.
#[test]
#[cfg(feature = "gpu-tests")]
fn gpu() {
    let adapters = pollster::block_on(Device::adapters());
    let adapter = adapters.first().expect("a GPU adapter, software ones included");
    let tokens = if adapter.software { 3 } else { 32 };
    let named = on(DeviceChoice::Named(adapter.name.clone()));
    check(named.clone(), DType::F32, F32_CACHE, tokens);
    check(named.clone(), DType::F16, F16_CACHE, tokens);
    // As the smallest WebGPU device would run it, with tensors split over bindings of 8 MiB.
    check(
        DeviceOptions { webgpu_limits: true, max_binding_bytes: Some(8 << 20), ..named },
        DType::F16,
        F16_CACHE,
        tokens.min(8),
    );
}
