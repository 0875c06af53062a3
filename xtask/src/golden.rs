//! `cargo xtask golden`: the only caller of Python. No test needs it; the fixtures it makes are kept.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::steps;
use crate::workspace::root;

#[derive(clap::Args)]
pub struct Arguments {
    /// The model family, `llama` for one
    family: String,
    /// Only check the fixtures that are there; needs numpy and nothing else
    #[arg(long)]
    check: bool,
    /// A Python that can import torch, transformers and safetensors
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let mut python = Command::new(&arguments.python);
    python.current_dir(root()).arg("xtask/scripts/golden.py").arg(&arguments.family);
    let needs = if arguments.check {
        python.arg("--check");
        "`pip install numpy`"
    } else {
        "`pip install torch transformers safetensors` (about 3 GB)"
    };
    steps::run(&mut python).with_context(|| format!("golden.py needs Python 3.10 or later with {needs}"))?;
    Ok(())
}
