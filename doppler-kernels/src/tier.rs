//! What a device has, what a variant needs, and which variant runs.

use std::collections::BTreeMap;

use crate::tuning::Tuned;
use crate::{Error, KERNELS, Kernel, Variant};

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
    /// `@coherent` storage, through which workgroups of one dispatch hand each other what they wrote.
    pub coherent: bool,
    /// Storage buffers of one shader.
    pub storage_buffers: u32,
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
        coherent: false,
        storage_buffers: 8,
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
        } else if needs.coherent && !self.coherent {
            Some("needs coherent memory".to_owned())
        } else if needs.storage_buffers > self.storage_buffers {
            Some(format!("needs {} storage buffers of {}", needs.storage_buffers, self.storage_buffers))
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

/// What decides besides the device's abilities.
#[derive(Debug, Clone, Default)]
pub struct Advice<'a> {
    /// The variant that the caller names.
    pub wanted: Option<&'a str>,
    /// What was measured of the kernel at its sizes.
    pub tuned: Option<&'a Tuned>,
    /// Variants that missed the reference on this device, and by how much.
    pub quarantined: BTreeMap<&'static str, String>,
}

/// Chooses the first variant of `kernel` that a device of `tier` can run, or the one that the caller names.
///
/// # Errors
/// As [`select_with`].
pub fn select(kernel: &dyn Kernel, tier: &Tier, wanted: Option<&str>) -> Result<Choice, Error> {
    select_with(kernel, tier, &Advice { wanted, ..Advice::default() })
}

/// Chooses the variant that the caller names, else the one that was measured to be the fastest, else the first one; of
/// those that a device of `tier` can run and that did not miss the reference on it.
///
/// # Errors
/// [`Error::UnknownVariant`], [`Error::VariantUnsupported`] and [`Error::VariantQuarantined`] for a named variant that does
/// not exist, cannot run or computes wrongly; [`Error::NoVariant`] when none is left.
pub fn select_with(kernel: &dyn Kernel, tier: &Tier, advice: &Advice) -> Result<Choice, Error> {
    let variants = kernel.variants();
    if let Some(wanted) = advice.wanted {
        let known = || variants.iter().map(|v| v.name).collect::<Vec<_>>().join(", ");
        let Some(variant) = variants.iter().find(|v| v.name == wanted) else {
            return Err(Error::UnknownVariant { kernel: kernel.name(), variant: wanted.to_owned(), known: known() });
        };
        if let Some(lacking) = tier.lacks(&variant.needs) {
            return Err(Error::VariantUnsupported { kernel: kernel.name(), variant: variant.name, lacking });
        }
        if let Some(miss) = advice.quarantined.get(variant.name) {
            let (kernel, variant, miss) = (kernel.name(), variant.name, miss.clone());
            return Err(Error::VariantQuarantined { kernel, variant, miss });
        }
        return Ok(Choice { variant: variant.clone(), why: "named by the caller".to_owned() });
    }
    let (mut skipped, mut left) = (Vec::new(), Vec::new());
    for variant in variants {
        let lacking = tier.lacks(&variant.needs);
        let miss = || advice.quarantined.get(variant.name).map(|miss| format!("quarantined: {miss}"));
        match lacking.or_else(miss) {
            Some(reason) if left.is_empty() => skipped.push(format!("{} {reason}", variant.name)),
            Some(_) => {}
            None => left.push(variant),
        }
    }
    let Some(preferred) = left.first().cloned() else {
        return Err(Error::NoVariant { kernel: kernel.name(), skipped: skipped.join("; ") });
    };
    let tuned = advice.tuned.and_then(|tuned| Some((left.into_iter().find(|v| v.name == tuned.variant)?, tuned)));
    Ok(match tuned {
        Some((variant, tuned)) => Choice { why: tuned.why(preferred.name), variant },
        None if skipped.is_empty() => Choice { variant: preferred, why: "preferred".to_owned() },
        None => Choice { variant: preferred, why: skipped.join("; ") },
    })
}

/// Whether kernels of these names exist.
///
/// # Errors
/// [`Error::UnknownKernel`] for the first that does not.
pub fn check_names<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), Error> {
    let known = || KERNELS.iter().map(|entry| entry.name);
    match names.into_iter().find(|name| known().all(|known| known != *name)) {
        None => Ok(()),
        Some(name) => Err(Error::UnknownKernel { name: name.clone(), known: known().collect::<Vec<_>>().join(", ") }),
    }
}

#[cfg(test)]
mod tests {
    use doppler_rdrr::DType;

    use super::*;
    use crate::MatMul;

    const GEMV: MatMul =
        MatMul { rows: 1, out_features: 8, in_features: 64, weight: DType::F32, y_stride: 8, y_offset: 0 };

    #[test]
    fn a_name_comes_before_a_measurement_and_that_before_the_order() {
        let us = [("gemv", 1.5), ("gemv_subgroup", 3.0)].map(|(name, us)| (name.to_owned(), us));
        let tuned = Tuned::new(&GEMV, "gemv", BTreeMap::from(us));
        let mut advice = Advice { tuned: Some(&tuned), ..Advice::default() };
        let chosen = |tier: &Tier, advice: &Advice| select_with(&GEMV, tier, advice).unwrap();
        assert_eq!(chosen(&Tier::SUBGROUP, &Advice::default()).variant.name, "gemv_subgroup");
        let choice = chosen(&Tier::SUBGROUP, &advice);
        assert_eq!(choice.variant.name, "gemv");
        assert_eq!(choice.why, "tuned: 1.5 µs against 3.0 µs of gemv_subgroup");
        advice.wanted = Some("gemm");
        assert_eq!(chosen(&Tier::SUBGROUP, &advice).variant.name, "gemm");
    }

    #[test]
    fn what_missed_the_reference_is_not_chosen() {
        let mut advice = Advice::default();
        advice.quarantined.insert("gemv_subgroup", "y: element 0 is 1".to_owned());
        let choice = select_with(&GEMV, &Tier::SUBGROUP, &advice).unwrap();
        assert_eq!((choice.variant.name, choice.why.contains("quarantined: y: element 0")), ("gemm", true));
        advice.wanted = Some("gemv_subgroup");
        let error = select_with(&GEMV, &Tier::SUBGROUP, &advice).unwrap_err();
        assert!(matches!(error, Error::VariantQuarantined { variant: "gemv_subgroup", .. }));
        advice.wanted = None;
        GEMV.variants().iter().for_each(|v| drop(advice.quarantined.insert(v.name, "off".to_owned())));
        assert!(matches!(select_with(&GEMV, &Tier::SUBGROUP, &advice).unwrap_err(), Error::NoVariant { .. }));
    }
}
