//! Writes valid files into `corpus/`, for the fuzzer to start from.

#[path = "../tests/build/mod.rs"]
mod build;

use std::error::Error;
use std::fs;
use std::path::Path;

use build::value;
use doppler_rdrr::convert::{ConvertOptions, convert};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(corpus.join(target))?;
        fs::write(corpus.join(target).join(name), bytes)
    };
    let mut model = build::llama();
    let whole = model.bytes();
    let weights: usize = model.tensors.iter().map(|tensor| tensor.data.len().next_multiple_of(model.alignment)).sum();
    write("gguf", "llama", &whole[..whole.len() - weights])?;
    model.set("general.alignment", value::u32(32)).set("llama.rope.scaling.type", value::string("linear"));
    model.push("rope_freqs.weight", &[8], build::F32, vec![0; 32]);
    let whole = model.bytes();
    write("gguf", "scaled", &whole[..whole.len() - weights - 32])?;
    write("tokenizer_gguf", "sentencepiece", &build::sentencepiece().bytes())?;
    for pre in ["gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-coder", "falcon"] {
        let mut file = build::llama();
        file.tensors.clear();
        file.set("tokenizer.ggml.pre", value::string(pre));
        write("tokenizer_gguf", pre, &file.bytes())?;
    }
    write("safetensors", "two", &build::safetensors(&build::hf_tensors("F16")[1..2]))?;
    let small = [("a".into(), "F32", vec![2], vec![0; 8]), ("b".into(), "BF16", vec![1, 2], vec![0; 4])];
    write("safetensors", "small", &build::safetensors(&small))?;
    write("hf_config", "llama", build::hf_config().to_string().as_bytes())?;
    let scaling = serde_json::json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 1e4 });
    let mut config = build::hf_config();
    config["rope_parameters"] = scaling;
    config["architectures"] = serde_json::json!(["MistralForCausalLM"]);
    config["sliding_window"] = 16.into();
    write("hf_config", "mistral", config.to_string().as_bytes())?;
    let folder = std::env::temp_dir().join(format!("doppler-seeds-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("in.gguf"), build::llama().bytes())?;
    let converted = convert(&folder.join("in.gguf"), &folder.join("out"), &ConvertOptions::default(), |_| {});
    let manifest = fs::read(folder.join("out/manifest.json"));
    fs::remove_dir_all(&folder)?;
    converted?;
    write("manifest", "llama", &manifest?)?;
    Ok(())
}
