//! The tuner: times the variants of a recording's kernels on the recording's own tensors, and keeps what it finds.
//!
//! Weights, cache and sizes are the model's own, so the figures are those of the work that is to be done. Knows recordings,
//! not models, and no GPU API.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use doppler_kernels::tuning::{Read, source_hash};
use doppler_kernels::{Tuned, Tuning, Variant};

use crate::gpu::{Gpu, GpuStep};
use crate::recorder::{Step, kernel_key};
use crate::{Device, Error, Recording};

/// A variant takes the place of the first choice when it is this much faster: less is within the noise of a day.
const WORTH: f64 = 0.97;
/// A pass of one variant takes about so long, so that the ends of the pass do not count.
const PASS: Duration = Duration::from_micros(400);
/// What a device is kept busy before its kernels are timed.
const WARM_UP: Duration = Duration::from_millis(200);
/// Dispatches in a pass at most.
const MOST_DISPATCHES: usize = 64;
/// Times that the variants are compared one after the other.
const ROUNDS: std::ops::RangeInclusive<usize> = 3..=15;
/// A variant so much slower than the fastest is timed no further.
const HOPELESS: u32 = 4;

/// What was measured of a kernel.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Measured {
    /// The kernel, with its packed type.
    pub kernel: String,
    /// Its sizes.
    pub sizes: String,
    /// How often it runs in the recording.
    pub runs: usize,
    /// The variant that would run otherwise.
    pub preferred: String,
    /// The variant that runs from now on.
    pub variant: String,
    /// Microseconds of each.
    pub us: BTreeMap<String, f64>,
    /// Variants that miss the reference here, and by how much; they were not timed.
    pub quarantined: BTreeMap<String, String>,
}

/// What a tuning found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TuningReport {
    /// Kernels that were measured.
    pub measured: Vec<Measured>,
    /// Kernels that the budget left no time for.
    pub left_out: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Measures recordings one after the other, within a time.
pub(crate) struct Tuner<'a> {
    gpu: &'a Gpu,
    started: Instant,
    deadline: Instant,
    /// Kernel, sizes and sources that were measured, or left out.
    seen: BTreeSet<[String; 3]>,
    /// Kernel, formats and variant → what all its edge shapes gave.
    tested: BTreeMap<(String, &'static str), Result<(), String>>,
    report: TuningReport,
    tuning: Tuning,
}

impl<'a> Tuner<'a> {
    pub fn new(gpu: &'a Gpu, budget: Duration) -> Tuner<'a> {
        let started = Instant::now();
        let Tuning { adapter, driver, .. } = gpu.learned.tuning();
        Tuner {
            gpu,
            started,
            deadline: started + budget,
            seen: BTreeSet::new(),
            tested: BTreeMap::new(),
            report: TuningReport::default(),
            tuning: Tuning::new(&adapter, &driver),
        }
    }

    /// Measures the kernels of a recording that can be run in several ways, the longest first, within a `share` of the
    /// time that is left.
    pub fn recording(&mut self, recording: &Recording, share: f64) -> Result<(), Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + left.mul_f64(share);
        let mut groups: BTreeMap<[String; 3], Vec<(&Step, &GpuStep)>> = BTreeMap::new();
        for (step, ready) in recording.steps.iter().zip(&recording.gpu) {
            let kernel = &*step.kernel;
            let variants = kernel.variants();
            if variants.iter().filter(|v| self.gpu.tier.lacks(&v.needs).is_none()).count() < 2 {
                continue;
            }
            let id = [kernel_key(kernel), doppler_kernels::tuning::sizes(kernel), source_hash(&variants)];
            groups.entry(id).or_default().push((step, ready));
        }
        let mut timed = Vec::new();
        for ([kernel, sizes, source], steps) in groups {
            if !self.seen.insert([kernel.clone(), sizes.clone(), source]) {
                continue;
            }
            // A slow device has no time for whole recordings; drivers compile at the first of the two.
            let mut time = Duration::ZERO;
            for _ in 0..2 {
                if Instant::now() < until {
                    time = self.time(&[std::slice::from_ref(steps[0].1)])?[0] * steps.len() as u32;
                }
            }
            timed.push((time, kernel, sizes, steps.into_iter().map(|(step, _)| step).collect::<Vec<_>>()));
        }
        timed.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
        for (_, kernel, sizes, steps) in timed {
            let now = Instant::now();
            // Not all of the time for the first one.
            let enough = now + until.saturating_duration_since(now) / 3;
            if now >= until || !self.kernel(&kernel, &sizes, &steps, enough, until)? {
                self.report.left_out.push(format!("{kernel}: {sizes}"));
            }
        }
        Ok(())
    }

