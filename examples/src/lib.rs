//! What the examples share: finding a model with a progress bar, opening a device, streaming an answer, peak memory.

mod answer;

pub mod paired;
pub mod roofs;
pub mod synthetic;
pub mod tables;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use doppler_core::models::{Progress, locate};
use doppler_core::prelude::*;
use doppler_core::{DeviceReport, MemoryPlan, catalog};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

pub use answer::{Answer, say};

/// Which model, and where it runs.
#[derive(Args, Debug, Clone)]
pub struct ModelArgs {
    /// An id of the catalog, an RDRR folder, a .gguf file or a Hugging Face folder
    #[arg(long, default_value = "smollm2-135m-instruct", value_name = "ID|PATH")]
    pub model: String,
    /// auto, gpu, host, oracle, or a part of an adapter's name
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: String,
    /// Longest context in tokens [default: 4096, or the model's own limit]
    #[arg(long, value_name = "TOKENS")]
    pub max_seq_len: Option<usize>,
    /// Element type of the key-value cache: f16, f32, or q8_0, which takes about half of the memory
    #[arg(long, default_value = "f16", value_name = "TYPE")]
    pub kv_dtype: DType,
    /// Products with f32 inputs only: slower, and nearer to f32 arithmetic
    #[arg(long)]
    pub exact: bool,
    /// Threads on the CPU [default: one for each physical core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Bind each thread on the CPU to a core of its own
    #[arg(long)]
    pub pin_threads: bool,
    /// Run this variant of a kernel; as often as there are kernels
    #[arg(long = "variant", value_name = "KERNEL=VARIANT", value_parser = named_variant)]
    pub variants: Vec<(String, String)>,
    /// Run each kernel's first variant, even where another one was measured to be faster
    #[arg(long)]
    pub untuned: bool,
}

/// `KERNEL=VARIANT`.
///
/// # Errors
/// Anything else.
pub fn named_variant(text: &str) -> Result<(String, String)> {
    let (kernel, variant) = text.split_once('=').with_context(|| format!("`{text}` is not KERNEL=VARIANT"))?;
    Ok((kernel.to_owned(), variant.to_owned()))
}

/// How tokens are drawn; temperature 0 is greedy.
#[derive(Args, Debug, Clone)]
pub struct SamplingArgs {
    /// 0 is greedy
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f32,
    /// Keep the K likeliest tokens; 0 keeps all
    #[arg(long, default_value_t = 40)]
    pub top_k: usize,
    /// Keep the likeliest tokens that make up this probability
    #[arg(long, default_value_t = 0.95)]
    pub top_p: f32,
    /// Drop tokens less likely than this fraction of the likeliest
    #[arg(long, default_value_t = 0.05)]
    pub min_p: f32,
    /// Divide the logits of recent tokens by this
    #[arg(long, default_value_t = 1.0)]
    pub repeat_penalty: f32,
    /// Same seed, same text
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl SamplingArgs {
    /// The sampler that they describe.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        Sampler::new(self.seed)
            .temperature(self.temperature)
            .top_k(self.top_k)
            .top_p(self.top_p)
            .min_p(self.min_p)
            .repeat_penalty(self.repeat_penalty)
    }
}

impl ModelArgs {
    /// Opens the device and loads the model, fetching and converting it first where needed; all told on stderr.
    ///
    /// # Errors
    /// Everything that can be wrong with the device and the model.
    pub async fn load(&self) -> Result<DecoderPipeline> {
        let path = self.locate()?;
        let options = DeviceOptions {
            choice: self.device.parse()?,
            exact: self.exact,
            kernel_overrides: self.variants.iter().cloned().collect(),
            threads: self.threads,
            pin_threads: self.pin_threads,
            untuned: self.untuned,
            ..DeviceOptions::default()
        };
        let device = Device::open(&options).await?;
        let DeviceReport { executor, adapter, driver, why, .. } = device.report();
        eprintln!("{executor} on {adapter} ({driver}): {why}");
        let mut builder = DecoderPipeline::builder(&device, path).kv_dtype(self.kv_dtype);
        if let Some(tokens) = self.max_seq_len {
            builder = builder.max_seq_len(tokens);
        }
        let bar = progress_bar("loading");
        let pipeline = builder.build_with_progress(|done, total| show(&bar, done, total)).await;
        bar.finish_and_clear();
        for (variant, miss) in device.quarantined() {
            eprintln!("not used on this device, since it misses its reference: {variant}: {miss}");
        }
        Ok(pipeline?)
    }

    fn locate(&self) -> Result<PathBuf> {
        if let catalog::Model::Entry(entry) = catalog::resolve(&self.model)? {
            eprintln!("{}, licence: {}", entry.id, entry.licence);
            entry.terms().iter().for_each(|terms| eprintln!("{terms}"));
        }
        let path = with_bar("", |bar| {
            locate(&self.model, None, |progress| match progress {
                Progress::Fetch(p) => {
                    bar.set_message(format!("{} from {}", p.phase.name(), p.source));
                    show(bar, p.bytes, p.total);
                }
                Progress::Convert { bytes, total } => {
                    bar.set_message("converting");
                    show(bar, bytes, total);
                }
            })
        });
        Ok(path?)
    }
}

/// Ends a program: 1 after an error, told in one line with its causes and without a backtrace.
pub fn end(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Shows a bar on stderr while `work` runs; [`show`] moves it.
pub fn with_bar<T>(label: &str, work: impl FnOnce(&ProgressBar) -> T) -> T {
    let bar = progress_bar(label);
    let done = work(&bar);
    bar.finish_and_clear();
    done
}

/// A bar on stderr that counts bytes.
fn progress_bar(label: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(label.to_owned());
    bar
}

/// Moves a bar.
pub fn show(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}

/// The memory that a model takes on a GPU with a cache of f16, by purpose; 4096 tokens of context, or the model's limit.
///
/// # Errors
/// A context that the model does not have.
pub fn memory_plan(model: &Model, context: Option<usize>) -> Result<Value> {
    let allowed = model.config().max_position_embeddings;
    let context = context.unwrap_or(allowed.min(4096));
    anyhow::ensure!((1..=allowed).contains(&context), doppler_core::Error::MaxSeqLen { asked: context, allowed });
    let plan = MemoryPlan::new(model, context, DType::F16, 512, None);
    Ok(json!({
        "context": context, "weights": plan.weights, "kv_cache_f16": plan.kv_cache,
        "kv_growth": plan.kv_growth, "activations": plan.scratch,
        "gpu_transfers": plan.staging, "total": plan.total(),
    }))
}

/// Prints the fields of an object in two columns, those of objects in it as `name.field`.
pub fn print_fields(object: &Value) {
    for (name, value) in object.as_object().into_iter().flatten() {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(field, v)| println!("{:<28} {v}", format!("{name}.{field}")));
            }
            Value::Array(items) if items.iter().all(Value::is_object) => {
                items.iter().for_each(|item| println!("{name:<28} {item}"));
            }
            value => println!("{name:<28} {value}"),
        }
    }
}

/// The most memory that this process ever had resident, where the system tells (Linux).
#[must_use]
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
