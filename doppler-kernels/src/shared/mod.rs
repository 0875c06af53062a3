//! WGSL files that several kernels include. Each defines functions of agreed names, so that choosing a file chooses how.

/// `struct Inv`, `reduce_sum`, `reduce_max` over a one-dimensional workgroup of `WG`, through workgroup memory.
pub const REDUCE: &str = include_str!("reduce.wgsl");
/// The same through subgroup operations.
pub const REDUCE_SUBGROUP: &str = include_str!("reduce_subgroup.wgsl");
