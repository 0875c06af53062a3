//! Packed weight blocks to numbers and back. The layouts are GGUF's (ggml `block_q*`).

use crate::{DType, Error};

/// Reads the `out.len()` elements of `bytes` (whole blocks of `dtype`; of [`DType::A8`] and [`DType::C8`] one whole row) as
/// f32, exactly as the format defines them.
///
/// # Errors
/// [`Error::BlockSize`] when `bytes` is not exactly that many blocks.
pub fn dequantize(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    if dtype.row_bytes(out.len()) != Some(bytes.len()) {
        return Err(Error::BlockSize { dtype, elements: out.len(), bytes: bytes.len() });
    }
    let blocks = bytes.chunks_exact(dtype.block_bytes()).zip(out.chunks_exact_mut(dtype.block_len()));
    match dtype {
        DType::F32 => blocks.for_each(|(b, y)| y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        DType::U32 => blocks.for_each(|(b, y)| y[0] = u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32),
        DType::F16 => blocks.for_each(|(b, y)| y[0] = f16(b, 0)),
        DType::BF16 => blocks.for_each(|(b, y)| y[0] = half::bf16::from_le_bytes([b[0], b[1]]).to_f32()),
        DType::Q4_0 => blocks.for_each(|(b, y)| q4(f16(b, 0), -8.0 * f16(b, 0), &b[2..18], None, y)),
        DType::Q4_1 => blocks.for_each(|(b, y)| q4(f16(b, 0), f16(b, 2), &b[4..20], None, y)),
        DType::Q5_0 => blocks.for_each(|(b, y)| q4(f16(b, 0), -16.0 * f16(b, 0), &b[6..22], Some(&b[2..6]), y)),
        DType::Q5_1 => blocks.for_each(|(b, y)| q4(f16(b, 0), f16(b, 2), &b[8..24], Some(&b[4..8]), y)),
        DType::Q8_0 => blocks.for_each(|(b, y)| {
            let d = f16(b, 0);
            y.iter_mut().zip(&b[2..34]).for_each(|(y, &q)| *y = d * f32::from(q as i8));
        }),
        DType::Q4_K => blocks.for_each(|(b, y)| q4_k(b, &b[16..144], None, y)),
        DType::Q5_K => blocks.for_each(|(b, y)| q4_k(b, &b[48..176], Some(&b[16..48]), y)),
        DType::Q6_K => blocks.for_each(|(b, y)| q6_k(b, y)),
        DType::A8 => {
            let (quants, infos) = bytes.split_at(out.len());
            let strips = out.len() / 64;
            for (i, y) in out.chunks_exact_mut(16).enumerate() {
                let at = 16 * (i % 4 * strips + i / 4);
                let info = &infos[i / 2 * 8..];
                scaled(&quants[at..at + 16], info, y);
            }
        }
        DType::C8 => {
            let (quants, infos) = bytes.split_at(out.len());
            let blocks = quants.chunks_exact(32).zip(infos.chunks_exact(4)).zip(out.chunks_exact_mut(32));
            blocks.for_each(|((quants, info), y)| scaled(quants, info, y));
        }
    }
    Ok(())
}

/// int8 times the f32 that `scale` begins with.
fn scaled(quants: &[u8], scale: &[u8], y: &mut [f32]) {
    let d = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
    y.iter_mut().zip(quants).for_each(|(y, &q)| *y = d * f32::from(q as i8));
}

fn f16(bytes: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// 32 elements `d · q + offset`; byte i holds elements i (low nibble) and i + 16 (high); `high` holds each fifth bit.
fn q4(d: f32, offset: f32, nibbles: &[u8], high: Option<&[u8]>, y: &mut [f32]) {
    let high = high.map_or(0, |h| u32::from_le_bytes([h[0], h[1], h[2], h[3]]));
    for i in 0..16 {
        let low_bit = (high >> i & 1) << 4;
        let high_bit = (high >> (i + 16) & 1) << 4;
        y[i] = d * (u32::from(nibbles[i] & 15) | low_bit) as f32 + offset;
        y[i + 16] = d * (u32::from(nibbles[i] >> 4) | high_bit) as f32 + offset;
    }
}

/// Scale and minimum (6 bits each) of sub-block `j` of 8, from the 12 packed bytes of Q4_K and Q5_K.
pub(crate) fn scale_min_k(j: usize, packed: &[u8]) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    }
}

/// 256 elements in 8 sub-blocks of 32, two of which share 32 bytes: low nibbles first, then high.
fn q4_k(block: &[u8], nibbles: &[u8], high: Option<&[u8]>, y: &mut [f32]) {
    let (d, dmin, packed) = (f16(block, 0), f16(block, 2), &block[4..16]);
    for j in 0..8 {
        let (scale, min) = scale_min_k(j, packed);
        let (d, m) = (d * f32::from(scale), dmin * f32::from(min));
        for i in 0..32 {
            let nibble = nibbles[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
            let bit = high.map_or(0, |h| (h[i] >> j & 1) << 4);
            y[j * 32 + i] = d * f32::from(nibble | bit) - m;
        }
    }
}

/// 256 elements: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales of 16 elements, then d.
fn q6_k(block: &[u8], y: &mut [f32]) {
    let (low, high, scales, d) = (&block[..128], &block[128..192], &block[192..208], f16(block, 208));
    for (i, y) in y.iter_mut().enumerate() {
        let (half, quarter, lane) = (i / 128, i % 128 / 32, i % 32);
        let nibble = low[half * 64 + quarter % 2 * 32 + lane] >> (quarter / 2 * 4) & 15;
        let bits = high[half * 32 + lane] >> (quarter * 2) & 3;
        *y = d * f32::from(scales[i / 16] as i8) * f32::from((nibble | bits << 4) as i8 - 32);
    }
}
