//! Models that are broken or malicious: each kind of fault is met by its own error, and nothing ever panics.

#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

use std::fs;
use std::path::{Path, PathBuf};

use doppler_rdrr::{DType, Error, Manifest, Model, ModelConfig, NewModel, Writer};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

fn config() -> ModelConfig {
    Manifest::parse(include_bytes!("fixtures/manifests/mini-model.json")).unwrap().config().unwrap()
}

fn new_model(config: ModelConfig) -> NewModel {
    NewModel {
        model_id: "tiny".into(),
        model_type: "transformer".into(),
        config,
        tokenizer_json: b"{}".to_vec(),
        chat_template: None,
        bos_token: None,
        eos_token: None,
        source: Value::Null,
    }
}

/// A valid model of three tensors, in a folder that goes when the handle does.
fn model() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let mut writer = Writer::create(&out).unwrap();
    for (name, dtype, shape) in
        [("a", DType::F32, vec![4, 8]), ("b", DType::Q4_K, vec![2, 256]), ("c", DType::F16, vec![100])]
    {
        writer.begin_tensor(name, dtype, &shape).unwrap();
        writer.write(&vec![1; dtype.tensor_bytes(&shape).unwrap()]).unwrap();
    }
    writer.finish(new_model(config())).unwrap();
    (folder, out)
}

fn manifest_of(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap()
}

/// What opening and verifying says once `change` has been made to the manifest of a valid model.
fn changed(change: impl FnOnce(&mut Value)) -> Error {
    let (_folder, out) = model();
    let mut manifest = manifest_of(&out);
    change(&mut manifest);
    fs::write(out.join("manifest.json"), manifest.to_string()).unwrap();
    Model::open(&out).and_then(|model| model.verify(|_, _| {})).expect_err("the change must be found")
}

/// The same for a change to the model's files.
fn damaged(change: impl FnOnce(&Path)) -> Error {
    let (_folder, out) = model();
    change(&out);
    Model::open(&out)
        .and_then(|model| model.tokenizer_json().map(|_| model))
        .and_then(|model| model.verify(|_, _| {}))
        .expect_err("the damage must be found")
}

/// Asserts the variant, and that the message names `name`: the thing at fault.
macro_rules! assert_error {
    ($error:expr, $variant:ident, $name:expr) => {{
        let error: Error = $error;
        assert!(matches!(error, Error::$variant { .. }), "{error:?}");
        assert!(error.to_string().contains($name), "`{}` is not in: {error}", $name);
    }};
}

#[test]
fn paths() {
    assert_error!(Model::open(Path::new("no/such/folder")).unwrap_err(), Io, "no/such/folder");
    let (_folder, out) = model();
    assert_error!(Model::open(&out.join("manifest.json")).unwrap_err(), NotAFolder, "manifest.json");
    assert_error!(damaged(|out| fs::remove_file(out.join("manifest.json")).unwrap()), NoManifest, "model");
    assert_error!(damaged(|out| fs::remove_file(out.join("tokenizer.json")).unwrap()), NoTokenizer, "tokenizer.json");
    assert_error!(
        damaged(|out| fs::remove_file(out.join("shard_00000.bin")).unwrap()),
        MissingShard,
        "shard_00000.bin"
    );
    let folder_as_shard = |out: &Path| {
        fs::remove_file(out.join("shard_00000.bin")).unwrap();
        fs::create_dir(out.join("shard_00000.bin")).unwrap();
    };
    assert_error!(damaged(folder_as_shard), MissingShard, "shard_00000.bin");
}

#[test]
fn file_names_that_lead_out() {
    for name in [
        "NUL",
        "com1.bin",
        "shard_00000.bin.",
        "../shard_00000.bin",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "c:x",
        ".",
        "..",
        "",
        ".x",
    ] {
        assert_error!(changed(|m| m["shards"][0]["filename"] = name.into()), FileName, "shards[0].filename");
        let tokenizer = |out: &Path| {
            let mut manifest = manifest_of(out);
            manifest["tokenizer"]["file"] = name.into();
            fs::write(out.join("manifest.json"), manifest.to_string()).unwrap();
        };
        assert_error!(damaged(tokenizer), FileName, "tokenizer.file");
        let external = |m: &mut Value| {
            m["tensors"] = Value::Null;
            m["tensorsFile"] = name.into();
        };
        assert_error!(changed(external), FileName, "tensorsFile");
    }
}

