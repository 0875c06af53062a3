//! Linear layers of a decode step on int8 activations, each fused with what comes behind it.

mod cases;
mod gated;
mod plain;
mod residual;

use doppler_rdrr::DType;

use crate::kernel::grid;
use crate::{Tier, Variant, shared};

#[cfg(feature = "testing")]
pub use cases::large_cases;
pub use gated::{ENTRY as GATED_ENTRY, LinearGated};
pub use plain::{ENTRY, Linear};
pub use residual::{ENTRY as RESIDUAL_ENTRY, LinearResidual};

/// Output features of a workgroup: one block of the next layer's activations.
const FEATURES: usize = 32;

/// Weights that a lane takes of a row at a time.
const STRIP: usize = 64;

/// Bytes of as many activations, with what is told of their blocks.
const STRIP_BYTES: u32 = 80;

/// Rows of activations that these kernels take at most: more are a GEMM's work.
pub const MOST_ROWS: usize = 8;

/// Whether weights of this format can be multiplied with int8 activations.
#[must_use]
pub fn takes(weight: DType) -> bool {
    format(weight).is_some()
}

/// Whether a layer with so many columns can be taken: rows of activations begin at whole 16 bytes.
#[must_use]
pub fn takes_cols(cols: usize) -> bool {
    cols.is_multiple_of(STRIP)
}

/// What a format brings to a shader: `weight` and how its words come apart; where a unit's elements are and how one is loaded;
/// what a strip is multiplied with and how one is loaded.
type Format = (&'static str, [&'static str; 2], [&'static str; 2]);

fn format(weight: DType) -> Option<Format> {
    const WORDS: &str = include_str!("units/words.wgsl");
    const VECTORS: &str = include_str!("units/vectors.wgsl");
    const BLOCK: &str = include_str!("units/block.wgsl");
    const PAIR: &str = include_str!("units/pair.wgsl");
    const PAIRS: &str = include_str!("strips/pairs.wgsl");
    const PAIRS_OFFSET: &str = include_str!("strips/pairs_offset.wgsl");
    Some(match weight {
        DType::Q4_0 => (WORDS, [BLOCK, include_str!("units/q4_0.wgsl")], [PAIRS, include_str!("strips/q4_0.wgsl")]),
        DType::Q4_1 => {
            (WORDS, [BLOCK, include_str!("units/q4_1.wgsl")], [PAIRS_OFFSET, include_str!("strips/q4_1.wgsl")])
        }
        DType::Q5_0 => (WORDS, [BLOCK, include_str!("units/q5_0.wgsl")], [PAIRS, include_str!("strips/q5_0.wgsl")]),
        DType::Q5_1 => {
            (WORDS, [BLOCK, include_str!("units/q5_1.wgsl")], [PAIRS_OFFSET, include_str!("strips/q5_1.wgsl")])
        }
        DType::Q8_0 => (WORDS, [BLOCK, include_str!("units/q8_0.wgsl")], [PAIRS, include_str!("strips/q8_0.wgsl")]),
        DType::Q4_K => {
            (VECTORS, [PAIR, include_str!("units/q4_k.wgsl")], [PAIRS_OFFSET, include_str!("strips/q4_k.wgsl")])
        }
        DType::Q5_K => {
            (VECTORS, [PAIR, include_str!("units/q5_k.wgsl")], [PAIRS_OFFSET, include_str!("strips/q5_k.wgsl")])
        }
        DType::Q6_K => (VECTORS, ["", include_str!("units/q6_k.wgsl")], ["", include_str!("strips/q6_k.wgsl")]),
        DType::F32 | DType::F16 | DType::BF16 | DType::U32 | DType::A8 | DType::C8 => return None,
    })
}

/// The files by which products of many rows take weights, in units.
pub(crate) fn units_of(weight: DType) -> Option<[&'static str; 3]> {
    format(weight).map(|(binding, [places, unit], _)| [binding, places, unit])
}

/// The types that units are told in.
pub(crate) const UNIT_TYPES: &str = include_str!("units/types.wgsl");

/// The files by which products of a few rows take weights, in strips.
fn strips_of(weight: DType) -> Option<[&'static str; 3]> {
    format(weight).map(|(binding, _, [dots, strip])| [binding, dots, strip])
}

/// How the work is shared out in a workgroup.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    /// Invocations.
    wg: u32,
    /// Rows of weights that a lane has at a time.
    together: u32,
    /// Rows of weights of a workgroup.
    results: u32,
    /// Turns in which it takes them.
    turns: u32,
    /// Rows of activations of a workgroup, at most.
    rows: u32,
    /// Bytes of activations that it has in workgroup memory, at most.
    staged: u32,
}

