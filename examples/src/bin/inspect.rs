//! What is in a model: configuration, tensors, shards, and the memory that it needs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use doppler_core::prelude::*;
use doppler_core::rdrr::convert::Source;
use doppler_core::rdrr::{ModelConfig, Shard};
use examples::{end, memory_plan, print_fields, show, with_bar};
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
    let shown = if args.path.join("manifest.json").is_file() { rdrr(args) } else { source(args) };
    if let (Err(error), true) = (&shown, args.json) {
        println!("{}", json!({ "runs": false, "missing": format!("{error:#}") }));
    }
    shown.context("this does not run")
}

fn rdrr(args: &Args) -> Result<()> {
    let model = Model::open(&args.path)?;
    model.check_tensors()?;
    if args.verify {
        with_bar("verifying", |bar| model.verify(|done, total| show(bar, done, total)))?;
    }
    let manifest = model.manifest();
    let shard = |s: &Shard| json!({ "filename": s.filename, "size": s.size, "digest": s.digest.to_string() });
    let shards: Vec<Value> = manifest.shards().iter().map(shard).collect();
    let extra = json!({
        "model": manifest.model_id(), "format": "RDRR", "runs": true, "shards": shards, "verified": args.verify,
        "matrices_stored_by_column": model.tensors().iter().filter(|t| t.transposed).count(),
        "memory_bytes": memory_plan(&model, args.context)?,
    });
    let rows = model.tensors().iter().map(|t| (t.name.clone(), t.dtype, t.shape.clone(), t.num_bytes())).collect();
    print(args, model.config(), rows, extra)
}

fn source(args: &Args) -> Result<()> {
    anyhow::ensure!(!args.verify, "only an RDRR folder has digests to verify; convert {} first", args.path.display());
    let source = Source::open(&args.path)?;
    let rows = source.weights().iter().map(|w| (w.name.clone(), w.dtype, w.shape.clone(), w.num_bytes())).collect();
    let extra = json!({ "format": source.format(), "runs": true, "note": "it is converted on the way" });
    print(args, source.config(), rows, extra)
}

fn print(args: &Args, config: &ModelConfig, rows: Vec<Row>, mut extra: Value) -> Result<()> {
    let config = serde_json::to_value(config)?;
    if args.json {
        let tensor = |(name, dtype, shape, bytes): &Row| json!({ "name": name, "dtype": dtype.name(), "shape": shape, "bytes": bytes });
        extra["config"] = config;
        extra["tensors"] = rows.iter().map(tensor).collect();
        println!("{extra}");
        return Ok(());
    }
    [&extra, &config].into_iter().for_each(print_fields);
    let mut types: BTreeMap<DType, (usize, u64)> = BTreeMap::new();
    for (_, dtype, _, bytes) in &rows {
        let (tensors, total) = types.entry(*dtype).or_default();
        (*tensors, *total) = (*tensors + 1, *total + bytes);
    }
    println!("\n{:<6} {:>8} {:>12}", "dtype", "tensors", "MB");
    types.iter().for_each(|(dtype, (n, bytes))| println!("{dtype:<6} {n:>8} {:>12.2}", *bytes as f64 / 1e6));
    if args.tensors {
        println!("\n{:<52} {:<6} {:<16} {:>12}", "tensor", "dtype", "shape", "bytes");
        for (name, dtype, shape, bytes) in rows {
            println!("{name:<52} {dtype:<6} {:<16} {bytes:>12}", format!("{shape:?}"));
        }
    }
    Ok(())
}
