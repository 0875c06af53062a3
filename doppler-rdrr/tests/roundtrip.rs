//! What is written is read back: config, tensors, texts, digests. And manifests of other writers are read as they are.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy knows tests, not the functions that they call

use std::borrow::Cow;
use std::path::Path;

use doppler_rdrr::{Activation, DType, Error, LayerType, Manifest, Model, ModelConfig, NewModel, RopeScaling, Writer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn new_model(config: ModelConfig) -> NewModel {
    NewModel {
        model_id: "tiny".into(),
        model_type: "transformer".into(),
        config,
        tokenizer_json: br#"{"model":{}}"#.to_vec(),
        chat_template: Some("{{ bos_token }}\n{% for m in messages %}…{% endfor %}".into()),
        bos_token: Some("<s>".into()),
        eos_token: None,
        source: json!({ "file": "x.gguf" }),
    }
}

fn tiny_config() -> ModelConfig {
    ModelConfig {
        hidden_size: 64,
        intermediate_size: 128,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 16,
        vocab_size: 32,
        max_position_embeddings: 128,
        rms_norm_eps: 1e-5,
        rms_norm_weight_offset: false,
        sandwich_norms: false,
        qk_norm: false,
        attention_bias: false,
        rope_theta: 10000.0,
        rope_scaling: RopeScaling::None,
        rope_local_base_freq: None,
        rotary_dim: 16,
        rope_layers: vec![true; 2],
        layer_types: vec![LayerType::FullAttention; 2],
        query_pre_attn_scalar: 16.0,
        sliding_window: None,
        attn_logit_softcapping: None,
        final_logit_softcapping: None,
        hidden_act: Activation::Silu,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_input_scale: 1.0,
        tie_word_embeddings: true,
        bos_token_id: Some(1),
        eos_token_ids: vec![2],
    }
}

/// Bytes that differ from place to place.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| ((i ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// Decimals as people write them.
fn number() -> impl Strategy<Value = f64> {
    (1_u32..1_000_000, -6..6).prop_map(|(digits, e)| short(f64::from(digits) * 10_f64.powi(e)))
}

/// The number that 12 digits name: what a text keeps for certain.
fn short(x: f64) -> f64 {
    format!("{x:.11e}").parse().unwrap()
}

prop_compose! {
    fn scaling(half: usize)(
        kind in 0..4,
        (factor, low, above) in (number(), number(), number()),
        original in 2_usize..1 << 20,
        lists in prop::collection::vec((number(), number()), half),
    )
        -> RopeScaling
    {
        match kind {
            0 => RopeScaling::None,
            1 => RopeScaling::Linear { factor },
            2 => RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: short(low + above),
                original_max_position_embeddings: original,
            },
            _ => RopeScaling::Longrope {
                short_factor: lists.iter().map(|pair| pair.0).collect(),
                long_factor: lists.iter().map(|pair| pair.1).collect(),
                original_max_position_embeddings: original,
                attention_factor: factor,
            },
        }
    }
}

/// Half the elements of a head, and half of those that rotate.
fn halves() -> impl Strategy<Value = (usize, usize)> {
    (1_usize..256).prop_flat_map(|half| (Just(half), 1..=half))
}

prop_compose! {
    fn layers(window: bool)(
        (layers, kind) in (1_usize..80, 0..3),
        seed in any::<u64>(),
        rotate in any::<bool>(),
    ) -> (Vec<LayerType>, Vec<bool>) {
        let bit = |layer: usize| seed >> (layer % 64) & 1 == 1;
        let sliding = |layer| window && (kind == 0 || kind == 1 && bit(layer));
        let kind = |layer| if sliding(layer) { LayerType::SlidingAttention } else { LayerType::FullAttention };
        ((0..layers).map(kind).collect(), (0..layers).map(|layer| rotate || bit(layer / 3)).collect())
    }
}

