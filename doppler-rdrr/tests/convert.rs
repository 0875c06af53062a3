//! GGUF files and Hugging Face folders become RDRR with the right bytes, numbers and ids.
#![allow(clippy::unwrap_used)]

mod build;

use std::path::Path;

use build::{GgufFile, value};
use doppler_rdrr::convert::{ConvertOptions, Source, convert};
use doppler_rdrr::{Activation, DType, Error, LayerType, Model, ModelConfig, RopeScaling, dequantize};
use tempfile::TempDir;

/// A converted model and the folder that it lies in.
fn converted(input: &Path, quantize: Option<DType>) -> (TempDir, Model) {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("model.rdrr");
    let (mut last, mut total) = (0, 0);
    convert(input, &out, &ConvertOptions { quantize, model_id: None }, |progress| {
        assert!(progress.bytes_done > last, "progress goes up");
        (last, total) = (progress.bytes_done, progress.bytes_total);
    })
    .unwrap();
    assert_eq!(last, total, "progress ends at the end");
    let model = Model::open(&out).unwrap();
    (folder, model)
}

fn converted_gguf(file: &GgufFile, quantize: Option<DType>) -> (TempDir, Model) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, file.bytes()).unwrap();
    converted(&path, quantize)
}

fn bytes(model: &Model, name: &str) -> (DType, Vec<u8>) {
    let entry = model.tensor(name).unwrap();
    (entry.dtype, model.bytes(entry).into_owned())
}

fn expected_config() -> ModelConfig {
    ModelConfig {
        hidden_size: 64,
        intermediate_size: 96,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 16,
        vocab_size: 264,
        max_position_embeddings: 128,
        rms_norm_eps: 1e-5,
        rms_norm_weight_offset: false,
        sandwich_norms: false,
        qk_norm: false,
        attention_bias: false,
        rope_theta: 10_000.0,
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
        bos_token_id: Some(262),
        eos_token_ids: vec![263],
    }
}

#[test]
fn gguf_keeps_numbers_and_bytes() {
    let (_folder, model) = converted_gguf(&build::llama(), None);
    assert_eq!(model.config(), &expected_config());
    assert_eq!(model.chat_template(), Some("{{ messages }}"));
    assert_eq!(model.tensors().len(), build::weights().len());
    for (_, name, shape) in build::weights() {
        // Query and key rows went through GGUF's order and back.
        let expected = build::f32_bytes(&build::numbers(&name, shape.iter().product()));
        assert_eq!(model.tensor(&name).unwrap().shape, shape, "{name}");
        assert_eq!(bytes(&model, &name), (DType::F32, expected), "{name}");
    }
    model.verify(|_, _| {}).unwrap();
}

/// Random bits as weights: nothing may look at them.
#[test]
fn packed_rows_keep_their_bytes() {
    for (kind, dtype) in [(1, DType::F16), (30, DType::BF16), (2, DType::Q4_0), (3, DType::Q4_1), (6, DType::Q5_0)]
        .into_iter()
        .chain([(7, DType::Q5_1), (8, DType::Q8_0)])
    {
        let mut file = build::llama();
        for (name, _, shape) in build::weights().into_iter().filter(|(_, _, shape)| shape.len() == 2) {
            let tensor = file.tensor(&name);
            tensor.kind = kind;
            let size = dtype.tensor_bytes(&shape).unwrap();
            tensor.data = build::numbers(&name, size).iter().map(|x| (x * 127.0) as i8 as u8).collect();
        }
        let (_folder, model) = converted_gguf(&file, None);
        for (name, ours, shape) in build::weights().into_iter().filter(|(_, _, shape)| shape.len() == 2) {
            let source = &file.tensor(&name).data;
            let row_bytes = source.len() / shape[0];
            let rows: Vec<&[u8]> = source.chunks(row_bytes).collect();
            let rotated = name.contains("attn_q") || name.contains("attn_k");
            let order = |row: usize| {
                let (head, lane) = (row / 16, row % 16);
                if rotated { head * 16 + lane % 8 * 2 + lane / 8 } else { row }
            };
            let expected: Vec<u8> = (0..shape[0]).flat_map(|row| rows[order(row)].to_vec()).collect();
            assert_eq!(bytes(&model, &ours), (dtype, expected), "{ours} in {dtype}");
        }
    }
}

