//! What a device is asked for, and what was opened.

use std::collections::BTreeMap;
use std::str::FromStr;

use doppler_kernels::Tier;

use crate::DeviceCache;

/// Which device to open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A real GPU when there is one, else the CPU.
    #[default]
    Auto,
    /// A real GPU.
    Gpu,
    /// The CPU, with threads and vector instructions.
    Host,
    /// The CPU by the f64 references: slow, and the definition of right.
    Oracle,
    /// The first adapter whose name contains this, in any case; the only way to a software GPU.
    Named(String),
}

impl FromStr for DeviceChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => DeviceChoice::Auto,
            "gpu" => DeviceChoice::Gpu,
            "host" => DeviceChoice::Host,
            "oracle" => DeviceChoice::Oracle,
            name => DeviceChoice::Named(name.to_owned()),
        })
    }
}

/// How to open a device. The default opens the best one with all its abilities.
#[derive(Debug, Clone, Default)]
pub struct DeviceOptions {
    /// Which one.
    pub choice: DeviceChoice,
    /// Bytes of GPU memory to stay within, besides the driver's own budget.
    pub memory_budget: Option<u64>,
    /// Bind at most this many bytes, as a smaller device would; larger tensors are split by rows.
    pub max_binding_bytes: Option<u64>,
    /// Take only what every WebGPU device has: no subgroups, no f16, default limits.
    pub webgpu_limits: bool,
    /// Products take their inputs in f32. Without it, where weights are packed, inputs may be rounded to int8 in blocks of 32,
    /// as llama.cpp does: several times faster, and logits a few tenths at most farther from those of f32 arithmetic.
    pub exact: bool,
    /// Kernel name → variant name, instead of the registry's choice. On the CPU, `matmul` → the form of products in int8
    /// that it has besides the best ([`Instructions::name`](doppler_kernels::Instructions::name)).
    pub kernel_overrides: BTreeMap<String, String>,
    /// Multiply-adds of a prompt in one submission to a GPU, roughly. Drivers reset a device that a submission keeps busy for
    /// seconds; by default it takes about a tenth of a second on a slow adapter of the kind at hand. Prompts go in smaller
    /// chunks where one step of a chunk would be more.
    pub submission_work: Option<u64>,
    /// Threads on the CPU; one for each physical core by default.
    pub threads: Option<usize>,
    /// Bind each thread on the CPU to a core of its own, as long as there are enough.
    pub pin_threads: bool,
    /// Take the registry's first choice even where another variant was measured to be faster.
    pub untuned: bool,
    /// Where to keep what is learned about the adapter.
    pub cache: DeviceCache,
}

/// What was opened, for people and reports.
#[derive(Debug, Clone)]
pub struct DeviceReport {
    /// `gpu`, `host` or `oracle`.
    pub executor: &'static str,
    /// The adapter, or the CPU.
    pub adapter: String,
    /// Graphics API and driver, or the number of threads and the form of matrix products.
    pub driver: String,
    /// Why this one.
    pub why: String,
    /// What the device grants to shaders.
    pub tier: Option<Tier>,
    /// The largest binding.
    pub max_binding_bytes: Option<u64>,
}
