//! Everything that can be wrong with model files.

/// What is wrong with a model file, which part of it, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A dtype name that is neither a float nor one of the packed formats.
    #[error("unknown tensor type `{name}`; supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K")]
    UnknownDType {
        /// The name as found.
        name: String,
    },
    /// A buffer whose length does not fit the number of elements and their format.
    #[error("{dtype}: {elements} elements do not fit {bytes} bytes; a row must be whole blocks of {} elements", dtype.block_len())]
    BlockSize {
        /// The packed format.
        dtype: crate::DType,
        /// Number of elements wanted.
        elements: usize,
        /// Number of bytes at hand.
        bytes: usize,
    },
}