#[test]
fn version_2_alignment_untied_head_and_window() {
    let mut file = build::llama();
    file.version = 2;
    file.alignment = 128;
    file.set("general.alignment", value::u32(128)).set("llama.attention.sliding_window", value::u32(32));
    let head = build::f32_bytes(&build::numbers("head", 264 * 64));
    file.push("output.weight", &[264, 64], build::F32, head.clone());
    let (_folder, model) = converted_gguf(&file, None);
    let expected = ModelConfig {
        tie_word_embeddings: false,
        sliding_window: Some(32),
        layer_types: vec![LayerType::SlidingAttention; 2],
        ..expected_config()
    };
    assert_eq!(model.config(), &expected);
    assert_eq!(bytes(&model, "lm_head.weight").1, head);
}

#[test]
fn gguf_rope_scaling() {
    let scaling = |change: &dyn Fn(&mut GgufFile)| {
        let mut file = build::llama();
        change(&mut file);
        Source::from_gguf(file.bytes(), "").map(|source| source.config().rope_scaling.clone())
    };
    let linear = scaling(&|file| {
        file.set("llama.rope.scaling.type", value::string("linear")).set("llama.rope.scaling.factor", value::f32(2.5));
    });
    assert_eq!(linear.unwrap(), RopeScaling::Linear { factor: 2.5 });
    let numbers = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 128,
    };
    let config = ModelConfig { rope_scaling: numbers.clone(), ..expected_config() };
    let plain = expected_config().rope_frequencies(LayerType::FullAttention, 128);
    let divisors: Vec<f32> = plain
        .iter()
        .zip(config.rope_frequencies(LayerType::FullAttention, 128))
        .map(|(plain, scaled)| (plain / scaled) as f32)
        .collect();
    let llama3 = scaling(&|file| {
        file.set("llama.rope.scaling.original_context_length", value::u32(128));
        file.push("rope_freqs.weight", &[8], build::F32, build::f32_bytes(&divisors));
    });
    assert_eq!(llama3.unwrap(), numbers);
    let yarn = scaling(&|file| {
        file.set("llama.rope.scaling.type", value::string("yarn"));
    });
    assert!(
        matches!(yarn, Err(Error::UnsupportedSetting { key, found }) if key.ends_with("rope_type") && found == "yarn")
    );
}

#[test]
fn byte_level_tokenizer_gives_the_ids() {
    let (_folder, model) = converted_gguf(&build::llama(), None);
    let tokenizer = tokenizers::Tokenizer::from_bytes(model.tokenizer_json().unwrap()).unwrap();
    let ids = |text: &str, special| tokenizer.encode(text, special).unwrap().get_ids().to_vec();
    let letter = |letter: char| build::byte_letters().iter().position(|l| *l == letter.to_string()).unwrap() as u32;
    assert_eq!(ids("hello world", true), [259, 260, 111, 114, 108, 100]);
    assert_eq!(ids("12<|im_end|>1", true), [261, 263, letter('1')]);
    assert_eq!(ids("é\n", true), [0xc3, 0xa9, 10]);
    for text in ["hello  world\t🙂", "<|bos|>", "", "مرحبا", "a\u{0}b"] {
        assert_eq!(tokenizer.decode(&ids(text, true), false).unwrap(), text);
    }
    let with_bos = |add| {
        let mut file = build::llama();
        file.set("tokenizer.ggml.add_bos_token", value::bool(add)).set("tokenizer.ggml.pre", value::string("smollm"));
        let source = Source::from_gguf(file.bytes(), "").unwrap();
        let tokenizer = tokenizers::Tokenizer::from_bytes(source.tokenizer_json()).unwrap();
        tokenizer.encode("12", true).unwrap().get_ids().to_vec()
    };
    // This pre-tokenizer takes digits one by one.
    assert_eq!(with_bos(1), [262, letter('1'), letter('2')]);
    assert_eq!(with_bos(0), [letter('1'), letter('2')]);
}

