//! Every kernel × variant on every GPU adapter at hand: edge shapes, some of large layers and random ones against the f64
//! references.
#![cfg(feature = "gpu-tests")]
#![allow(clippy::unwrap_used, clippy::print_stdout)] // clippy knows tests, not the functions that they call

use doppler_core::{Device, DeviceChoice, DeviceOptions, selftest_cases, selftest_kernel};
use doppler_kernels::{KERNELS, linear};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// One device for each adapter. No adapter is a failure: the WGSL must really run.
fn devices() -> Vec<Device> {
    pollster::block_on(async {
        let adapters = Device::adapters().await;
        assert!(!adapters.is_empty(), "no GPU adapter; install a software Vulkan driver (Debian: mesa-vulkan-drivers)");
        let mut devices = Vec::new();
        for adapter in adapters {
            let options = DeviceOptions { choice: DeviceChoice::Named(adapter.name), ..DeviceOptions::default() };
            devices.push(Device::open(&options).await.unwrap());
        }
        devices
    })
}

#[test]
fn edge_shapes() {
    let mut misses = Vec::new();
    for device in devices() {
        let large = selftest_cases(&device, &linear::large_cases());
        for (name, results) in
            KERNELS.iter().map(|entry| (entry.name, selftest_kernel(&device, entry))).chain([("large layers", large)])
        {
            assert!(!results.is_empty(), "{name} did not run");
            for result in results {
                match &result.skipped {
                    Some(why) => println!("{}/{} skipped: {why}", result.kernel, result.variant),
                    None => assert!(result.cases > 0),
                }
                misses.extend(result.misses.iter().map(|miss| format!("{}/{}: {miss}", result.kernel, result.variant)));
            }
        }
    }
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

#[test]
fn random_shapes() {
    let mut misses = Vec::new();
    for device in devices() {
        for entry in KERNELS {
            let config = Config { cases: 12, failure_persistence: None, max_shrink_iters: 64, ..Config::default() };
            let outcome = TestRunner::new(config).run(&(entry.strategy)(), |case| {
                let results = selftest_cases(&device, std::slice::from_ref(&case));
                let misses: Vec<_> = results.iter().flat_map(|r| &r.misses).cloned().collect();
                if misses.is_empty() { Ok(()) } else { Err(TestCaseError::fail(misses.join("\n"))) }
            });
            if let Err(error) = outcome {
                misses.push(format!("{}: {error}", entry.name));
            }
        }
    }
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}