#[test]
fn shards() {
    let cut = |out: &Path| {
        let file = fs::OpenOptions::new().write(true).open(out.join("shard_00000.bin")).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    };
    assert_error!(damaged(cut), ShardSize, "shard_00000.bin");
    let flip = |out: &Path| {
        let mut bytes = fs::read(out.join("shard_00000.bin")).unwrap();
        bytes[5] ^= 1;
        fs::write(out.join("shard_00000.bin"), bytes).unwrap();
    };
    assert_error!(damaged(flip), ShardDigest, "shard_00000.bin");
    assert_error!(changed(|m| m["shards"][0]["hash"] = "00".repeat(32).into()), ShardDigest, "sha256");
    // The fields' names do not say what made them; the manifest's algorithm does.
    let blake3 = |m: &mut Value| (m["hashAlgorithm"], m["shards"][0]["blake3"]) = ("blake3".into(), "00".into());
    assert_error!(changed(blake3), ShardDigest, "blake3");
    assert_error!(changed(|m| m["totalSize"] = 1.into()), TotalSize, "totalSize is 1");
    assert_error!(changed(|m| m["shards"][0]["index"] = 1.into()), InvalidField, "shards[0].index");
    assert_error!(changed(|m| m["shards"][0]["offset"] = 1.into()), InvalidField, "shards[0].offset");
    assert_error!(changed(|m| m["shards"][0]["size"] = 0.into()), InvalidField, "shards[0].size");
    assert_error!(changed(|m| m["shards"][0] = 1.into()), InvalidField, "shards[0]");
    assert_error!(changed(|m| m["hashAlgorithm"] = "md5".into()), InvalidField, "hashAlgorithm");
    let repeated = |m: &mut Value| {
        let mut second = m["shards"][0].clone();
        (second["index"], second["offset"]) = (1.into(), second["size"].clone());
        m["shards"].as_array_mut().unwrap().push(second);
    };
    assert_error!(changed(repeated), InvalidField, "shards[1].filename");
    let endless = |m: &mut Value| {
        m["shards"][0]["size"] = u64::MAX.into();
        m["shards"].as_array_mut().unwrap().push(json!({ "filename": "x", "size": u64::MAX, "hash": "" }));
    };
    assert_error!(changed(endless), InvalidField, "shards[1].size");
}

