//! What can go wrong when choosing a kernel.

/// An error of the registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// The device is below the limits that WebGPU guarantees.
    #[error("{kernel}: no variant runs on this device ({skipped}); use the host executor")]
    NoVariant {
        /// The kernel.
        kernel: &'static str,
        /// Why each variant was skipped.
        skipped: String,
    },
}
