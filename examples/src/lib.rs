//! What the examples share: finding a model with a progress bar, opening a device, peak memory.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use doppler_core::models::{Progress, locate};
use doppler_core::prelude::*;
use doppler_core::{DeviceReport, catalog};
use indicatif::{ProgressBar, ProgressStyle};

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
    /// Element type of the key-value cache: f16 or f32
    #[arg(long, default_value = "f16", value_name = "TYPE")]
    pub kv_dtype: DType,
    /// Threads on the CPU [default: one for each physical core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Variant of a kernel, such as matmul=f32 for exact products on the CPU; may be given again
    #[arg(long = "kernel", value_name = "KERNEL=VARIANT", value_parser = kernel_override)]
    pub kernels: Vec<(String, String)>,
}

fn kernel_override(text: &str) -> Result<(String, String), String> {
    let (kernel, variant) = text.split_once('=').ok_or("expected KERNEL=VARIANT")?;
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
            kernel_overrides: self.kernels.iter().cloned().collect(),
            threads: self.threads,
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
        Ok(pipeline?)
    }

    fn locate(&self) -> Result<PathBuf> {
        if let catalog::Model::Entry(entry) = catalog::resolve(&self.model)?
            && let Some(terms) = entry.terms()
        {
            eprintln!("{terms}");
        }
        let bar = progress_bar("");
        let path = locate(&self.model, None, |progress| match progress {
            Progress::Fetch(p) => {
                bar.set_message(format!("{} from {}", p.phase.name(), p.source));
                show(&bar, p.bytes, p.total);
            }
            Progress::Convert { bytes, total } => {
                bar.set_message("converting");
                show(&bar, bytes, total);
            }
        });
        bar.finish_and_clear();
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

/// A bar on stderr that counts bytes.
#[must_use]
pub fn progress_bar(label: &str) -> ProgressBar {
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

/// The most memory that this process ever had resident, where the system tells (Linux).
#[must_use]
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