#[test]
fn tensors() {
    let of =
        |name: &'static str, field: &'static str, value: Value| changed(move |m| m["tensors"][name][field] = value);
    assert_error!(of("a", "dtype", "IQ2_XS".into()), TensorDType, "IQ2_XS");
    assert_error!(of("a", "dtype", "I64".into()), TensorDType, "`a`");
    assert_error!(of("a", "shape", json!([0, 8])), TensorShape, "`a`");
    assert_error!(of("a", "shape", json!([1, 1, 1, 1, 1, 1, 1, 4, 8])), TensorShape, "`a`");
    assert_error!(of("a", "shape", json!([u64::MAX, u64::MAX])), TensorShape, "`a`");
    assert_error!(of("a", "shape", json!([1_u64 << 40, 1 << 30])), TensorShape, "`a`");
    assert_error!(of("a", "shape", json!([-4, 8])), InvalidField, "tensors.a.shape");
    assert_error!(of("a", "shape", json!("4x8")), InvalidField, "tensors.a.shape");
    assert_error!(of("a", "shape", json!([4, 9])), TensorSize, "`a`");
    assert_error!(of("a", "size", 127.into()), TensorSize, "`a`");
    assert_error!(of("a", "shard", 1.into()), ShardIndex, "shard 1");
    assert_error!(of("a", "shard", u64::MAX.into()), ShardIndex, "`a`");
    assert_error!(of("a", "offset", u64::MAX.into()), SpanBounds, "`a`");
    assert_error!(of("c", "offset", 769.into()), SpanBounds, "`c`");
    assert_error!(of("b", "offset", 127.into()), Overlap, "`a`");
    assert_error!(of("b", "layout", "diagonal".into()), InvalidField, "tensors.b.layout");
    assert_error!(of("b", "layout", 1.into()), InvalidField, "row or column");
    // Two rows of 256 are one padded block for each of the 256 columns, not two blocks.
    assert_error!(of("b", "layout", "col".into()), UnsupportedField, "straddle rows");
    let column = |name: &'static str, fields: Value| {
        changed(move |m| {
            m["tensors"][name]["layout"] = "column".into();
            fields.as_object().unwrap().iter().for_each(|(key, value)| m["tensors"][name][key] = value.clone());
        })
    };
    assert_error!(column("a", json!({ "shape": [4, 9] })), TensorSize, "`a`");
    assert_error!(column("a", json!({ "shape": [2, 2, 8] })), UnsupportedField, "tensors.a.layout");
    assert_error!(column("a", json!({ "originalShape": [4, 8] })), InvalidField, "tensors.a.originalShape");
    assert_error!(column("a", json!({ "originalShape": [8, 0] })), TensorShape, "`a`");
    assert_error!(column("a", json!({ "originalShape": "8x4" })), InvalidField, "tensors.a.originalShape");
    assert_error!(column("a", json!({ "shape": [1_u64 << 40, 1 << 30] })), TensorShape, "`a`");
    assert_error!(changed(|m| m["quantizationInfo"] = json!({ "layout": 7 })), InvalidField, "quantizationInfo.layout");
    assert_error!(changed(|m| m["defaultWeightLayout"] = "column".into()), UnsupportedField, "defaultWeightLayout");
    assert_error!(of("b", "sourceTransform", json!({})), UnsupportedField, "tensors.b.sourceTransform");
    assert_error!(of("b", "storage", json!({ "packing": "w4a16" })), UnsupportedField, "tensors.b.storage");
    assert_error!(of("b", "shape", json!([4, 128])), UnsupportedField, "straddle rows");
    assert_error!(of("a", "spans", json!([])), InvalidField, "tensors.a.spans");
    assert_error!(of("a", "spans", json!([{ "shard": 0, "offset": 0, "size": 0 }])), SpanBounds, "`a`");
    assert_error!(of("a", "spans", json!([{ "shardIndex": 0, "offset": 0, "size": 64 }])), TensorSize, "`a`");
    let doubled = json!([{ "shard": 0, "offset": 0, "size": 64 }, { "shard": 0, "offset": 32, "size": 64 }]);
    assert_error!(of("a", "spans", doubled), Overlap, "`a`");
    let many: Vec<_> = (0..128).map(|i| json!({ "shard": 0, "offset": i, "size": 1 })).collect();
    assert_error!(of("a", "spans", many.into()), TooLarge, "spans of tensor `a`");
    assert_error!(changed(|m| m["tensors"]["a"] = 1.into()), InvalidField, "tensors.a");
    let long_name = |m: &mut Value| (m["tensors"]["x".repeat(1025)], m["tensorCount"]) = (1.into(), 4.into());
    assert_error!(changed(long_name), TooLarge, "tensor name");
    assert_error!(changed(|m| m["tensorCount"] = 4.into()), TensorCount, "tensorCount is 4");
    assert_error!(changed(|m| (m["tensors"], m["tensorCount"]) = (json!({}), 0.into())), NoTensors, "model");
}

#[test]
fn asked_for_by_name() {
    let (_folder, out) = model();
    let model = Model::open(&out).unwrap();
    assert_error!(model.tensor("d").unwrap_err(), MissingTensor, "`d`");
    assert_error!(model.tensor_of_shape("a", &[8, 4]).unwrap_err(), UnexpectedShape, "[8, 4]");
}

