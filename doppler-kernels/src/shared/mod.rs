//! WGSL files that several kernels include. Each defines functions of agreed names, so that choosing a file chooses how.

/// `struct Inv`, `reduce_sum`, `reduce_max` over a one-dimensional workgroup of `WG`, through workgroup memory.
pub const REDUCE: &str = include_str!("reduce.wgsl");
/// The same through subgroup operations.
pub const REDUCE_SUBGROUP: &str = include_str!("reduce_subgroup.wgsl");
/// `reduce_best`, `better`, `is_nan`: the largest (value, id) over a workgroup of `WG`.
pub const REDUCE_BEST: &str = include_str!("reduce_best.wgsl");

/// Where things of int8 activations are, for shaders that write them in a way of their own.
pub const A8_PLACES: &str = include_str!("a8_places.wgsl");
/// `write_a8`: 32 values of consecutive invocations as a block of int8 activations.
pub const A8: &str = concat!(include_str!("a8_places.wgsl"), "\n", include_str!("a8.wgsl"));
/// The same through subgroups of at least 32 lanes.
pub const A8_SUBGROUP: &str = concat!(include_str!("a8_places.wgsl"), "\n", include_str!("a8_subgroup.wgsl"));

/// `half_scale`: the scale of a row in f16, by its largest magnitude.
pub const HALF_SCALE: &str = include_str!("half_scale.wgsl");

use doppler_rdrr::DType;

/// `fn load_chunk(row, chunk)` for a weight format: 32 consecutive weights of a row into the private `w`.
///
/// Expects a `weight: array<u32>` binding, `params.in_features` and `params.out_features`, the rows of `weight`.
pub fn load(dtype: DType) -> Vec<&'static str> {
    const BYTES: &str = include_str!("bytes.wgsl");
    const SCALE_MIN_K: &str = include_str!("scale_min_k.wgsl");
    const PAIRS: &str = include_str!("load_pairs.wgsl");
    match dtype {
        // The last three are no weights.
        DType::F32 | DType::U32 | DType::A8 | DType::C8 => vec![include_str!("load_f32.wgsl")],
        DType::F16 => vec![include_str!("load_f16.wgsl"), PAIRS],
        DType::BF16 => vec![include_str!("load_bf16.wgsl"), PAIRS],
        DType::Q4_0 => vec![BYTES, include_str!("load_q4_0.wgsl")],
        DType::Q4_1 => vec![include_str!("load_q4_1.wgsl")],
        DType::Q5_0 => vec![BYTES, include_str!("load_q5_0.wgsl")],
        DType::Q5_1 => vec![include_str!("load_q5_1.wgsl")],
        DType::Q8_0 => vec![BYTES, include_str!("load_q8_0.wgsl")],
        DType::Q4_K => vec![SCALE_MIN_K, include_str!("load_q4_k.wgsl")],
        DType::Q5_K => vec![SCALE_MIN_K, include_str!("load_q5_k.wgsl")],
        DType::Q6_K => vec![include_str!("load_q6_k.wgsl")],
    }
}

/// `x` and `fn x4(row, i)`: activations in rows of `cols`.
pub fn activations(cols: usize) -> &'static str {
    if cols.is_multiple_of(4) { include_str!("x_vec4.wgsl") } else { include_str!("x_scalar.wgsl") }
}
