//! Wrong files in other formats: every error has a file that provokes exactly it, and nothing ever panics.
#![allow(clippy::unwrap_used)]

mod build;

use build::{F32, GgufFile, value};
use doppler_rdrr::Error;
use doppler_rdrr::convert::gguf::Gguf;
use doppler_rdrr::convert::{Source, safetensors};
use proptest::prelude::*;
use tempfile::TempDir;

/// What becomes of the tiny model once `change` has been at it. Even the header's parser alone must not accept more
/// than the whole path does.
fn read(change: impl FnOnce(&mut GgufFile)) -> Result<Source, Error> {
    let mut file = build::llama();
    change(&mut file);
    Source::from_gguf(file.bytes(), "")
}

macro_rules! refuses {
    ($(#[$doc:meta])* $name:ident, $change:expr, $pattern:pat $(if $guard:expr)?) => {
        $(#[$doc])*
        #[test]
        fn $name() {
            let error = read($change).unwrap_err();
            assert!(matches!(&error, $pattern $(if $guard)?), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("; "), "`{text}` does not say what to do");
        }
    };
}

#[test]
fn the_unchanged_file_is_fine() {
    assert_eq!(read(|_| {}).unwrap().weights().len(), build::weights().len());
}

fn patched(at: usize, bytes: &[u8]) -> Result<Source, Error> {
    let mut file = build::llama().bytes();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    Source::from_gguf(file, "")
}

#[test]
fn bad_headers() {
    assert!(matches!(patched(0, b"GGML"), Err(Error::GgufMagic { found: [b'G', b'G', b'M', b'L'] })));
    assert!(matches!(Source::from_gguf(Vec::new(), ""), Err(Error::GgufMagic { found: [0, 0, 0, 0] })));
    assert!(matches!(patched(4, &[0, 0, 0, 3]), Err(Error::GgufBigEndian { version: 3 })));
    for version in [0, 1, 4, 99] {
        assert!(
            matches!(patched(4, &[version, 0, 0, 0]), Err(Error::GgufVersion { version: v }) if v == u32::from(version))
        );
    }
}

refuses!(too_many_tensors, |f| f.counts = Some((u64::MAX, 3)), Error::TooLarge { what, .. } if what.contains("tensors"));
refuses!(too_many_keys, |f| f.counts = Some((3, u64::MAX)), Error::TooLarge { what, .. } if what.contains("keys"));
refuses!(
    more_tensors_than_there_are,
    |f| f.counts = Some((900_000, f.keys.len() as u64)),
    Error::GgufTruncated { .. } | Error::TooLarge { .. }
);
refuses!(
    endless_string,
    |f| f.keys[1].1 = value::raw(8, &u64::MAX.to_le_bytes()),
    Error::TooLarge { what, .. } if what.contains("general.name")
);
refuses!(
    string_beyond_the_file,
    |f| f.keys[1].1 = value::raw(8, &(15_u64 << 20).to_le_bytes()),
    Error::GgufTruncated { what, .. } if what.contains("general.name")
);
refuses!(
    endless_array,
    |f| f.keys[1].1 = value::array(12, u64::MAX / 4, &[]),
    Error::GgufTruncated { what, .. } if what.contains("general.name")
);
refuses!(
    endless_array_of_strings,
    |f| f.keys[1].1 = value::array(8, 1 << 40, &[]),
    Error::GgufTruncated { what, .. } if what.contains("general.name")
);
refuses!(unknown_value_type, |f| f.keys[1].1 = value::raw(13, &[0; 8]), Error::GgufValueType { key, found: 13 } if key == "general.name");
refuses!(
    arrays_of_arrays,
    |f| {
        let empty = value::array(4, 0, &[])[4..].to_vec();
        let nested = (0..9).fold(empty, |inner, _| value::array(9, 1, &inner)[4..].to_vec());
        f.keys[1].1 = value::raw(9, &nested);
    },
    Error::GgufNesting { key, limit: 4 } if key == "general.name"
);
refuses!(value_not_utf8, |f| f.keys[1].1 = value::raw(8, &[2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe]), Error::NotUtf8 { what } if what.contains("general.name"));
refuses!(bad_bool, |f| f.keys[1].1 = value::bool(2), Error::GgufBool { key, found: 2 } if key == "general.name");
refuses!(key_twice, |f| f.keys[1].0 = "general.architecture".into(), Error::GgufDuplicateKey { key } if key == "general.architecture");
refuses!(tensor_twice, |f| f.tensors[3].name = "blk.0.attn_norm.weight".into(), Error::DuplicateSourceTensor { tensor } if tensor == "blk.0.attn_norm.weight");
refuses!(alignment_zero, |f| f.put("general.alignment", value::u32(0)), Error::GgufAlignment { alignment: 0 });
refuses!(alignment_odd, |f| f.put("general.alignment", value::u32(48)), Error::GgufAlignment { alignment: 48 });
refuses!(alignment_huge, |f| f.put("general.alignment", value::u32(1 << 31)), Error::GgufAlignment { .. });
refuses!(alignment_text, |f| f.put("general.alignment", value::string("32")), Error::KeyType { key, .. } if key == "general.alignment");
refuses!(rank_zero, |f| f.tensors[0].dims.clear(), Error::TooLarge { what, size: 0, .. } if what.contains("token_embd"));
refuses!(rank_five, |f| f.tensors[0].dims = vec![1; 5], Error::TooLarge { what, size: 5, .. } if what.contains("token_embd"));
refuses!(iq2_xs, |f| f.tensors[2].kind = 17, Error::UnsupportedTensorType { tensor, found } if tensor.contains("attn_q") && found == "IQ2_XS");
refuses!(mxfp4, |f| f.tensors[2].kind = 39, Error::UnsupportedTensorType { found, .. } if found == "MXFP4");
refuses!(type_without_a_name, |f| f.tensors[2].kind = 4000, Error::UnsupportedTensorType { found, .. } if found == "type 4000");
refuses!(size_overflows, |f| f.tensors[0].dims = vec![1 << 62, 4], Error::GgufShape { tensor, .. } if tensor.contains("token_embd"));
refuses!(size_overflows_in_bytes, |f| f.tensors[0].dims = vec![1 << 31, 1 << 31], Error::GgufShape { .. });
refuses!(size_zero, |f| f.tensors[0].dims = vec![64, 0], Error::GgufShape { .. });
refuses!(
    rows_are_no_blocks,
    |f| {
        f.tensors[0].kind = 12;
        f.tensors[0].dims = vec![100, 2]
    },
    Error::GgufShape { .. }
);
refuses!(beyond_the_file, |f| f.tensors[0].dims = vec![64, 1 << 30], Error::GgufBounds { tensor, .. } if tensor.contains("token_embd"));
refuses!(offset_beyond_the_file, |f| f.tensors[0].offset = Some(u64::MAX - 31), Error::GgufBounds { .. });
refuses!(misaligned, |f| f.tensors[1].offset = Some(33), Error::GgufMisaligned { offset: 33, alignment: 32, .. });
refuses!(overlap, |f| f.tensors[1].offset = Some(0), Error::GgufOverlap { .. });
refuses!(
    hidden_bytes,
    |f| {
        f.tensors.remove(4);
        f.tensors[3].data.extend([0; 64])
    },
    Error::GgufGap { bytes: 64, .. }
);
refuses!(no_architecture, |f| f.cut("general.architecture"), Error::MissingKey { key } if key == "general.architecture");
refuses!(no_block_count, |f| f.cut("llama.block_count"), Error::MissingKey { key } if key == "llama.block_count");
refuses!(unknown_architecture, |f| f.put("general.architecture", value::string("mamba")), Error::UnknownArchitecture { found, supported } if found == "mamba" && supported.contains(&"llama"));
refuses!(size_is_text, |f| f.put("llama.block_count", value::string("2")), Error::KeyType { key, .. } if key == "num_hidden_layers");
refuses!(size_per_layer, |f| f.put("llama.feed_forward_length", value::i32s(&[96, 96])), Error::KeyType { key, .. } if key == "llama.feed_forward_length");
refuses!(too_many_layers, |f| f.put("llama.block_count", value::u32(u32::MAX)), Error::KeyType { key, .. } if key == "num_hidden_layers");
refuses!(
    no_heads,
    |f| f.put("llama.attention.head_count", value::u32(0)),
    Error::KeyType { .. } | Error::UnsupportedSetting { .. }
);
refuses!(uneven_heads, |f| f.put("llama.attention.head_count_kv", value::u32(3)), Error::KeyType { key, .. } if key == "num_key_value_heads");
refuses!(
    epsilon_is_no_number,
    |f| f.put("llama.attention.layer_norm_rms_epsilon", value::f32(f32::NAN)),
    Error::KeyType { .. }
);
refuses!(experts, |f| f.put("llama.expert_count", value::u32(8)), Error::UnsupportedSetting { key, found } if key == "llama.expert_count" && found == "8");
refuses!(partial_rotation, |f| f.put("llama.rope.dimension_count", value::u32(8)), Error::UnsupportedSetting { .. });
refuses!(split_file, |f| f.put("split.count", value::u32(2)), Error::UnsupportedSetting { key, .. } if key == "split.count");
refuses!(
    divisors_of_another_shape,
    |f| f.add("rope_freqs.weight", &[4], F32, vec![0; 16]),
    Error::SourceTensorShape { .. }
);
refuses!(divisors_of_no_formula, |f| f.add("rope_freqs.weight", &[8], F32, build::f32_bytes(&build::numbers("x", 8))), Error::UnsupportedSetting { key, .. } if key == "rope_freqs.weight");
refuses!(missing_tensor, |f| drop(f.tensors.pop()), Error::SourceTensorMissing { tensor } if tensor == "model.norm.weight");
refuses!(unexpected_tensor, |f| f.add("blk.0.attn_q.bias", &[64], F32, vec![0; 256]), Error::SourceTensorUnexpected { tensor } if tensor == "model.layers.0.self_attn.q_proj.bias");
refuses!(layer_too_many, |f| f.add("blk.7.attn_norm.weight", &[64], F32, vec![0; 256]), Error::SourceTensorUnexpected { tensor } if tensor.contains("layers.7"));
refuses!(same_layer_twice, |f| f.add("blk.00.attn_norm.weight", &[64], F32, vec![0; 256]), Error::DuplicateSourceTensor { tensor } if tensor.contains("layers.0"));
refuses!(wrong_shape, |f| f.tensors[2].dims = vec![32, 128], Error::SourceTensorShape { tensor, actual, .. } if tensor.contains("q_proj") && actual == &[128, 32]);
refuses!(other_tokenizer, |f| f.put("tokenizer.ggml.model", value::string("bert")), Error::UnknownTokenizer { found } if found == "bert");
refuses!(other_pre_tokenizer, |f| f.put("tokenizer.ggml.pre", value::string("new")), Error::UnknownPreTokenizer { found } if found == "new");
refuses!(no_tokenizer, |f| f.cut("tokenizer.ggml.model"), Error::MissingKey { key } if key == "tokenizer.ggml.model");
refuses!(no_tokens, |f| f.cut("tokenizer.ggml.tokens"), Error::MissingKey { key } if key == "tokenizer.ggml.tokens");
refuses!(tokens_are_numbers, |f| f.put("tokenizer.ggml.tokens", value::i32s(&[1])), Error::KeyType { key, .. } if key == "tokenizer.ggml.tokens");
refuses!(
    too_few_types,
    |f| f.put("tokenizer.ggml.token_type", value::i32s(&[1; 7])),
    Error::TokenizerLength { expected: 264, actual: 7, .. }
);
refuses!(type_nine, |f| f.put("tokenizer.ggml.token_type", value::i32s(&[9; 264])), Error::KeyType { key, .. } if key == "tokenizer.ggml.token_type");
refuses!(token_twice, |f| { f.put("tokenizer.ggml.tokens", value::strings(["a", "b", "a"])); f.put("tokenizer.ggml.token_type", value::i32s(&[1; 3])); }, Error::DuplicateToken { text, first: 0, second: 2 } if text == "a");
refuses!(
    end_token_without_a_row,
    |f| f.put("llama.vocab_size", value::u32(263)),
    Error::KeyType { key, found, .. } if key.contains("eos_token_id") && found == "263"
);
refuses!(
    tokens_without_a_row,
    |f| {
        f.put("llama.vocab_size", value::u32(263));
        f.put("tokenizer.ggml.eos_token_id", value::u32(262));
        f.put("tokenizer.ggml.token_type", value::i32s(&[1; 264]));
    },
    Error::TokenizerLength { expected: 263, actual: 264, .. }
);
refuses!(
    merge_of_nothing,
    |f| f.put("tokenizer.ggml.merges", value::strings(["h e", "he"])),
    Error::TokenizerMerge { index: 1, .. }
);
refuses!(
    merge_of_strangers,
    |f| f.put("tokenizer.ggml.merges", value::strings(["h zz"])),
    Error::TokenizerMerge { index: 0, .. }
);
refuses!(
    id_beyond_the_vocabulary,
    |f| f.put("tokenizer.ggml.eos_token_id", value::u32(264)),
    Error::TokenId { id: 264, tokens: 264, .. }
);
refuses!(bos_without_an_id, |f| { f.cut("tokenizer.ggml.bos_token_id"); f.put("tokenizer.ggml.add_bos_token", value::bool(1)); }, Error::MissingKey { key } if key == "tokenizer.ggml.bos_token_id");
refuses!(template_is_a_number, |f| f.put("tokenizer.chat_template", value::u32(1)), Error::KeyType { key, .. } if key == "tokenizer.chat_template");
refuses!(merges_are_missing, |f| f.cut("tokenizer.ggml.merges"), Error::MissingKey { key } if key == "tokenizer.ggml.merges");

#[test]
fn cut_anywhere() {
    let file = build::llama().bytes();
    for length in 0..file.len() {
        // Most of the file is weights, where one place is like another.
        if length > 12_000 && !length.is_multiple_of(997) {
            continue;
        }
        let error = Source::from_gguf(file[..length].to_vec(), "").unwrap_err();
        assert!(
            matches!(error, Error::GgufMagic { .. } | Error::GgufTruncated { .. } | Error::GgufBounds { .. }),
            "{error:?}"
        );
    }
    let tokenizer = build::sentencepiece().bytes();
    for length in 0..tokenizer.len() {
        assert!(Gguf::parse(&tokenizer[..length]).is_err(), "cut at {length}");
    }
}

fn read_tokenizer(change: impl FnOnce(&mut GgufFile)) -> Result<Vec<u8>, Error> {
    let mut file = build::sentencepiece();
    change(&mut file);
    let bytes = file.bytes();
    doppler_rdrr::tokenizer::from_gguf(&Gguf::parse(&bytes)?).map(|parts| parts.tokenizer_json)
}

#[test]
fn sentencepiece_tables() {
    assert!(read_tokenizer(|_| {}).is_ok());
    let few = read_tokenizer(|f| f.put("tokenizer.ggml.scores", value::f32s(&[0.0; 3])));
    assert!(matches!(few, Err(Error::TokenizerLength { key, actual: 3, .. }) if key == "tokenizer.ggml.scores"));
    let none = read_tokenizer(|f| f.cut("tokenizer.ggml.scores"));
    assert!(matches!(none, Err(Error::MissingKey { key }) if key == "tokenizer.ggml.scores"));
    let prefix = read_tokenizer(|f| f.put("tokenizer.ggml.add_space_prefix", value::u32(1)));
    assert!(matches!(prefix, Err(Error::KeyType { key, .. }) if key == "tokenizer.ggml.add_space_prefix"));
    assert!(read_tokenizer(|f| f.put("tokenizer.ggml.scores", value::f32s(&[f32::NAN; 273]))).is_ok());
}

const F32_ENTRY: &str = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;

#[test]
fn unigram_tokenizers() {
    let read = |change: fn(&mut GgufFile)| {
        read_tokenizer(|f| {
            f.put("tokenizer.ggml.model", value::string("t5"));
            change(f);
        })
    };
    assert!(read(|_| {}).is_ok());
    let none = read(|f| f.cut("tokenizer.ggml.scores"));
    assert!(matches!(none, Err(Error::MissingKey { key }) if key == "tokenizer.ggml.scores"));
    for score in [f32::NAN, f32::INFINITY] {
        let error = read_tokenizer(|f| {
            f.put("tokenizer.ggml.model", value::string("t5"));
            f.put("tokenizer.ggml.scores", value::f32s(&[score; 273]));
        });
        assert!(matches!(error, Err(Error::KeyType { key, .. }) if key == "tokenizer.ggml.scores"));
    }
    let unknown = read(|f| {
        f.cut("tokenizer.ggml.unknown_token_id");
        f.put("tokenizer.ggml.token_type", value::i32s(&[1; 273]));
    });
    assert!(matches!(unknown, Err(Error::MissingKey { key }) if key == "tokenizer.ggml.unknown_token_id"));
    let no_end = read(|f| f.cut("tokenizer.ggml.eos_token_id"));
    assert!(matches!(no_end, Err(Error::MissingKey { key }) if key == "tokenizer.ggml.eos_token_id"));
    const MAP: &str = "tokenizer.ggml.precompiled_charsmap";
    let numbers = read(|f| f.put(MAP, value::i32s(&[1])));
    assert!(matches!(numbers, Err(Error::KeyType { key, .. }) if key == MAP));
    let corrupt = read(|f| f.put(MAP, value::array(0, 5, &[8, 0, 0, 0, 1])));
    assert!(matches!(&corrupt, Err(Error::Charsmap { key, .. }) if key == MAP), "{corrupt:?}");
    let long = read(|f| f.put(MAP, value::array(0, (2 << 20) + 1, &vec![0; (2 << 20) + 1])));
    assert!(matches!(long, Err(Error::TooLarge { .. })));
}

#[test]
fn bad_safetensors() {
    let parse = |header: &str, data: usize| safetensors::parse("f", &build::with_header(header, &vec![0; data]));
    assert_eq!(parse(F32_ENTRY, 8).unwrap().len(), 1);
    assert_eq!(parse(&F32_ENTRY.replacen('{', r#"{"__metadata__":{"format":"pt"},"#, 1), 8).unwrap().len(), 1);
    let entry = |from: &str, to: &str, data| parse(&F32_ENTRY.replace(from, to), data).unwrap_err();
    assert!(matches!(safetensors::parse("f", &[]), Err(Error::SafetensorsHeader { .. })));
    assert!(matches!(safetensors::parse("f", &[255; 20]), Err(Error::SafetensorsHeader { .. })));
    assert!(matches!(
        safetensors::parse("f", &[9, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']),
        Err(Error::SafetensorsHeader { header: 9, length: 10, .. })
    ));
    assert!(matches!(parse("{", 0).unwrap_err(), Error::Json { .. }));
    assert!(matches!(parse("[]", 0).unwrap_err(), Error::InvalidField { .. }));
    assert!(matches!(parse(r#"{"a":1,"a":2}"#, 0).unwrap_err(), Error::DuplicateKey { key, .. } if key == "a"));
    assert!(matches!(parse(r#"{"a":1}"#, 0).unwrap_err(), Error::SafetensorsEntry { tensor, .. } if tensor == "a"));
    assert!(matches!(entry("[2]", "[-2]", 8), Error::SafetensorsEntry { .. }));
    assert!(matches!(entry("[2]", "[18446744073709551615,2]", 8), Error::SafetensorsEntry { .. }));
    assert!(matches!(entry("[0,8]", "[8,0]", 8), Error::SafetensorsEntry { .. }));
    assert!(matches!(entry("[0,8]", "[0,8,9]", 8), Error::SafetensorsEntry { .. }));
    assert!(matches!(entry("F32", "F8_E4M3", 8), Error::UnsupportedTensorType { found, .. } if found == "F8_E4M3"));
    assert!(matches!(entry("[2]", "[3]", 8), Error::SafetensorsSize { expected: 12, actual: 8, .. }));
    assert!(matches!(entry("[0,8]", "[4,12]", 12), Error::SafetensorsLayout { expected: 0, actual: 4, .. }));
    assert!(matches!(entry("", "", 7), Error::SafetensorsLayout { expected: 7, actual: 8, .. }));
    assert!(matches!(entry("", "", 9), Error::SafetensorsLayout { .. }));
    let twice = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    assert!(matches!(parse(twice, 12).unwrap_err(), Error::SafetensorsLayout { what, .. } if what.contains('b')));
    let file = build::with_header(F32_ENTRY, &[0; 8]);
    assert!((0..file.len()).all(|length| safetensors::parse("f", &file[..length]).is_err()));
}

/// A folder in two shards, one of its files written anew.
fn folder(file: &str, content: Option<&[u8]>) -> Result<Source, Error> {
    let folder = TempDir::new().unwrap();
    build::hf_folder(folder.path(), &build::hf_config());
    let tensors = build::hf_tensors("BF16");
    let (first, second) = tensors.split_at(5);
    std::fs::write(folder.path().join("a.safetensors"), build::safetensors(first)).unwrap();
    std::fs::write(folder.path().join("b.safetensors"), build::safetensors(second)).unwrap();
    let files = first.iter().map(|t| (&t.0, "a.safetensors")).chain(second.iter().map(|t| (&t.0, "b.safetensors")));
    let map: serde_json::Map<_, serde_json::Value> = files.map(|(name, file)| (name.clone(), file.into())).collect();
    let index = serde_json::json!({ "weight_map": map });
    std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    let path = folder.path().join(file);
    match content {
        Some(content) => std::fs::write(path, content).unwrap(),
        None => std::fs::remove_file(path).unwrap(),
    }
    Source::open(folder.path())
}

#[test]
fn bad_folders() {
    assert!(folder("unrelated.txt", Some(b"")).is_ok());
    for file in ["config.json", "tokenizer.json", "b.safetensors"] {
        assert!(matches!(folder(file, None), Err(Error::MissingSourceFile { path }) if path.ends_with(file)), "{file}");
    }
    // What is there and is no plain file is not missing, and a path that leads nowhere is no folder with a file missing.
    let no_file = tempfile::tempdir().unwrap();
    std::fs::create_dir(no_file.path().join("config.json")).unwrap();
    for path in [no_file.path().to_owned(), no_file.path().join("none.gguf")] {
        let error = Source::open(&path).unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if named.starts_with(&path)), "{error}");
    }
    assert!(matches!(folder("tokenizer.json", Some(&vec![b' '; (100 << 20) + 1])), Err(Error::TooLarge { .. })));
    // Without its index a sharded model has no file by the usual name.
    let single = folder("model.safetensors.index.json", None);
    assert!(matches!(single, Err(Error::MissingSourceFile { path }) if path.ends_with("model.safetensors")));
    assert!(matches!(folder("tokenizer.json", Some(b"{")), Err(Error::Json { file, .. }) if file == "tokenizer.json"));
    assert!(matches!(folder("config.json", Some(b"{}")), Err(Error::MissingKey { key }) if key == "architectures"));
    assert!(
        matches!(folder("chat_template.jinja", Some(&[255])), Err(Error::NotUtf8 { what }) if what.contains("jinja"))
    );
    let index = |text: &str| folder("model.safetensors.index.json", Some(text.as_bytes())).unwrap_err();
    assert!(matches!(index("{}"), Error::MissingKey { key } if key == "weight_map"));
    assert!(matches!(index(r#"{"weight_map":[]}"#), Error::KeyType { .. }));
    for name in ["../a.safetensors", "/etc/passwd", "x/../../a", "C:\\a", ""] {
        let text = serde_json::json!({ "weight_map": { "t": name } }).to_string();
        assert!(matches!(index(&text), Error::FileName { .. }), "{name}");
    }
    let error = index(r#"{"weight_map":{"model.norm.weight":"a.safetensors"}}"#);
    assert!(matches!(error, Error::SafetensorsIndex { tensor, .. } if tensor == "model.norm.weight"));
    let error = index(r#"{"weight_map":{"model.embed_tokens.weight":"a.safetensors"}}"#);
    assert!(matches!(error, Error::SafetensorsIndex { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Up to eight bytes of a good file changed anywhere before the weights.
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0_usize..9000, any::<u8>()), 1..8)) {
        let mut file = build::llama().bytes();
        changes.iter().for_each(|(at, byte)| file[*at] = *byte);
        let _ = Source::from_gguf(file, "");
        let mut file = build::sentencepiece().bytes();
        changes.iter().for_each(|(at, byte)| if let Some(to) = file.get_mut(*at) { *to = *byte });
        if let Ok(gguf) = Gguf::parse(&file) {
            let _ = doppler_rdrr::tokenizer::from_gguf(&gguf);
        }
    }

    #[test]
    fn any_header_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), json in ".{0,200}") {
        let _ = Gguf::parse(&[b"GGUF\x03\0\0\0", &bytes[..]].concat());
        let _ = safetensors::parse("f", &bytes);
        let _ = safetensors::parse("f", &build::with_header(&json, &bytes));
    }
}