prop_compose! {
    fn config()((half_dim, half_rotary) in halves(), window in prop::option::of(1_usize..1 << 20))(
        half_dim in Just(half_dim),
        half_rotary in Just(half_rotary),
        window in Just(window),
        scaling in scaling(half_rotary),
        (layer_types, rope_layers) in layers(window.is_some()),
        sizes in prop::array::uniform4(1_usize..100_000),
        kv_heads in 1_usize..16,
        groups in 1_usize..16,
        (eps, theta, scalar) in (number(), number(), number()),
        local_theta in prop::option::of(number()),
        scales in (number(), number(), number()),
        (offset, sandwich, qk_norm, bias) in any::<(bool, bool, bool, bool)>(),
        caps in (prop::option::of(number()), prop::option::of(number())),
        (gelu, tie) in any::<(bool, bool)>(),
        root_of_head_dim in any::<bool>(),
        bos in prop::option::of(any::<u32>()),
        eos in prop::collection::vec(any::<u32>(), 0..4),
    ) -> ModelConfig {
        ModelConfig {
            hidden_size: sizes[0],
            intermediate_size: sizes[1],
            num_hidden_layers: layer_types.len(),
            num_attention_heads: kv_heads * groups,
            num_key_value_heads: kv_heads,
            head_dim: half_dim * 2,
            vocab_size: sizes[2],
            max_position_embeddings: sizes[3],
            rms_norm_eps: eps,
            rms_norm_weight_offset: offset,
            sandwich_norms: sandwich,
            qk_norm,
            attention_bias: bias,
            rope_theta: theta,
            rope_scaling: scaling,
            rope_local_base_freq: local_theta,
            rotary_dim: 2 * half_rotary,
            rope_layers,
            layer_types,
            query_pre_attn_scalar: if root_of_head_dim { short((half_dim as f64 * 2.0).sqrt()) } else { scalar },
            sliding_window: window,
            attn_logit_softcapping: caps.0,
            final_logit_softcapping: caps.1,
            hidden_act: if gelu { Activation::GeluTanh } else { Activation::Silu },
            embedding_scale: scales.0,
            residual_scale: scales.1,
            logit_input_scale: scales.2,
            tie_word_embeddings: tie,
            bos_token_id: bos,
            eos_token_ids: eos,
        }
    }
}

