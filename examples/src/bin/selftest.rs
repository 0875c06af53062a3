//! Runs every kernel × variant × edge shape on a device against the f64 references. One binary, to carry anywhere.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use doppler_core::{Device, DeviceOptions, selftest};
use examples::end;
use serde_json::json;

/// Checks every kernel of DOPPLER on a device against plain f64 references. Exits with 1 on a miss.
#[derive(Parser)]
struct Args {
    /// auto, gpu, host, or a part of an adapter's name
    #[arg(long, default_value = "auto")]
    device: String,
    /// Take only what every WebGPU device grants
    #[arg(long)]
    webgpu_limits: bool,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    end(run(&Args::parse()))
}

fn run(args: &Args) -> anyhow::Result<()> {
    let choice = args.device.parse()?;
    let options = DeviceOptions { choice, webgpu_limits: args.webgpu_limits, ..DeviceOptions::default() };
    let device = pollster::block_on(Device::open(&options))?;
    let report = device.report();
    let progress = indicatif::ProgressBar::new_spinner();
    let results = selftest(&device, |kernel| {
        progress.set_message(kernel.to_owned());
        progress.tick();
    });
    progress.finish_and_clear();

    let cases: usize = results.iter().map(|r| r.cases).sum();
    let missed = results.iter().filter(|r| !r.passed()).count();
    if args.json {
        let rows: Vec<_> = results
            .iter()
            .map(|r| json!({ "kernel": r.kernel, "variant": r.variant, "cases": r.cases, "misses": r.misses, "skipped": r.skipped }))
            .collect();
        let object = json!({ "executor": report.executor, "adapter": report.adapter, "driver": report.driver, "results": rows, "missed": missed });
        println!("{object}");
    } else {
        println!("{} on {} ({})", report.executor, report.adapter, report.driver);
        println!("{:<20} {:<28} {:>6}  result", "kernel", "variant", "cases");
        for r in &results {
            let result = match (&r.skipped, r.misses.len()) {
                (Some(why), _) => format!("not run: {why}"),
                (None, 0) => "ok".to_owned(),
                (None, n) => format!("{n} MISSED"),
            };
            println!("{:<20} {:<28} {:>6}  {result}", r.kernel, r.variant, r.cases);
        }
        for (kernel, misses) in
            results.iter().filter(|r| !r.passed()).map(|r| (r.kernel, &r.misses)).collect::<BTreeMap<_, _>>()
        {
            misses.iter().take(5).for_each(|miss| println!("{kernel}: {miss}"));
        }
        println!("{cases} cases, {missed} variants missed");
    }
    anyhow::ensure!(missed == 0, "{missed} variants missed their reference");
    Ok(())
}
