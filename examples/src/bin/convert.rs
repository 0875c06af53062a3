//! Converts a GGUF file or a Hugging Face folder to an RDRR folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use doppler_core::rdrr::DType;
use doppler_core::rdrr::convert::{ConvertOptions, convert};
use examples::{end, show, with_bar};

/// Converts IN, a GGUF file or a Hugging Face folder, to the RDRR folder OUT. Nothing is left behind on failure.
#[derive(Parser)]
struct Args {
    /// A .gguf file, or a folder with config.json, tokenizer.json and .safetensors
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The folder to make; must not exist
    out: PathBuf,
    /// Pack the weight matrices: q8_0 or q4_k (default: as they are)
    #[arg(long, value_name = "TYPE")]
    quantize: Option<DType>,
}

fn main() -> ExitCode {
    end(run(&Args::parse()))
}

fn run(args: &Args) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let options = ConvertOptions { quantize: args.quantize, ..ConvertOptions::default() };
    let mut types = BTreeMap::new();
    let mut last = String::new();
    let manifest = with_bar("converting", |bar| {
        convert(&args.input, &args.out, &options, |p| {
            show(bar, p.bytes_done, p.bytes_total);
            if last != p.tensor {
                *types.entry((p.from, p.to)).or_insert(0) += 1;
                p.tensor.clone_into(&mut last);
            }
        })
    })?;
    let (megabytes, seconds) = (manifest.total_size() as f64 / 1e6, started.elapsed().as_secs_f64());
    let (out, shards) = (args.out.display(), manifest.shards().len());
    println!("{out}: {megabytes:.1} MB in {shards} shards, {seconds:.2} s ({:.0} MB/s)", megabytes / seconds);
    for ((from, to), tensors) in types {
        println!("{tensors:>6} tensors {from} → {to}");
    }
    Ok(())
}