    /// Keeps what was measured; later recordings are made of it.
    pub fn finish(mut self) -> Result<TuningReport, Error> {
        self.gpu.learned.save_checks();
        self.gpu.learned.add_tuning(self.tuning)?;
        self.gpu.forget_choices();
        self.report.elapsed = self.started.elapsed();
        Ok(self.report)
    }

    /// Measures one kernel, about until it is `enough`; whether there was time for it.
    fn kernel(
        &mut self,
        key: &str,
        sizes: &str,
        steps: &[&Step],
        enough: Instant,
        until: Instant,
    ) -> Result<bool, Error> {
        let kernel = &*steps[0].kernel;
        let (mut variants, mut quarantined) = (Vec::new(), BTreeMap::new());
        for variant in kernel.variants().into_iter().filter(|v| self.gpu.tier.lacks(&v.needs).is_none()) {
            let dtypes = kernel.operands().iter().map(|o| o.dtype.name()).collect::<Vec<_>>().join(" ");
            let tested = (format!("{key} {dtypes}"), variant.name);
            let known = self.tested.get(&tested).cloned();
            let Some(outcome) = known.map_or_else(|| self.gpu.test_all(kernel, &variant, until), |o| Ok(Some(o)))?
            else {
                return Ok(false);
            };
            match &outcome {
                Ok(()) => variants.push(variant),
                Err(miss) => drop(quarantined.insert(variant.name.to_owned(), miss.clone())),
            }
            self.tested.insert(tested, outcome);
        }
        let Some(times) = self.times(steps, &variants, enough, until)? else { return Ok(false) };
        let medians: Vec<f64> = times.iter().map(|times| median(times.iter().copied())).collect();
        let best = (0..medians.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b])).unwrap_or(0);
        let taken = if is_faster(&times[best], &times[0]) { best } else { 0 };
        let us: BTreeMap<_, _> = variants.iter().zip(&medians).map(|(v, us)| (v.name.to_owned(), *us)).collect();
        self.tuning.insert(Tuned::new(kernel, variants[taken].name, us.clone()));
        let name = |i: usize| variants[i].name.to_owned();
        let (preferred, variant) = (name(0), name(taken));
        let (kernel, sizes) = (key.to_owned(), sizes.to_owned());
        self.report.measured.push(Measured { kernel, sizes, runs: steps.len(), preferred, variant, us, quarantined });
        Ok(true)
    }

    /// Microseconds of one run by variant and round: in a round, the variants run one after the other on the same tensors.
    fn times(
        &self,
        steps: &[&Step],
        variants: &[Variant],
        enough: Instant,
        until: Instant,
    ) -> Result<Option<Vec<Vec<f64>>>, Error> {
        if variants.is_empty() {
            return Ok(None);
        }
        let ready = |variant: &Variant| -> Result<Vec<GpuStep>, Error> {
            steps.iter().take(MOST_DISPATCHES).map(|step| self.gpu.prepare_with(step, variant)).collect()
        };
        let ready: Vec<Vec<GpuStep>> = variants.iter().map(ready).collect::<Result<_, _>>()?;
        let firsts: Vec<&[GpuStep]> = ready.iter().map(|steps| &steps[..1]).collect();
        // Drivers compile at the first dispatch.
        self.time(&firsts)?;
        let once = self.time(&firsts)?;
        let (fastest, all): (Duration, Duration) = (once.iter().min().copied().unwrap_or_default(), once.iter().sum());
        if Instant::now() + all * *ROUNDS.start() as u32 > until {
            return Ok(None);
        }
        let repeats = PASS.as_nanos() / fastest.as_nanos().max(1);
        let repeats = (repeats as usize).clamp(1, MOST_DISPATCHES);
        let hopeful: Vec<usize> = (0..once.len()).filter(|&i| i == 0 || once[i] <= fastest * HOPELESS).collect();
        // A GPU that was idle while variants were compiled takes its time to raise its clocks.
        let warm: Vec<GpuStep> = ready[0].iter().cycle().take(repeats).cloned().collect();
        let warming = Instant::now();
        while warming.elapsed() < WARM_UP && Instant::now() < until {
            self.time(&[&warm])?;
        }
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); once.len()];
        for (i, time) in once.iter().enumerate().filter(|(i, _)| !hopeful.contains(i)) {
            times[i].push(us(*time));
        }
        for round in 0..*ROUNDS.end() {
            let now = Instant::now();
            if now >= until && round < *ROUNDS.start() {
                return Ok(None);
            }
            if now >= enough && round >= *ROUNDS.start() {
                break;
            }
            let mut order = hopeful.clone();
            if round % 2 == 1 {
                order.reverse();
            }
            let pass = |i: usize| ready[i].iter().cycle().skip(round).take(repeats).cloned().collect::<Vec<_>>();
            let passes: Vec<Vec<GpuStep>> = order.iter().map(|&i| pass(i)).collect();
            let timed = self.time(&passes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            for (i, time) in order.into_iter().zip(timed) {
                times[i].push(us(time) / repeats as f64);
            }
        }
        Ok(Some(times))
    }

    fn time(&self, passes: &[&[GpuStep]]) -> Result<Vec<Duration>, Error> {
        match self.gpu.profile_passes(passes)? {
            Some(times) => Ok(times),
            None => self.gpu.time_passes(passes),
        }
    }
}