#[test]
fn fields() {
    for path in [
        "version",
        "modelId",
        "modelType",
        "quantization",
        "hashAlgorithm",
        "architecture",
        "architecture.headDim",
        "inference",
        "inference.attention",
        "inference.attention.queryPreAttnScalar",
        "inference.attention.slidingWindow",
        "inference.normalization.rmsNormWeightOffset",
        "inference.ffn.activation",
        "inference.rope.ropeTheta",
        "inference.rope.ropeScalingType",
        "inference.output.tieWordEmbeddings",
        "inference.layerPattern.type",
        "shards",
        "totalSize",
        "eos_token_id",
        "tensors",
        "tensors.a.dtype",
        "tensors.a.shape",
        "tensors.a.size",
        "tensors.a.offset",
    ] {
        let names: Vec<&str> = path.split('.').collect();
        let (last, parents) = names.split_last().unwrap();
        let remove = |m: &mut Value| {
            let parent = parents.iter().fold(m, |value, name| &mut value[*name]);
            parent.as_object_mut().unwrap().remove(*last).unwrap();
        };
        assert_error!(changed(remove), MissingField, &format!("`{path}`"));
    }
    let set =
        |path: &'static str, value: Value| changed(move |m| *path.split('.').fold(m, |at, name| &mut at[name]) = value);
    assert_error!(set("version", 0.into()), InvalidField, "version");
    assert_error!(set("version", 2.into()), UnsupportedField, "version");
    assert_error!(set("architecture.numLayers", 0.into()), InvalidField, "architecture.numLayers");
    assert_error!(set("architecture.numLayers", json!(1e30)), InvalidField, "architecture.numLayers");
    // Sizes whose products would not be numbers any more, and numbers that f32 takes for nothing or everything.
    for field in ["numAttentionHeads", "numKeyValueHeads", "headDim"] {
        let set = |m: &mut Value| m["architecture"][field] = (1_u64 << 31).into();
        assert_error!(changed(set), InvalidField, &format!("architecture.{field}"));
    }
    for (field, value) in [("rmsNormEps", 1e-60), ("rmsNormEps", 1e60), ("rmsNormEps", 1e-40)] {
        let set = |m: &mut Value| m["inference"]["normalization"][field] = value.into();
        assert_error!(changed(set), InvalidField, "inference.normalization.rmsNormEps");
    }
    let cap = |m: &mut Value| m["inference"]["output"]["finalLogitSoftcapping"] = json!(1e39);
    assert_error!(changed(cap), InvalidField, "inference.output.finalLogitSoftcapping");
    assert_error!(set("architecture.headDim", 7.into()), InvalidField, "architecture.headDim");
    assert_error!(set("architecture.numKeyValueHeads", 3.into()), InvalidField, "architecture.numKeyValueHeads");
    assert_error!(set("inference.normalization.rmsNormEps", json!(-1.0)), InvalidField, "rmsNormEps");
    assert_error!(set("inference.rope.ropeTheta", "10000".into()), InvalidField, "inference.rope.ropeTheta");
    assert_error!(set("inference.attention", 1.into()), InvalidField, "inference.attention");
    assert_error!(set("eos_token_id", json!([1, -1])), InvalidField, "eos_token_id");
    assert_error!(set("tokenizer.bosTokenId", json!("<s>")), InvalidField, "tokenizer.bosTokenId");
}

#[test]
fn features_that_the_decoder_lacks() {
    for (path, value) in [
        ("modelType", json!("mamba")),
        ("architecture", json!("llama")),
        ("moeConfig", json!({ "numExperts": 8 })),
        ("architecture.linearNumKeyHeads", json!(16)),
        ("inference.attention.causal", json!(false)),
        ("inference.attention.somethingNew", json!(0.5)),
        ("inference.normalization.postFeedforwardNorm", json!(true)),
        ("inference.attention.queryKeyNormAxis", json!("hidden")),
        ("inference.attention.valueNorm", json!(true)),
        ("inference.ffn.activation", json!("relu")),
        ("inference.ffn.gatedActivation", json!(false)),
        ("inference.ffn.branchMode", json!("dense_plus_moe")),
        ("inference.rope.ropeScalingType", json!("yarn")),
        ("inference.rope.mropeSection", json!([1, 2])),
        ("inference.output.embeddingVocabSize", json!(64)),
        ("inference.layerPattern.type", json!("spiral")),
        ("inference.pipeline", json!([])),
        ("tokenizer.type", json!("sentencepiece")),
    ] {
        let error = damaged(|out| {
            let mut manifest = manifest_of(out);
            *path.split('.').fold(&mut manifest, |at, name| &mut at[name]) = value;
            fs::write(out.join("manifest.json"), manifest.to_string()).unwrap();
        });
        assert_error!(error, UnsupportedField, &format!("`{path}`"));
    }
}

