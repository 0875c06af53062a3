//! `cargo xtask test`: everything that a change must pass, in one command, the same here and in CI.

use anyhow::{Result, ensure};

use crate::steps::{Steps, run as run_command, run_tests};
use crate::workspace::{cargo, metadata};
use crate::{tidy, vulkan};

/// Tests that need a GPU adapter; software Vulkan is one.
const GPU_TESTS: &str = "gpu-tests";
/// Tests that need the default model (98 MB).
const REAL_MODEL_TESTS: &str = "real-model-tests";
/// Tests that need the catalog's other models.
const ALL_MODEL_TESTS: &str = "all-model-tests";
/// What `generate` is run with to get it.
const FIRST: &[&str] = &["--device", "host", "--max-tokens", "8", "--raw", "The capital of France is"];

#[derive(clap::Args)]
pub struct Arguments {
    /// Fail, instead of installing software Vulkan, where no Vulkan driver is present
    #[arg(long)]
    no_install: bool,
    /// Fail, instead of skipping the tests that need the default model, where it cannot be had
    #[arg(long)]
    require_model: bool,
    /// Also run the tests that need the catalog's other models, which are fetched (1.9 GB) unless they are in the cache
    #[arg(long)]
    all_models: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let all = features(&[GPU_TESTS, REAL_MODEL_TESTS])?;
    let mut steps = Steps::default();
    steps.run("fmt", || run_command(cargo().args(["fmt", "--all", "--check"])));
    steps.run("tidy", tidy::run);
    steps.run("clippy", || {
        run_command(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            &all,
            "--",
            "-D",
            "warnings",
        ]))
    });
    steps.run("doc", || {
        run_command(cargo().env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]))
    });
    let driver = steps.run("vulkan", || vulkan::provide(!arguments.no_install));
    // The first thing that a newcomer does: it fetches the default model (98 MB), converts it and runs it.
    let first = || run_command(cargo().args(["run", "-p", "examples", "--bin", "generate", "--"]).args(FIRST));
    let model = if arguments.require_model { steps.run("model", first) } else { steps.try_run("model", first) };
    if driver {
        // Unit, shader, property, hostile-file, golden, example and documentation tests.
        let features = match (model, arguments.all_models) {
            (true, true) => features(&[GPU_TESTS, REAL_MODEL_TESTS, ALL_MODEL_TESTS])?,
            (true, false) => all,
            (false, _) => features(&[GPU_TESTS])?,
        };
        let test = |what: &[&str]| {
            let mut command = cargo();
            command.args(["test", "--workspace", "--no-fail-fast", "--features", &features]).args(what);
            command
        };
        steps.run("test", || run_tests(&mut test(&[])));
        // Each measurement once.
        steps.run("benches", || run_command(&mut test(&["--bench", "kernels", "--bench", "pipeline"])));
    } else {
        steps.not_run("test", "there is no Vulkan driver");
    }
    steps.finish()
}

/// The features that switch on tests, of every package that has them.
fn features(wanted: &[&str]) -> Result<String> {
    let metadata = metadata()?;
    let mut features = Vec::new();
    for feature in wanted {
        let having = metadata.with_feature(feature);
        ensure!(!having.is_empty(), "no package has the feature `{feature}`; name the right one in xtask/src/test.rs");
        features.extend(having);
    }
    Ok(features.join(","))
}
