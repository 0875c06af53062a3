//! How long a kernel takes on a device: timers for benches, and one number for reports.

use std::cell::{Cell, OnceCell};
use std::time::{Duration, Instant};

use doppler_kernels::{Access, Case};

use crate::Device;
use crate::gpu::Gpu;

/// Weights rotate over this much memory on the CPU, more than its caches hold.
const ROTATION_BYTES: usize = 128 << 20;

/// Runs a kernel that many times in a row and tells how long that took; the error is the driver's message.
///
/// The first call makes the operands. On a GPU many dispatches share a submission, and the gap between dispatches is
/// included. Inputs rotate over memory that no cache holds, as far as 256 copies of them reach.
pub type Timer<'a> = Box<dyn Fn(u64) -> Result<Duration, String> + 'a>;

/// A timer for each variant of a case's kernel, or why the device cannot run that variant. The CPU has one, `host`.
pub fn case_timers<'a>(device: &'a Device, case: &'a Case) -> Vec<(String, Result<Timer<'a>, String>)> {
    let Some(gpu) = device.gpu() else {
        let operands = OnceCell::new();
        let timer: Timer = Box::new(move |runs| Ok(operands.get_or_init(|| HostOperands::new(case)).time(case, runs)));
        return vec![("host".to_owned(), Ok(timer))];
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
    let timed = case_timers(device, case).into_iter().map(|(name, timer)| (name, timer.and_then(|timer| seconds(&timer))));
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
