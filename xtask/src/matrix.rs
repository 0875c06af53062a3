//! `cargo xtask matrix`: MODELS.md, from the records that passed tests of models left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::workspace::root;

#[derive(clap::Args)]
pub struct Arguments {
    /// More folders of records, from other machines
    records: Vec<PathBuf>,
}

/// What `doppler-core/tests/common` writes.
#[derive(Deserialize)]
struct Record {
    family: String,
    model: String,
    formats: Vec<String>,
    device: String,
    tolerance: f32,
    /// How many, if not all of the reference.
    prompts: Option<usize>,
    tokens: usize,
    context: usize,
    memory_bytes: u64,
}

/// A model's row.
#[derive(Default)]
struct Row {
    formats: BTreeSet<String>,
    devices: BTreeSet<String>,
    tolerance: f32,
    context: usize,
    memory_bytes: u64,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let own = root().join("target/tmp/models-passed");
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    for folder in arguments.records.iter().chain([&own]) {
        let entries = std::fs::read_dir(folder).with_context(|| {
            format!("no records in {}; run `cargo xtask test --all-models` first", folder.display())
        })?;
        for entry in entries {
            let path = entry?.path();
            let record: Record = serde_json::from_slice(&std::fs::read(&path)?)
                .with_context(|| format!("{} is no record of a test", path.display()))?;
            let row = rows.entry((record.family, record.model)).or_default();
            row.formats.extend(record.formats);
            let prompts = record.prompts.map(|prompts| format!("{prompts} prompt, ")).unwrap_or_default();
            row.devices.insert(format!("{} ({prompts}{} tokens)", short(&record.device), record.tokens));
            row.tolerance = row.tolerance.max(record.tolerance);
            (row.context, row.memory_bytes) = (record.context, record.memory_bytes);
        }
    }
    ensure!(!rows.is_empty(), "no test of a model has passed; run `cargo xtask test --all-models` first");
    std::fs::write(root().join("MODELS.md"), page(&rows)?)?;
    println!("MODELS.md: {} models", rows.len());
    Ok(())
}

/// A driver's version does not belong into the page.
fn short(device: &str) -> &str {
    device.split(" (").next().unwrap_or(device)
}

fn page(rows: &BTreeMap<(String, String), Row>) -> Result<String> {
    let mut page = String::from(
        "# Models\n\
        Made by `cargo xtask matrix` from the tests that passed. Each line: prompt ids, logits (within the tolerance) and\n\
        greedy tokens are those of Hugging Face transformers in fp32, on these devices with exact products. Names without\n\
        a size are tiny random models of the family; \"as\" names a real one that llama.cpp's quantizer put into another\n\
        format. Memory is what the plan says for a GPU: weights, an f16 cache of that many tokens, activations and\n\
        transfers.\n\n\
        | family | model | formats | passed on | Δlogit | memory (MB) | at context |\n\
        |---|---|---|---|---|---|---|\n",
    );
    for ((family, model), row) in rows {
        let join = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        writeln!(
            page,
            "| {family} | {model} | {} | {} | {} | {:.1} | {} |",
            join(&row.formats),
            join(&row.devices),
            row.tolerance,
            row.memory_bytes as f64 / 1e6,
            row.context
        )?;
    }
    Ok(page)
}
