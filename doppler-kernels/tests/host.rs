//! Every kernel's CPU implementation against its f64 reference, at the edge shapes and at random ones. No GPU needed.
#![cfg(feature = "testing")]

use doppler_kernels::KERNELS;
use proptest::test_runner::{Config, TestRunner};

#[test]
fn edge_shapes() {
    let mut misses = Vec::new();
    for case in KERNELS.iter().flat_map(|entry| (entry.edge_cases)()) {
        if let Err(miss) = case.check(&case.run_host(), &case.expected()) {
            misses.push(format!("{:?}: {miss}", case.kernel));
        }
    }
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

#[test]
fn random_shapes() {
    for entry in KERNELS {
        let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
        let result = runner.run(&(entry.strategy)(), |case| {
            case.check(&case.run_host(), &case.expected())
                .map_err(|miss| proptest::test_runner::TestCaseError::fail(format!("{:?}: {miss}", case.kernel)))
        });
        assert!(result.is_ok(), "{}: {result:?}", entry.name);
    }
}
