//! How long a kernel takes on a device: timers for benches, and one number for reports.

use std::cell::{Cell, OnceCell, RefCell};
use std::time::{Duration, Instant};

use doppler_kernels::{Access, Case, Instructions};

use crate::{Device, host};

/// Weights rotate over this much memory on the CPU, more than its caches hold.
const ROTATION_BYTES: usize = 128 << 20;

/// Runs a kernel that many times in a row and tells how long that took; the error is the driver's message.
///
/// The first call makes the operands. On a GPU many dispatches share a submission, and the gap between dispatches is
/// included. Inputs rotate over memory that no cache holds, as far as 256 copies of them reach.
pub type Timer<'a> = Box<dyn Fn(u64) -> Result<Duration, String> + 'a>;

/// A timer for each variant of a case's kernel, or why the device cannot run that variant. The CPU has those of
/// matrix products, `int8` by each of its [`Instructions`] and `f32`, and `host` of every other kernel.
pub fn case_timers<'a>(device: &'a Device, case: &'a Case) -> Vec<(String, Result<Timer<'a>, String>)> {
    let Some(gpu) = device.gpu() else {
        let plain = if case.kernel.name() == "matmul" { "f32" } else { "host" };
        let int8 = Instructions::available().filter(|_| case.kernel.has_int8());
        let forms = int8.map(|by| (by.name(), Some(by))).chain([(plain, None)]);
        let timers = forms.map(|(name, int8)| {
            let operands = OnceCell::new();
            let time = move |runs| operands.get_or_init(|| HostOperands::new(case)).time(device, case, int8, runs);
            let timer: Timer = Box::new(move |runs| Ok(time(runs)));
            (name.to_owned(), Ok(timer))
        });
        return timers.collect();
    };
    let timers = case.kernel.variants().into_iter().map(|variant| {
        let name = variant.name.to_owned();
        if let Some(lacking) = gpu.tier.lacks(&variant.needs) {
            return (name, Err(lacking));
        }
        let bound = OnceCell::new();
        let timer: Timer = Box::new(move |runs| {
            // `OnceCell::get_or_try_init` is not stable.
            if bound.get().is_none() {
                drop(bound.set(gpu.bind_rotation(case, &variant)?));
            }
            bound.get().map_or(Ok(Duration::ZERO), |bound| gpu.time_rotation(bound, runs))
        });
        (name, Ok(timer))
    });
    timers.collect()
}

/// Seconds that one run of a case takes on a device, by variant: `(name, seconds)`, or why it did not run.
pub fn time_case(device: &Device, case: &Case) -> Vec<(String, Result<f64, String>)> {
    let timed =
        case_timers(device, case).into_iter().map(|(name, timer)| (name, timer.and_then(|timer| seconds(&timer))));
    timed.collect()
}

fn seconds(timer: &Timer) -> Result<f64, String> {
    // An idle GPU runs at a fraction of its clock: the same work warms it up.
    let mut runs = 1;
    while timer(runs)? < Duration::from_millis(150) && runs < 1 << 20 {
        runs *= 2;
    }
    Ok(timer(runs)?.as_secs_f64() / runs as f64)
}

/// Operands in 4-byte words, as the kernels want them, with their sizes in bytes.
type Operands = Vec<(Vec<u32>, usize)>;

/// Copies of a case's operands.
struct HostOperands {
    reads: Vec<Operands>,
    writes: RefCell<Vec<Operands>>,
    next: Cell<usize>,
}

impl HostOperands {
    fn new(case: &Case) -> HostOperands {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for _ in 0..copies(case, ROTATION_BYTES) {
            let mut inputs = case.inputs.iter();
            let (written, read): (Vec<_>, Vec<_>) = (case.kernel.operands().into_iter())
                .map(|operand| {
                    let input = if operand.access.has_input() { inputs.next() } else { None };
                    let words = input.map_or_else(|| vec![0; operand.bytes().div_ceil(4)], |bytes| host::words(bytes));
                    (operand.access != Access::Read, (words, operand.bytes()))
                })
                .partition(|(written, _)| *written);
            reads.push(read.into_iter().map(|(_, operand)| operand).collect());
            writes.push(written.into_iter().map(|(_, operand)| operand).collect());
        }
        HostOperands { reads, writes: RefCell::new(writes), next: Cell::new(0) }
    }

    fn time(&self, device: &Device, case: &Case, int8: Option<Instructions>, runs: u64) -> Duration {
        let reads: Vec<Vec<&[u8]>> = (self.reads.iter())
            .map(|copy| copy.iter().map(|(words, bytes)| &bytemuck::cast_slice(words)[..*bytes]).collect())
            .collect();
        let mut writes = self.writes.borrow_mut();
        let mut writes: Vec<Vec<&mut [u8]>> = (writes.iter_mut())
            .map(|copy| copy.iter_mut().map(|(words, bytes)| &mut bytemuck::cast_slice_mut(words)[..*bytes]).collect())
            .collect();
        let first = self.next.get();
        self.next.set((first + runs as usize) % reads.len());
        let mut work = || {
            let started = Instant::now();
            for run in 0..runs as usize {
                let copy = (first + run) % reads.len();
                match int8 {
                    Some(by) => case.kernel.host_int8(by, &reads[copy], &mut writes[copy]),
                    None => case.kernel.host(&reads[copy], &mut writes[copy]),
                }
            }
            started.elapsed()
        };
        match device.host() {
            Some(host) => host.install(work),
            None => work(),
        }
    }
}

/// How many copies of a case's inputs to rotate over.
pub(crate) fn copies(case: &Case, bytes: usize) -> usize {
    let input_bytes: usize = case.inputs.iter().map(Vec::len).sum();
    (bytes / input_bytes.max(1)).clamp(1, 256)
}
