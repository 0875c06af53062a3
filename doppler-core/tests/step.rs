//! Decode steps on int8 activations against the same steps in f32, for everything in which families differ; and prompts.
#![cfg(feature = "gpu-tests")]
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

#[path = "common/random_model.rs"]
mod random_model;

use std::path::Path;

use doppler_core::prelude::*;
use doppler_core::rdrr::{Activation, LayerType, ModelConfig};
use doppler_core::{DeviceChoice, DeviceOptions};
use pollster::block_on;
use random_model::{llama, write};

/// What steps run with besides the model.
struct With {
    kv: DType,
    max_binding_bytes: Option<u64>,
    /// Tokens of the prompt before them.
    prompt: usize,
    /// Rows of the largest: drivers compile long for many.
    rows: usize,
}

const USUAL: With = With { kv: DType::F16, max_binding_bytes: None, prompt: 8, rows: 4 };

/// Logits of decode steps of one row and of a few after a prompt, and why they are not on int8.
fn steps(path: &Path, options: &DeviceOptions, with: &With) -> (Vec<Vec<f32>>, Option<String>) {
    block_on(async {
        let device = Device::open(options).await.unwrap();
        let builder = DecoderPipeline::builder(&device, path).max_seq_len(with.prompt + 500).kv_dtype(with.kv);
        let mut pipeline = builder.build().await.unwrap();
        let prompt: Vec<u32> = (0..with.prompt as u32).map(|i| (7 + i * 293) % 333).collect();
        pipeline.forward(&prompt, 1).await.unwrap();
        let mut logits = Vec::new();
        for token in [9, 332, 77] {
            logits.push(pipeline.forward(&[token], 1).await.unwrap().values);
        }
        // One of the largest goes across a tile of the attention; with all logits, the last two and none.
        let few: Vec<u32> = (0..8).map(|i| 3 + i * 41).collect();
        for (rows, wanted) in [(with.rows, with.rows), (3, 2), (3, 0)].repeat(6) {
            let values = pipeline.forward(&few[..rows], wanted).await.unwrap().values;
            logits.extend((wanted > 0).then_some(values));
        }
        (logits, pipeline.why_not_int8().map(str::to_owned))
    })
}

/// Root of the mean square.
fn size(values: impl Iterator<Item = f32>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for v in values {
        assert!(v.is_finite());
        sum += f64::from(v).powi(2);
        count += 1;
    }
    (sum / f64::from(count)).sqrt()
}

/// Steps on int8 differ from exact ones, and by no more than rounding to int8 explains.
fn check(label: &str, config: ModelConfig, formats: impl Fn(&str) -> DType) {
    check_with(label, config, formats, &USUAL);
}

fn check_with(label: &str, config: ModelConfig, formats: impl Fn(&str) -> DType, with: &With) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.rdrr");
    write(config, formats, &path);
    for adapter in block_on(Device::adapters()) {
        let choice = DeviceChoice::Named(adapter.name);
        let int8 = DeviceOptions { choice, max_binding_bytes: with.max_binding_bytes, ..DeviceOptions::default() };
        let (fast, why_not) = steps(&path, &int8, with);
        assert_eq!(why_not, None, "{label}");
        let (exact, why_not) = steps(&path, &DeviceOptions { exact: true, ..int8 }, with);
        assert!(why_not.unwrap().contains("exact"), "{label}");
        for (fast, exact) in fast.iter().zip(&exact) {
            assert_eq!(fast.len(), exact.len(), "{label}");
            let off = size(fast.iter().zip(exact).map(|(f, e)| f - e)) / size(exact.iter().copied());
            assert!(off > 0.0 && off < 0.03, "{label}: int8 is off by {off:.4} of the logits' size");
        }
    }
}

#[test]
fn formats() {
    for dtype in
        [DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q8_0, DType::Q4_K, DType::Q5_K, DType::Q6_K]
    {
        check_with(dtype.name(), llama(), |_| dtype, &With { prompt: 7, rows: 8, ..USUAL });
    }
    let better =
        |name: &str| if name.contains("v_proj") || name.contains("lm_head") { DType::Q6_K } else { DType::Q4_K };
    check("values of another format", llama(), better);
}