#[test]
fn json() {
    let twice = |out: &Path| {
        let text = fs::read_to_string(out.join("manifest.json")).unwrap();
        fs::write(out.join("manifest.json"), text.replacen("\"b\":", "\"a\":", 1)).unwrap();
    };
    assert_error!(damaged(twice), DuplicateKey, "`a`");
    let external = |text: &'static str| {
        damaged(move |out| {
            let mut manifest = manifest_of(out);
            (manifest["tensors"], manifest["tensorsFile"]) = (Value::Null, "tensors.json".into());
            fs::write(out.join("manifest.json"), manifest.to_string()).unwrap();
            fs::write(out.join("tensors.json"), text).unwrap();
        })
    };
    assert_error!(external(r#"{"a":1,"a":1}"#), DuplicateKey, "tensors.json");
    assert_error!(external("{"), Json, "tensors.json");
    assert_error!(external("{}"), TensorCount, "tensorCount is 3");
    let huge = |out: &Path| {
        fs::OpenOptions::new().write(true).open(out.join("manifest.json")).unwrap().set_len(200 << 20).unwrap();
    };
    assert_error!(damaged(huge), TooLarge, "manifest.json");
    let mut values = b"{\"a\":[0".to_vec();
    values.extend(b",0".repeat(9 << 20));
    values.extend(b"]}");
    assert_error!(Manifest::parse(&values).unwrap_err(), TooLarge, "number of values");
    assert_error!(Manifest::parse("[".repeat(1 << 20).as_bytes()).unwrap_err(), Json, "manifest.json");
    assert_error!(Manifest::parse(b"\xff\xfe").unwrap_err(), Json, "manifest.json");
    assert_error!(Manifest::parse(b"[]").unwrap_err(), InvalidField, "manifest.json");
}

#[test]
fn cut_anywhere() {
    let (_folder, out) = model();
    let bytes = fs::read(out.join("manifest.json")).unwrap();
    for end in 0..bytes.len() {
        assert_error!(Manifest::parse(&bytes[..end]).unwrap_err(), Json, "manifest.json");
    }
    Manifest::parse(&bytes).unwrap();
}

#[test]
fn writing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let nothing_left = || assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let begun = |name: &str| {
        let mut writer = Writer::create(&out).unwrap();
        writer.begin_tensor(name, DType::F32, &[2, 3]).unwrap();
        writer
    };
    assert_error!(Writer::create(&out).unwrap().write(&[0]).unwrap_err(), NoTensorBegun, "begin_tensor");
    assert_error!(begun("a").write(&[0; 25]).unwrap_err(), TensorSize, "`a`");
    assert_error!(begun("a").begin_tensor("b", DType::F32, &[1]).unwrap_err(), TensorSize, "`a`");
    assert_error!(begun("a").finish(new_model(config())).unwrap_err(), TensorSize, "`a`");
    assert_error!(Writer::create(&out).unwrap().finish(new_model(config())).unwrap_err(), NoTensors, "model");
    nothing_left();

    let mut writer = begun("a");
    writer.write(&[0; 24]).unwrap();
    assert_error!(writer.begin_tensor("a", DType::F32, &[1]).unwrap_err(), DuplicateTensor, "`a`");
    assert_error!(writer.begin_tensor("b", DType::Q4_0, &[2, 33]).unwrap_err(), TensorShape, "`b`");
    assert_error!(writer.begin_tensor("b", DType::F32, &[0]).unwrap_err(), TensorShape, "`b`");
    assert_error!(writer.begin_tensor("b", DType::F32, &[usize::MAX, 2]).unwrap_err(), TensorShape, "`b`");
    assert_error!(writer.begin_tensor("", DType::F32, &[1]).unwrap_err(), TooLarge, "tensor name");
    let wrong = ModelConfig { head_dim: 3, ..config() };
    assert_error!(writer.finish(new_model(wrong)).unwrap_err(), InvalidField, "architecture.headDim");
    nothing_left();

    let mut writer = begun("a");
    writer.write(&[0; 24]).unwrap();
    let cut = NewModel { tokenizer_json: b"{".to_vec(), ..new_model(config()) };
    assert_error!(writer.finish(cut).unwrap_err(), Json, "tokenizer.json");
    nothing_left();
}

