//! Real models against Hugging Face transformers in fp32: prompt ids, logits and greedy tokens, on every executor.
//!
//! SmolLM2 (98 MB) is behind the feature `real-model-tests`; Gemma 3 270M and Qwen2.5-Coder 0.5B and 1.5B (1.9 GB
//! together) are behind `all-model-tests`. Each comes from the cache, else from its sources.
#![cfg(feature = "real-model-tests")]
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

mod common;
mod requantize;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use doppler_core::prelude::*;
use doppler_core::rdrr::convert::{ConvertOptions, convert};
#[cfg(all(feature = "all-model-tests", feature = "gpu-tests"))]
use doppler_core::rdrr::{NewModel, Writer, dequantize};
use doppler_core::{DeviceChoice, DeviceOptions, catalog, models};
#[cfg(all(feature = "all-model-tests", feature = "gpu-tests"))]
use half::f16;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A model of the catalog, what transformers says of it in fp32, and how far llama.cpp is from that on a CPU.
struct Real {
    id: &'static str,
    reference: &'static str,
    /// `None` where that was not asked.
    llama_cpp: Option<LlamaCpp>,
    path: OnceLock<PathBuf>,
}

/// What llama.cpp's CPU build, which rounds activations to int8 too, says of a model.
struct LlamaCpp {
    /// Logits behind the prompts of the reference.
    logits: &'static str,
    /// Of `xtask/scripts/divergence.py`.
    divergence: &'static str,
}