#[test]
fn sentencepiece_tokenizer_gives_the_ids() {
    let load = |file: &GgufFile| {
        let bytes = file.bytes();
        let gguf = doppler_rdrr::convert::gguf::Gguf::parse(&bytes).unwrap();
        let parts = doppler_rdrr::tokenizer::from_gguf(&gguf).unwrap();
        assert_eq!((parts.bos_id, parts.eos_ids.as_slice()), (Some(1), &[2][..]));
        tokenizers::Tokenizer::from_bytes(&parts.tokenizer_json).unwrap()
    };
    let tokenizer = load(&build::sentencepiece());
    let ids = |text: &str| tokenizer.encode(text, true).unwrap().get_ids().to_vec();
    let piece = |text: &str| tokenizer.token_to_id(text).unwrap();
    assert_eq!(ids("hello"), [1, piece("▁hello")]);
    assert_eq!(ids("  he"), [1, piece("▁▁"), piece("▁he")]);
    assert_eq!(ids("é"), [1, piece("▁"), piece("<0xC3>"), piece("<0xA9>")]);
    assert_eq!(ids("he</s>llo"), [1, piece("▁he"), 2, piece("▁"), piece("llo")]);
    assert_eq!(tokenizer.decode(&ids(" hello 🙂"), true).unwrap(), " hello 🙂");
    let mut file = build::sentencepiece();
    file.set("tokenizer.ggml.add_space_prefix", value::bool(0)).set("tokenizer.ggml.add_bos_token", value::bool(0));
    file.set("tokenizer.ggml.add_eos_token", value::bool(1));
    let tokenizer = load(&file);
    let ids = tokenizer.encode("hello", true).unwrap().get_ids().to_vec();
    assert_eq!(ids, ["h", "e", "llo", "</s>"].map(|piece| tokenizer.token_to_id(piece).unwrap()));
}

