//! Tuning a tiny model on every adapter: it keeps what the model says, and later devices go by it.
#![cfg(feature = "gpu-tests")]
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use doppler_core::kernels::Tuning;
use doppler_core::prelude::*;
use doppler_core::rdrr::convert::{ConvertOptions, convert};
use doppler_core::{DeviceCache, DeviceChoice, DeviceOptions, Error, kernels};
use pollster::block_on;

fn pipeline(options: &DeviceOptions, path: &Path) -> DecoderPipeline {
    let device = block_on(Device::open(options)).unwrap();
    block_on(DecoderPipeline::builder(&device, path).max_seq_len(48).build()).unwrap()
}

#[test]
fn what_was_measured_is_used_kept_carried_and_can_be_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.rdrr");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama/llama3_scaled");
    convert(&fixture, &path, &ConvertOptions::default(), |_| {}).unwrap();
    let adapters = block_on(Device::adapters());
    assert!(!adapters.is_empty(), "no GPU adapter");
    for (i, adapter) in adapters.into_iter().enumerate() {
        let cache = |name: &str| DeviceCache::Folder(folder.path().join(format!("{i}-{name}")));
        let choice = DeviceChoice::Named(adapter.name);
        let options = DeviceOptions { choice, cache: cache("a"), ..DeviceOptions::default() };
        let tuned = |pipeline: &DecoderPipeline| {
            pipeline.device().kernel_variants().values().filter(|words| words.contains("tuned: ")).count()
        };

        let mut first = pipeline(&options, &path);
        // What ships for this adapter, of other models.
        let shipped = first.device().tuning().unwrap().kernels().len();
        let before = block_on(first.forward(&[5, 6, 7, 8], 2)).unwrap().values;
        let report = first.tune(Duration::from_secs(30)).unwrap();
        assert!(!report.measured.is_empty());
        assert!(report.measured.iter().all(|m| m.us.contains_key(&m.variant) && m.quarantined.is_empty()));
        assert!(first.tokens().is_empty());
        // A prompt as long as the one that was recorded at the load chooses anew, too.
        block_on(first.forward(&vec![1; first.max_seq_len()], 1)).unwrap();
        assert!(!first.device().kernel_variants().is_empty());
        first.rewind(0).unwrap();
        let after = block_on(first.forward(&[5, 6, 7, 8], 2)).unwrap().values;
        assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-3));
        block_on(first.greedy()).unwrap();
        assert!(tuned(&first) > 0, "{:?}", first.device().kernel_variants());
        let table = first.device().tuning().unwrap();
        assert_eq!(table.kernels().len(), shipped + report.measured.len());

        assert!(tuned(&pipeline(&options, &path)) > 0);
        assert_eq!(tuned(&pipeline(&DeviceOptions { untuned: true, ..options.clone() }, &path)), 0);
        let elsewhere = DeviceOptions { cache: cache("b"), ..options.clone() };
        let other = pipeline(&elsewhere, &path);
        assert_eq!((tuned(&other), other.device().tuning().unwrap().kernels().len()), (0, shipped));
        assert!(other.device().import_tuning(table.to_json().as_bytes()).unwrap().is_empty());
        assert!(tuned(&pipeline(&elsewhere, &path)) > 0);

        let foreign = Tuning::new("another adapter", "1").to_json();
        assert!(matches!(other.device().import_tuning(foreign.as_bytes()), Err(Error::TuningAdapter { .. })));
        assert!(matches!(other.device().import_tuning(b"{}"), Err(Error::Kernel(kernels::Error::TuningFormat { .. }))));
    }
}

#[test]
fn a_budget_of_nothing_measures_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.rdrr");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama/llama3_scaled");
    convert(&fixture, &path, &ConvertOptions::default(), |_| {}).unwrap();
    let open = |choice| DeviceOptions { choice, cache: DeviceCache::Off, ..DeviceOptions::default() };
    let adapter = block_on(Device::adapters()).remove(0).name;
    let report = pipeline(&open(DeviceChoice::Named(adapter)), &path).tune(Duration::ZERO).unwrap();
    assert!(report.measured.is_empty() && !report.left_out.is_empty());
    let report = pipeline(&open(DeviceChoice::Host), &path).tune(Duration::from_secs(9)).unwrap();
    assert!(report.measured.is_empty() && report.left_out.is_empty());
}

#[test]
fn overrides_of_what_does_not_exist_are_errors() {
    let kernel_overrides = BTreeMap::from([("matmull".to_owned(), "gemv".to_owned())]);
    let options = DeviceOptions { choice: DeviceChoice::Host, kernel_overrides, ..DeviceOptions::default() };
    let error = block_on(Device::open(&options)).unwrap_err().to_string();
    assert!(error.contains("matmull") && error.contains("rms_norm"), "{error}");
}
