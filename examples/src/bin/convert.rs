//! Converts a GGUF file or a Hugging Face folder to an RDRR folder.

use std::path::PathBuf;

use clap::Parser;
use doppler_core::rdrr::{ConvertOptions, DType, convert};
use examples::progress_bar;

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

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let started = std::time::Instant::now();
    let bar = progress_bar("converting");
    let options = ConvertOptions { quantize: args.quantize, ..ConvertOptions::default() };
    let manifest = convert(&args.input, &args.out, &options, |p| {
        bar.set_length(p.total);
        bar.set_position(p.bytes_done);
    })?;
    bar.finish_and_clear();
    let (bytes, seconds) = (manifest.total_size, started.elapsed().as_secs_f64());
    println!(
        "{}: {} tensors, {:.1} MB in {} shards, {seconds:.2} s ({:.0} MB/s)",
        args.out.display(),
        manifest.tensor_count(),
        bytes as f64 / 1e6,
        manifest.shards.len(),
        bytes as f64 / 1e6 / seconds,
    );
    Ok(())
}
