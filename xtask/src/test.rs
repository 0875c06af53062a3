//! `cargo xtask test`: everything that a change must pass, in one command, the same here and in CI.

use anyhow::{Result, ensure};

use crate::steps::{Steps, run as run_command, run_tests};
use crate::workspace::{cargo, metadata};
use crate::{tidy, vulkan};

/// Tests that need a GPU adapter; software Vulkan is one.
const GPU_TESTS: &str = "gpu-tests";
/// Tests that need the default model (98 MB).
const REAL_MODEL_TESTS: &str = "real-model-tests";

#[derive(clap::Args)]
pub struct Arguments {
    /// Fail, instead of installing software Vulkan, where no Vulkan driver is present
    #[arg(long)]
    no_install: bool,
    /// Also run the tests that need the default model, which is fetched (98 MB) unless it is in the cache
    #[arg(long)]
    real_model: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let features = features(arguments)?;
    let mut steps = Steps::default();
    steps.run("fmt", || run_command(cargo().args(["fmt", "--all", "--check"])));
    steps.run("tidy", tidy::run);
    steps.run("clippy", || {
        let mut clippy = cargo();
        clippy.args(["clippy", "--workspace", "--all-targets", "--features", &features, "--", "-D", "warnings"]);
        run_command(&mut clippy)
    });
    steps.run("doc", || {
        run_command(cargo().env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]))
    });
    if steps.run("vulkan", || vulkan::provide(!arguments.no_install)) {
        // Unit, shader, property, hostile-file, golden, example and documentation tests.
        steps.run("test", || {
            run_tests(cargo().args(["test", "--workspace", "--no-fail-fast", "--features", &features]))
        });
    } else {
        steps.skip("test", "there is no Vulkan driver");
    }
    steps.finish()
}

/// The features that switch on the tests, of every package that has them.
fn features(arguments: &Arguments) -> Result<String> {
    let metadata = metadata()?;
    let wanted = if arguments.real_model { &[GPU_TESTS, REAL_MODEL_TESTS][..] } else { &[GPU_TESTS] };
    let mut features = Vec::new();
    for feature in wanted {
        let having = metadata.with_feature(feature);
        ensure!(!having.is_empty(), "no package has the feature `{feature}`; name the right one in xtask/src/test.rs");
        features.extend(having);
    }
    Ok(features.join(","))
}