#[test]
fn writing_over_something() {
    let (folder, out) = model();
    assert_error!(Writer::create(&out).unwrap_err(), OutputExists, "model");
    assert_error!(Writer::create(&out.join("manifest.json")).unwrap_err(), OutputExists, "manifest.json");
    Model::open(&out).unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let mut writer = Writer::create(&empty).unwrap();
    writer.begin_tensor("a", DType::F32, &[]).unwrap_err();
    writer.begin_tensor("a", DType::F32, &[1]).unwrap();
    writer.write(&[0; 4]).unwrap();
    // Somebody else is quicker.
    fs::write(empty.join("theirs"), "x").unwrap();
    assert_error!(writer.finish(new_model(config())).unwrap_err(), OutputExists, "empty");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_disk_that_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(&folder.path().join("model")).unwrap();
    let unfinished = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    fs::remove_dir_all(&unfinished).unwrap();
    writer.begin_tensor("a", DType::F32, &[8 << 20]).unwrap();
    let error = (0..32).find_map(|_| writer.write(&vec![0; 1 << 20]).err());
    assert_error!(error.unwrap_or_else(|| writer.finish(new_model(config())).unwrap_err()), Io, "shard_00000.bin");
}

#[test]
fn a_conversion_that_was_killed() {
    let (folder, out) = model();
    // All files are there, only the name was not given yet.
    let unfinished = folder.path().join(".model.x1y2.partial");
    fs::rename(&out, &unfinished).unwrap();
    assert_error!(Model::open(&unfinished).unwrap_err(), Unfinished, "partial");
    assert_error!(Model::open(&unfinished.join(".")).unwrap_err(), Unfinished, "partial");

    // The next conversion clears the folder of a dead one, never that of a living one.
    fs::write(unfinished.join("lock"), "").unwrap();
    let living = Writer::create(&out).unwrap();
    assert!(!unfinished.exists());
    let other = Writer::create(&out).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    drop((living, other));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u64..4).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([u64::MAX, u64::MAX, u64::MAX])),
        Just(json!([{ "shard": 0, "offset": u64::MAX, "size": u64::MAX }])),
    ]
}

/// Replaces the value at the `n`th place of a document, counted depth first.
fn replace(value: &mut Value, n: &mut usize, new: &Value) {
    if *n == 0 {
        *value = new.clone();
    }
    *n = n.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, n, new)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, n, new)),
        _ => {}
    }
}

/// Opens a model whatever its manifest says and touches everything that was accepted.
fn use_model(out: &Path) {
    let Ok(model) = Model::open(out) else { return };
    for entry in model.tensors() {
        assert_eq!(model.bytes(entry).len() as u64, entry.num_bytes());
        assert_eq!(entry.rows().checked_mul(entry.row_bytes), Some(model.bytes(entry).len()));
    }
    let _ = (model.verify(|_, _| {}), model.tokenizer_json());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (_folder, out) = model();
        let mut bytes = fs::read(out.join("manifest.json")).unwrap();
        changes.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
        fs::write(out.join("manifest.json"), bytes).unwrap();
        use_model(&out);
    }

    #[test]
    fn changed_values_never_panic(changes in prop::collection::vec((0_usize..160, odd_value()), 1..4)) {
        let (_folder, out) = model();
        let mut manifest = manifest_of(&out);
        changes.iter().for_each(|(n, new)| replace(&mut manifest, &mut n.clone(), new));
        fs::write(out.join("manifest.json"), manifest.to_string()).unwrap();
        use_model(&out);
    }
}