/// Of the 48 KiB that a processor of a large device has for its workgroups, however much of it one may ask for: half, so that
/// two workgroups run there at a time, with their results; and nearly all.
const HALF_OF_A_PROCESSOR: u32 = 22 << 10;
const ALL_OF_A_PROCESSOR: u32 = 44 << 10;

const fn shape(name: &'static str, wg: u32, together: u32, results: u32) -> Shape {
    Shape { name, wg, together, results, turns: 1, rows: MOST_ROWS as u32, staged: HALF_OF_A_PROCESSOR }
}

/// `shapes` for devices with subgroups of 32, then what others take. `files` may ask for [`shared::A8`], which stands for its
/// form with or without subgroups; `params` is the struct of the uniform buffer.
fn variants(
    [rows, out_features, in_features]: [usize; 3],
    (weight, weight_rows): (DType, usize),
    shapes: &[Shape],
    params: &'static str,
    files: &[&'static str],
) -> Vec<Variant> {
    let strips = (in_features / STRIP) as u32;
    let variant = |shape: Shape, needs: Tier, [lanes, chunk]: [u32; 2], a8, team| {
        let consts = vec![
            ("WG", shape.wg),
            ("ROWS", shape.rows.min(rows as u32)),
            ("ALL_ROWS", rows as u32),
            ("RESULTS", shape.results),
            ("TOGETHER", shape.together),
            ("LANES", lanes),
            // Constants, so that weights are asked for before any parameter has come from memory.
            ("OUT_FEATURES", out_features as u32),
            ("WEIGHT_ROWS", weight_rows as u32),
            ("IN_FEATURES", in_features as u32),
            ("CHUNK", chunk),
        ];
        let x = if chunk == 0 { include_str!("x_direct.wgsl") } else { include_str!("x_staged.wgsl") };
        let mut all = vec![team, params, x, include_str!("products.wgsl")];
        all.extend(strips_of(weight).into_iter().flatten());
        all.extend(files.iter().map(|file| if *file == A8 { a8 } else { *file }));
        Variant { name: shape.name, needs, consts, files: all }
    };
    let subgroups_of_32 = |shape: &Shape| {
        // A turn's rows at once, if they have strips for as many lanes.
        let lanes = shape.turns * shape.wg * shape.together / shape.results;
        let lanes = lanes.clamp(4, strips.next_power_of_two().clamp(4, 32));
        let rows = shape.rows.min(rows as u32);
        // Of few steps, one row of activations comes sooner from memory.
        let chunk = if rows == 1 && strips <= 2 * lanes { 0 } else { chunk(strips, rows, lanes, shape.staged) };
        let rounded = |bytes: u32| bytes.next_multiple_of(16);
        // Activations, results and the factors of norms.
        let workgroup_bytes = rows * chunk * STRIP_BYTES + rounded(4 * rows * shape.results) + rounded(4 * rows);
        let needs = Tier { invocations: shape.wg, subgroup_size: 32, workgroup_bytes, ..Tier::SUBGROUP };
        variant(*shape, needs, [lanes, chunk], shared::A8_SUBGROUP, include_str!("team_subgroup_32.wgsl"))
    };
    let mut variants: Vec<Variant> = shapes.iter().map(subgroups_of_32).collect();
    let results = shapes[0].results.max(FEATURES as u32);
    let any = |name, needs, most, team| {
        let lanes = busiest_lanes(strips, most);
        // As many invocations as have rows at once.
        variant(shape(name, (lanes * results).min(256), 1, results), needs, [lanes, 0], A8, team)
    };
    variants.push(any(
        "subgroup",
        Tier::SUBGROUP,
        32,
        concat!(include_str!("team_subgroup.wgsl"), "\n", include_str!("add_up.wgsl")),
    ));
    variants.push(any(
        "portable",
        Tier::PORTABLE,
        16,
        concat!(include_str!("team_portable.wgsl"), "\n", include_str!("add_up.wgsl")),
    ));
    variants
}

/// Workgroups of a variant that takes `features` at a time.
fn workgroups(variant: &Variant, out_features: usize, features: usize) -> [u32; 3] {
    let [x, y, _] = grid(out_features.div_ceil(features));
    [x, y, variant.constant("ALL_ROWS").div_ceil(variant.constant("ROWS"))]
}

/// Strips of each row of activations that are in workgroup memory at a time: all, or as many steps as are within `bytes`, with
/// none that is nearly empty at the end.
fn chunk(strips: u32, rows: u32, lanes: u32, bytes: u32) -> u32 {
    let steps = strips.div_ceil(lanes);
    let most = (bytes / (STRIP_BYTES * rows) / lanes).max(1);
    lanes * steps.div_ceil(steps.div_ceil(most))
}

/// How many lanes, of 4 to `most`, share the strips of a row with the fewest idle; the more the better.
fn busiest_lanes(strips: u32, most: u32) -> u32 {
    let taken = |lanes: &u32| strips.div_ceil(*lanes) * lanes;
    [32, 16, 8, 4].into_iter().filter(|lanes| *lanes <= most).min_by_key(taken).unwrap_or(most)
}

/// What a kernel takes that ends in another one's input.
const PARAMS: &str = include_str!("params.wgsl");

/// As [`PARAMS`] has them.
fn params(eps: f32, scale: f32) -> Vec<u8> {
    bytemuck::cast_slice(&[eps, scale]).to_vec()
}

/// Files of a kernel that applies the factor of a norm, and of one that writes int8.
const NORM: &str = include_str!("norm.wgsl");
const NO_NORM: &str = include_str!("norm_none.wgsl");
const A8: &str = shared::A8;

/// The definition: `x · weightᵀ`, each row times its norm factor if there are energies.
fn product(x: &[f32], weight: &[f32], in_features: usize, norm: Option<(&[f32], f32)>) -> Vec<f64> {
    let mut y = Vec::new();
    for (r, x) in x.chunks_exact(in_features).enumerate() {
        let factor = norm.map_or(1.0, |(energy, eps)| {
            let blocks = in_features / 32;
            let total: f64 = energy[r * blocks..(r + 1) * blocks].iter().map(|e| f64::from(*e)).sum();
            1.0 / (total / in_features as f64 + f64::from(eps)).sqrt()
        });
        y.extend(
            weight
                .chunks_exact(in_features)
                .map(|w| factor * x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>()),
        );
    }
    y
}

#[cfg(test)]
mod tests {
    use doppler_rdrr::Activation;

    use super::*;
    use crate::Kernel;

    #[test]
    fn lanes_are_as_few_as_keeps_them_busy() {
        // A row of one strip; of SmolLM2, Qwen 0.5B and an 8B Llama.
        assert_eq!([1, 9, 14, 24, 64].map(|strips| busiest_lanes(strips, 32)), [4, 4, 16, 8, 32]);
        assert_eq!(busiest_lanes(64, 16), 16);
    }

    #[test]
    fn chunks_are_whole_steps_that_workgroup_memory_holds() {
        // All of a row; an 8B Llama's eight rows of down, in four chunks, and of gate and up, in two; a step at least.
        let (half, all) = (HALF_OF_A_PROCESSOR, ALL_OF_A_PROCESSOR);
        assert_eq!(
            [(224, 1, 32, half), (224, 8, 16, all), (64, 8, 8, half), (9, 2, 16, half), (64, 8, 32, 0)]
                .map(|(strips, rows, lanes, bytes)| chunk(strips, rows, lanes, bytes)),
            [224, 64, 32, 16, 32]
        );
    }

    #[test]
    fn teams_of_32_take_all_rows_of_a_workgroup_in_one_or_two_turns() {
        for rows in 1..=MOST_ROWS {
            for in_features in (1..=256).map(|strips| STRIP * strips) {
                let (weight, eps) = (DType::Q8_0, 1e-5);
                let activation = Activation::Silu;
                let kernels = |out_features| -> [Box<dyn Kernel>; 3] {
                    let (y_stride, y_offset, eps_of) = (out_features, 0, Some(eps));
                    [
                        Box::new(Linear { rows, out_features, in_features, weight, y_stride, y_offset, eps: eps_of }),
                        Box::new(LinearGated { rows, out_features, in_features, weight, activation, eps }),
                        Box::new(LinearResidual { rows, out_features, in_features, weight, scale: 1.0 }),
                    ]
                };
                for kernel in [64, 8192, 131_072].into_iter().flat_map(kernels) {
                    for variant in kernel.variants().iter().filter(|variant| variant.needs.subgroup_size == 32) {
                        let [wg, lanes, results, together] =
                            ["WG", "LANES", "RESULTS", "TOGETHER"].map(|name| variant.constant(name));
                        assert!(lanes.is_power_of_two() && (4..=32).contains(&lanes), "{kernel:?} {}", variant.name);
                        // Only gate and up of one long row take two.
                        let two = (kernel.name(), variant.name, rows) == ("linear_gated", "subgroup_256x2", 1);
                        let most = if two && in_features >= 4096 { 2 } else { 1 };
                        assert!(results.div_ceil(wg / lanes * together) <= most, "{kernel:?} {}", variant.name);
                    }
                }
            }
        }
    }
}
