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

/// `weight`, and `load_unit` for a format.
fn units(weight: DType) -> Option<[&'static str; 2]> {
    const WORDS: &str = include_str!("units/words.wgsl");
    const VECTORS: &str = include_str!("units/vectors.wgsl");
    Some(match weight {
        DType::Q4_0 => [WORDS, include_str!("units/q4_0.wgsl")],
        DType::Q4_1 => [WORDS, include_str!("units/q4_1.wgsl")],
        DType::Q5_0 => [WORDS, include_str!("units/q5_0.wgsl")],
        DType::Q5_1 => [WORDS, include_str!("units/q5_1.wgsl")],
        DType::Q8_0 => [WORDS, include_str!("units/q8_0.wgsl")],
        DType::Q4_K => [VECTORS, include_str!("units/q4_k.wgsl")],
        DType::Q5_K => [VECTORS, include_str!("units/q5_k.wgsl")],
        DType::Q6_K => [WORDS, include_str!("units/q6_k.wgsl")],
        DType::F32 | DType::F16 | DType::BF16 | DType::U32 | DType::A8 => return None,
    })
}

/// Workgroups of many subgroups have more loads in flight; the portable one needs no subgroups.
fn variants(rows: usize, results: u32, weight: DType, files: &[&'static str]) -> Vec<Variant> {
    let variant = |name, needs: Tier, wg, team| {
        let consts = vec![("WG", wg), ("ROWS", rows as u32), ("RESULTS", results)];
        let mut all =
            vec![team, include_str!("units.wgsl"), include_str!("params.wgsl"), include_str!("products.wgsl")];
        all.extend(units(weight).into_iter().flatten());
        all.extend(files);
        Variant { name, needs, consts, files: all }
    };
    let subgroup = include_str!("team_subgroup.wgsl");
    vec![
        variant("subgroup_1024", Tier { invocations: 1024, ..Tier::SUBGROUP }, 1024, subgroup),
        variant("subgroup_512", Tier { invocations: 512, ..Tier::SUBGROUP }, 512, subgroup),
        variant("subgroup", Tier::SUBGROUP, 256, subgroup),
        variant("portable", Tier::PORTABLE, 256, include_str!("team_portable.wgsl")),
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
