//! The examples as a user runs them: their flags, their JSON, their exit codes and what they leave behind.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A Hugging Face folder of a tiny random Llama; so that nothing is fetched.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../doppler-core/tests/fixtures/llama").join(name)
}

/// An example, with a cache of its own.
fn example(binary: &str, cache: &Path) -> Command {
    let mut command = Command::new(binary);
    // The first is Linux's, the second Windows', the third macOS'.
    command.env("XDG_CACHE_HOME", cache).env("LOCALAPPDATA", cache).env("HOME", cache);
    command
}

fn generate(cache: &Path) -> Command {
    example(env!("CARGO_BIN_EXE_generate"), cache)
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// What it says on stderr when it fails, as it must, without a panic.
#[track_caller]
fn fail(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{command:?}\n{}{stderr}", String::from_utf8_lossy(&stdout));
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    stderr
}

#[track_caller]
fn json(command: &mut Command) -> Value {
    let stdout = succeed(command);
    assert_eq!(stdout.trim().lines().count(), 1, "one object and nothing else: {stdout}");
    serde_json::from_str(&stdout).unwrap()
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(text.contains(word), "{text:?} does not name {word:?}"));
}

fn convert(input: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convert"));
    command.args([input, out]);
    command
}

#[test]
fn generate_keeps_its_json_contract() {
    let cache = tempfile::tempdir().unwrap();
    let model = fixture("llama3_scaled");
    let run = |device: &str| {
        let mut command = generate(cache.path());
        command.arg("--model").arg(&model).args(["--device", device, "--raw", "--json", "--temperature", "0"]);
        command.args(["--top-logits", "5", "--max-tokens", "6", "--ignore-eos", "--kv-dtype", "f32", "The rain in"]);
        json(&mut command)
    };
    let host = run("host");
    for field in [
        "model",
        "adapter",
        "executor",
        "kernel_variants",
        "prompt_ids",
        "token_ids",
        "text",
        "finish_reason",
        "top_logits",
        "timings_ms",
        "prefill_tok_s",
        "decode_tok_s",
        "peak_memory_bytes",
    ] {
        assert!(!host[field].is_null(), "{field} is missing: {host}");
    }
    assert_eq!(host["executor"], "host");
    assert_eq!(host["finish_reason"], "length");
    assert_eq!(host["token_ids"].as_array().unwrap().len(), 6);
    assert_eq!(host["kernel_variants"]["rms_norm"], "host");
    for timing in ["load", "first_token", "decode", "total"] {
        assert!(host["timings_ms"][timing].as_f64().unwrap() >= 0.0);
    }
    let top = host["top_logits"].as_array().unwrap();
    assert_eq!(top.len(), 5);
    assert!(top.windows(2).all(|pair| pair[0][1].as_f64() >= pair[1][1].as_f64()), "{top:?}");
    // Greedy takes the first of them.
    assert_eq!(top[0][0], host["token_ids"][0]);
    let oracle = run("oracle");
    assert_eq!(oracle["executor"], "oracle");
    assert_eq!(oracle["token_ids"], host["token_ids"]);
}

#[test]
fn generate_streams_text_and_ends_with_timings() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = generate(cache.path());
    command.arg("--model").arg(fixture("llama3_scaled")).args(["--device", "host", "--max-tokens", "4", "Hello"]);
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{stderr}");
    assert_says(&stderr, &["host on CPU", "load", "first token", "prefill", "decode", "tok/s", "peak memory"]);
    // Converted once.
    let converted = |cache: &TempDir| std::fs::read_dir(cache.path().join("doppler")).unwrap().count();
    if cfg!(target_os = "linux") {
        assert_eq!(converted(&cache), 1);
        command.output().unwrap();
        assert_eq!(converted(&cache), 1);
    }
}

