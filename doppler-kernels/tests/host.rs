//! Every kernel's CPU implementations against their f64 references, at the edge shapes and at random ones. No GPU needed.
#![cfg(feature = "testing")]

use doppler_kernels::{Case, Instructions, KERNELS};
use proptest::test_runner::{Config, TestRunner};

/// Checks all forms that the case's kernel has on this CPU.
fn check(case: &Case) -> Result<(), String> {
    case.check(&case.run_host(), &case.expected()).map_err(|miss| format!("{:?}: {miss}", case.kernel))?;
    if case.kernel.has_int8() {
        let expected = case.expected_int8();
        for by in Instructions::available() {
            let checked = case.check(&case.run_host_int8(by), &expected);
            checked.map_err(|miss| format!("{:?} in {}: {miss}", case.kernel, by.name()))?;
        }
    }
    Ok(())
}

#[test]
fn edge_shapes() {
    let cases = KERNELS.iter().flat_map(|entry| (entry.edge_cases)());
    let misses: Vec<_> = cases.filter_map(|case| check(&case).err()).collect();
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

#[test]
fn random_shapes() {
    for entry in KERNELS {
        let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
        let result =
            runner.run(&(entry.strategy)(), |case| check(&case).map_err(proptest::test_runner::TestCaseError::fail));
        assert!(result.is_ok(), "{}: {result:?}", entry.name);
    }
}
