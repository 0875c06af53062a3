//! The int8 products against their own definition: the reference of the rounded activations.

use doppler_rdrr::{DType, dequantize};

use crate::cases::{Tolerance, random_f32, random_weights};
use crate::matmul::MatMul;
use crate::{Instructions, Kernel};

fn check(weight: DType, rows: usize, n: usize, k: usize, seed: u64) {
    let (y_stride, y_offset) = (n + 5, 3);
    let m = MatMul { rows, out_features: n, in_features: k, weight, y_stride, y_offset };
    let x: Vec<f32> = random_f32(rows * k, seed).iter().map(|v| v * 3.0).collect();
    let bytes = random_weights(weight, n * k, seed + 1);
    let mut w = vec![0.0; n * k];
    dequantize(weight, &bytes, &mut w).unwrap();
    let expected = m.reference_int8(&[&x, &w, &vec![7.0; rows * y_stride]]);
    for instructions in Instructions::available() {
        let mut y = vec![7.0; rows * y_stride];
        super::matmul(&m, instructions, &x, &bytes, &mut y);
        // f32 sums over offsets that nearly cancel products.
        let tolerance = Tolerance { atol: 2e-4 * (k as f64 / 256.0).max(1.0), rtol: 2e-4, nmse: 1e-9 };
        let checked = tolerance.check(&y, &expected[0]);
        assert!(checked.is_ok(), "{m:?} by {instructions:?}: {checked:?}");
    }
}

fn packed() -> impl Iterator<Item = DType> {
    DType::WEIGHTS.iter().copied().filter(|dtype| dtype.block_len() > 1)
}

#[test]
fn edge_shapes() {
    for weight in packed() {
        let block = weight.block_len();
        for rows in [1, 2, 3, 4, 5, 7, 8, 33] {
            for (n, blocks) in [(1, 1), (7, 2), (8, 3), (9, 1), (17, 9), (100, 8), (3, 19)] {
                check(weight, rows, n, blocks * block, 5);
            }
        }
    }
}

#[test]
fn random_shapes() {
    use proptest::prelude::*;
    let formats = packed().collect::<Vec<_>>();
    let shapes = (proptest::sample::select(formats), 1usize..20, 1usize..80, 1usize..20, any::<u32>());
    proptest!(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() }, |((weight, rows, n, blocks, seed) in shapes)| {
        check(weight, rows, n, blocks * weight.block_len(), u64::from(seed));
    });
}

/// The largest codes on both sides: nothing saturates.
#[test]
fn extremes() {
    for weight in packed() {
        let k = 2 * weight.block_len();
        for fill in [0x00, 0x7F, 0x80, 0xFF] {
            let mut bytes = vec![fill; weight.row_bytes(k).unwrap() * 8];
            for block in bytes.chunks_exact_mut(weight.block_bytes()) {
                let one = 0x3C00u16.to_le_bytes();
                match weight {
                    DType::Q6_K => block[208..].copy_from_slice(&one),
                    DType::Q4_0 | DType::Q5_0 | DType::Q8_0 => block[..2].copy_from_slice(&one),
                    _ => block[..4].copy_from_slice(&[one, one].concat()),
                }
            }
            let mut w = vec![0.0; 8 * k];
            dequantize(weight, &bytes, &mut w).unwrap();
            for rows in [1, 4] {
                let x: Vec<f32> =
                    (0..rows * k).map(|i| if i / 2 % 2 == 0 || fill > 0x7F { 127.0 } else { -127.0 }).collect();
                let m = MatMul { rows, out_features: 8, in_features: k, weight, y_stride: 8, y_offset: 0 };
                let expected: f64 = x[..k].iter().zip(&w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                let scale: f64 = w[..k].iter().map(|w| 127.0 * f64::from(w.abs())).sum();
                for by in Instructions::available() {
                    let mut y = vec![0.0; 8 * rows];
                    super::matmul(&m, by, &x, &bytes, &mut y);
                    let miss = (f64::from(y[0]) - expected).abs();
                    assert!(miss <= 1e-5 * scale, "{weight} {fill} by {by:?}: {} {expected}", y[0]);
                }
            }
        }
    }
}

/// A number that is not finite must not vanish in rounding.
#[test]
fn nan_and_infinity_spread() {
    for bad in [f32::NAN, f32::INFINITY] {
        for rows in [1, 5] {
            let mut x = random_f32(rows * 64, 1);
            x[40] = bad;
            let m = MatMul { rows, out_features: 9, in_features: 64, weight: DType::Q4_1, y_stride: 9, y_offset: 0 };
            for by in Instructions::available() {
                let mut y = vec![0.0; 9 * rows];
                super::matmul(&m, by, &x, &random_weights(DType::Q4_1, 9 * 64, 2), &mut y);
                assert!(y[..9].iter().all(|v| !v.is_finite()) && y[9..].iter().all(|v| v.is_finite()), "{by:?}");
            }
        }
    }
}
