//! Which variant of a kernel runs here: the caller's, the fastest that was measured, or the first; and only one that comes
//! near the reference on this device.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use doppler_kernels::tuning::source_hash;
use doppler_kernels::{Advice, Case, Choice, Kernel, Variant, select_with};
use rayon::prelude::*;

use super::Gpu;
use super::compute::ComputePipeline;
use super::pool::lock;
use crate::Error;
use crate::learned::check_id;
use crate::recorder::{Step, kernel_key};

/// A self-test before the first use takes the largest case up to this: one of a few elements would show little.
const CASE_BYTES: usize = 256 << 10;

/// A kernel's variant, compiled.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub variant: Variant,
    pub pipeline: Arc<ComputePipeline>,
}

/// The edge cases of the kernels that were asked for so far.
type Cases = HashMap<&'static str, Vec<Case>>;

impl Gpu {
    /// The variant of each step, compiled: what is new is chosen, tested and compiled, the last on all cores.
    pub(super) fn chosen(&self, steps: &[Step]) -> Result<Vec<Arc<Chosen>>, Error> {
        let keys: Vec<String> = steps.iter().map(|step| format!("{} {:?}", step.kernel.name(), step.kernel)).collect();
        let mut new: Vec<(&String, &dyn Kernel, Choice)> = Vec::new();
        let (mut seen, mut cases) = (HashSet::new(), Cases::new());
        let tested = self.learned.tests();
        for (key, step) in keys.iter().zip(steps) {
            if seen.insert(key) && !lock(&self.chosen).contains_key(key) {
                new.push((key, &*step.kernel, self.choose(&*step.kernel, &mut cases)?));
            }
        }
        if self.learned.tests() > tested {
            self.learned.save_checks();
        }
        let mut sources = HashSet::new();
        let distinct: Vec<_> = new.iter().filter(|(_, _, choice)| sources.insert(choice.variant.source())).collect();
        distinct.par_iter().try_for_each(|(_, kernel, choice)| self.pipeline(*kernel, &choice.variant).map(drop))?;
        for (key, kernel, Choice { variant, .. }) in new {
            let pipeline = self.pipeline(kernel, &variant)?;
            lock(&self.chosen).insert(key.clone(), Arc::new(Chosen { variant, pipeline }));
        }
        let chosen = lock(&self.chosen);
        Ok(keys.iter().map(|key| chosen[key].clone()).collect())
    }

    /// Chooses again from now on: something was measured.
    pub fn forget_choices(&self) {
        lock(&self.chosen).clear();
        lock(&self.choices).clear();
    }

    /// The variant for a kernel on this device, noted for reports.
    fn choose(&self, kernel: &dyn Kernel, cases: &mut Cases) -> Result<Choice, Error> {
        let (tuned, key) = (self.learned.tuned(kernel), kernel_key(kernel));
        let choice = loop {
            let wanted = self.overrides.get(kernel.name()).map(String::as_str);
            let advice = Advice { wanted, tuned: tuned.as_ref(), quarantined: self.quarantined(kernel) };
            let choice = select_with(kernel, &self.tier, &advice)?;
            if self.passes(kernel, &choice.variant, cases)? {
                break choice;
            }
        };
        let mut choices = lock(&self.choices);
        let said = choices.entry(key).or_default();
        let words = format!("{} ({})", choice.variant.name, choice.why);
        if !said.contains(&words) {
            *said = if said.is_empty() { words } else { format!("{said}, {words}") };
        }
        Ok(choice)
    }

