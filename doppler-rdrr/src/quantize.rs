//! Numbers to packed weight blocks: Q8_0 and Q4_K. Knows nothing of tensors; the caller cuts them into rows.

use crate::{DType, Error};

/// Packs `values` (whole blocks of `dtype`) into `out`.
///
/// Q8_0 is exact rounding to the block's scale. Q4_K searches: for each 32 values the scale and minimum that lose least,
/// large values counting more, and then the 6-bit codes of both that lose least beside the block's shared factors.
///
/// # Errors
/// [`Error::QuantizeTarget`] for any other type, [`Error::BlockSize`] when `out` is not exactly that many blocks,
/// [`Error::NotFinite`] when a value is infinite or no number.
pub fn quantize(dtype: DType, values: &[f32], out: &mut [u8]) -> Result<(), Error> {
    if !matches!(dtype, DType::Q8_0 | DType::Q4_K) {
        return Err(Error::QuantizeTarget { dtype });
    }
    if dtype.row_bytes(values.len()) != Some(out.len()) {
        return Err(Error::BlockSize { dtype, elements: values.len(), bytes: out.len() });
    }
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite { index });
    }
    let (values, _) = values.as_chunks::<32>();
    match dtype {
        DType::Q8_0 => values.iter().zip(out.as_chunks_mut().0).for_each(|(x, block)| q8_0(x, block)),
        _ => values.as_chunks().0.iter().zip(out.as_chunks_mut().0).for_each(|(x, block)| q4_k(x, block)),
    }
    Ok(())
}

fn q8_0(x: &[f32; 32], block: &mut [u8; 34]) {
    let largest = x.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let d = f16_at_most(largest / 127.0);
    // Dividing by the scale as it is stored, not as it was computed, takes its rounding into account.
    let inverse = inverse(d.to_f32());
    block[..2].copy_from_slice(&d.to_le_bytes());
    block[2..].iter_mut().zip(x).for_each(|(q, x)| *q = nearest(x * inverse).clamp(-127.0, 127.0) as i8 as u8);
}

/// Half precision that never overflows to infinity.
fn f16_at_most(value: f32) -> half::f16 {
    half::f16::from_f32(value.min(half::f16::MAX.to_f32()))
}

fn inverse(value: f32) -> f32 {
    if value > 0.0 { 1.0 / value } else { 0.0 }
}

/// The nearest whole number of a value below 2²²; unlike `round` it is one instruction on many lanes.
fn nearest(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    value.clamp(-4e6, 4e6) + SHIFT - SHIFT
}

/// 32 values and how much each counts.
struct SubBlock<'a> {
    x: &'a [f32; 32],
    weight: [f32; 32],
}

/// `x ≈ scale · q - min` with q from 0 to 15; neither is negative.
#[derive(Debug, Clone, Copy, Default)]
struct Fit {
    scale: f32,
    min: f32,
    loss: f32,
}

impl SubBlock<'_> {
    fn new(x: &[f32; 32]) -> SubBlock<'_> {
        let rms = (x.iter().map(|x| x * x).sum::<f32>() / 32.0).sqrt();
        SubBlock { x, weight: x.map(|x| rms + x.abs()) }
    }

    /// The codes nearest to the values under a scale and a minimum.
    fn codes(&self, inverse_scale: f32, min: f32) -> [f32; 32] {
        self.x.map(|x| nearest((x + min) * inverse_scale).clamp(0.0, 15.0))
    }

    fn loss(&self, codes: &[f32; 32], scale: f32, min: f32) -> f32 {
        let lanes = self.x.iter().zip(&self.weight).zip(codes);
        sum(lanes.map(|((x, weight), q)| weight * (scale * q - min - x) * (scale * q - min - x)))
    }

    /// The scale and minimum that lose least for given codes: weighted least squares.
    fn solve(&self, codes: &[f32; 32]) -> Fit {
        let lanes = || self.x.iter().zip(&self.weight).zip(codes).map(|((x, w), q)| (*x, *w, *q));
        let sum_w = sum(lanes().map(|(_, w, _)| w));
        let sum_x = sum(lanes().map(|(x, w, _)| w * x));
        let sum_q = sum(lanes().map(|(_, w, q)| w * q));
        let sum_qq = sum(lanes().map(|(_, w, q)| w * q * q));
        let sum_xq = sum(lanes().map(|(x, w, q)| w * x * q));
        let determinant = sum_w * sum_qq - sum_q * sum_q;
        let mut fit = Fit::default();
        if determinant > 0.0 {
            fit.scale = (sum_w * sum_xq - sum_x * sum_q) / determinant;
            fit.min = (sum_q * sum_xq - sum_qq * sum_x) / determinant;
        }
        if fit.min < 0.0 || determinant <= 0.0 {
            fit.min = 0.0;
            fit.scale = if sum_qq > 0.0 { sum_xq / sum_qq } else { 0.0 };
        }
        fit.scale = fit.scale.max(0.0);
        fit.loss = self.loss(codes, fit.scale, fit.min);
        fit
    }

    /// Tries a range of scales around the obvious one, each with its best codes.
    fn search(&self) -> Fit {
        let lowest = self.x.iter().fold(0.0_f32, |low, x| low.min(*x));
        let highest = self.x.iter().fold(lowest, |high, x| high.max(*x));
        let range = highest - lowest;
        if range <= 0.0 {
            return Fit { scale: 0.0, min: -lowest, loss: 0.0 };
        }
        let mut best = Fit { scale: range / 15.0, min: -lowest, loss: f32::INFINITY };
        for step in 0..=20 {
            let levels = 14.0 + 0.1 * step as f32;
            best = self.better(best, self.solve(&self.codes(levels / range, -lowest)));
        }
        // The best fit's own codes are not always those it was found with.
        for _ in 0..3 {
            let again = self.solve(&self.codes(inverse(best.scale), best.min));
            if again.loss >= best.loss {
                break;
            }
            best = again;
        }
        best
    }

    fn better(&self, a: Fit, b: Fit) -> Fit {
        if b.loss < a.loss { b } else { a }
    }
}

