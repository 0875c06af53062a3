//! Load, prefill and decode of whole models through the public API, as an application would do it.
//!
//! The tiny model of the tests shows what a step costs besides arithmetic; a real one shows the speed. BENCHMARKS.md says
//! how to choose the model and the device.

#![expect(clippy::print_stdout, reason = "which device and model ran is part of the result")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, SamplingMode, Throughput};
use doppler_core::prelude::*;
use doppler_core::rdrr::convert::{ConvertOptions, convert};
use doppler_core::{PipelineBuilder, catalog, models};
use pollster::block_on;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama/llama_blocks");
/// Tokens of a prompt.
const PROMPT: usize = 128;
/// Tokens before what is timed.
const DEPTHS: [usize; 2] = [0, 512];
/// Tokens that are decoded before the context goes back to its depth.
const BURST: usize = 32;

fn main() {
    let testing = testing();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(10)
        .configure_from_args();
    let choice = variable("DOPPLER_DEVICE").unwrap_or_else(|| "auto".to_owned());
    let Ok(choice) = choice.parse();
    let device = block_on(Device::open(&DeviceOptions { choice, ..DeviceOptions::default() }));
    let device = device.expect("DOPPLER_DEVICE is `auto`, `gpu`, `host` or a part of an adapter's name");
    let report = device.report();
    println!("{}: {} ({}); {}", report.executor, report.adapter, report.driver, report.why);

    let folder = tempfile::tempdir().expect("a folder for the tiny model");
    let tiny = folder.path().join("tiny.rdrr");
    convert(Path::new(FIXTURE), &tiny, &ConvertOptions::default(), |_| {}).expect("the tests' model converts");
    bench(&mut criterion, &device, "tiny", &tiny);
    match real_model(testing) {
        Ok(path) => {
            // The folder's name keeps criterion from comparing one model with another.
            let name = path.file_stem().map_or("real".into(), |stem| stem.to_string_lossy());
            bench(&mut criterion, &device, &name, &path);
        }
        Err(why) => println!("no real model: {why}"),
    }
    criterion.final_summary();
}

/// As criterion decides it: everything runs once when cargo does not ask for a bench.
fn testing() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    has("--test") || !has("--bench")
}

#[expect(clippy::disallowed_methods, reason = "the command line is criterion's")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The model that the caller names, or the catalog's first when it is in the cache; or why there is none.
fn real_model(testing: bool) -> Result<PathBuf, String> {
    if let Some(named) = variable("DOPPLER_MODEL") {
        return Ok(models::locate(&named, None, |_| {}).expect("DOPPLER_MODEL is an id, a GGUF file or an RDRR folder"));
    }
    if testing {
        return Err("a smoke test takes one only from DOPPLER_MODEL".to_owned());
    }
    let default = &catalog::ENTRIES[0];
    let cache = catalog::default_cache_dir().map_err(|error| error.to_string())?;
    if !cache.join(default.file_name).is_file() {
        let id = default.id;
        return Err(format!("{id} is not in the cache; name one in DOPPLER_MODEL (an id, GGUF file or RDRR folder)"));
    }
    models::locate(default.id, Some(&cache), |_| {}).map_err(|error| error.to_string())
}

/// Room for the deepest measurement, as far as the model has it.
fn builder(device: &Device, path: &Path) -> PipelineBuilder {
    let model = Model::open(path).expect("the model opens");
    let wanted = DEPTHS[1] + PROMPT + BURST + 2;
    DecoderPipeline::builder(device, path).max_seq_len(wanted.min(model.config().max_position_embeddings))
}

fn bench(criterion: &mut Criterion, device: &Device, name: &str, path: &Path) {
    let builder = builder(device, path);
    let load = || block_on(builder.clone().build()).expect("the model loads");
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Bytes(load().plan().weights));
    // Freeing a model is not part of loading the next.
    group.bench_function("load", |bencher| bencher.iter_batched(|| {}, |()| load(), BatchSize::PerIteration));

    for depth in DEPTHS {
        // A pipeline for each depth, so that the cache has grown as far as that depth needs and no further.
        let mut pipeline = load();
        let prompt = PROMPT.min(pipeline.max_seq_len() / 2);
        if depth + prompt.max(BURST) + 2 > pipeline.max_seq_len() {
            println!("{name}: no depth {depth}, the context ends at {}", pipeline.max_seq_len());
            continue;
        }
        append(&mut pipeline, depth);
        group.throughput(Throughput::Elements(prompt as u64));
        group.bench_function(format!("prefill_{prompt}/depth_{depth}"), |bencher| {
            bencher.iter_custom(|runs| (0..runs).map(|_| prefill(&mut pipeline, depth, prompt)).sum());
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("decode/depth_{depth}"), |bencher| {
            bencher.iter_custom(|tokens| decode(&mut pipeline, depth, tokens));
        });
    }
    group.finish();
}

/// Puts `count` tokens into the context; which ones does not matter to the time.
fn append(pipeline: &mut DecoderPipeline, count: usize) {
    let vocab_size = pipeline.config().vocab_size;
    let tokens: Vec<u32> = (0..count).map(|i| (i * 31 % vocab_size) as u32).collect();
    if !tokens.is_empty() {
        block_on(pipeline.forward(&tokens, 1)).expect("the context has room");
    }
}

/// The time from a prompt to the logits after it.
fn prefill(pipeline: &mut DecoderPipeline, depth: usize, prompt: usize) -> Duration {
    pipeline.rewind(depth).expect("the depth was there");
    let started = Instant::now();
    append(pipeline, prompt);
    started.elapsed()
}

/// The time of `tokens` greedy tokens, in bursts that stay near the depth.
fn decode(pipeline: &mut DecoderPipeline, depth: usize, tokens: u64) -> Duration {
    let mut elapsed = Duration::ZERO;
    let mut left = tokens as usize;
    let greedy = |pipeline: &mut DecoderPipeline| block_on(pipeline.greedy()).expect("the next token");
    while left > 0 {
        pipeline.rewind(depth).expect("the depth was there");
        append(pipeline, 1);
        // The first token comes from the logits above; it starts the steps that run ahead on a GPU.
        greedy(pipeline);
        let burst = left.min(BURST);
        let started = Instant::now();
        for _ in 0..burst {
            greedy(pipeline);
        }
        elapsed += started.elapsed();
        left -= burst;
    }
    elapsed
}