    /// Variants of a kernel that missed the reference here.
    pub fn quarantined(&self, kernel: &dyn Kernel) -> BTreeMap<&'static str, String> {
        let missed = |variant: &Variant| Some((variant.name, self.learned.outcome(&id(kernel, variant))?.err()?));
        kernel.variants().iter().filter_map(missed).collect()
    }

    /// Whether a variant comes near the reference on this device; tested once, a miss is told and kept.
    fn passes(&self, kernel: &dyn Kernel, variant: &Variant, cases: &mut Cases) -> Result<bool, Error> {
        if let Some(outcome) = self.learned.outcome(&id(kernel, variant)) {
            return Ok(outcome.is_ok());
        }
        let fitting = self.fitting(kernel, variant, cases);
        let same = |v: &Variant| v.without_sizes() == variant.without_sizes();
        let size = |case: &Case| case.kernel.operands().iter().map(|o| o.bytes()).sum::<usize>();
        let best = fitting.into_iter().max_by_key(|(case, v)| {
            let size = size(case);
            (same(v), size <= CASE_BYTES, if size <= CASE_BYTES { size as i64 } else { -(size as i64) })
        });
        let Some(best) = best else {
            tracing::warn!("{} {}: no case to test it with", kernel_key(kernel), variant.name);
            return Ok(true);
        };
        Ok(self.test(kernel, variant, best)?.is_ok())
    }

    /// Tests a variant at all edge shapes of its kernel and formats, whatever was known of it: by how much it missed. `None`
    /// when that is not known `until` then.
    pub fn test_all(
        &self,
        kernel: &dyn Kernel,
        variant: &Variant,
        until: Instant,
    ) -> Result<Option<Result<(), String>>, Error> {
        let mut cases = Cases::new();
        for case in self.fitting(kernel, variant, &mut cases) {
            if Instant::now() >= until {
                return Ok(None);
            }
            if let Err(miss) = self.test(kernel, variant, case)? {
                return Ok(Some(Err(miss)));
            }
        }
        Ok(Some(Ok(())))
    }

    /// The edge cases of a kernel in the same format that have this variant, and the variant at their sizes.
    fn fitting<'a>(&self, kernel: &dyn Kernel, variant: &Variant, cases: &'a mut Cases) -> Vec<(&'a Case, Variant)> {
        let entry = self.kernels.iter().find(|entry| entry.name == kernel.name());
        let all = cases.entry(kernel.name()).or_insert_with(|| entry.map_or_else(Vec::new, |e| (e.edge_cases)()));
        let runs = |case: &Case| {
            let variants = case.kernel.variants().into_iter();
            variants.into_iter().find(|v| v.name == variant.name && self.tier.lacks(&v.needs).is_none())
        };
        let fitting: Vec<_> = all.iter().filter_map(|case| Some((case, runs(case)?))).collect();
        // A shader is put together for the formats of its operands.
        let dtypes = |kernel: &dyn Kernel| kernel.operands().iter().map(|o| o.dtype).collect::<Vec<_>>();
        let wanted = dtypes(kernel);
        if fitting.iter().any(|(case, _)| dtypes(&*case.kernel) == wanted) {
            return fitting.into_iter().filter(|(case, _)| dtypes(&*case.kernel) == wanted).collect();
        }
        fitting
    }

    /// Tests a variant at the sizes of a case; what it gave is told and noted.
    fn test(
        &self,
        kernel: &dyn Kernel,
        variant: &Variant,
        (case, at_sizes): (&Case, Variant),
    ) -> Result<Result<(), String>, Error> {
        let result = self.run_case(case, &at_sizes).and_then(|actual| case.check(&actual, &case.expected()));
        let outcome = result.map_err(|miss| format!("{:?}: {miss}", case.kernel));
        if outcome.is_err() {
            // A device that is lost or full says nothing about a variant.
            self.check()?;
        }
        if let Err(miss) = &outcome {
            let (key, adapter) = (kernel_key(kernel), &self.adapter);
            let kept = self.learned.folder().map_or("this device".into(), |folder| folder.to_string_lossy());
            tracing::error!(
                "{key}: variant `{}` misses its reference on {} ({}) and is not used there any more; \
                 please report this ({miss}; noted in {kept})",
                variant.name,
                adapter.name,
                adapter.driver,
            );
        }
        self.learned.note(id(kernel, variant), outcome.clone());
        Ok(outcome)
    }
}

