//! What can go wrong when choosing a kernel.

/// An error of the registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An override names a kernel that does not exist.
    #[error("no kernel `{name}`; choose one of {known}")]
    UnknownKernel {
        /// The name given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// An override names a variant that the kernel does not have at these dtypes.
    #[error("{kernel}: no variant `{variant}`; choose one of {known}")]
    UnknownVariant {
        /// The kernel.
        kernel: &'static str,
        /// The name given.
        variant: String,
        /// The names that exist.
        known: String,
    },
    /// An override names a variant that this device cannot run.
    #[error("{kernel}: variant `{variant}` {lacking}; remove the override or use another device")]
    VariantUnsupported {
        /// The kernel.
        kernel: &'static str,
        /// The variant.
        variant: &'static str,
        /// What the device lacks.
        lacking: String,
    },
    /// An override names a variant that missed the reference on this device.
    #[error("{kernel}: variant `{variant}` computes wrongly on this device ({miss}); remove the override")]
    VariantQuarantined {
        /// The kernel.
        kernel: &'static str,
        /// The variant.
        variant: &'static str,
        /// How far it was off.
        miss: String,
    },
    /// The device is below the limits that WebGPU guarantees, or no variant computes rightly on it.
    #[error("{kernel}: no variant runs on this device ({skipped}); use the host executor")]
    NoVariant {
        /// The kernel.
        kernel: &'static str,
        /// Why each variant was skipped.
        skipped: String,
    },
    /// A table of measurements larger than any that is made.
    #[error("the tuning table has {actual} {what}, at most {limit} are read; tune again")]
    TuningSize {
        /// What there is too much of.
        what: &'static str,
        /// In the table.
        actual: usize,
        /// The most that is read.
        limit: usize,
    },
    /// A table of measurements that is no such.
    #[error("the tuning table cannot be read at line {line}, column {column}; tune again")]
    TuningFormat {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A table of measurements in the form of another version.
    #[error("the tuning table has form {actual}, this version reads form {expected}; tune again")]
    TuningSchema {
        /// What this version writes.
        expected: u32,
        /// In the table.
        actual: u32,
    },
    /// A measurement that contradicts itself.
    #[error("the tuning table's entry for {kernel} ({sizes}) {problem}; tune again")]
    TuningEntry {
        /// The kernel.
        kernel: String,
        /// Its sizes.
        sizes: String,
        /// What is wrong.
        problem: &'static str,
    },
}
