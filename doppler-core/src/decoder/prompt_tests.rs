//! Prompts in few dispatches against the same prompts in f32, for everything in which families differ. On devices without
//! matrix units the portable variants of the same kernels run.
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

#[path = "../../tests/common/random_model.rs"]
mod random_model;

use std::path::Path;
use std::sync::Arc;

use doppler_rdrr::{Activation, LayerType, Model};
use pollster::block_on;
use random_model::{llama, write};

use super::*;
use crate::decoder::scratch_bytes;
use crate::gpu::Uploads;
use crate::kv_cache::stored_as;
use crate::{DeviceChoice, DeviceOptions};

/// Rows of each chunk of a prompt, and the logits that are wanted of it: all, the last two, none, the last.
const CHUNKS: [(usize, usize); 4] = [(21, 21), (40, 2), (9, 0), (70, 1)];

/// All logits of a prompt in chunks, by the path for many rows or by the one for matrix units.
fn logits(device: &Device, path: &Path, kv: DType, fused: bool) -> Vec<f32> {
    let model = Arc::new(Model::open(path).unwrap());
    let kv = stored_as(kv, model.config()).unwrap();
    let mut uploads = Uploads::default();
    let decoder = Decoder::load(device, &model, kv, &mut uploads, |_, _| {}).unwrap();
    uploads.run(device.gpu().unwrap(), |_, _| {}).unwrap();
    let c = &decoder.config;
    let cache = KvCache::new(device, c, kv, 140, 600).unwrap();
    let start = device.alloc("start", &[1], DType::U32).unwrap();
    let (mut position, mut all) = (0, Vec::new());
    for (rows, logit_rows) in CHUNKS {
        let ids = device.alloc("ids", &[rows], DType::U32).unwrap();
        let tokens: Vec<u32> = (position..position + rows).map(|i| (i * 41 % c.vocab_size) as u32).collect();
        device.write(&ids, bytemuck::cast_slice(&tokens)).unwrap();
        device.write(&start, bytemuck::bytes_of(&(position as u32))).unwrap();
        let inputs = Inputs { cache: &cache, ids, start: &start, rows, logit_rows };
        let before = device.peak_gpu_bytes();
        let forward = if fused {
            let layers = decoder.prompt.as_ref().unwrap();
            let forward = decoder.record_prompt(device, layers, inputs).unwrap();
            let steps = forward.recording.steps.iter().map(|step| step.kernel.name());
            // Two joins a layer and one before them; the last layer ends with its keys and values where nothing is wanted.
            let joins = 1 + 2 * (layers.len() - usize::from(logit_rows == 0));
            assert_eq!(steps.filter(|name| *name == "join_half").count(), joins);
            forward
        } else {
            decoder.record(device, inputs).unwrap()
        };
        // The smallest buffers take 256 bytes, and the pool rounds up.
        let (taken, planned) = (device.peak_gpu_bytes() - before, scratch_bytes(c, rows, logit_rows));
        assert!(taken <= planned + planned / 8 + (16 << 10), "{taken} bytes taken, {planned} planned");
        let read = forward.logits.as_ref().map(|logits| (logits, logits.len()));
        let pending = device.submit(&[&forward.recording], read).unwrap();
        all.extend(pending.map(|bytes| block_on(bytes.bytes()).unwrap()).into_iter().flatten());
        position += rows;
    }
    bytemuck::pod_collect_to_vec(&all)
}