/// Adds in eight lanes, which the compiler turns into vector instructions.
fn sum(values: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0.0_f32; 8];
    values.enumerate().for_each(|(i, value)| lanes[i % 8] += value);
    lanes.iter().sum()
}

fn q4_k(x: &[[f32; 32]; 8], block: &mut [u8; 144]) {
    let parts: [SubBlock<'_>; 8] = std::array::from_fn(|j| SubBlock::new(&x[j]));
    let fits: [Fit; 8] = std::array::from_fn(|j| parts[j].search());
    let largest = |of: fn(&Fit) -> f32| fits.iter().map(of).fold(0.0, f32::max);
    let (d, dmin) = (f16_at_most(largest(|fit| fit.scale) / 63.0), f16_at_most(largest(|fit| fit.min) / 63.0));
    block[..2].copy_from_slice(&d.to_le_bytes());
    block[2..4].copy_from_slice(&dmin.to_le_bytes());
    let (d, dmin) = (d.to_f32(), dmin.to_f32());
    for (j, (part, fit)) in parts.iter().zip(&fits).enumerate() {
        let (scale, min) = six_bit_codes(part, fit, d, dmin);
        store_scale_min(j, scale, min, &mut block[4..16]);
        let codes = part.codes(inverse(d * f32::from(scale)), dmin * f32::from(min));
        let nibbles = &mut block[16 + j / 2 * 32..][..32];
        nibbles.iter_mut().zip(codes).for_each(|(byte, q)| *byte |= (q as u8) << (j % 2 * 4));
    }
}

/// The 6-bit codes of a sub-block's scale and minimum that lose least: rounding each by itself is not always best.
fn six_bit_codes(part: &SubBlock<'_>, fit: &Fit, d: f32, dmin: f32) -> (u8, u8) {
    let around = |value: f32, unit: f32| {
        let middle = nearest(value * inverse(unit)).clamp(0.0, 63.0) as u8;
        middle.saturating_sub(1)..=(middle + 1).min(63)
    };
    let mut best = (f32::INFINITY, 0, 0);
    for scale in around(fit.scale, d) {
        let scale_value = d * f32::from(scale);
        for min in around(fit.min, dmin) {
            let min_value = dmin * f32::from(min);
            let codes = part.codes(inverse(scale_value), min_value);
            let loss = part.loss(&codes, scale_value, min_value);
            if loss < best.0 {
                best = (loss, scale, min);
            }
        }
    }
    (best.1, best.2)
}

/// The inverse of [`crate::blocks::scale_min_k`]; `packed` is zero before the first sub-block.
fn store_scale_min(j: usize, scale: u8, min: u8, packed: &mut [u8]) {
    if j < 4 {
        packed[j] |= scale;
        packed[j + 4] |= min;
    } else {
        packed[j + 4] = (scale & 15) | (min << 4);
        packed[j - 4] |= scale >> 4 << 6;
        packed[j] |= min >> 4 << 6;
    }
}