/// A Hugging Face folder in `dtype`, its tensors changed, in this many files.
fn folder(dtype: &'static str, files: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    build::hf_folder(folder.path(), &build::hf_config());
    let tensors = build::hf_tensors(dtype);
    if files == 1 {
        std::fs::write(folder.path().join("model.safetensors"), build::safetensors(&tensors)).unwrap();
        return folder;
    }
    let mut map = serde_json::Map::new();
    for (index, part) in tensors.chunks(tensors.len().div_ceil(files)).enumerate() {
        let name = format!("model-{index}.safetensors");
        std::fs::write(folder.path().join(&name), build::safetensors(part)).unwrap();
        map.extend(part.iter().map(|tensor| (tensor.0.clone(), name.as_str().into())));
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    folder
}

#[test]
fn safetensors_keep_numbers_and_bytes() {
    for (dtype, files) in [("F32", 1), ("F16", 1), ("BF16", 1), ("BF16", 3)] {
        let input = folder(dtype, files);
        let (_folder, model) = converted(input.path(), None);
        assert_eq!(model.config(), &expected_config());
        assert_eq!(model.chat_template(), Some("yes"));
        for (name, dtype, shape, stored) in build::hf_tensors(dtype) {
            let dtype: DType = dtype.parse().unwrap();
            let found = bytes(&model, &name);
            if shape.len() == 1 {
                let mut values = vec![0.0; shape[0]];
                dequantize(dtype, &stored, &mut values).unwrap();
                assert_eq!(found, (DType::F32, build::f32_bytes(&values)), "{name}");
            } else {
                assert_eq!(found, (dtype, stored), "{name}");
            }
        }
    }
}

/// The format's own library writes what we read.
#[test]
fn files_of_the_safetensors_library() {
    use ::safetensors::{Dtype, serialize, tensor::TensorView};
    let tensors = build::hf_tensors("BF16");
    let views = tensors
        .iter()
        .map(|(name, _, shape, bytes)| (name.as_str(), TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap()));
    let file = serialize(views, None).unwrap();
    let found = doppler_rdrr::convert::safetensors::parse("f", &file).unwrap();
    assert_eq!(found.len(), tensors.len());
    for (name, _, shape, bytes) in &tensors {
        let tensor = found.iter().find(|tensor| tensor.name == *name).unwrap();
        assert_eq!((&tensor.shape, tensor.dtype), (shape, DType::BF16));
        assert_eq!(&file[tensor.offset..][..tensor.bytes], bytes);
    }
}

#[test]
fn folder_files_override_each_other() {
    let input = folder("F16", 1);
    std::fs::write(input.path().join("generation_config.json"), r#"{"eos_token_id":[5,263]}"#).unwrap();
    std::fs::write(input.path().join("chat_template.jinja"), "jinja").unwrap();
    let (_folder, model) = converted(input.path(), None);
    assert_eq!(model.config().eos_token_ids, [5, 263]);
    assert_eq!(model.chat_template(), Some("jinja"));
}

#[test]
fn a_tied_head_may_be_stored_twice_if_it_is_the_same() {
    let input = folder("F32", 1);
    let mut tensors = build::hf_tensors("F32");
    tensors.push(("lm_head.weight".into(), "F32", tensors[0].2.clone(), tensors[0].3.clone()));
    tensors.push(("model.layers.0.self_attn.rotary_emb.inv_freq".into(), "F32", vec![8], vec![0; 32]));
    let path = input.path().join("model.safetensors");
    std::fs::write(&path, build::safetensors(&tensors)).unwrap();
    assert_eq!(Source::open(input.path()).unwrap().weights().len(), build::weights().len());
    let last = tensors.len() - 2;
    tensors[last].3[0] ^= 1;
    std::fs::write(&path, build::safetensors(&tensors)).unwrap();
    let error = Source::open(input.path()).unwrap_err();
    assert!(matches!(error, Error::SourceTensorUnexpected { tensor } if tensor == "lm_head.weight"));
}

#[test]
fn config_json_variants() {
    let read = |change: serde_json::Value| {
        let mut config = build::hf_config();
        change.as_object().unwrap().iter().for_each(|(key, value)| config[key] = value.clone());
        let input = folder("F32", 1);
        build::hf_folder(input.path(), &config);
        Source::open(input.path()).map(|source| source.config().clone())
    };
    let llama3 = serde_json::json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64 });
    let config = read(serde_json::json!({ "rope_scaling": llama3 })).unwrap();
    let expected = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64,
    };
    assert_eq!(config.rope_scaling, expected);
    let group = serde_json::json!({ "rope_parameters": { "rope_type": "linear", "factor": 2.0, "rope_theta": 5e5 } });
    let config = read(group).unwrap();
    assert_eq!((config.rope_theta, config.rope_scaling), (5e5, RopeScaling::Linear { factor: 2.0 }));
    let mistral = serde_json::json!({ "architectures": ["MistralForCausalLM"], "sliding_window": 16, "head_dim": 16 });
    assert_eq!(read(mistral).unwrap().sliding_window, Some(16));
    for (key, value) in [
        ("attention_bias", true.into()),
        ("mlp_bias", true.into()),
        ("hidden_act", "relu".into()),
        ("rope_scaling", serde_json::json!({ "type": "dynamic", "factor": 2.0 })),
    ] {
        let error = read(serde_json::json!({ key: value })).unwrap_err();
        assert!(matches!(&error, Error::UnsupportedSetting { key: named, .. } if named.contains(key)), "{error}");
    }
}

#[test]
fn quantizing_follows_the_rules() {
    let types = |input: &Path, quantize| {
        let (_folder, model) = converted(input, Some(quantize));
        ["model.embed_tokens", "model.norm", "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"]
            .map(|name| model.tensor(&format!("{name}.weight")).unwrap().dtype)
    };
    let input = folder("F16", 1);
    let q8 = [DType::Q8_0, DType::F32, DType::Q8_0, DType::Q8_0];
    assert_eq!(types(input.path(), DType::Q8_0), q8);
    // No row of the tiny model is a multiple of 256.
    assert_eq!(types(input.path(), DType::Q4_K), q8);
    let out = TempDir::new().unwrap();
    let options = ConvertOptions { quantize: Some(DType::Q6_K), model_id: None };
    let error = convert(input.path(), &out.path().join("m"), &options, |_| {}).unwrap_err();
    assert!(matches!(error, Error::QuantizeTarget { dtype: DType::Q6_K }));
    let (_folder, model) = converted(input.path(), Some(DType::Q8_0));
    let (_, packed) = bytes(&model, "model.layers.1.self_attn.q_proj.weight");
    let mut values = vec![0.0; 64 * 64];
    dequantize(DType::Q8_0, &packed, &mut values).unwrap();
    let expected = build::numbers("model.layers.1.self_attn.q_proj.weight", 64 * 64);
    assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1.0 / 127.0));
}

