//! Real models against Hugging Face transformers in fp32: prompt ids, logits and greedy tokens, on every executor.
//!
//! SmolLM2 (98 MB) is behind the feature `real-model-tests`; Gemma 3 270M and Qwen2.5-Coder 0.5B (745 MB together) are
//! behind `all-model-tests`. Each comes from the cache, else from its sources.
#![cfg(feature = "real-model-tests")]
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

mod common;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use doppler_core::prelude::*;
use doppler_core::{DeviceChoice, DeviceOptions, catalog, models};
use serde_json::Value;

/// A model of the catalog, what transformers says of it in fp32, and what llama.cpp says on a CPU.
struct Real {
    id: &'static str,
    reference: &'static str,
    llama_cpp: &'static str,
    path: OnceLock<PathBuf>,
}

impl Real {
    const fn new(id: &'static str, reference: &'static str, llama_cpp: &'static str) -> Real {
        Real { id, reference, llama_cpp, path: OnceLock::new() }
    }

    /// Fetched and converted, once.
    fn path(&self) -> &Path {
        self.path
            .get_or_init(|| models::locate(self.id, None, |_| {}).expect("the model, in the cache or from a source"))
    }
}

static SMOLLM2: Real = Real::new(
    "smollm2-135m-instruct",
    include_str!("fixtures/reference/hf_smollm2-135m-instruct-q4_1.json"),
    include_str!("fixtures/reference/llamacpp_smollm2-135m-instruct-q4_1.json"),
);
#[cfg(feature = "all-model-tests")]
static GEMMA_3: Real = Real::new(
    "gemma-3-270m",
    include_str!("fixtures/reference/hf_gemma3-270m-q4_k_m.json"),
    include_str!("fixtures/reference/llamacpp_gemma3-270m-q4_k_m.json"),
);
#[cfg(feature = "all-model-tests")]
static QWEN: Real = Real::new(
    "qwen2.5-coder-0.5b-instruct",
    include_str!("fixtures/reference/hf_qwen2.5-coder-0.5b-instruct-q4_k_m.json"),
    include_str!("fixtures/reference/llamacpp_qwen2.5-coder-0.5b-instruct-q4_k_m.json"),
);

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