fn id(kernel: &dyn Kernel, variant: &Variant) -> String {
    check_id(&kernel_key(kernel), variant.name, &source_hash(std::slice::from_ref(variant)))
}

#[cfg(all(test, feature = "gpu-tests"))]
mod tests {
    use doppler_kernels::{Entry, Operand, Tier, Tolerance};
    use doppler_rdrr::DType;

    use super::*;
    use crate::{DeviceCache, DeviceOptions};

    /// Doubles a number, or claims to.
    #[derive(Debug)]
    struct Double {
        right: bool,
    }

    impl Kernel for Double {
        fn name(&self) -> &'static str {
            "double"
        }

        fn variants(&self) -> Vec<Variant> {
            let variant = |name, factor| Variant {
                name,
                needs: Tier::PORTABLE,
                consts: vec![("FACTOR", factor)],
                files: vec![
                    "@group(0) @binding(0) var<storage, read> x: array<f32>;
                    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
                    @compute @workgroup_size(1) fn main() { y[0] = f32(FACTOR) * x[0]; }",
                ],
            };
            let mut variants = vec![variant("triple", 3), variant("quadruple", 4)];
            variants.extend(self.right.then(|| variant("portable", 2)));
            variants
        }

        fn operands(&self) -> Vec<Operand> {
            vec![Operand::read("x", &[1], DType::F32), Operand::write("y", &[1], DType::F32)]
        }

        fn params(&self) -> Vec<u8> {
            Vec::new()
        }

        fn workgroups(&self, _: &Variant) -> [u32; 3] {
            [1; 3]
        }

        fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
            vec![vec![2.0 * inputs[0][0]]]
        }

        fn host(&self, _: &[&[u8]], _: &mut [&mut [u8]]) {}
    }

    static KERNELS: &[Entry] = &[Entry {
        name: "double",
        edge_cases: || vec![Case::new("one", Box::new(Double { right: true }), Tolerance::F32).input_f32(&[1.5])],
        strategy: || unreachable!("nothing random here"),
    }];

    #[test]
    fn what_misses_its_reference_is_not_used_and_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DeviceCache::Folder(folder.path().to_owned());
        let options = DeviceOptions { cache, ..DeviceOptions::default() };
        let open = |options: &DeviceOptions| {
            let mut gpu = Gpu::open(options, |_| true).unwrap().expect("an adapter");
            gpu.kernels = KERNELS;
            gpu
        };
        let kernel = Double { right: true };
        let gpu = open(&options);
        let choice = gpu.choose(&kernel, &mut Cases::new()).unwrap();
        gpu.learned.save_checks();
        assert_eq!((choice.variant.name, gpu.learned.tests()), ("portable", 3));
        let words = &gpu.choices()["double"];
        assert!(
            ["triple quarantined", "quadruple quarantined", "4.5, expected 3"].iter().all(|w| words.contains(w)),
            "{words}"
        );
        // The next program knows.
        let gpu = open(&options);
        assert_eq!(gpu.choose(&kernel, &mut Cases::new()).unwrap().variant.name, "portable");
        assert_eq!((gpu.learned.tests(), gpu.learned.missed().len()), (0, 2));
        // Asked for by name, it is an error; and when none is left, too.
        let kernel_overrides = BTreeMap::from([("double".to_owned(), "triple".to_owned())]);
        let error = open(&DeviceOptions { kernel_overrides, ..options.clone() });
        let error = error.choose(&kernel, &mut Cases::new()).unwrap_err();
        assert!(matches!(error, Error::Kernel(doppler_kernels::Error::VariantQuarantined { .. })), "{error}");
        let error = gpu.choose(&Double { right: false }, &mut Cases::new()).unwrap_err();
        assert!(matches!(error, Error::Kernel(doppler_kernels::Error::NoVariant { .. })), "{error}");
    }
}
