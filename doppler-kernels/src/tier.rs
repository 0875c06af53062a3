//! What a device has, what a variant needs, and which variant runs.

use crate::{Error, Kernel, Variant};

/// The abilities of a device that decide which variants run on it; also what a variant needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Subgroup operations.
    pub subgroups: bool,
    /// Lanes that every subgroup has at least; 0 where that does not matter, or without subgroups.
    pub subgroup_size: u32,
    /// f16 arithmetic and storage in shaders.
    pub f16: bool,
    /// Matrix units in shaders: 16 × 16 × 16 from f16 with f32 sums.
    pub cooperative_matrix: bool,
    /// Bytes of workgroup memory. Native drivers do not check this limit, so it is checked here.
    pub workgroup_bytes: u32,
    /// Invocations in one workgroup.
    pub invocations: u32,
}

impl Tier {
    /// The limits that every WebGPU device has.
    pub const WEBGPU: Tier = Tier {
        subgroups: false,
        subgroup_size: 0,
        f16: false,
        cooperative_matrix: false,
        workgroup_bytes: 16_384,
        invocations: 256,
    };
    /// For a variant that needs nothing beyond [`Tier::WEBGPU`].
    pub const PORTABLE: Tier = Tier::WEBGPU;
    /// For a variant that uses subgroups.
    pub const SUBGROUP: Tier = Tier { subgroups: true, ..Tier::WEBGPU };
    /// For a variant that uses f16 arithmetic or storage.
    pub const F16: Tier = Tier { f16: true, ..Tier::WEBGPU };

    /// The first thing that `needs` wants and this device lacks.
    #[must_use]
    pub fn lacks(&self, needs: &Tier) -> Option<String> {
        if needs.subgroups && !self.subgroups {
            Some("needs subgroups".to_owned())
        } else if needs.subgroup_size > self.subgroup_size {
            Some(format!("needs subgroups of {}, has {}", needs.subgroup_size, self.subgroup_size))
        } else if needs.f16 && !self.f16 {
            Some("needs f16".to_owned())
        } else if needs.cooperative_matrix && !self.cooperative_matrix {
            Some("needs matrix units".to_owned())
        } else if needs.workgroup_bytes > self.workgroup_bytes {
            Some(format!("needs {} bytes of workgroup memory of {}", needs.workgroup_bytes, self.workgroup_bytes))
        } else if needs.invocations > self.invocations {
            Some(format!("needs {} invocations of {}", needs.invocations, self.invocations))
        } else {
            None
        }
    }
}

/// The variant that runs, and why that one.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The variant.
    pub variant: Variant,
    /// One line for people.
    pub why: String,
}

/// Chooses the first variant of `kernel` that a device of `tier` can run, or the one that the caller names.
///
/// # Errors
/// [`Error::UnknownVariant`] and [`Error::VariantUnsupported`] for a named variant that does not exist or cannot run;
/// [`Error::NoVariant`] when none runs (a device below the WebGPU limits).
pub fn select(kernel: &dyn Kernel, tier: &Tier, wanted: Option<&str>) -> Result<Choice, Error> {
    let variants = kernel.variants();
    if let Some(wanted) = wanted {
        let known = || variants.iter().map(|v| v.name).collect::<Vec<_>>().join(", ");
        let Some(variant) = variants.iter().find(|v| v.name == wanted) else {
            return Err(Error::UnknownVariant { kernel: kernel.name(), variant: wanted.to_owned(), known: known() });
        };
        return match tier.lacks(&variant.needs) {
            None => Ok(Choice { variant: variant.clone(), why: "named by the caller".to_owned() }),
            Some(lacking) => Err(Error::VariantUnsupported { kernel: kernel.name(), variant: variant.name, lacking }),
        };
    }
    let mut skipped = Vec::new();
    for variant in variants {
        match tier.lacks(&variant.needs) {
            None if skipped.is_empty() => return Ok(Choice { variant, why: "preferred".to_owned() }),
            None => return Ok(Choice { variant, why: skipped.join("; ") }),
            Some(lacking) => skipped.push(format!("{} {lacking}", variant.name)),
        }
    }
    Err(Error::NoVariant { kernel: kernel.name(), skipped: skipped.join("; ") })
}