fn cases(model: &Real) -> Vec<Case> {
    let ids = |v: &Value| -> Vec<u32> { v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect() };
    let floats = |v: &Value| -> Vec<f32> { v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect() };
    let reference: Value = serde_json::from_str(model.reference).unwrap();
    let cases = reference["cases"].as_array().unwrap();
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
fn check(model: &Real, options: &DeviceOptions, kv_dtype: DType, tolerance: f32, tokens: usize) {
    pollster::block_on(async {
        let device = Device::open(options).await.unwrap();
        let builder = DecoderPipeline::builder(&device, model.path()).max_seq_len(512).kv_dtype(kv_dtype);
        let mut pipeline = builder.build().await.unwrap();
        let tokenizer = Tokenizer::of(pipeline.model()).unwrap();
        for case in cases(model) {
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
        let entry = catalog::ENTRIES.iter().find(|entry| entry.id == model.id).unwrap();
        common::passed(entry.family, model.id, &pipeline, tolerance, tokens);
    });
}

fn on(choice: DeviceChoice) -> DeviceOptions {
    DeviceOptions { choice, ..DeviceOptions::default() }
}

/// The CPU with products in f32, which is what the tolerances are for.
fn exact_host() -> DeviceOptions {
    DeviceOptions { kernel_overrides: [("matmul".to_owned(), "f32".to_owned())].into(), ..on(DeviceChoice::Host) }
}

/// Products in int8 take the logits no farther from fp32 than llama.cpp's CPU build, which rounds activations too, and
/// the greedy tokens elsewhere only where the two likeliest are nearly level.
fn check_int8(model: &Real) {
    let llama_cpp: Value = serde_json::from_str(model.llama_cpp).unwrap();
    let theirs = llama_cpp["cases"].as_array().unwrap();
    pollster::block_on(async {
        let device = Device::open(&on(DeviceChoice::Host)).await.unwrap();
        let builder = DecoderPipeline::builder(&device, model.path()).max_seq_len(512).kv_dtype(DType::F32);
        let mut pipeline = builder.build().await.unwrap();
        let (mut ours_off, mut theirs_off) = (0f32, 0f32);
        for (case, theirs) in cases(model).iter().zip(theirs) {
            let known: Vec<(u32, f32)> =
                case.top.iter().copied().chain((0..).zip(case.first.iter().copied())).collect();
            let first =
                theirs["first8"].as_array().unwrap().iter().zip(0u32..).map(|(v, id)| (id, v.as_f64().unwrap()));
            let top = theirs["top5"].as_array().unwrap().iter();
            let top = top.map(|pair| (pair[0].as_u64().unwrap() as u32, pair[1].as_f64().unwrap()));
            for (id, logit) in top.chain(first) {
                // Their five largest may not be those of the reference.
                if let Some((_, expected)) = known.iter().find(|(known, _)| *known == id) {
                    theirs_off = theirs_off.max((logit as f32 - expected).abs());
                }
            }
            pipeline.rewind(0).unwrap();
            let logits = pipeline.forward(&case.prompt_ids, 1).await.unwrap();
            for (id, expected) in &known {
                ours_off = ours_off.max((logits.last()[*id as usize] - expected).abs());
            }
            for (step, (expected, margin)) in case.greedy.iter().enumerate() {
                let id = pipeline.greedy().await.unwrap();
                if id != *expected {
                    assert!(*margin < 0.5, "{}: token {step} is {id}, not {expected}", case.prompt);
                    break;
                }
            }
        }
        let variants = device.kernel_variants();
        assert!(variants.iter().any(|(kernel, form)| kernel.starts_with("matmul/Q") && form.starts_with("int8")));
        assert!(ours_off <= theirs_off, "{}: off by {ours_off}, llama.cpp by {theirs_off}", model.id);
    });
}

#[test]
fn oracle() {
    check(&SMOLLM2, &on(DeviceChoice::Oracle), DType::F32, F32_CACHE, 32);
}

#[test]
fn host_in_int8() {
    check_int8(&SMOLLM2);
}

#[test]
fn host() {
    check(&SMOLLM2, &exact_host(), DType::F32, F32_CACHE, 32);
    check(&SMOLLM2, &exact_host(), DType::F16, F16_CACHE, 32);
}

/// The best adapter at hand; on a software one, where a token takes seconds, fewer tokens.
#[cfg(feature = "gpu-tests")]
fn best_adapter() -> (DeviceOptions, bool) {
    let adapter =
        pollster::block_on(Device::adapters()).into_iter().next().expect("a GPU adapter, software ones included");
    (on(DeviceChoice::Named(adapter.name)), adapter.software)
}

#[test]
#[cfg(feature = "gpu-tests")]
fn gpu() {
    let (named, software) = best_adapter();
    let tokens = if software { 3 } else { 32 };
    // As the smallest WebGPU device would run it, with tensors split over bindings of 8 MiB.
    let small = DeviceOptions { webgpu_limits: true, max_binding_bytes: Some(8 << 20), ..named.clone() };
    check(&SMOLLM2, &small, DType::F16, F16_CACHE, tokens.min(8));
    check(&SMOLLM2, &named, DType::F32, F32_CACHE, tokens);
    check(&SMOLLM2, &named, DType::F16, F16_CACHE, tokens);
}

#[test]
#[cfg(feature = "all-model-tests")]
fn gemma_and_qwen_on_the_host() {
    for model in [&GEMMA_3, &QWEN] {
        check(model, &exact_host(), DType::F32, F32_CACHE, 32);
        check(model, &exact_host(), DType::F16, F16_CACHE, 32);
        check_int8(model);
    }
}

/// With WebGPU's 128 MiB bindings, Gemma's embedding of 262 144 rows (178 MB) is split, for lookup and output head.
#[test]
#[cfg(all(feature = "all-model-tests", feature = "gpu-tests"))]
fn gemma_and_qwen_on_a_gpu() {
    let (named, software) = best_adapter();
    let tokens = if software { 2 } else { 32 };
    let small = DeviceOptions { webgpu_limits: true, ..named.clone() };
    for model in [&GEMMA_3, &QWEN] {
        check(model, &small, DType::F32, F32_CACHE, tokens);
        if !software {
            check(model, &named, DType::F16, F16_CACHE, tokens);
        }
    }
}