/// Whether a variant is worth taking instead of another, by the rounds in which both were timed: it must be faster by more
/// than noise in the middle, and faster at all in two rounds of three.
fn is_faster(times: &[f64], than: &[f64]) -> bool {
    let ratios: Vec<f64> = times.iter().zip(than).map(|(a, b)| a / b).collect();
    let faster = ratios.iter().filter(|ratio| **ratio < 1.0).count();
    median(ratios.iter().copied()) < WORTH && 3 * faster >= 2 * ratios.len()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::INFINITY)
}

impl Device {
    /// What was measured on this adapter, shipped tables included; `None` on the CPU. [`Tuning::to_json`] writes it out.
    #[must_use]
    pub fn tuning(&self) -> Option<Tuning> {
        self.gpu().map(|gpu| gpu.learned.tuning())
    }

    /// Takes measurements that were made on the same adapter and driver, and keeps them; recordings that are made later
    /// go by them. The names of kernels that this version does not have, and whose measurements were left out.
    ///
    /// # Errors
    /// A table that cannot be read, or is of another adapter or driver. On the CPU there is nothing to choose, and
    /// nothing happens.
    pub fn import_tuning(&self, json: &[u8]) -> Result<BTreeSet<String>, Error> {
        let Some(gpu) = self.gpu() else { return Ok(BTreeSet::new()) };
        let Read { tuning, unknown } = Tuning::read(json)?;
        gpu.learned.add_tuning(tuning)?;
        gpu.forget_choices();
        Ok(unknown)
    }

    /// Variants that missed their reference on this adapter and driver, and are not used: kernel, variant and source hash →
    /// by how much.
    #[must_use]
    pub fn quarantined(&self) -> BTreeMap<String, String> {
        self.gpu().map(|gpu| gpu.learned.missed()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_must_be_larger_than_noise_and_there_most_of_the_time() {
        assert!(is_faster(&[9.0, 9.1, 9.0], &[10.0, 10.0, 9.9]));
        assert!(!is_faster(&[9.8, 9.8, 9.8], &[10.0, 10.0, 10.0]), "two percent");
        assert!(!is_faster(&[5.0, 5.0, 12.0, 11.0, 12.0], &[10.0; 5]), "two rounds of five");
        assert!(!is_faster(&[10.0; 3], &[10.0; 3]));
        assert!(!is_faster(&[], &[]));
    }
}
