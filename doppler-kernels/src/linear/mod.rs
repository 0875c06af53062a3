//! Linear layers of a decode step on int8 activations, each fused with what comes behind it.

mod cases;
mod gated;
mod plain;
mod residual;

use doppler_rdrr::DType;

use crate::{Tier, Variant, shared};

pub use gated::{ENTRY as GATED_ENTRY, LinearGated};
pub use plain::{ENTRY, Linear};
pub use residual::{ENTRY as RESIDUAL_ENTRY, LinearResidual};

/// Output features of a workgroup: one block of the next layer's activations.
const FEATURES: usize = 32;

/// Rows of activations that these kernels take at most: more are a GEMM's work.
pub const MOST_ROWS: usize = 8;

/// Whether weights of this format can be multiplied with int8 activations.
#[must_use]
pub fn takes(weight: DType) -> bool {
    units(weight).is_some()
}

/// Whether a layer with so many columns can be taken: rows of activations begin at whole 16 bytes.
#[must_use]
pub fn takes_cols(cols: usize) -> bool {
    cols.is_multiple_of(64)
}

/// `weight`, where a unit's activations are, and how a unit is loaded.
fn units(weight: DType) -> Option<[&'static str; 3]> {
    const WORDS: &str = include_str!("units/words.wgsl");
    const VECTORS: &str = include_str!("units/vectors.wgsl");
    const BLOCK: &str = include_str!("units/block.wgsl");
    const PAIR: &str = include_str!("units/pair.wgsl");
    Some(match weight {
        DType::Q4_0 => [WORDS, BLOCK, include_str!("units/q4_0.wgsl")],
        DType::Q4_1 => [WORDS, BLOCK, include_str!("units/q4_1.wgsl")],
        DType::Q5_0 => [WORDS, BLOCK, include_str!("units/q5_0.wgsl")],
        DType::Q5_1 => [WORDS, BLOCK, include_str!("units/q5_1.wgsl")],
        DType::Q8_0 => [WORDS, BLOCK, include_str!("units/q8_0.wgsl")],
        DType::Q4_K => [VECTORS, PAIR, include_str!("units/q4_k.wgsl")],
        DType::Q5_K => [VECTORS, PAIR, include_str!("units/q5_k.wgsl")],
        DType::Q6_K => [WORDS, "", include_str!("units/q6_k.wgsl")],
        DType::F32 | DType::F16 | DType::BF16 | DType::U32 | DType::A8 => return None,
    })
}

/// Workgroups of many subgroups have more loads in flight; the portable one needs no subgroups.
fn variants(rows: usize, results: u32, in_features: usize, weight: DType, files: &[&'static str]) -> Vec<Variant> {
    // A lane takes two to four units of a row, if there are so many: they are loaded together.
    let team = match in_features / 32 {
        0..=24 => 8,
        25..=64 => 16,
        _ => 32,
    };
    let variant = |name, needs: Tier, wg, ahead, file| {
        let consts = vec![("WG", wg), ("ROWS", rows as u32), ("RESULTS", results), ("TEAM", team), ("AHEAD", ahead)];
        let mut all =
            vec![file, include_str!("units.wgsl"), include_str!("params.wgsl"), include_str!("products.wgsl")];
        all.extend(units(weight).into_iter().flatten());
        all.extend(files);
        Variant { name, needs, consts, files: all }
    };
    let subgroup = |name, wg, ahead| {
        let needs = Tier { invocations: wg, ..Tier::SUBGROUP };
        variant(name, needs, wg, ahead, include_str!("team_subgroup.wgsl"))
    };
    vec![
        subgroup("subgroup_1024_2", 1024, 2),
        subgroup("subgroup_1024_4", 1024, 4),
        subgroup("subgroup_512_2", 512, 2),
        subgroup("subgroup_512_4", 512, 4),
        subgroup("subgroup_512_8", 512, 8),
        subgroup("subgroup_256_4", 256, 4),
        subgroup("subgroup_256_8", 256, 8),
        variant("portable", Tier::PORTABLE, 256, 2, include_str!("team_portable.wgsl")),
    ]
}

fn params(out_features: usize, in_features: usize, eps: f32, scale: f32) -> Vec<u8> {
    bytemuck::cast_slice(&[out_features as u32, in_features as u32, eps.to_bits(), scale.to_bits()]).to_vec()
}

/// Files of a kernel that applies the factor of a norm, and of one that writes int8.
const NORM: &str = include_str!("norm.wgsl");
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