prop_compose! {
    fn tensor()(dtype in prop::sample::select(DType::WEIGHTS), blocks in 1_usize..4, outer in prop::collection::vec(1_usize..5, 0..3))
        -> (DType, Vec<usize>)
    {
        (dtype, outer.into_iter().chain([blocks * dtype.block_len()]).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn written_models_read_back(config in config(), tensors in prop::collection::vec(tensor(), 1..12)) {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("model");
        let mut writer = Writer::create(&out).unwrap();
        for (i, (dtype, shape)) in tensors.iter().enumerate() {
            writer.begin_tensor(&format!("t.{i}"), *dtype, shape).unwrap();
            let bytes = pattern(i as u64, dtype.tensor_bytes(shape).unwrap());
            let (a, b) = bytes.split_at(bytes.len() / 3);
            writer.write(a).unwrap();
            writer.write(b).unwrap();
        }
        let manifest = writer.finish(new_model(config.clone())).unwrap();
        let model = Model::open(&out).unwrap();
        prop_assert_eq!(model.manifest(), &manifest);
        prop_assert_eq!(model.config(), &config);
        prop_assert_eq!(model.tensors().len(), tensors.len());
        for (i, ((dtype, shape), entry)) in tensors.iter().zip(model.tensors()).enumerate() {
            prop_assert_eq!(&entry.name, &format!("t.{i}"));
            prop_assert_eq!((&entry.dtype, &entry.shape), (dtype, shape));
            prop_assert_eq!(entry.rows() * entry.row_bytes, entry.num_bytes() as usize);
            prop_assert!(entry.spans.iter().all(|span| span.offset % 256 == 0));
            prop_assert_eq!(&*model.bytes(entry), pattern(i as u64, dtype.tensor_bytes(shape).unwrap()));
        }
        model.verify(|_, _| {}).unwrap();
    }
}

#[test]
fn texts_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("deep").join("model");
    let mut writer = Writer::create(&out).unwrap();
    writer.begin_tensor("model.norm.weight", DType::F32, &[2]).unwrap();
    writer.write(&[0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
    writer.finish(new_model(tiny_config())).unwrap();

    let model = Model::open(&out).unwrap();
    assert_eq!(model.tokenizer_json().unwrap(), br#"{"model":{}}"#);
    assert_eq!(model.chat_template(), new_model(tiny_config()).chat_template.as_deref());
    assert_eq!((model.bos_token(), model.eos_token()), (Some("<s>"), None));
    assert_eq!(model.manifest().model_id(), "tiny");
    assert_eq!(model.manifest().field(&["metadata", "source", "file"]), Some(&json!("x.gguf")));
    assert_eq!(model.tensor_of_shape("model.norm.weight", &[2]).unwrap().role.as_deref(), Some("norm"));
    let names: Vec<_> = folder.path().join("deep").read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["model"], "nothing but the model is left");
    let mut files: Vec<_> = out.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["manifest.json", "shard_00000.bin", "tokenizer.json"]);
}

#[test]
fn tensors_are_cut_between_rows_and_only_when_they_must() {
    const MIB: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let row = 3000 * 4;
    let rows = 70 * MIB / row;
    let mut writer = Writer::create(&out).unwrap();
    let tensors = [("small", vec![1000]), ("large", vec![rows, 3000]), ("fits", vec![60 * MIB / row, 3000])];
    for (seed, (name, shape)) in tensors.iter().enumerate() {
        writer.begin_tensor(name, DType::F32, shape).unwrap();
        let bytes = pattern(seed as u64, DType::F32.tensor_bytes(shape).unwrap());
        bytes.chunks(777_777).for_each(|chunk| writer.write(chunk).unwrap());
    }
    writer.finish(new_model(tiny_config())).unwrap();

    let model = Model::open(&out).unwrap();
    let spans = |name: &str| {
        let spans = &model.tensor(name).unwrap().spans;
        spans.iter().map(|s| (s.shard, s.offset, s.size as usize)).collect::<Vec<_>>()
    };
    let piece = 64 * MIB / row * row;
    assert_eq!(spans("small"), [(0, 0, 4000)]);
    assert_eq!(spans("large"), [(1, 0, piece), (2, 0, rows * row - piece)]);
    assert_eq!(spans("fits"), [(3, 0, 60 * MIB / row * row)]);
    for (seed, entry) in model.tensors().iter().enumerate() {
        let expected = pattern(seed as u64, entry.num_bytes() as usize);
        assert!(model.bytes(entry) == expected, "{}", entry.name);
        assert_eq!(matches!(model.bytes(entry), Cow::Borrowed(_)), entry.spans.len() == 1);
        assert!(model.spans(entry).collect::<Vec<_>>().concat() == expected);
    }
    let mut last = 0;
    model
        .verify(|done, total| {
            assert!(last < done && done <= total);
            last = done;
        })
        .unwrap();
    assert_eq!(last, model.manifest().total_size());
}

/// The layout of the only small model of another writer: one shard under another name, tensors.json, no roles, a
/// placeholder for the digest, √head_dim for head_dim.
fn write_foreign_model(folder: &Path, digest: Option<String>) -> Vec<u8> {
    let mut manifest: Value = serde_json::from_slice(include_bytes!("fixtures/manifests/mini-model.json")).unwrap();
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![32, 64])];
    for layer in 0..2 {
        let mut push =
            |name: &str, shape: Vec<usize>| shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        push("input_layernorm", vec![64]);
        ["q", "k", "v", "o"].iter().for_each(|p| push(&format!("self_attn.{p}_proj"), vec![64, 64]));
        push("post_attention_layernorm", vec![64]);
        push("mlp.gate_proj", vec![128, 64]);
        push("mlp.up_proj", vec![128, 64]);
        push("mlp.down_proj", vec![64, 128]);
    }
    shapes.push(("model.norm.weight".to_owned(), vec![64]));
    let mut offset = 0;
    let mut tensors = serde_json::Map::new();
    for (name, shape) in shapes {
        let size = shape.iter().product::<usize>() * 4;
        tensors.insert(name, json!({ "shard": 0, "offset": offset, "size": size, "shape": shape, "dtype": "F32" }));
        offset += size;
    }
    assert_eq!(manifest["totalSize"], offset);
    let bytes = pattern(7, offset);
    if let Some(digest) = digest {
        manifest["shards"][0]["hash"] = digest.into();
    }
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(folder.join("tensors.json"), Value::Object(tensors).to_string()).unwrap();
    std::fs::write(folder.join("shard-0.bin"), &bytes).unwrap();
    bytes
}

