//! How fast a model runs here: load, prefill, decode, and where the time goes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use doppler_core::prelude::*;
use doppler_core::{Error, KernelTimes};
use examples::paired::Difference;
use examples::roofs::{self, Roofs};
use examples::{ModelArgs, SamplingArgs, end, named_variant, synthetic, tables};
use serde_json::{Value, json};

/// Times a model on a prompt of fixed tokens.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
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
    /// Time steps of so many rows behind the prompt as well, against those of one row
    #[arg(long, value_delimiter = ',', value_name = "M,…", value_parser = clap::value_parser!(u8).range(2..))]
    rows: Vec<u8>,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Run two configurations in turn and tell their difference; each is `tuned`, `default` (the registry's order) or
    /// KERNEL=VARIANT[,KERNEL=VARIANT]
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    compare: Vec<String>,
    /// Instead of one prompt, fill one context further and further and tell the speed at each of these depths
    #[arg(long, value_delimiter = ',', value_name = "DEPTH,…", conflicts_with = "compare")]
    depths: Vec<usize>,
    /// First time the kernels' variants on this model, for so many seconds at most, and keep the fastest
    #[arg(long, value_name = "SECONDS")]
    tune: Option<u64>,
    /// Write what was measured on this adapter, now and before
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// First take what was measured elsewhere on the same adapter and driver
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
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
    if let [a, b] = args.compare.as_slice() {
        return compare(&args, a, b).await;
    }
    if !args.depths.is_empty() {
        return by_depth(&args).await;
    }
    let started = Instant::now();
    let mut pipeline = args.model.load().await?;
    let load = started.elapsed();
    tune(&args, &mut pipeline)?;
    let prompt = prompt(args.prompt, &pipeline);
    let first = one_run(&mut pipeline, &prompt, &args).await?;
    let before = pipeline.device().counters();
    let mut runs = Vec::new();
    for _ in 0..args.runs {
        runs.push(one_run(&mut pipeline, &prompt, &args).await?);
    }
    let after = pipeline.device().counters();
    let steps = (args.runs * args.tokens) as f64;
    let per_step = |count: u64| count as f64 / steps;
    let mut times: Vec<f64> = runs.iter().flat_map(|run| &run.tokens).map(Duration::as_secs_f64).collect();
    times.sort_by(f64::total_cmp);
    let percentile = |p: f64| Some(times.get((times.len().checked_sub(1)? as f64 * p) as usize)? * 1e6);
    let prefill_tok_s = median(runs.iter().map(|run| args.prompt as f64 / run.prefill.as_secs_f64()));
    let decode_tok_s =
        median(runs.iter().map(|run| args.tokens as f64 / run.tokens.iter().sum::<Duration>().as_secs_f64()));
    let first_token = load + first.prefill + first.tokens.first().copied().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    // The roofs take memory of their own.
    let peak_gpu_bytes = pipeline.device().peak_gpu_bytes();
    let roofs = roofs::measure(pipeline.device(), args.model.exact)
        .inspect_err(|error| eprintln!("what the device does at best could not be measured: {error:#}"))
        .ok();
    let roof = |of: fn(&Roofs) -> f64| roofs.as_ref().map(of);
    let bytes = roofs::bytes_of_a_token(&pipeline, args.prompt + args.tokens / 2);
    let report = json!({
        "model": args.model.model,
        "device": pipeline.device().report().adapter,
        "int8_activations": pipeline.why_not_int8().map_or("yes", |why| why),
        "fused_prompts": pipeline.why_prompts_are_not_fused().map_or("yes", |why| why),
        "logits_are_read": pipeline.why_logits_are_read(&args.sampling.sampler()).map_or("no", |why| why),
        "prompt_tokens": args.prompt,
        "generated": args.tokens,
        "load_ms": ms(load),
        "first_run_prefill_ms": ms(first.prefill),
        "first_token_ms": ms(first_token),
        "prefill_tok_s": prefill_tok_s,
        "decode_tok_s": decode_tok_s,
        "token_us": { "p50": percentile(0.5), "p95": percentile(0.95), "p99": percentile(0.99) },
        "weights_bytes": pipeline.plan().weights,
        "bytes_per_token": bytes,
        "bandwidth_gb_s": roof(|r| r.bandwidth / 1e9),
        "of_bandwidth": roof(|r| r.bandwidth).map(|roof| decode_tok_s * bytes / roof),
        "arithmetic_tflop_s": roof(|r| r.arithmetic / 1e12),
        "arithmetic_by": roofs.as_ref().map(|r| &r.product),
        "of_arithmetic": roof(|r| r.arithmetic).map(|roof| prefill_tok_s * roofs::flops_of_a_row(&pipeline) / roof),
        "peak_gpu_bytes": peak_gpu_bytes,
        "submissions_per_token": per_step(after.submissions - before.submissions),
        "dispatches_per_token": per_step(after.dispatches - before.dispatches),
        "readback_bytes_per_token": per_step(after.readback_bytes - before.readback_bytes),
        "encoding_us_per_token": (after.encoding - before.encoding).as_secs_f64() * 1e6 / steps,
        "kernel_variants": pipeline.device().kernel_variants(),
        "rows": rows(&mut pipeline, &prompt, &args).await?,
        "decode_kernels": kernels(|| pipeline.profile_decode())?,
        "prefill_kernels": kernels(|| pipeline.profile_prefill(&prompt[..prompt.len().min(512)]))?,
    });
    if args.json {
        println!("{report}");
    } else {
        tables::of_prompt(&report);
    }
    Ok(())
}