#[test]
fn generate_samples_the_same_for_the_same_seed() {
    let cache = tempfile::tempdir().unwrap();
    let run = |seed: &str| {
        let mut command = generate(cache.path());
        command.arg("--model").arg(fixture("llama_blocks")).args(["--device", "host", "--json", "--max-tokens", "12"]);
        command.args(["--temperature", "1.3", "--top-k", "50", "--top-p", "0.98", "--min-p", "0.01"]);
        command.args(["--repeat-penalty", "1.1", "--ignore-eos", "--seed", seed, "Hello"]);
        json(&mut command)["token_ids"].clone()
    };
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7"), run("8"));
}

#[test]
fn generate_names_what_is_wrong() {
    let cache = tempfile::tempdir().unwrap();
    let with = |arguments: &[&str]| {
        let mut command = generate(cache.path());
        command.arg("--device").arg("host").args(arguments);
        fail(&mut command)
    };
    assert_says(&with(&["--model", "no-such-model", "hi"]), &["no-such-model", "smollm2-135m-instruct"]);
    let model = fixture("llama3_scaled");
    let model = model.to_str().unwrap();
    assert_says(
        &with(&["--model", model, "--max-seq-len", "4", "--raw", "The rain in the mountain"]),
        &["context of 4"],
    );
    assert_says(&with(&["--model", model, "--temperature=-1", "hi"]), &["temperature"]);
    assert_says(&with(&["--model", model, "--temperature=NaN", "hi"]), &["temperature"]);
    let mut none = generate(cache.path());
    none.args(["--device", "host", "--model", model, "--max-tokens", "0", "--json", "hi"]);
    assert_eq!(json(&mut none)["prefill_tok_s"], 0.0);
}

#[test]
fn an_adapter_that_is_not_there_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = generate(cache.path());
    command.arg("--model").arg(fixture("llama3_scaled")).args(["--device", "no-such-adapter", "hi"]);
    assert_says(&fail(&mut command), &["no-such-adapter", "host"]);
}

#[test]
fn convert_inspect_and_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (out, packed) = (folder.path().join("model.rdrr"), folder.path().join("packed.rdrr"));
    succeed(&mut convert(&fixture("llama_blocks"), &out));
    succeed(convert(&fixture("llama_blocks"), &packed).args(["--quantize", "q4_k"]));
    let inspect = |path: &Path, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inspect"));
        command.arg(path).args(arguments);
        command
    };
    let told = json(&mut inspect(&out, &["--verify", "--json", "--context", "64"]));
    assert_eq!(told["config"]["hidden_size"], 256);
    assert_eq!(told["verified"], true);
    assert_eq!(told["runs"], true);
    assert_eq!(told["memory_bytes"]["context"], 64);
    assert!(told["tensors"].as_array().unwrap().len() > 10);
    let types = |told: &Value| -> Vec<String> {
        told["tensors"].as_array().unwrap().iter().map(|t| t["dtype"].as_str().unwrap().to_owned()).collect()
    };
    assert!(types(&json(&mut inspect(&packed, &["--json"]))).contains(&"Q4_K".to_owned()));
    assert_says(
        &succeed(&mut inspect(&out, &["--tensors"])),
        &["model.embed_tokens.weight", "shard_00000.bin", "BF16"],
    );
    // What is packed still runs.
    let mut command = generate(folder.path());
    command.arg("--model").arg(&packed).args(["--device", "host", "--raw", "--max-tokens", "2", "--json", "Hello"]);
    json(&mut command);
    // A context that the model does not allow has no memory to be told.
    assert_says(&fail(&mut inspect(&packed, &["--context", "9999999999"])), &["max_seq_len", "9999999999"]);
    // What the decoder cannot do is named.
    let manifest = packed.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(
        &manifest,
        text.replace("\"valueNorm\":false", "\"valueNorm\":true")
            .replace("\"valueNorm\": false", "\"valueNorm\": true"),
    )
    .unwrap();
    assert_says(&fail(&mut inspect(&packed, &[])), &["does not run", "inference.attention.valueNorm"]);
    // A flipped bit is found, and named with its shard.
    let shard = out.join("shard_00000.bin");
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    assert_says(&fail(&mut inspect(&out, &["--verify"])), &["shard_00000.bin", "corrupt"]);
}

