//! Rows of packed weights to f32, written so that the compiler makes vector code of it wherever it is inlined.

use doppler_rdrr::DType;
use half::{bf16, f16};

#[inline(always)]
fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Decodes one row; `row` holds exactly `out.len()` elements.
#[inline(always)]
pub fn row(dtype: DType, row: &[u8], out: &mut [f32]) {
    match dtype {
        // The last three are no weights.
        DType::F32 | DType::U32 | DType::A8 | DType::C8 => {
            for (y, b) in out.iter_mut().zip(row.as_chunks::<4>().0) {
                *y = f32::from_le_bytes(*b);
            }
        }
        DType::F16 => {
            for (y, b) in out.iter_mut().zip(row.as_chunks::<2>().0) {
                *y = widen(u16::from_le_bytes(*b));
            }
        }
        DType::BF16 => {
            for (y, b) in out.iter_mut().zip(row.as_chunks::<2>().0) {
                *y = bf16::from_le_bytes(*b).to_f32();
            }
        }
        DType::Q4_0 => blocks::<18, 32>(row, out, |b, y| {
            let d = half(b, 0);
            nibbles(&b[2..18], d, -8.0 * d, y);
        }),
        DType::Q4_1 => blocks::<20, 32>(row, out, |b, y| nibbles(&b[4..20], half(b, 0), half(b, 2), y)),
        DType::Q5_0 => blocks::<22, 32>(row, out, |b, y| {
            let d = half(b, 0);
            five_bits(&b[6..22], &b[2..6], d, -16.0 * d, y);
        }),
        DType::Q5_1 => blocks::<24, 32>(row, out, |b, y| five_bits(&b[8..24], &b[4..8], half(b, 0), half(b, 2), y)),
        DType::Q8_0 => blocks::<34, 32>(row, out, |b, y| {
            let d = half(b, 0);
            for (y, q) in y.iter_mut().zip(&b[2..34]) {
                *y = d * f32::from(*q as i8);
            }
        }),
        DType::Q4_K => blocks::<144, 256>(row, out, |b, y| k_block(b, &b[16..144], None, y)),
        DType::Q5_K => blocks::<176, 256>(row, out, |b, y| k_block(b, &b[48..176], Some(&b[16..48]), y)),
        DType::Q6_K => blocks::<210, 256>(row, out, q6_k),
    }
}

/// f16 to f32 in integer and float steps that vectorise without F16C; exact for all finite values and infinities.
#[inline(always)]
pub fn widen(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7FFF) << 13);
    // Exponent bias 127 − 15 = 112, as a product: right for subnormals too.
    let scaled = f32::from_bits(rest) * f32::from_bits(0x7780_0000);
    let special = if bits & 0x7C00 == 0x7C00 { 0x7F80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | special | sign)
}

#[inline(always)]
fn blocks<const BYTES: usize, const LEN: usize>(
    row: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    for (block, y) in row.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<LEN>().0) {
        decode(block, y);
    }
}

#[inline(always)]
fn nibbles(q: &[u8], d: f32, offset: f32, y: &mut [f32; 32]) {
    let (low, high) = y.split_at_mut(16);
    for i in 0..16 {
        low[i] = d * f32::from(q[i] & 15) + offset;
        high[i] = d * f32::from(q[i] >> 4) + offset;
    }
}

#[inline(always)]
fn five_bits(q: &[u8], fifth: &[u8], d: f32, offset: f32, y: &mut [f32; 32]) {
    let fifth = u32::from_le_bytes([fifth[0], fifth[1], fifth[2], fifth[3]]);
    let (low, high) = y.split_at_mut(16);
    for i in 0..16 {
        low[i] = d * (u32::from(q[i] & 15) | (fifth >> i & 1) << 4) as f32 + offset;
        high[i] = d * (u32::from(q[i] >> 4) | (fifth >> (i + 16) & 1) << 4) as f32 + offset;
    }
}

/// Q4_K and Q5_K: 8 sub-blocks of 32 with 6-bit scales and minima.
#[inline(always)]
fn k_block(b: &[u8], q: &[u8], fifth: Option<&[u8]>, y: &mut [f32; 256]) {
    let (d, dmin) = (half(b, 0), half(b, 2));
    let s = &b[4..16];
    for j in 0..8 {
        let (scale, min) = if j < 4 {
            (s[j] & 63, s[j + 4] & 63)
        } else {
            ((s[j + 4] & 15) | (s[j - 4] >> 6 << 4), (s[j + 4] >> 4) | (s[j] >> 6 << 4))
        };
        let (d, m) = (d * f32::from(scale), dmin * f32::from(min));
        let (y, q, shift) = (&mut y[j * 32..][..32], &q[j / 2 * 32..][..32], j % 2 * 4);
        match fifth {
            None => (0..32).for_each(|i| y[i] = d * f32::from((q[i] >> shift) & 15) - m),
            Some(h) => {
                (0..32).for_each(|i| y[i] = d * f32::from(((q[i] >> shift) & 15) | ((h[i] >> j) & 1) << 4) - m);
            }
        }
    }
}

#[inline(always)]
fn q6_k(b: &[u8; 210], y: &mut [f32; 256]) {
    let d = half(b, 208);
    for part in 0..16 {
        let scale = d * f32::from(b[192 + part] as i8);
        let (half, quarter, lane) = (part / 8, part % 8 / 2, part % 2 * 16);
        let low = &b[half * 64 + quarter % 2 * 32 + lane..][..16];
        let high = &b[128 + half * 32 + lane..][..16];
        let (low_shift, high_shift) = (quarter / 2 * 4, quarter * 2);
        for (i, y) in y[part * 16..][..16].iter_mut().enumerate() {
            let q = ((low[i] >> low_shift) & 15) | ((high[i] >> high_shift) & 3) << 4;
            *y = scale * f32::from(q as i8 - 32);
        }
    }
}

#[cfg(test)]
mod tests {
    use doppler_rdrr::{DType, dequantize};

    #[test]
    fn same_as_the_format_defines() {
        for &dtype in DType::WEIGHTS {
            let bytes = crate::cases::random_weights(dtype, 1024, 5);
            let (mut fast, mut defined) = (vec![0.0; 1024], vec![0.0; 1024]);
            super::row(dtype, &bytes, &mut fast);
            dequantize(dtype, &bytes, &mut defined).unwrap();
            for (fast, defined) in fast.iter().zip(&defined) {
                assert!((fast - defined).abs() <= 1e-6 * defined.abs().max(0.01), "{dtype}: {fast} {defined}");
            }
        }
    }

    #[test]
    fn widening_is_exact() {
        for bits in 0..=u16::MAX {
            let (fast, exact) = (super::widen(bits), half::f16::from_bits(bits).to_f32());
            assert!(fast == exact || (exact.is_nan() && fast.is_nan()), "{bits:#x}: {fast} {exact}");
        }
    }
}