impl Real {
    const fn new(id: &'static str, reference: &'static str, llama_cpp: Option<LlamaCpp>) -> Real {
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
    Some(LlamaCpp {
        logits: include_str!("fixtures/reference/llamacpp_smollm2-135m-instruct-q4_1.json"),
        divergence: include_str!("fixtures/reference/divergence_smollm2-135m-instruct-q4_1.json"),
    }),
);
#[cfg(feature = "all-model-tests")]
static GEMMA_3: Real = Real::new(
    "gemma-3-270m",
    include_str!("fixtures/reference/hf_gemma3-270m-q4_k_m.json"),
    Some(LlamaCpp {
        logits: include_str!("fixtures/reference/llamacpp_gemma3-270m-q4_k_m.json"),
        divergence: include_str!("fixtures/reference/divergence_gemma3-270m-q4_k_m.json"),
    }),
);
#[cfg(feature = "all-model-tests")]
static QWEN: Real = Real::new(
    "qwen2.5-coder-0.5b-instruct",
    include_str!("fixtures/reference/hf_qwen2.5-coder-0.5b-instruct-q4_k_m.json"),
    Some(LlamaCpp {
        logits: include_str!("fixtures/reference/llamacpp_qwen2.5-coder-0.5b-instruct-q4_k_m.json"),
        divergence: include_str!("fixtures/reference/divergence_qwen2.5-coder-0.5b-instruct-q4_k_m.json"),
    }),
);

#[cfg(feature = "all-model-tests")]
static QWEN_1_5B: Real = Real::new(
    "qwen2.5-coder-1.5b-instruct",
    include_str!("fixtures/reference/hf_qwen2.5-coder-1.5b-instruct-q4_k_m.json"),
    None,
);

/// How near the logits must come: the tolerance of this project, for a cache of each type.
fn tolerance(kv_dtype: DType) -> f32 {
    if kv_dtype == DType::F32 { 0.05 } else { 0.15 }
}

struct Case {
    prompt: String,
    prompt_ids: Vec<u32>,
    top: Vec<(u32, f32)>,
    first: Vec<f32>,
    greedy: Vec<(u32, f32)>,
}

impl Case {
    /// The logits that are known.
    fn known(&self) -> impl Iterator<Item = (u32, f32)> {
        self.top.iter().copied().chain((0..).zip(self.first.iter().copied()))
    }
}

fn cases(reference: &Value) -> Vec<Case> {
    let ids = |v: &Value| -> Vec<u32> { v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect() };
    let floats = |v: &Value| -> Vec<f32> { v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect() };
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

/// Checks logits and `tokens` greedy tokens of the first `prompts` prompts on one device.
fn check(model: &Real, options: &DeviceOptions, kv_dtype: DType, prompts: usize, tokens: usize) {
    let reference: Value = serde_json::from_str(model.reference).unwrap();
    let all = cases(&reference);
    let cases = &all[..prompts.min(all.len())];
    let pipeline = run(model.path(), cases, options, kv_dtype, tokens);
    let entry = catalog::ENTRIES.iter().find(|entry| entry.id == model.id).unwrap();
    let fewer = (cases.len() < all.len()).then_some(cases.len());
    common::passed(entry.family, model.id, &pipeline, tolerance(kv_dtype), fewer, tokens);
}

/// Holds the model in the folder `path` against the cases, and returns its pipeline for further questions.
fn run(path: &Path, cases: &[Case], options: &DeviceOptions, kv_dtype: DType, tokens: usize) -> DecoderPipeline {
    let tolerance = tolerance(kv_dtype);
    pollster::block_on(async {
        let device = Device::open(options).await.unwrap();
        let builder = DecoderPipeline::builder(&device, path).max_seq_len(512).kv_dtype(kv_dtype);
        let mut pipeline = builder.build().await.unwrap();
        let tokenizer = Tokenizer::of(pipeline.model()).unwrap();
        let (mut furthest, mut same) = (0.0_f32, 0);
        for case in cases {
            assert_eq!(tokenizer.encode(&case.prompt, true).unwrap(), case.prompt_ids, "{}", case.prompt);
            pipeline.rewind(0).unwrap();
            let logits = pipeline.forward(&case.prompt_ids, 1).await.unwrap();
            let logits = logits.last();
            let mut order: Vec<u32> = (0..logits.len() as u32).collect();
            order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
            let wanted: Vec<u32> = case.top.iter().map(|(id, _)| *id).collect();
            assert_eq!(&order[..5], &wanted[..], "{:?}: {}", options.choice, case.prompt);
            for (id, expected) in case.known() {
                let off = (logits[id as usize] - expected).abs();
                assert!(off <= tolerance, "{:?}: {}: logit {id} is off by {off}", options.choice, case.prompt);
                furthest = furthest.max(off);
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
                same += 1;
            }
        }
        eprintln!(
            "{}, {kv_dtype} cache: {} prompts, logits within {furthest:.1e}, {same} of {} greedy tokens the same",
            pipeline.model().manifest().model_id(),
            cases.len(),
            cases.len() * tokens,
        );
        pipeline
    })
}

/// The first `prompts` prompts with SmolLM2 and keys and values of Q8_0.
fn cache_of_int8(options: &DeviceOptions, prompts: usize, tokens: usize) {
    let reference: Value = serde_json::from_str(SMOLLM2.reference).unwrap();
    let cases = cases(&reference);
    run(SMOLLM2.path(), &cases[..prompts.min(cases.len())], options, DType::Q8_0, tokens);
}

/// All prompts of a reference, or all texts.
const ALL: usize = usize::MAX;

/// With products in f32, which is what the tolerances are for.
fn on(choice: DeviceChoice) -> DeviceOptions {
    DeviceOptions { choice, exact: true, ..DeviceOptions::default() }
}

/// The farthest that llama.cpp's logits are known to be from fp32.
#[cfg(feature = "gpu-tests")]
const LLAMA_CPP_AT_MOST: f32 = 0.64;

/// Products in int8 take the logits no farther from fp32 than llama.cpp's, or than `at_most`, and the greedy tokens elsewhere
/// only where the two likeliest are nearly level; then [`check_divergence`].
fn check_int8(model: &Real, choice: DeviceChoice, tokens: usize, at_most: f32, texts: [usize; 2]) {
    let llama_cpp: Value = serde_json::from_str(model.llama_cpp.as_ref().unwrap().logits).unwrap();
    let theirs = llama_cpp["cases"].as_array().unwrap();
    let reference: Value = serde_json::from_str(model.reference).unwrap();
    pollster::block_on(async {
        let device = Device::open(&DeviceOptions { exact: false, ..on(choice) }).await.unwrap();
        let builder = DecoderPipeline::builder(&device, model.path()).max_seq_len(512).kv_dtype(DType::F32);
        let mut pipeline = builder.build().await.unwrap();
        let (mut ours_off, mut theirs_off) = (0f32, 0f32);
        for (case, theirs) in cases(&reference).iter().zip(theirs) {
            let first =
                theirs["first8"].as_array().unwrap().iter().zip(0u32..).map(|(v, id)| (id, v.as_f64().unwrap()));
            let top = theirs["top5"].as_array().unwrap().iter();
            let top = top.map(|pair| (pair[0].as_u64().unwrap() as u32, pair[1].as_f64().unwrap()));
            for (id, logit) in top.chain(first) {
                // Their five largest may not be those of the reference.
                if let Some((_, expected)) = case.known().find(|(known, _)| *known == id) {
                    theirs_off = theirs_off.max((logit as f32 - expected).abs());
                }
            }
            pipeline.rewind(0).unwrap();
            // The last token is a decode step of its own.
            let (last, before) = case.prompt_ids.split_last().unwrap();
            if !before.is_empty() {
                pipeline.forward(before, 0).await.unwrap();
            }
            let logits = pipeline.forward(&[*last], 1).await.unwrap();
            for (id, expected) in case.known() {
                ours_off = ours_off.max((logits.last()[id as usize] - expected).abs());
            }
            for (step, (expected, margin)) in case.greedy.iter().take(tokens).enumerate() {
                let id = pipeline.greedy().await.unwrap();
                if id != *expected {
                    assert!(*margin < 0.5, "{}: token {step} is {id}, not {expected}", case.prompt);
                    break;
                }
            }
        }
        check_divergence(model, &mut pipeline, texts).await;
        let variants = device.kernel_variants();
        let int8 = |(kernel, form): (&String, &String)| {
            ["linear_gated/A8", "gemm_a8/A8"].contains(&kernel.as_str())
                || kernel.starts_with("matmul/Q") && form.starts_with("int8")
        };
        assert!(variants.iter().any(int8), "{variants:?}");
        assert!(ours_off <= theirs_off.max(at_most), "{}: off by {ours_off}, llama.cpp by {theirs_off}", model.id);
    });
}

/// Int8 takes what is expected next about as far from fp32 as llama.cpp's CPU build does: in so many texts as prompts, and in so
/// many, no more, in steps of one token. What fp32 expects, this project's own f32 on the CPU says, which [`check`] holds to
/// transformers.
async fn check_divergence(model: &Real, rounded: &mut DecoderPipeline, [texts, stepped]: [usize; 2]) {
    // The same rounding falls differently with the order of sums: so many tokens tell the mean to about a tenth.
    const NOISE: f64 = 1.25;
    let known: Value = serde_json::from_str(model.llama_cpp.as_ref().unwrap().divergence).unwrap();
    let numbers = |v: &Value| v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
    let theirs = numbers(&known["divergence"]);
    let host = Device::open(&on(DeviceChoice::Host)).await.unwrap();
    let builder = DecoderPipeline::builder(&host, model.path()).max_seq_len(512).kv_dtype(DType::F32);
    let mut exact = builder.build().await.unwrap();
    let (mut prompts, mut steps) = (Vec::new(), Vec::new());
    for (i, text) in known["texts"].as_array().unwrap().iter().enumerate().take(texts) {
        let ids: Vec<u32> = numbers(text).into_iter().map(|id| id as u32).collect();
        exact.rewind(0).unwrap();
        rounded.rewind(0).unwrap();
        let expected = exact.forward(&ids, ids.len()).await.unwrap();
        let logits = rounded.forward(&ids, ids.len()).await.unwrap();
        prompts.extend(expected.rows().zip(logits.rows()).map(|(expected, logits)| divergence(expected, logits)));
        rounded.rewind(0).unwrap();
        for (id, expected) in ids.iter().zip(expected.rows()).filter(|_| i < stepped) {
            steps.push(divergence(expected, rounded.forward(&[*id], 1).await.unwrap().last()));
        }
    }
    assert!(texts != ALL || prompts.len() == theirs.len());
    for (how, ours) in [("prompts", prompts), ("steps", steps)] {
        let n = ours.len();
        let [ours, theirs] = [&ours, &theirs].map(|all| all[..n].iter().sum::<f64>() / n as f64);
        let (id, adapter) = (model.id, &rounded.device().report().adapter);
        eprintln!("{id} on {adapter}, {how} of {n}: {ours:.6} nats from fp32, llama.cpp {theirs:.6}");
        assert!(ours > 0.0, "{id}: {how} are not rounded");
        assert!(ours <= NOISE * theirs, "{id}: {how} are {ours:.6} nats from fp32, llama.cpp's are {theirs:.6}");
    }
}

/// The Kullback-Leibler divergence of what `rounded` logits expect from what `exact` ones do, in nats.
fn divergence(exact: &[f32], rounded: &[f32]) -> f64 {
    let logs = |logits: &[f32]| {
        let most = f64::from(logits.iter().copied().fold(f32::MIN, f32::max));
        let sum: f64 = logits.iter().map(|v| (f64::from(*v) - most).exp()).sum();
        let log = most + sum.ln();
        assert!(log.is_finite());
        log
    };
    let (e, r) = (logs(exact), logs(rounded));
    let terms = exact.iter().zip(rounded).map(|(exact, rounded)| {
        let exact = f64::from(*exact) - e;
        exact.exp() * (exact - (f64::from(*rounded) - r))
    });
    terms.sum()
}

#[test]
fn oracle() {
    check(&SMOLLM2, &on(DeviceChoice::Oracle), DType::F32, ALL, 32);
}

#[test]
fn host_in_int8() {
    check_int8(&SMOLLM2, DeviceChoice::Host, 32, 0.0, [ALL; 2]);
}

#[test]
fn host() {
    check(&SMOLLM2, &on(DeviceChoice::Host), DType::F32, ALL, 32);
    check(&SMOLLM2, &on(DeviceChoice::Host), DType::F16, ALL, 32);
    cache_of_int8(&on(DeviceChoice::Host), ALL, 32);
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
    // A software adapter takes all prompts with one cache only.
    let (prompts, tokens) = if software { (1, 3) } else { (ALL, 32) };
    // As the smallest WebGPU device would run it, with tensors split over bindings of 8 MiB.
    let small = DeviceOptions { webgpu_limits: true, max_binding_bytes: Some(8 << 20), ..named.clone() };
    check(&SMOLLM2, &small, DType::F16, prompts, tokens.min(8));
    check(&SMOLLM2, &named, DType::F16, prompts, tokens);
    cache_of_int8(&named, prompts, tokens);
    check(&SMOLLM2, &named, DType::F32, ALL, tokens);
}

#[test]
#[cfg(feature = "gpu-tests")]
fn gpu_in_int8() {
    let (named, software) = best_adapter();
    let (tokens, texts) = if software { (3, [ALL, 2]) } else { (32, [ALL; 2]) };
    // What rounding does to three prompts is a draw: with other variants of kernels, exact ones too, in front of the same step
    // one of them is off by 0.15 to 0.59. What is expected next tells more.
    check_int8(&SMOLLM2, named.choice, tokens, LLAMA_CPP_AT_MOST, texts);
}

/// SmolLM2 in each weight format, in the very files of llama.cpp's quantizer, against transformers reading those.
#[test]
fn every_weight_format() {
    let reference: Value = serde_json::from_str(include_str!("fixtures/reference/requantized.json")).unwrap();
    let formats = reference["formats"].as_object().unwrap();
    assert_eq!(formats.len(), DType::WEIGHTS.len());
    let entry = catalog::ENTRIES.iter().find(|entry| entry.id == SMOLLM2.id).unwrap();
    let cache_dir = catalog::default_cache_dir().unwrap();
    let source = catalog::fetch(entry, &cache_dir, &catalog::FetchOptions::default(), &mut |_| {}).unwrap();
    let source = std::fs::read(source).unwrap();
    for dtype in DType::WEIGHTS {
        let known = &formats[dtype.name()];
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (file, model) = (folder.path().join("model.gguf"), folder.path().join(format!("smollm2-{dtype}.rdrr")));
        let bytes = requantize::requantize(&source, *dtype);
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(known["sha256"], digest, "{dtype}: this is not the file of llama.cpp");
        std::fs::write(&file, bytes).unwrap();
        convert(&file, &model, &ConvertOptions::default(), |_| {}).unwrap();

        let name = format!("{} as {dtype}", SMOLLM2.id);
        let cases = cases(known);
        let pipeline = run(&model, &cases, &on(DeviceChoice::Host), DType::F32, 32);
        let mut kept = serde_json::Map::new();
        for tensor in pipeline.model().tensors() {
            let count = kept.get(tensor.dtype.name()).and_then(Value::as_u64).unwrap_or_default();
            kept.insert(tensor.dtype.name().to_owned(), (count + 1).into());
        }
        assert_eq!(Value::Object(kept), known["tensors"], "{dtype}: the conversion changed formats");
        common::passed(entry.family, &name, &pipeline, tolerance(DType::F32), None, 32);
        #[cfg(feature = "gpu-tests")]
        {
            let (named, software) = best_adapter();
            let (prompts, tokens) = if software { (1, 2) } else { (cases.len(), 32) };
            let pipeline = run(&model, &cases[..prompts], &named, DType::F32, tokens);
            let fewer = software.then_some(prompts);
            common::passed(entry.family, &name, &pipeline, tolerance(DType::F32), fewer, tokens);
        }
    }
}

#[test]
#[cfg(feature = "all-model-tests")]
fn gemma_and_qwen_on_the_host() {
    for model in [&GEMMA_3, &QWEN, &QWEN_1_5B] {
        check(model, &on(DeviceChoice::Host), DType::F32, ALL, 32);
        check(model, &on(DeviceChoice::Host), DType::F16, ALL, 32);
        if model.llama_cpp.is_some() {
            check_int8(model, DeviceChoice::Host, 32, 0.0, [ALL, 2]);
        }
    }
}

#[test]
#[cfg(all(feature = "all-model-tests", feature = "gpu-tests"))]
fn gemma_and_qwen_on_a_gpu() {
    let (named, software) = best_adapter();
    if software {
        // Prompts in int8 are fast enough; in f32 they take most of an hour.
        [&GEMMA_3, &QWEN].into_iter().for_each(|model| check_int8(model, named.choice.clone(), 2, 0.0, [2, 1]));
        return;
    }
    let small = DeviceOptions { webgpu_limits: true, ..named.clone() };
    for model in [&GEMMA_3, &QWEN, &QWEN_1_5B] {
        check(model, &small, DType::F32, ALL, 32);
        check(model, &named, DType::F16, ALL, 32);
        if model.llama_cpp.is_some() {
            check_int8(model, named.choice.clone(), 32, 0.0, [ALL; 2]);
        }
    }
}

/// Gemma's embedding of 262 144 rows is more than a binding of WebGPU's 128 MiB, so it is split, for the lookup and for
/// the output head: packed, as in its file (Q8_0, 178 MB), and widened to f16 (336 MB).
#[test]
#[cfg(all(feature = "all-model-tests", feature = "gpu-tests"))]
fn a_large_vocabulary_is_split_on_a_gpu() {
    const EMBEDDING: &str = "model.embed_tokens.weight";
    let (named, software) = best_adapter();
    let small = DeviceOptions { webgpu_limits: true, ..named };
    let (prompts, tokens, f16_tokens) = if software { (1, 2, 0) } else { (ALL, 32, 32) };
    check(&GEMMA_3, &small, DType::F32, prompts, tokens);

    let folder = tempfile::tempdir().unwrap();
    let widened = folder.path().join("gemma-3-270m-f16-embedding.rdrr");
    let packed = Model::open(GEMMA_3.path()).unwrap();
    widen(&packed, EMBEDDING, &widened);
    let reference: Value = serde_json::from_str(GEMMA_3.reference).unwrap();
    let cases = cases(&reference);
    let pipeline = run(&widened, &cases[..prompts.min(cases.len())], &small, DType::F32, f16_tokens);

    let limit = pipeline.device().report().max_binding_bytes.unwrap();
    let bytes = |model: &Model| model.tensor(EMBEDDING).unwrap().num_bytes();
    assert_eq!(bytes(&packed).div_ceil(limit), 2);
    assert_eq!(bytes(pipeline.model()).div_ceil(limit), 3);
}

/// Writes `model` with one of its tensors as f16.
#[cfg(all(feature = "all-model-tests", feature = "gpu-tests"))]
fn widen(model: &Model, name: &str, out: &Path) {
    let mut writer = Writer::create(out).unwrap();
    for tensor in model.tensors() {
        let bytes = model.bytes(tensor);
        if tensor.name == name {
            let mut values = vec![0.0; tensor.shape.iter().product()];
            dequantize(tensor.dtype, &bytes, &mut values).unwrap();
            let values: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
            writer.begin_tensor(name, DType::F16, &tensor.shape).unwrap();
            writer.write(bytemuck::cast_slice(&values)).unwrap();
        } else {
            writer.begin_tensor(&tensor.name, tensor.dtype, &tensor.shape).unwrap();
            writer.write(&bytes).unwrap();
        }
    }
    let text = |text: Option<&str>| text.map(str::to_owned);
    let new = NewModel {
        model_id: out.file_stem().unwrap().to_string_lossy().into_owned(),
        model_type: "transformer".to_owned(),
        config: model.config().clone(),
        tokenizer_json: model.tokenizer_json().unwrap(),
        chat_template: text(model.chat_template()),
        bos_token: text(model.bos_token()),
        eos_token: text(model.eos_token()),
        source: Value::Null,
    };
    writer.finish(new).unwrap();
}