#[test]
fn a_failed_conversion_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.rdrr");
    assert_says(&fail(&mut convert(&folder.path().join("missing.gguf"), &out)), &["missing.gguf"]);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_says(&fail(&mut convert(&empty, &out)), &["config.json"]);
    std::fs::write(folder.path().join("bad.gguf"), b"GGUF\x03\0\0\0").unwrap();
    fail(&mut convert(&folder.path().join("bad.gguf"), &out));
    fail(convert(&fixture("llama_blocks"), &out).args(["--quantize", "q5_k"]));
    // A disk that refuses the second half: the system's limit on the size of files, its signal ignored.
    if cfg!(target_os = "linux") {
        let mut command = Command::new("bash");
        command.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "bash", env!("CARGO_BIN_EXE_convert")]);
        command.arg(fixture("llama_blocks")).arg(&out);
        assert_says(&fail(&mut command), &["free space"]);
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "only the inputs: {left:?}");
    // What is there is not overwritten.
    std::fs::write(empty.join("precious"), "").unwrap();
    assert_says(&fail(&mut convert(&fixture("llama_blocks"), &empty)), &["exists"]);
}

#[test]
fn chat_keeps_the_conversation() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = example(env!("CARGO_BIN_EXE_chat"), cache.path());
    command.arg("--model").arg(fixture("llama3_scaled")).args(["--device", "host", "--max-tokens", "3"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("Hello\n\nAnd then?\n".as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    // Two answers, the empty line, and the end of the input.
    assert_eq!(String::from_utf8_lossy(&stdout).matches("> ").count(), 4);
}

#[test]
fn chat_goes_on_after_a_message_that_does_not_fit() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = example(env!("CARGO_BIN_EXE_chat"), cache.path());
    command.arg("--model").arg(fixture("llama3_scaled")).args(["--device", "host", "--max-seq-len", "64"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let long = "a long message ".repeat(40);
    child.stdin.take().unwrap().write_all(format!("{long}\nA<|end|>\nHi\n/reset\nHi\n").as_bytes()).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{stderr}");
    // Only the message that is too long and the one that forges a turn have no answer.
    assert_eq!(stderr.matches("error:").count(), 2, "{stderr}");
    assert_says(&stderr, &["do not fit the context of 64", "`<|end|>`", "/reset", "[cut: context;"]);
}

#[test]
fn selftest_is_green_on_the_host() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selftest"));
    let told = json(command.args(["--device", "host", "--json"]));
    assert_eq!(told["missed"], 0);
    assert!(told["results"].as_array().unwrap().len() >= 13);
}

#[test]
fn bench_compares_configurations() {
    let cache = tempfile::tempdir().unwrap();
    let bench = |args: &[&str]| {
        let mut command = example(env!("CARGO_BIN_EXE_bench"), cache.path());
        command
            .arg("--model")
            .arg(fixture("llama3_scaled"))
            .args(["--device", "host", "--prompt", "4", "--tokens", "2"]);
        command.args(args);
        command
    };
    let told = json(&mut bench(&["--compare", "default", "tuned", "--runs", "3", "--json"]));
    assert_eq!((&told["a"], &told["b"], &told["pairs"]), (&"default".into(), &"tuned".into(), &3.into()));
    for what in ["prefill", "decode_token"] {
        let interval = told[what]["interval_95_percent"].as_array().unwrap();
        let middle = told[what]["b_over_a_percent"].as_f64().unwrap();
        assert!(interval[0].as_f64().unwrap() <= middle && middle <= interval[1].as_f64().unwrap(), "{told}");
    }
    assert_says(&fail(&mut bench(&["--compare", "default", "tuned", "--runs", "1"])), &["--runs 2"]);
    assert_says(&fail(&mut bench(&["--variant", "matmull=gemv"])), &["matmull", "rms_norm"]);
    assert_says(&fail(&mut bench(&["--compare", "default", "gemv"])), &["gemv", "KERNEL=VARIANT"]);
    let file = cache.path().join("tuning.json");
    assert_says(&fail(&mut bench(&["--export", file.to_str().unwrap()])), &["CPU"]);
    assert!(!file.exists());
}

#[test]
fn bench_times_steps_of_several_rows() {
    let cache = tempfile::tempdir().unwrap();
    let bench = |last: &str| {
        let mut command = example(env!("CARGO_BIN_EXE_bench"), cache.path());
        command
            .arg("--model")
            .arg(fixture("llama3_scaled"))
            .args(["--device", "host", "--prompt", "4", "--tokens", "2"]);
        command.args(["--runs", "1", "--rows", "2,5", last]);
        command
    };
    let told = json(&mut bench("--json"));
    let rows = told["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["rows"].clone()).collect::<Vec<_>>(), [2, 5]);
    assert!(rows.iter().all(|row| row["ratio"].as_f64().unwrap() > 0.0 && row["kernels"].is_null()), "{told}");
    assert_says(&succeed(&mut bench("--untuned")), &["2 rows", "5 rows", "times"]);
}

#[test]
fn bench_goes_deeper_and_deeper() {
    let cache = tempfile::tempdir().unwrap();
    let bench = |args: &[&str]| {
        let mut command = example(env!("CARGO_BIN_EXE_bench"), cache.path());
        command.arg("--model").arg(fixture("llama_blocks")).args(["--device", "host", "--runs", "2"]);
        if !args.contains(&"--tokens") {
            command.args(["--tokens", "2"]);
        }
        command.args(args);
        command
    };
    for kv in ["f32", "f16", "q8_0"] {
        // In any order, each once.
        let told = json(&mut bench(&["--depths", "40,0,9,40", "--kv-dtype", kv, "--json"]));
        assert_eq!((&told["kv_dtype"], &told["context"]), (&kv.to_uppercase().into(), &42.into()));
        let rows = told["depths"].as_array().unwrap();
        let column = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
        assert_eq!(column("depth"), [0, 9, 40]);
        assert_eq!(column("prefill_tokens"), [1, 8, 31]);
        assert!(column("prefill_tok_s")[0].is_null() && column("prefill_tok_s")[2].as_f64().unwrap() > 0.0, "{told}");
        assert!(column("decode_tok_s").iter().all(|speed| speed.as_f64().unwrap() > 0.0), "{told}");
    }
    assert_says(&succeed(&mut bench(&["--depths", "0,9"])), &["decode tok/s", "       9"]);
    assert_says(&fail(&mut bench(&["--depths", "1000000"])), &["max_seq_len"]);
    assert_says(&fail(&mut bench(&["--depths", "0", "--tokens", "0"])), &["--tokens 1"]);
}

#[test]
fn every_example_has_help() {
    for binary in [
        env!("CARGO_BIN_EXE_bench"),
        env!("CARGO_BIN_EXE_generate"),
        env!("CARGO_BIN_EXE_chat"),
        env!("CARGO_BIN_EXE_convert"),
        env!("CARGO_BIN_EXE_inspect"),
        env!("CARGO_BIN_EXE_selftest"),
    ] {
        assert_says(&succeed(Command::new(binary).arg("--help")), &["Usage:", "--help"]);
    }
}

/// The whole path of the README with the default model, from the cache or its sources.
#[test]
#[cfg(feature = "real-model-tests")]
fn the_default_model_answers() {
    let answer = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_generate"));
        command.args(["--device", "host", "--raw", "--json", "--max-tokens", "8"]).args(more);
        json(command.arg("The capital of France is"))
    };
    let told = answer(&["--exact"]);
    assert_eq!(told["prompt_ids"], serde_json::json!([504, 3575, 282, 4649, 314]));
    assert_eq!(told["text"], " Paris.\n\nThe answer is:");
    // In int8 the words after the first sentence, where two are nearly level, are others.
    let text = answer(&[])["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with(" Paris."), "{text}");
}
