//! The CPU executor: steps through [`Kernel::host`], weights straight from the memory map, on threads of its own.
//!
//! Steps that do not wait for each other (query, key and value; gate and up) run at the same time, so that threads meet
//! less often.

use std::collections::HashMap;

use doppler_kernels::{Access, Instructions, KERNELS, Kernel};
use rayon::prelude::*;

use crate::device::{DeviceOptions, only_read};
use crate::recorder::Step;
use crate::tensor::{Storage, read, write};
use crate::{Error, Tensor};

/// Bytes in words, for alignment.
pub(crate) fn words(bytes: &[u8]) -> Vec<u32> {
    let mut words = vec![0u32; bytes.len().div_ceil(4)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

/// Threads, and how they compute.
#[derive(Debug)]
pub(crate) struct Host {
    pool: rayon::ThreadPool,
    /// What products in int8 are computed with; none if activations must stay in f32.
    int8: Option<Instructions>,
}

/// A step and what it does with its operands.
#[derive(Debug)]
pub(crate) struct Job {
    step: usize,
    accesses: Vec<Access>,
    /// Worth a thread beside others.
    large: bool,
}

/// Steps that do not wait for each other.
#[derive(Debug, Default)]
pub(crate) struct Level(Vec<Job>);

impl Host {
    /// Starts the threads: one for each physical core that this process may use, unless the caller says how many.
    pub fn open(options: &DeviceOptions) -> Result<Host, Error> {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = options.threads.unwrap_or_else(|| num_cpus::get_physical().clamp(1, allowed)).max(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("doppler-host-{i}"));
        let cores = if options.pin_threads { core_affinity::get_core_ids().unwrap_or_default() } else { Vec::new() };
        let pool = pool.start_handler(move |i| {
            // A thread that the system does not bind runs all the same.
            let _bound = cores.get(i).map(|core| core_affinity::set_for_current(*core));
        });
        let pool = pool.build().map_err(|source| Error::Threads { threads, source })?;
        Ok(Host { pool, int8: int8(options)? })
    }

    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The form that a kernel is computed in.
    pub fn form(&self, kernel: &dyn Kernel) -> &'static str {
        match self.int8 {
            Some(instructions) if kernel.has_int8() => instructions.name(),
            _ if kernel.name() == "matmul" => "f32",
            _ => "host",
        }
    }

    /// The form of products with packed weights.
    pub fn products(&self) -> &'static str {
        self.int8.map_or("f32", Instructions::name)
    }

    /// Runs `work` on this device's threads.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// One kernel over bytes.
    pub fn kernel(&self, kernel: &dyn Kernel, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        match self.int8 {
            Some(instructions) => kernel.host_int8(instructions, reads, writes),
            None => kernel.host(reads, writes),
        }
    }

    /// Runs a recording.
    pub fn run(&self, steps: &[Step], levels: &[Level]) -> Result<(), Error> {
        self.install(|| levels.iter().try_for_each(|level| self.level(steps, level)))
    }

    fn level(&self, steps: &[Step], Level(jobs): &Level) -> Result<(), Error> {
        if jobs.iter().filter(|job| job.large).count() > 1 {
            return jobs.par_iter().try_for_each(|job| self.job(steps, job));
        }
        jobs.iter().try_for_each(|job| self.job(steps, job))
    }

    fn job(&self, steps: &[Step], job: &Job) -> Result<(), Error> {
        let (step, accesses) = (&steps[job.step], &job.accesses);
        let (mut read_guards, mut write_guards) = (Vec::new(), Vec::new());
        for (tensor, access) in step.operands.iter().zip(accesses) {
            match tensor.storage() {
                Storage::Host(words) if only_read(*access) => read_guards.push(Some(read(words))),
                Storage::Host(words) => write_guards.push((write(words), tensor.bytes())),
                Storage::Mapped(_) if only_read(*access) => read_guards.push(None),
                _ => return Err(Error::ForeignTensor { label: tensor.label().to_owned() }),
            }
        }
        let read_tensors = step.operands.iter().zip(accesses).filter(|(_, access)| only_read(**access));
        let reads: Vec<&[u8]> = read_tensors
            .zip(&read_guards)
            .map(|((tensor, _), guard)| match (guard, tensor.storage()) {
                (Some(words), _) => &bytemuck::cast_slice(words)[..tensor.bytes()],
                (None, Storage::Mapped(piece)) => piece.in_place().unwrap_or_default(),
                (None, _) => &[],
            })
            .collect();
        let mut writes: Vec<&mut [u8]> =
            write_guards.iter_mut().map(|(words, bytes)| &mut bytemuck::cast_slice_mut(words)[..*bytes]).collect();
        self.kernel(&*step.kernel, &reads, &mut writes);
        Ok(())
    }
}

/// The instructions for products in int8 that `matmul` is overridden with, else the best. Any other override would be
/// ignored in silence, and is refused.
fn int8(options: &DeviceOptions) -> Result<Option<Instructions>, Error> {
    let mut int8 = Some(Instructions::best()).filter(|_| !options.exact);
    for (kernel, variant) in options.kernel_overrides.iter().filter(|(_, variant)| *variant != "host") {
        let named = Instructions::available().find(|instructions| instructions.name() == variant);
        if kernel == "matmul" && named.is_some() && !options.exact {
            int8 = named;
            continue;
        }
        let kernel = KERNELS.iter().find(|entry| entry.name == kernel).map_or("no kernel", |entry| entry.name);
        let forms = Instructions::available().map(Instructions::name).collect::<Vec<_>>().join(", ");
        let known = match kernel {
            "matmul" if options.exact => "f32, since `exact` is set".to_owned(),
            "matmul" => format!("{forms}; f32 by `exact`"),
            _ => "host".to_owned(),
        };
        return Err(doppler_kernels::Error::UnknownVariant { kernel, variant: variant.clone(), known }.into());
    }
    Ok(int8)
}

/// Puts each step into the first level in which nothing that it waits for is left.
pub(crate) fn levels(steps: &[Step]) -> Vec<Level> {
    /// The first levels in which a tensor may be read and written.
    #[derive(Default, Clone, Copy)]
    struct Free {
        read: usize,
        write: usize,
    }
    let mut tensors: HashMap<usize, Free> = HashMap::new();
    let mut levels: Vec<Level> = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let accesses: Vec<_> = step.kernel.operands().into_iter().map(|operand| operand.access).collect();
        let operands = || step.operands.iter().map(Tensor::key).zip(&accesses);
        let after = |(key, access): (usize, &Access)| {
            let free = tensors.get(&key).copied().unwrap_or_default();
            if only_read(*access) { free.read } else { free.write }
        };
        let level = operands().map(after).max().unwrap_or(0);
        for (key, access) in operands() {
            let free = tensors.entry(key).or_default();
            free.write = free.write.max(level + 1);
            if !only_read(*access) {
                free.read = level + 1;
            }
        }
        if levels.len() == level {
            levels.push(Level::default());
        }
        let large = step.kernel.name() == "matmul" || step.operands[0].bytes() > 1 << 16;
        levels[level].0.push(Job { step: i, accesses, large });
    }
    levels
}