/// The same tokens for the same model, whatever they mean.
fn prompt(tokens: usize, pipeline: &DecoderPipeline) -> Vec<u32> {
    let vocab_size = pipeline.config().vocab_size as u32;
    (0..tokens as u32).map(|i| (100 + i % 97 * 7) % vocab_size).collect()
}

/// What `--import`, `--tune` and `--export` ask for, told on stderr.
fn tune(args: &Args, pipeline: &mut DecoderPipeline) -> Result<()> {
    let device = pipeline.device().clone();
    if let Some(file) = &args.import {
        let json = std::fs::read(file).with_context(|| file.display().to_string())?;
        let unknown = device.import_tuning(&json)?;
        unknown.iter().for_each(|kernel| eprintln!("left out: `{kernel}`, a kernel that this version does not have"));
        pipeline.forget_recordings();
    }
    if let Some(seconds) = args.tune {
        let report = pipeline.tune(Duration::from_secs(seconds))?;
        for m in &report.measured {
            let times: Vec<_> = m.us.iter().map(|(variant, us)| format!("{variant} {us:.1} µs")).collect();
            let changed = if m.variant == m.preferred { "" } else { " (not the first choice)" };
            eprintln!("{} × {}: {}{changed}; {}; {}", m.runs, m.kernel, m.variant, times.join(", "), m.sizes);
            m.quarantined.iter().for_each(|(variant, miss)| eprintln!("  {variant} misses its reference: {miss}"));
        }
        report.left_out.iter().for_each(|kernel| eprintln!("no time for {kernel}"));
        eprintln!("tuned {} kernels in {:.1} s", report.measured.len(), report.elapsed.as_secs_f64());
    }
    if let Some(file) = &args.export {
        let tuning = device.tuning().context("there is nothing to tune on a CPU")?;
        std::fs::write(file, tuning.to_json()).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// The model on a device of its own, as a configuration wants it.
async fn configured(args: &Args, configuration: &str) -> Result<DecoderPipeline> {
    let mut model = args.model.clone();
    match configuration {
        "tuned" => model.untuned = false,
        "default" => model.untuned = true,
        variants => {
            let variants = variants.split(',').map(named_variant).collect::<Result<Vec<_>>>()?;
            model.variants.extend(variants);
        }
    }
    model.load().await
}

/// Runs A and B in pairs, each first as often as second, and tells how much longer B takes.
async fn compare(args: &Args, a: &str, b: &str) -> Result<()> {
    let mut pipelines = [configured(args, a).await?, configured(args, b).await?];
    let prompt = prompt(args.prompt, &pipelines[0]);
    for pipeline in &mut pipelines {
        one_run(pipeline, &prompt, args).await?;
    }
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    for pair in 0..args.runs {
        let mut times = [(0.0, 0.0); 2];
        for i in [pair % 2, 1 - pair % 2] {
            let run = one_run(&mut pipelines[i], &prompt, args).await?;
            let decode = run.tokens.iter().sum::<Duration>().as_secs_f64() / args.tokens.max(1) as f64;
            times[i] = (run.prefill.as_secs_f64(), decode);
        }
        prefill.push((times[0].0, times[1].0));
        decode.push((times[0].1, times[1].1));
    }
    let row = |pairs: &[(f64, f64)]| {
        let difference = Difference::of(pairs).context("a comparison takes --runs 2 or more")?;
        let us = |side: fn(&(f64, f64)) -> f64| median(pairs.iter().map(side)) * 1e6;
        Ok::<_, anyhow::Error>(json!({
            "a_us": us(|pair| pair.0), "b_us": us(|pair| pair.1), "b_over_a_percent": difference.percent,
            "interval_95_percent": [difference.low, difference.high], "verdict": difference.verdict(),
        }))
    };
    let report = json!({
        "a": a, "b": b, "pairs": args.runs, "model": args.model.model,
        "device": pipelines[0].device().report().adapter,
        "prefill": row(&prefill)?, "decode_token": row(&decode)?,
        "a_variants": pipelines[0].device().kernel_variants(), "b_variants": pipelines[1].device().kernel_variants(),
    });
    if args.json {
        println!("{report}");
    } else {
        examples::print_fields(&report);
    }
    Ok(())
}

/// Prefill of each stretch from depth to depth, and decoding at its end.
async fn by_depth(args: &Args) -> Result<()> {
    anyhow::ensure!(args.runs > 0 && args.tokens > 0, "a depth takes --runs 1 and --tokens 1 or more");
    let mut depths = args.depths.clone();
    depths.sort_unstable();
    depths.dedup();
    let deepest = depths.last().copied().unwrap_or(0).max(1);
    let mut model = args.model.clone();
    model.max_seq_len.get_or_insert(deepest + args.tokens);
    let mut pipeline = model.load().await?;
    tune(args, &mut pipeline)?;
    let prompt = prompt(deepest, &pipeline);
    // What is compiled before its first use is compiled here.
    one_run(&mut pipeline, &prompt[..deepest.min(512)], args).await?;
    pipeline.rewind(0)?;
    let mut rows = Vec::new();
    for depth in depths {
        // Nothing follows from no token at all.
        let stretch = &prompt[pipeline.tokens().len()..depth.max(1)];
        let started = Instant::now();
        if !stretch.is_empty() {
            pipeline.forward(stretch, 1).await?;
        }
        let prefill = started.elapsed();
        let mut runs = Vec::new();
        // The first run records the step for the cache as it is now.
        for _ in 0..=args.runs {
            pipeline.rewind(depth.max(1))?;
            runs.push(decode(&mut pipeline, args).await?);
        }
        runs.remove(0);
        pipeline.rewind(depth.max(1))?;
        let tok_s = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64();
        rows.push(json!({
            "depth": depth,
            "prefill_tokens": stretch.len(),
            "prefill_tok_s": (stretch.len() > 1).then(|| tok_s(stretch.len(), prefill)),
            "decode_tok_s": median(runs.iter().map(|run| tok_s(run.len(), run.iter().sum()))),
            "token_us_p50": median(runs.iter().flatten().map(Duration::as_secs_f64)) * 1e6,
            "decode_kernels": kernels(|| pipeline.profile_decode())?,
        }));
    }
    let report = json!({
        "model": args.model.model,
        "device": pipeline.device().report().adapter,
        "kv_dtype": args.model.kv_dtype.name(),
        "int8_activations": pipeline.why_not_int8().map_or("yes", |why| why),
        "fused_prompts": pipeline.why_prompts_are_not_fused().map_or("yes", |why| why),
        "context": pipeline.max_seq_len(),
        "kv_cache_bytes": pipeline.plan().kv_cache,
        "peak_gpu_bytes": pipeline.device().peak_gpu_bytes(),
        "generated": args.tokens,
        "depths": rows,
    });
    if args.json {
        println!("{report}");
    } else {
        tables::by_depth(&report);
    }
    Ok(())
}

async fn one_run(pipeline: &mut DecoderPipeline, prompt: &[u32], args: &Args) -> Result<Run> {
    // The last steps of the run before are not this one's.
    pipeline.idle().await?;
    pipeline.rewind(0)?;
    let started = Instant::now();
    pipeline.forward(prompt, 1).await?;
    let prefill = started.elapsed();
    Ok(Run { prefill, tokens: decode(pipeline, args).await? })
}

/// The time of each of so many tokens.
async fn decode(pipeline: &mut DecoderPipeline, args: &Args) -> Result<Vec<Duration>> {
    let sampler = args.sampling.sampler();
    let mut times = Vec::new();
    for _ in 0..args.tokens {
        let started = Instant::now();
        pipeline.next(&sampler).await?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// Steps of each number of rows that was asked for, behind the prompt.
async fn rows(pipeline: &mut DecoderPipeline, prompt: &[u32], args: &Args) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    if !args.rows.is_empty() {
        pipeline.rewind(0)?;
        pipeline.forward(prompt, 1).await?;
    }
    for rows in &args.rows {
        all.push(several_rows(pipeline, prompt, usize::from(*rows), args.runs).await?);
    }
    Ok(all)
}

/// The time of a step of several rows behind the prompt, which is in the cache, from its submission to the logits of the last, in
/// turns with one row, and what its kernels take.
async fn several_rows(pipeline: &mut DecoderPipeline, prompt: &[u32], rows: usize, runs: usize) -> Result<Value> {
    let tokens: Vec<u32> = prompt.iter().cycle().take(rows).copied().collect();
    let mut times = [Vec::new(), Vec::new()];
    // The first round makes what later ones reuse.
    for round in 0..=8 * runs {
        for (rows, times) in [1, rows].into_iter().zip(&mut times) {
            pipeline.rewind(prompt.len())?;
            let started = Instant::now();
            pipeline.forward(&tokens[..rows], 1).await?;
            times.extend((round > 0).then(|| started.elapsed().as_secs_f64() * 1e6));
        }
    }
    let [one, several] = times.map(|times| median(times.into_iter()));
    pipeline.rewind(prompt.len())?;
    let kernels = kernels(|| pipeline.profile_rows(&tokens))?;
    Ok(json!({ "rows": rows, "us": several, "one_row_us": one, "ratio": several / one, "kernels": kernels }))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// GPU time by kernel, in µs: the median of five.
fn kernels(mut profile: impl FnMut() -> Result<Option<KernelTimes>, Error>) -> Result<Value> {
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