#[test]
fn a_foreign_model_with_a_file_of_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_foreign_model(folder.path(), None);
    let model = Model::open(folder.path()).unwrap();
    let error = model.verify(|_, _| {}).unwrap_err();
    let Error::ShardDigest { expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!(expected, "fixture-hash-placeholder");

    write_foreign_model(folder.path(), Some(actual));
    let model = Model::open(folder.path()).unwrap();
    model.verify(|_, _| {}).unwrap();
    assert_eq!(model.tensors().len(), 20);
    let q_proj = model.tensor_of_shape("model.layers.0.self_attn.q_proj.weight", &[64, 64]).unwrap();
    assert_eq!(q_proj.spans[0].offset, 8448);
    assert_eq!(&*model.bytes(q_proj), &bytes[8448..8448 + 16384]);
    assert_eq!(model.config().query_pre_attn_scalar, 32.0, "√32 in the file stands for 32");
    assert!(matches!(model.tokenizer_json(), Err(Error::NoTokenizer { .. })));
}

/// Asserts that a manifest parses and that the first thing the decoder cannot do is the value of `field`.
fn assert_unsupported(bytes: &[u8], field: &str) {
    let manifest = Manifest::parse(bytes).unwrap();
    match manifest.config() {
        Err(Error::UnsupportedField { field: found, .. }) => assert_eq!(found, field),
        other => panic!("{}: {other:?}", manifest.model_id()),
    }
    // Nothing is lost, known or not.
    let before: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(&before, &Value::Object(manifest.to_json().clone()));
}

#[test]
fn real_manifests_name_what_they_need() {
    assert_unsupported(include_bytes!("fixtures/manifests/embeddinggemma-300m-bf16.json"), "modelType");
    assert_unsupported(include_bytes!("fixtures/manifests/diffusiongemma-26b-q4k.json"), "modelType");
    assert_unsupported(include_bytes!("fixtures/manifests/gemma-4-12b-w4a16.json"), "modelType");
    assert_unsupported(include_bytes!("fixtures/manifests/qwen-3.5-0.8b-q4k.json"), "image_token_id");
}

#[test]
fn a_real_manifest_of_a_supported_model() {
    let mini = include_bytes!("fixtures/manifests/mini-model.json");
    let config = Manifest::parse(mini).unwrap().config().unwrap();
    let expected = ModelConfig {
        num_attention_heads: 2,
        head_dim: 32,
        rms_norm_eps: 1e-6,
        query_pre_attn_scalar: 32.0,
        bos_token_id: None,
        rotary_dim: 32,
        ..tiny_config()
    };
    assert_eq!(config, expected);
}

#[test]
fn real_manifests_of_gemma_3() {
    for manifest in [
        &include_bytes!("fixtures/manifests/gemma-3-270m-f16.json")[..],
        include_bytes!("fixtures/manifests/gemma-3-270m-q4k.json"),
    ] {
        let config = Manifest::parse(manifest).unwrap().config().unwrap();
        assert!(config.rms_norm_weight_offset && config.sandwich_norms && config.qk_norm && !config.attention_bias);
        assert_eq!((config.hidden_size, config.head_dim, config.rotary_dim), (640, 256, 256));
        assert_eq!(config.embedding_scale, 640f64.sqrt());
        assert_eq!((config.rope_theta, config.rope_local_base_freq), (1e6, Some(1e4)));
        let full: Vec<usize> = (0..18).filter(|&layer| config.window(layer).is_none()).collect();
        assert_eq!(full, [5, 11, 17]);
        assert_eq!(config.window(0), Some(512));
        assert_eq!(config.query_pre_attn_scalar, 256.0);
    }
}

#[test]
fn a_real_manifest_with_longrope_and_scales() {
    let manifest = include_bytes!("fixtures/manifests/minicpm4-0.5b-f16.json");
    let config = Manifest::parse(manifest).unwrap().config().unwrap();
    assert_eq!((config.embedding_scale, config.logit_input_scale), (12.0, 0.25));
    assert!((config.residual_scale - 1.4 / 24f64.sqrt()).abs() < 1e-12);
    let RopeScaling::Longrope { short_factor, original_max_position_embeddings, attention_factor, .. } =
        config.rope_scaling
    else {
        panic!("{:?}", config.rope_scaling)
    };
    assert_eq!((short_factor.len(), original_max_position_embeddings, attention_factor), (32, 32768, 1.0));
}