/// Root of the mean square.
fn size(values: impl Iterator<Item = f32>) -> f64 {
    let squares: Vec<f64> = values.map(|v| f64::from(v).powi(2)).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// Rows in f16 give other logits than rows in f32, and by no more than rounding explains.
fn check(label: &str, config: ModelConfig, formats: impl Fn(&str) -> DType, kv: DType) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.rdrr");
    write(config, formats, &path);
    for adapter in block_on(Device::adapters()) {
        let open = |exact| {
            let choice = DeviceChoice::Named(adapter.name.clone());
            block_on(Device::open(&DeviceOptions { choice, exact, ..DeviceOptions::default() })).unwrap()
        };
        let (fused, exact) = (logits(&open(false), &path, kv, true), logits(&open(true), &path, kv, false));
        assert_eq!(fused.len(), exact.len(), "{label}");
        let off = size(fused.iter().zip(&exact).map(|(f, e)| f - e)) / size(exact.iter().copied());
        // The portable variants are off by 0.0008 at most; matrix units round weights and softmax, too. Where rounding takes a
        // key or value to the next int8, logits move more.
        let most = if kv == DType::Q8_0 { 0.02 } else { 0.006 };
        assert!(off > 0.0 && off < most, "{label}: f16 is off by {off:.5} of the logits' size");
    }
}

#[test]
fn families() {
    let q8 = |_: &str| DType::Q8_0;
    let q4 = |_: &str| DType::Q4_K;
    check("Llama", llama(), q4, DType::F16);
    let biased = ModelConfig { attention_bias: true, tie_word_embeddings: true, ..llama() };
    check("biases", biased, q8, DType::F16);
    let gemma = ModelConfig {
        sandwich_norms: true,
        qk_norm: true,
        rms_norm_weight_offset: true,
        hidden_act: Activation::GeluTanh,
        // What branches give must not vanish beside the embeddings.
        embedding_scale: 0.5,
        sliding_window: Some(30),
        layer_types: vec![LayerType::SlidingAttention, LayerType::FullAttention],
        rope_local_base_freq: Some(1000.0),
        attn_logit_softcapping: Some(20.0),
        final_logit_softcapping: Some(30.0),
        ..llama()
    };
    check("Gemma", gemma, q8, DType::F16);
    let partial = ModelConfig { rotary_dim: 24, rope_layers: vec![true, false], ..llama() };
    check("partial rotation and none", partial, q8, DType::F16);
    check("scales", ModelConfig { residual_scale: 0.5, logit_input_scale: 0.25, ..llama() }, q8, DType::F16);
}

#[test]
fn formats_and_caches() {
    check("f16 weights", llama(), |_| DType::F16, DType::F16);
    // As people mix them: some layers with better values.
    let mixed = |name: &str| if name.contains("0.self_attn.v_proj") { DType::Q6_K } else { DType::Q4_K };
    let both = ModelConfig { attention_bias: true, qk_norm: true, ..llama() };
    check("values of another format", both.clone(), mixed, DType::F16);
    check("a cache in f32", both.clone(), mixed, DType::F32);
    check("a cache of int8", both, mixed, DType::Q8_0);
}

/// What matrix units do not take is said, and goes the other way.
#[test]
fn what_is_not_taken_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = block_on(Device::adapters()).remove(0);
    let options = DeviceOptions { choice: DeviceChoice::Named(adapter.name), ..DeviceOptions::default() };
    let why = |name: &str, formats: &dyn Fn(&str) -> DType, options: &DeviceOptions| {
        let path = folder.path().join(name);
        write(llama(), formats, &path);
        let device = block_on(Device::open(options)).unwrap();
        let model = Arc::new(Model::open(&path).unwrap());
        let decoder = Decoder::load(&device, &model, DType::F16, &mut Uploads::default(), |_, _| {}).unwrap();
        decoder.why_prompts_are_not_fused(&device).map(str::to_owned)
    };
    let said = why("bf16", &|_| DType::BF16, &options).unwrap();
    assert!(said.contains("BF16 with 256 columns, cannot be multiplied in f16"), "{said}");
    let unequal = |name: &str| if name.contains("up_proj") { DType::Q8_0 } else { DType::Q4_K };
    assert!(why("unequal", &unequal, &options).unwrap().contains("gate and up"));
    let exact = DeviceOptions { exact: true, ..options.clone() };
    assert!(why("exact", &|_| DType::Q4_K, &exact).unwrap().contains("exact"));
    // Nothing but the device stands in the way, if anything.
    let left = why("llama", &|_| DType::Q4_K, &options);
    assert!(left.is_none_or(|why| why == "the device has no matrix units"));
}
