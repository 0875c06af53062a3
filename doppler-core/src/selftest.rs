//! Every kernel, every variant, every edge shape on a device against the f64 reference.

use doppler_kernels::{Case, Entry, Instructions, KERNELS};

use crate::Device;

/// How one variant of one kernel did over its edge shapes.
#[derive(Debug, Clone)]
pub struct SelfTest {
    /// The kernel.
    pub kernel: &'static str,
    /// The variant; on the CPU `host`, and the forms of products in int8 against the reference of rounded activations.
    pub variant: String,
    /// Shapes that were run.
    pub cases: usize,
    /// What went wrong, one line a shape; empty is a pass.
    pub misses: Vec<String>,
    /// Why the device cannot run this variant; then nothing was run.
    pub skipped: Option<String>,
}

impl SelfTest {
    /// Whether every shape that was run came near enough.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.misses.is_empty()
    }
}

/// Tests all kernels; `progress` is called with each kernel's name before it starts.
pub fn selftest(device: &Device, mut progress: impl FnMut(&str)) -> Vec<SelfTest> {
    let mut results = Vec::new();
    for entry in KERNELS {
        progress(entry.name);
        results.extend(selftest_kernel(device, entry));
    }
    results
}

/// Tests one kernel at its edge shapes.
pub fn selftest_kernel(device: &Device, entry: &Entry) -> Vec<SelfTest> {
    selftest_cases(device, &(entry.edge_cases)())
}

/// Tests the kernels of `cases`; one result for each variant that occurs.
pub fn selftest_cases(device: &Device, cases: &[Case]) -> Vec<SelfTest> {
    let mut results: Vec<SelfTest> = Vec::new();
    for case in cases {
        let kernel = case.kernel.name();
        let expected = case.expected();
        let mut note = |variant: String, skipped: Option<String>, outcome: Result<(), String>| {
            let found = results.iter().position(|r| r.kernel == kernel && r.variant == variant);
            let i = found.unwrap_or_else(|| {
                results.push(SelfTest { kernel, variant, cases: 0, misses: Vec::new(), skipped });
                results.len() - 1
            });
            results[i].cases += usize::from(results[i].skipped.is_none());
            if let Err(miss) = outcome {
                results[i].misses.push(format!("{:?}: {miss}", case.kernel));
            }
        };
        let Some(gpu) = device.gpu() else {
            note("host".to_owned(), None, case.check(&case.run_host(), &expected));
            if case.kernel.has_int8() {
                let expected = case.expected_int8();
                for by in Instructions::available() {
                    note(by.name().to_owned(), None, case.check(&case.run_host_int8(by), &expected));
                }
            }
            continue;
        };
        for variant in case.kernel.variants() {
            match gpu.tier.lacks(&variant.needs) {
                Some(lacking) => note(variant.name.to_owned(), Some(lacking), Ok(())),
                None => {
                    let outcome = gpu.run_case(case, &variant).and_then(|actual| case.check(&actual, &expected));
                    note(variant.name.to_owned(), None, outcome);
                }
            }
        }
    }
    results
}