#[test]
fn long_rows_become_q4_k_and_odd_rows_are_refused() {
    let resized = |inner: usize| {
        let input = folder("F16", 1);
        let mut config = build::hf_config();
        config["intermediate_size"] = inner.into();
        build::hf_folder(input.path(), &config);
        let mut tensors = build::hf_tensors("F16");
        for tensor in tensors.iter_mut().filter(|tensor| tensor.0.contains("mlp")) {
            tensor.2.iter_mut().filter(|n| **n == build::INNER).for_each(|n| *n = inner);
            tensor.3 = vec![0x2c; inner * build::HIDDEN * 2];
        }
        std::fs::write(input.path().join("model.safetensors"), build::safetensors(&tensors)).unwrap();
        input
    };
    let (_folder, model) = converted(resized(512).path(), Some(DType::Q4_K));
    assert_eq!(model.tensor("model.layers.0.mlp.down_proj.weight").unwrap().dtype, DType::Q4_K);
    assert_eq!(model.tensor("model.layers.0.mlp.up_proj.weight").unwrap().dtype, DType::Q8_0);
    let out = TempDir::new().unwrap();
    let options = ConvertOptions { quantize: Some(DType::Q8_0), model_id: None };
    let error = convert(resized(100).path(), &out.path().join("m"), &options, |_| {}).unwrap_err();
    assert!(matches!(error, Error::QuantizeRow { cols: 100, .. }), "{error}");
}

#[test]
fn a_failed_conversion_leaves_nothing() {
    let place = TempDir::new().unwrap();
    let mut file = build::llama();
    // The quantizer meets a NaN in the last weight but one: after most of the model is written.
    file.tensor("blk.1.ffn_down.weight").data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let input = place.path().join("in.gguf");
    std::fs::write(&input, file.bytes()).unwrap();
    let options = ConvertOptions { quantize: Some(DType::Q8_0), model_id: None };
    let error = convert(&input, &place.path().join("out"), &options, |_| {}).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["in.gguf"]);
}

/// Gemma 3 of 4B and more: settings in a group, a prefix to the names, and a vision tower that is left out.
#[test]
fn the_text_decoder_of_a_model_that_sees() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doppler-core/tests/fixtures/gemma3/gemma3_linear");
    let folder = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixture.join(file), folder.path().join(file)).unwrap();
    }
    let text: serde_json::Value = serde_json::from_slice(&std::fs::read(fixture.join("config.json")).unwrap()).unwrap();
    let config = serde_json::json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text, "vision_config": {},
        "eos_token_id": text["eos_token_id"], "bos_token_id": text["bos_token_id"],
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    // The weights with the prefix, and one more.
    let stored = std::fs::read(fixture.join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(stored[..8].try_into().unwrap()) as usize;
    let entries: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&stored[8..8 + header]).unwrap();
    let data = &stored[8 + header..];
    let mut renamed: serde_json::Map<_, _> = entries
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| (format!("language_model.{name}"), entry))
        .collect();
    let vision = serde_json::json!({ "dtype": "F32", "shape": [2], "data_offsets": [data.len(), data.len() + 8] });
    renamed.insert("vision_tower.vision_model.embeddings.weight".to_owned(), vision);
    let header = serde_json::to_vec(&renamed).unwrap();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, data, &[0; 8]].concat();
    std::fs::write(folder.path().join("model.safetensors"), file).unwrap();

    let (_plain_folder, plain) = converted(&fixture, None);
    let (_folder, seeing) = converted(folder.path(), None);
    assert_eq!(seeing.config(), plain.config());
    for tensor in plain.tensors() {
        assert_eq!(bytes(&seeing, &tensor.name), bytes(&plain, &tensor.name), "{}", tensor.name);
    }
    assert_eq!(seeing.manifest().to_json()["metadata"]["source"]["tensorsLeftOut"], 1);
}
