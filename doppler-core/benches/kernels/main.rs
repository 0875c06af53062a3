//! Every kernel × variant at the shapes of a decoder: criterion's figures, then a table with fractions of the roof.
//!
//! The roofs are measured in the same run: the fastest stream over memory that no cache holds, and the fastest large
//! matrix product. BENCHMARKS.md says how to run it and how to read it.

#![expect(clippy::print_stdout, reason = "the table is the result")]

mod shapes;

use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use doppler_core::{Device, DeviceChoice, DeviceOptions, case_timers};
use pollster::block_on;
use rayon::prelude::*;
use shapes::{Bench, Scale, Work, benches};

const SAMPLES: usize = 10;

/// A measured variant.
struct Row {
    id: String,
    seconds: f64,
    work: Work,
}

impl Row {
    /// Billions a second, and of what.
    fn rate(&self) -> (f64, &'static str) {
        match self.work {
            Work::Bytes(bytes) => (bytes as f64 / self.seconds / 1e9, "GB/s"),
            Work::Flops(flops) => (flops as f64 / self.seconds / 1e9, "GFLOP/s"),
        }
    }
}

fn main() {
    // As criterion does: everything once when cargo does not ask for a bench.
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let testing = has("--test") || !has("--bench");
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(SAMPLES)
        .configure_from_args();

    let device = block_on(Device::open(&DeviceOptions { choice: choice(), ..DeviceOptions::default() }));
    let device = device.expect("DOPPLER_DEVICE is `auto`, `gpu`, `host` or a part of an adapter's name");
    let report = device.report();
    println!("{}: {} ({}); {}", report.executor, report.adapter, report.driver, report.why);
    let largest = report.max_binding_bytes.unwrap_or(u64::MAX) as usize;
    let mut scale = if testing { shapes::TEST } else { scale(&device) };
    scale.stream = scale.stream.min(largest / 12);

    let mut rows = Vec::new();
    if report.executor == "host" {
        read_in_parallel(&mut criterion, &mut rows, &scale);
    }
    for bench in benches(&scale) {
        let kernel = bench.case.kernel.name();
        if bench.case.kernel.operands().iter().any(|operand| operand.bytes() > largest) {
            println!("{kernel}/{}: skipped, larger than a binding of {largest} bytes", bench.label);
            continue;
        }
        run(&mut criterion, &mut rows, &device, &bench);
    }
    criterion.final_summary();
    if testing {
        println!("Each ran once, at tiny shapes: no figures.");
    } else {
        table(&rows);
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line is criterion's")]
fn choice() -> DeviceChoice {
    let Ok(choice) = std::env::var("DOPPLER_DEVICE").unwrap_or_else(|_| "auto".to_owned()).parse();
    choice
}

fn scale(device: &Device) -> Scale {
    let report = device.report();
    if report.executor != "gpu" {
        return shapes::HOST;
    }
    let software = block_on(Device::adapters()).iter().any(|a| a.software && a.name == report.adapter);
    if software { shapes::SOFTWARE } else { shapes::GPU }
}

/// The kernels of the CPU that stream run on one thread; its roof is that of all of them.
fn read_in_parallel(criterion: &mut Criterion, rows: &mut Vec<Row>, scale: &Scale) {
    let words: Vec<u64> = (0..3 * scale.stream as u64 / 2).collect();
    let work = Work::Bytes(8 * words.len() as u64);
    measure(criterion, rows, ["read", "host", "roof_stream"], work, |runs| {
        let started = Instant::now();
        for _ in 0..runs {
            let sum = |chunk: &[u64]| chunk.iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
            std::hint::black_box(words.par_chunks(1 << 16).map(sum).reduce(|| 0, u64::wrapping_add));
        }
        started.elapsed()
    });
}

fn run(criterion: &mut Criterion, rows: &mut Vec<Row>, device: &Device, bench: &Bench) {
    let kernel = bench.case.kernel.name();
    for (variant, timer) in case_timers(device, &bench.case) {
        match timer {
            Ok(timer) => measure(criterion, rows, [kernel, &variant, &bench.label], bench.work, |runs| {
                timer(runs).expect("a variant that the device grants runs")
            }),
            Err(lacking) => println!("{kernel}/{variant}/{}: skipped, {lacking}", bench.label),
        }
    }
}

/// Criterion's measurement, and the median of its samples for the table.
fn measure(
    criterion: &mut Criterion,
    rows: &mut Vec<Row>,
    [kernel, variant, label]: [&str; 3],
    work: Work,
    time: impl Fn(u64) -> Duration,
) {
    let mut samples = Vec::new();
    let mut group = criterion.benchmark_group(kernel);
    group.sampling_mode(SamplingMode::Flat).throughput(match work {
        Work::Bytes(bytes) => Throughput::Bytes(bytes),
        Work::Flops(flops) => Throughput::Elements(flops),
    });
    group.bench_function(format!("{variant}/{label}"), |bencher| {
        bencher.iter_custom(|runs| {
            if samples.is_empty() {
                // The first run makes the operands, which would spoil criterion's guess at how many runs fill its time.
                time(1);
            }
            let elapsed = time(runs);
            samples.push(elapsed.as_secs_f64() / runs as f64);
            elapsed
        });
    });
    group.finish();
    // The samples before the last ones were the warm-up; there are none when a filter left this one out.
    let mut samples = samples.split_off(samples.len().saturating_sub(SAMPLES));
    samples.sort_by(f64::total_cmp);
    if let Some(&seconds) = samples.get(samples.len() / 2) {
        rows.push(Row { id: format!("{kernel}/{variant}/{label}"), seconds, work });
    }
}

fn table(rows: &[Row]) {
    let roof = |unit: &str| {
        let rates = rows.iter().filter(|row| row.id.contains("/roof_")).map(Row::rate);
        rates.filter(|(_, of)| *of == unit).map(|(rate, _)| rate).fold(f64::NAN, f64::max)
    };
    println!("\n{:64} {:>12} {:>18} {:>8}", "kernel/variant/shape", "time", "rate", "of roof");
    for row in rows {
        let (rate, unit) = row.rate();
        // A filter may have left out the roofs.
        let fraction =
            Some(100.0 * rate / roof(unit)).filter(|f| f.is_finite()).map_or("?".to_owned(), |f| format!("{f:.1} %"));
        println!("{:64} {:>9.2} µs {:>10.2} {:7} {:>8}", row.id, row.seconds * 1e6, rate, unit, fraction);
    }
}
