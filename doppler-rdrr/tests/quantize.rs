//! Packed blocks against an independent reader, and the quantizers against bounds that they must keep.
#![allow(clippy::unwrap_used)]

use doppler_rdrr::{DType, Error, dequantize, quantize};
use proptest::prelude::*;

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The vectors come from gguf-py; `xtask/scripts/make_block_vectors.py` makes them.
#[test]
fn every_format_reads_as_ggufs_own_library_does() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("fixtures/block_vectors.json")).unwrap();
    let vectors = vectors.as_array().unwrap();
    for vector in vectors {
        let dtype: DType = vector["dtype"].as_str().unwrap().parse().unwrap();
        let packed = bytes_of_hex(vector["bytes"].as_str().unwrap());
        let expected: Vec<u32> = bytes_of_hex(vector["values"].as_str().unwrap())
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let mut values = vec![0.0; expected.len()];
        dequantize(dtype, &packed, &mut values).unwrap();
        for (i, (value, expected)) in values.iter().zip(&expected).enumerate() {
            let same = value.to_bits() == *expected || (*value == 0.0 && f32::from_bits(*expected) == 0.0);
            assert!(same, "{dtype} element {i}: {value} instead of {}", f32::from_bits(*expected));
        }
    }
    let covered: Vec<&str> = vectors.iter().map(|vector| vector["dtype"].as_str().unwrap()).collect();
    let missing: Vec<_> = DType::WEIGHTS.iter().filter(|d| **d != DType::F32 && !covered.contains(&d.name())).collect();
    assert!(missing.is_empty(), "{missing:?} have no vectors");
}

fn round_trip(dtype: DType, values: &[f32]) -> Vec<f32> {
    let mut packed = vec![0; dtype.row_bytes(values.len()).unwrap()];
    quantize(dtype, values, &mut packed).unwrap();
    let mut back = vec![0.0; values.len()];
    dequantize(dtype, &packed, &mut back).unwrap();
    back
}

fn rms(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), x| (sum + f64::from(x) * f64::from(x), count + 1));
    (sum / f64::from(count.max(1))).sqrt() as f32
}

/// Twelve uniform numbers added up are as good as normal.
fn normal(count: usize) -> Vec<f32> {
    let mut state = 7_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
}

#[test]
fn relative_error_on_normal_weights() {
    let values = normal(256 * 64);
    for (dtype, bound) in [(DType::Q8_0, 0.0056), (DType::Q4_K, 0.072)] {
        let back = round_trip(dtype, &values);
        let error = rms(values.iter().zip(&back).map(|(a, b)| a - b)) / rms(values.iter().copied());
        assert!(error < bound, "{dtype}: {error}");
    }
}

#[test]
fn easy_blocks() {
    for dtype in [DType::Q8_0, DType::Q4_K] {
        assert!(round_trip(dtype, &[0.0; 256]).iter().all(|x| *x == 0.0), "{dtype}: zeros");
        for constant in [-3.5_f32, 2.25, 1e-3] {
            let back = round_trip(dtype, &[constant; 256]);
            assert!(
                back.iter().all(|x| (x - constant).abs() <= constant.abs() * 6e-3),
                "{dtype}: {constant} -> {back:?}"
            );
        }
        let huge = round_trip(dtype, &[f32::MAX; 256]);
        assert!(huge.iter().all(|x| x.is_finite()), "{dtype}: huge values stay finite");
    }
}

#[test]
fn errors() {
    let mut out = [0; 144];
    let error = |dtype, values: &[f32], out: &mut [u8]| quantize(dtype, values, out).unwrap_err();
    assert!(matches!(error(DType::Q6_K, &[0.0; 256], &mut out), Error::QuantizeTarget { dtype: DType::Q6_K }));
    assert!(matches!(error(DType::Q4_K, &[0.0; 32], &mut out), Error::BlockSize { .. }));
    let mut values = [0.0; 256];
    values[3] = f32::NAN;
    assert!(matches!(error(DType::Q4_K, &values, &mut out), Error::NotFinite { index: 3 }));
}

proptest! {
    /// Whatever the values, Q8_0 is off by at most half a step, and Q4_K never makes a value leave the block's range
    /// by more than a step.
    #[test]
    fn bounded_everywhere(values in prop::collection::vec(-1e4_f32..1e4, 256), scale in -20_i32..10) {
        let values: Vec<f32> = values.iter().map(|x| x * 2.0_f32.powi(scale)).collect();
        for (before, after) in values.chunks(32).zip(round_trip(DType::Q8_0, &values).chunks(32)) {
            let largest = before.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            for (x, y) in before.iter().zip(after) {
                prop_assert!((x - y).abs() <= largest / 127.0 * 0.57 + 4e-6, "{} -> {}", x, y);
            }
        }
        let (low, high) = values.iter().fold((0.0_f32, 0.0_f32), |(l, h), x| (l.min(*x), h.max(*x)));
        let step = (high - low) / 15.0;
        for (x, y) in values.iter().zip(round_trip(DType::Q4_K, &values)) {
            prop_assert!((x - y).abs() <= 2.0 * step + 4e-6, "{} -> {}", x, y);
        }
    }
}