#[test]
fn families() {
    let q8 = |_: &str| DType::Q8_0;
    check("tied", ModelConfig { tie_word_embeddings: true, ..llama() }, q8);
    check("bias", ModelConfig { attention_bias: true, ..llama() }, q8);
    check("norm of heads", ModelConfig { qk_norm: true, ..llama() }, q8);
    let both = ModelConfig { attention_bias: true, qk_norm: true, ..llama() };
    check("both, values apart", both, |name| if name.contains("v_proj") { DType::Q6_K } else { DType::Q8_0 });
    let gemma = ModelConfig {
        sandwich_norms: true,
        qk_norm: true,
        rms_norm_weight_offset: true,
        hidden_act: Activation::GeluTanh,
        embedding_scale: 16.0,
        sliding_window: Some(4),
        layer_types: vec![LayerType::SlidingAttention, LayerType::FullAttention],
        rope_local_base_freq: Some(1000.0),
        attn_logit_softcapping: Some(20.0),
        final_logit_softcapping: Some(30.0),
        ..llama()
    };
    check("gemma", gemma, q8);
    check("partial rotation", ModelConfig { rotary_dim: 24, ..llama() }, q8);
    check("no rotation", ModelConfig { rope_layers: vec![true, false], ..llama() }, q8);
    check("scales", ModelConfig { residual_scale: 0.5, logit_input_scale: 0.25, ..llama() }, q8);
    // Heads of 32, one key-value head.
    let narrow =
        ModelConfig { head_dim: 32, rotary_dim: 32, num_attention_heads: 8, num_key_value_heads: 1, ..llama() };
    check("one key-value head", narrow, q8);
}

/// An output head in several bindings, and one whose product stays in f32, behind layers on int8.
#[test]
fn heads() {
    let large = ModelConfig { vocab_size: 2500, tie_word_embeddings: true, ..llama() };
    let capped = ModelConfig { final_logit_softcapping: Some(30.0), ..large.clone() };
    for (label, config) in [("split", large), ("split and capped", capped)] {
        // Gate and up fit, the head of 2500 rows of 272 bytes takes three.
        check_with(label, config, |_| DType::Q8_0, &With { max_binding_bytes: Some(300_000), ..USUAL });
    }
    check("in f16", llama(), |name| if name.contains("lm_head") { DType::F16 } else { DType::Q4_K });
}

/// Contexts that are attended to in pieces.
#[test]
fn depth() {
    let deep = || ModelConfig { max_position_embeddings: 1600, ..llama() };
    check_with("Llama", deep(), |_| DType::Q8_0, &With { prompt: 1040, ..USUAL });
    let windows = ModelConfig {
        sliding_window: Some(300),
        layer_types: vec![LayerType::SlidingAttention, LayerType::FullAttention],
        ..deep()
    };
    check_with("a window", windows, |_| DType::Q8_0, &With { prompt: 1040, kv: DType::Q8_0, ..USUAL });
}

/// Keys and values rounded as well, to the same int8 on both ways.
#[test]
fn caches_of_int8() {
    let q8 = |_: &str| DType::Q8_0;
    let with = With { kv: DType::Q8_0, ..USUAL };
    check_with("Llama", llama(), q8, &with);
    let both = ModelConfig { attention_bias: true, qk_norm: true, ..llama() };
    check_with("bias and norm of heads", both, q8, &with);
    let narrow =
        ModelConfig { head_dim: 32, rotary_dim: 32, num_attention_heads: 8, num_key_value_heads: 2, ..llama() };
    check_with("heads of one block", narrow, q8, &with);
}

