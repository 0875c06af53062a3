//! What is in a model: configuration, tensors, shards, and the memory that it needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use doppler_core::MemoryPlan;
use doppler_core::prelude::*;
use doppler_core::rdrr::ModelConfig;
use doppler_core::rdrr::convert::Source;
use examples::{end, progress_bar, show};
use serde_json::{Value, json};

/// Shows an RDRR folder, a .gguf file or a Hugging Face folder: whether it runs, and if not, what is missing.
#[derive(Parser)]
struct Args {
    path: PathBuf,
    /// Hash every shard of an RDRR folder
    #[arg(long)]
    verify: bool,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// Context in tokens that memory is told for [default: 4096, or the model's own limit]
    #[arg(long, value_name = "TOKENS")]
    context: Option<usize>,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Name, dtype, shape and bytes of a tensor.
type Row = (String, DType, Vec<usize>, u64);

fn main() -> ExitCode {
    end(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let shown = if args.path.join("manifest.json").is_file() { rdrr(args) } else { source(args, &args.path) };
    if let (Err(error), true) = (&shown, args.json) {
        println!("{}", json!({ "runs": false, "missing": format!("{error:#}") }));
    }
    shown.context("this does not run")
}

fn rdrr(args: &Args) -> Result<()> {
    let model = Model::open(&args.path)?;
    model.check_tensors()?;
    if args.verify {
        let bar = progress_bar("verifying");
        let verified = model.verify(|done, total| show(&bar, done, total));
        bar.finish_and_clear();
        verified?;
    }
    let manifest = model.manifest();
    let allowed = model.config().max_position_embeddings;
    let context = args.context.unwrap_or(allowed.min(4096));
    anyhow::ensure!((1..=allowed).contains(&context), doppler_core::Error::MaxSeqLen { asked: context, allowed });
    let plan = MemoryPlan::new(&model, context, DType::F16, 512, true);
    let shards: Vec<Value> = manifest
        .shards()
        .iter()
        .map(|s| json!({ "filename": s.filename, "size": s.size, "digest": s.digest.to_string() }))
        .collect();
    let memory = json!({
        "context": context, "weights": plan.weights, "kv_cache_f16": plan.kv_cache, "kv_growth": plan.kv_growth, "activations": plan.scratch, "gpu_transfers": plan.staging, "total": plan.total(),
    });
    let extra = json!({ "model": manifest.model_id(), "format": "RDRR", "runs": true, "shards": shards, "memory_bytes": memory, "verified": args.verify });
    let rows = model.tensors().iter().map(|t| (t.name.clone(), t.dtype, t.shape.clone(), t.num_bytes())).collect();
    print(args, model.config(), rows, extra)
}

fn source(args: &Args, path: &Path) -> Result<()> {
    anyhow::ensure!(!args.verify, "only an RDRR folder has digests to verify; convert {} first", path.display());
    let source = Source::open(path)?;
    let rows = source.weights().iter().map(|w| (w.name.clone(), w.dtype, w.shape.clone(), w.num_bytes())).collect();
    print(
        args,
        source.config(),
        rows,
        json!({ "format": source.format(), "runs": true, "note": "it is converted on the way" }),
    )
}

fn print(args: &Args, config: &ModelConfig, rows: Vec<Row>, mut extra: Value) -> Result<()> {
    let mut types: BTreeMap<DType, (usize, u64)> = BTreeMap::new();
    for (_, dtype, _, bytes) in &rows {
        let entry = types.entry(*dtype).or_default();
        *entry = (entry.0 + 1, entry.1 + bytes);
    }
    let config = serde_json::to_value(config)?;
    if args.json {
        extra["config"] = config;
        extra["tensors"] =
            rows.iter().map(|(name, dtype, shape, bytes)| json!({ "name": name, "dtype": dtype.name(), "shape": shape, "bytes": bytes })).collect();
        println!("{extra}");
        return Ok(());
    }
    for object in [&extra, &config] {
        for (name, value) in object.as_object().into_iter().flatten() {
            match value {
                Value::Array(items) if name == "shards" => items.iter().for_each(|s| println!("{name:<28} {s}")),
                Value::Object(fields) => {
                    fields.iter().for_each(|(field, v)| println!("{:<28} {v}", format!("{name}.{field}")))
                }
                value => println!("{name:<28} {value}"),
            }
        }
    }
    println!("\n{:<6} {:>8} {:>12}", "dtype", "tensors", "MB");
    for (dtype, (count, bytes)) in types {
        println!("{dtype:<6} {count:>8} {:>12.2}", bytes as f64 / 1e6);
    }
    if args.tensors {
        println!("\n{:<52} {:<6} {:<16} {:>12}", "tensor", "dtype", "shape", "bytes");
        rows.iter().for_each(|(name, dtype, shape, bytes)| {
            println!("{name:<52} {dtype:<6} {:<16} {bytes:>12}", format!("{shape:?}"))
        });
    }
    Ok(())
}
