//! How fast a model runs here: load, prefill, decode, and where the time goes.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use doppler_core::Error;
use doppler_core::prelude::*;
use examples::{ModelArgs, end, synthetic};
use serde_json::{Value, json};

/// Times a model on a prompt of fixed tokens, greedily.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// A random model of this shape instead: llama-8b, llama-1b, smollm2-135m
    #[arg(long, value_name = "SHAPE")]
    synthetic: Option<String>,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Tokens to decode
    #[arg(long, default_value_t = 128)]
    tokens: usize,
    /// Measured runs, after one that warms up
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    end(pollster::block_on(run(Args::parse())))
}

/// One prompt and its answer.
struct Run {
    prefill: Duration,
    tokens: Vec<Duration>,
}

async fn run(mut args: Args) -> Result<()> {
    let folder = synthetic::folder()?;
    if let Some(shape) = &args.synthetic {
        args.model.model = synthetic::write(shape, folder.path())?.display().to_string();
    }
    let started = Instant::now();
    let mut pipeline = args.model.load().await?;
    let load = started.elapsed();
    let vocab_size = pipeline.config().vocab_size as u32;
    let prompt: Vec<u32> = (0..args.prompt as u32).map(|i| (100 + i % 97 * 7) % vocab_size).collect();
    let first = one_run(&mut pipeline, &prompt, args.tokens).await?;
    let before = pipeline.device().counters();
    let mut runs = Vec::new();
    for _ in 0..args.runs {
        runs.push(one_run(&mut pipeline, &prompt, args.tokens).await?);
    }
    let after = pipeline.device().counters();
    let steps = (args.runs * args.tokens) as f64;
    let per_step = |count: u64| count as f64 / steps;
    let mut times: Vec<f64> = runs.iter().flat_map(|run| &run.tokens).map(Duration::as_secs_f64).collect();
    times.sort_by(f64::total_cmp);
    let percentile = |p: f64| times[((times.len() - 1) as f64 * p) as usize] * 1e6;
    let report = json!({
        "model": args.model.model,
        "device": pipeline.device().report().adapter,
        "int8_activations": pipeline.why_not_int8().map_or("yes", |why| why),
        "prompt_tokens": args.prompt,
        "generated": args.tokens,
        "load_ms": load.as_secs_f64() * 1e3,
        "first_run_prefill_ms": first.prefill.as_secs_f64() * 1e3,
        "prefill_tok_s": median(runs.iter().map(|run| args.prompt as f64 / run.prefill.as_secs_f64())),
        "decode_tok_s": median(runs.iter().map(|run| args.tokens as f64 / run.tokens.iter().sum::<Duration>().as_secs_f64())),
        "token_us": { "p50": percentile(0.5), "p95": percentile(0.95), "p99": percentile(0.99) },
        "weights_bytes": pipeline.plan().weights,
        "peak_gpu_bytes": pipeline.device().peak_gpu_bytes(),
        "submissions_per_token": per_step(after.submissions - before.submissions),
        "dispatches_per_token": per_step(after.dispatches - before.dispatches),
        "readback_bytes_per_token": per_step(after.readback_bytes - before.readback_bytes),
        "encoding_us_per_token": (after.encoding - before.encoding).as_secs_f64() * 1e6 / steps,
        "decode_kernels": kernels(|| pipeline.profile_decode())?,
        "prefill_kernels": kernels(|| pipeline.profile_prefill(&prompt[..prompt.len().min(512)]))?,
    });
    if args.json {
        println!("{report}");
    } else {
        table(&report);
    }
    Ok(())
}

async fn one_run(pipeline: &mut DecoderPipeline, prompt: &[u32], tokens: usize) -> Result<Run> {
    pipeline.rewind(0)?;
    let started = Instant::now();
    pipeline.forward(prompt, 1).await?;
    let prefill = started.elapsed();
    let mut times = Vec::new();
    for _ in 0..tokens {
        let started = Instant::now();
        pipeline.greedy().await?;
        times.push(started.elapsed());
    }
    Ok(Run { prefill, tokens: times })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// GPU time by kernel, in µs: the median of five.
fn kernels(mut profile: impl FnMut() -> Result<Option<BTreeMap<String, (usize, Duration)>>, Error>) -> Result<Value> {
    let mut times: BTreeMap<String, (usize, Vec<f64>)> = BTreeMap::new();
    for _ in 0..5 {
        let Some(kernels) = profile()? else { return Ok(Value::Null) };
        for (kernel, (count, time)) in kernels {
            let entry = times.entry(kernel).or_default();
            entry.0 = count;
            entry.1.push(time.as_secs_f64() * 1e6);
        }
    }
    let row = |(kernel, (count, times)): (String, (usize, Vec<f64>))| {
        (kernel, json!({ "runs": count, "us": median(times.into_iter()) }))
    };
    Ok(Value::Object(times.into_iter().map(row).collect()))
}

fn table(report: &Value) {
    let Some(fields) = report.as_object() else { return };
    let nested = ["decode_kernels", "prefill_kernels"];
    for (name, value) in fields.iter().filter(|(name, _)| !nested.contains(&name.as_str())) {
        println!("{name:26} {value}");
    }
    for (kernel, value) in nested.iter().flat_map(|name| report[name].as_object()).flatten() {
        println!(
            "  {kernel:24} {:>4} runs {:>9.1} µs",
            value["runs"].as_u64().unwrap_or(0),
            value["us"].as_f64().unwrap_or(0.0)
        );
    }
}