/// All logits of a prompt, and the kernels that were chosen for it.
fn prompt(path: &Path, options: &DeviceOptions) -> (Vec<f32>, Vec<String>) {
    block_on(async {
        let device = Device::open(options).await.unwrap();
        // In chunks of 50 and 40 rows: over a tile of 32 rows and more, and one of 64 not full.
        let builder = DecoderPipeline::builder(&device, path).max_seq_len(100).prefill_chunk(50);
        let mut pipeline = builder.build().await.unwrap();
        let tokens: Vec<u32> = (0..90).map(|i| i * 41 % 333).collect();
        let logits = pipeline.forward(&tokens, tokens.len()).await.unwrap().values;
        (logits, device.kernel_variants().into_keys().collect())
    })
}

/// Without matrix units, rows of a prompt are rounded to int8 as well, by no more than that explains; exact ones are not.
#[test]
fn prompts() {
    let folder = tempfile::tempdir().unwrap();
    let better = |name: &str| if name.contains("v_proj") || name.contains("down") { DType::Q6_K } else { DType::Q4_K };
    let odd = ModelConfig { intermediate_size: 96, ..llama() };
    let some = |name: &str| if name.contains("gate") { DType::F16 } else { DType::Q4_1 };
    type Formats<'a> = &'a dyn Fn(&str) -> DType;
    let formats: [(_, _, Formats<'_>); 5] = [
        ("Q4_0", llama(), &|_| DType::Q4_0),
        ("Q8_0", llama(), &|_| DType::Q8_0),
        ("a mix", llama(), &better),
        ("a matrix that is not packed", llama(), &some),
        ("columns that are not taken", odd, &|_| DType::Q8_0),
    ];
    for (label, config, formats) in formats {
        let path = folder.path().join(label);
        write(config, formats, &path);
        for adapter in block_on(Device::adapters()) {
            let rounded = DeviceOptions { choice: DeviceChoice::Named(adapter.name), ..DeviceOptions::default() };
            let device = block_on(Device::open(&rounded)).unwrap();
            let matrix_units = device.report().tier.unwrap().cooperative_matrix;
            let (fast, kernels) = prompt(&path, &rounded);
            let has = |kernels: &[String], name: &str| kernels.iter().any(|kernel| kernel.starts_with(name));
            assert_eq!(
                (has(&kernels, "gemm_a8"), has(&kernels, "int8_rows")),
                (!matrix_units, !matrix_units),
                "{label}"
            );
            let (exact, kernels) = prompt(&path, &DeviceOptions { exact: true, ..rounded });
            assert!(!has(&kernels, "gemm_a8") && !has(&kernels, "int8_rows"), "{label}: {kernels:?}");
            let off = size(fast.iter().zip(&exact).map(|(f, e)| f - e)) / size(exact.iter().copied());
            assert!(off > 0.0 && off < 0.03, "{label}: off by {off:.4} of the logits' size");
        }
    }
    // Nothing is rounded for matrices of which none takes it.
    let path = folder.path().join("f16");
    write(llama(), |_| DType::F16, &path);
    let adapter = block_on(Device::adapters()).remove(0);
    let options = DeviceOptions { choice: DeviceChoice::Named(adapter.name), ..DeviceOptions::default() };
    let (_, kernels) = prompt(&path, &options);
    assert!(kernels.iter().all(|kernel| !kernel.starts_with("int8_rows")), "{kernels:?}");
}

/// What int8 does not take is said, and computed in f32.
#[test]
fn what_is_not_taken_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let odd = ModelConfig { intermediate_size: 96, ..llama() };
    let cases = [("f16", llama(), DType::F16, "is F16"), ("odd", odd, DType::Q8_0, "intermediate_size 96")];
    for (name, config, dtype, words) in cases {
        let path = folder.path().join(name);
        write(config, |_| dtype, &path);
        let adapter = block_on(Device::adapters()).remove(0);
        let options = DeviceOptions { choice: DeviceChoice::Named(adapter.name), ..DeviceOptions::default() };
        let why = steps(&path, &options, &USUAL).1.unwrap();
        assert!(why.contains(words), "{why}");
    }
}
