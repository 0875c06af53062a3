//! One block of each format, in the order of operations of llama.cpp: sums go from left to right, and nothing is fused.

use doppler_core::prelude::DType;
use half::{bf16, f16};

/// Packs the values of one block.
pub fn pack(dtype: DType, x: &[f32], block: &mut [u8]) {
    match dtype {
        DType::F32 => block.copy_from_slice(&x[0].to_le_bytes()),
        DType::F16 => store_f16(x[0], block),
        DType::BF16 => block.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes()),
        DType::Q4_0 => {
            let codes = symmetric(x, 8, &mut block[..2]);
            nibbles(&codes, &mut block[2..]);
        }
        DType::Q4_1 => {
            let codes = between(x, 15, block);
            nibbles(&codes, &mut block[4..]);
        }
        DType::Q5_0 => {
            let codes = symmetric(x, 16, &mut block[..2]);
            fifth_bits(&codes, &mut block[2..6]);
            nibbles(&codes, &mut block[6..]);
        }
        DType::Q5_1 => {
            let codes = between(x, 31, block);
            fifth_bits(&codes, &mut block[4..8]);
            nibbles(&codes, &mut block[8..]);
        }
        DType::Q8_0 => q8_0(x, block),
        DType::Q4_K => {
            let codes = scales_and_mins(x, 15, -1.0, 20, &mut block[..16]);
            pairs_of_32(&codes, &mut block[16..]);
        }
        DType::Q5_K => {
            let codes = scales_and_mins(x, 31, -0.5, 15, &mut block[..16]);
            for (i, code) in codes.iter().enumerate() {
                block[16 + i % 32] |= (code >> 4) << (i / 32);
            }
            pairs_of_32(&codes, &mut block[48..]);
        }
        DType::Q6_K => q6_k(x, block),
        DType::U32 | DType::A8 | DType::C8 => unreachable!("no format of weights"),
    }
}

fn store_f16(value: f32, bytes: &mut [u8]) {
    bytes.copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

fn load_f16(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// The nearest whole number, halves to the even one.
fn nearest(value: f32) -> i32 {
    value.round_ties_even() as i32
}

fn inverse(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { 1.0 / value }
}

/// The value furthest from zero, the first of equals.
fn furthest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most })
}

/// Codes around `middle`, with the scale that gives the furthest value the lowest code.
fn symmetric(x: &[f32], middle: u8, scale: &mut [u8]) -> Vec<u8> {
    let d = furthest(x) / -f32::from(middle);
    store_f16(d, scale);
    let inverse = inverse(d);
    x.iter().map(|x| ((x * inverse + (f32::from(middle) + 0.5)) as u8).min(2 * middle - 1)).collect()
}

/// Codes from the least value, 0, to the greatest, `most`.
fn between(x: &[f32], most: u8, block: &mut [u8]) -> Vec<u8> {
    let (min, max) = x.iter().fold((f32::MAX, -f32::MAX), |(min, max), x| (min.min(*x), max.max(*x)));
    let d = (max - min) / f32::from(most);
    store_f16(d, &mut block[..2]);
    store_f16(min, &mut block[2..4]);
    let inverse = inverse(d);
    x.iter().map(|x| (((x - min) * inverse + 0.5) as u8).min(most)).collect()
}

fn nibbles(codes: &[u8], bytes: &mut [u8]) {
    for (j, byte) in bytes.iter_mut().enumerate() {
        *byte = (codes[j] & 15) | (codes[j + 16] << 4);
    }
}

fn fifth_bits(codes: &[u8], bytes: &mut [u8]) {
    let bits = codes.iter().enumerate().fold(0, |bits, (j, code)| bits | u32::from(code >> 4) << j);
    bytes.copy_from_slice(&bits.to_le_bytes());
}

fn q8_0(x: &[f32], block: &mut [u8]) {
    let d = furthest(x).abs() / 127.0;
    store_f16(d, &mut block[..2]);
    let inverse = inverse(d);
    block[2..].iter_mut().zip(x).for_each(|(q, x)| *q = (x * inverse).round() as i8 as u8);
}

/// The low four bits of 256 codes, each 32 beside the next 32.
fn pairs_of_32(codes: &[u8; 256], bytes: &mut [u8]) {
    for (bytes, codes) in bytes.chunks_exact_mut(32).zip(codes.chunks_exact(64)) {
        for (j, byte) in bytes.iter_mut().enumerate() {
            *byte = (codes[j] & 15) | (codes[j + 32] << 4);
        }
    }
}

/// What Q4_K and Q5_K share: scale and minimum of each 32 values in six bits, and the codes under them.
fn scales_and_mins(x: &[f32], most: u8, first: f32, steps: u8, head: &mut [u8]) -> [u8; 256] {
    let found: Vec<_> = x.chunks_exact(32).map(|x| best_scale_and_min(x, f32::from(most), first, steps)).collect();
    let greatest = found.iter().fold((0.0_f32, 0.0_f32), |most, found| (most.0.max(found.0), most.1.max(found.1)));
    let six_bits = |value: f32, greatest: f32| {
        let inverse = if greatest > 0.0 { 63.0 / greatest } else { 0.0 };
        nearest(inverse * value).min(63) as u8
    };
    store_f16(greatest.0 / 63.0, &mut head[..2]);
    store_f16(greatest.1 / 63.0, &mut head[2..4]);
    let (d, dmin) = (load_f16(&head[..2]), load_f16(&head[2..4]));
    let mut codes = [0; 256];
    for (j, (scale, min, fitted)) in found.into_iter().enumerate() {
        let (scale, min) = (six_bits(scale, greatest.0), six_bits(min, greatest.1));
        let packed = &mut head[4..16];
        if j < 4 {
            packed[j] = scale;
            packed[j + 4] = min;
        } else {
            packed[j + 4] = (scale & 15) | ((min & 15) << 4);
            packed[j - 4] |= (scale >> 4) << 6;
            packed[j] |= (min >> 4) << 6;
        }
        let (d, dm) = (d * f32::from(scale), dmin * f32::from(min));
        for (code, (x, fitted)) in codes[32 * j..].iter_mut().zip(x[32 * j..][..32].iter().zip(fitted)) {
            *code = if d == 0.0 { fitted } else { nearest((x + dm) / d).clamp(0, i32::from(most)) as u8 };
        }
    }
    codes
}

/// `make_qkx2_quants`: the scale and minimum that lose least, and their codes, among `steps` + 1 tries.
fn best_scale_and_min(x: &[f32], most: f32, first: f32, steps: u8) -> (f32, f32, Vec<u8>) {
    let mean = (x.iter().fold(0.0, |sum, x| sum + x * x) / 32.0).sqrt();
    let weights: Vec<f32> = x.iter().map(|x| mean + x.abs()).collect();
    let (mut min, mut max, mut sum_w, mut sum_x) = (x[0], x[0], 0.0, 0.0);
    for (x, w) in x.iter().zip(&weights) {
        (min, max) = (min.min(*x), max.max(*x));
        sum_w += w;
        sum_x += w * x;
    }
    min = min.min(0.0);
    if max == min {
        return (0.0, -min, vec![0; 32]);
    }
    let code = |inverse: f32, x: f32, min: f32| nearest(inverse * (x - min)).clamp(0, most as i32) as f32;
    let loss = |codes: &[f32], scale: f32, min: f32| {
        codes.iter().zip(x).zip(&weights).fold(0.0, |sum, ((l, x), w)| {
            let off = scale * l + min - x;
            sum + w * (off * off)
        })
    };
    let mut scale = 1.0 / (most / (max - min));
    let mut codes: Vec<f32> = x.iter().map(|x| code(most / (max - min), *x, min)).collect();
    let mut best = loss(&codes, scale, min);
    for step in 0..=steps {
        // Each try starts from the best minimum so far.
        let inverse = (first + 0.1 * f32::from(step) + most) / (max - min);
        let tried: Vec<f32> = x.iter().map(|x| code(inverse, *x, min)).collect();
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
        for ((l, x), w) in tried.iter().zip(x).zip(&weights) {
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant <= 0.0 {
            continue;
        }
        let mut try_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut try_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if try_min > 0.0 {
            (try_min, try_scale) = (0.0, sum_xl / sum_l2);
        }
        let lost = loss(&tried, try_scale, try_min);
        if lost < best {
            (best, scale, min, codes) = (lost, try_scale, try_min, tried);
        }
    }
    (scale, -min, codes.into_iter().map(|code| code as u8).collect())
}

/// Below this a group of values is zero.
const GROUP_MAX_EPS: f32 = 1e-15;

fn q6_k(x: &[f32], block: &mut [u8]) {
    let found: Vec<_> = x.chunks_exact(16).map(best_scale).collect();
    let scales: Vec<f32> = found.iter().map(|found| found.0).collect();
    let greatest = furthest(&scales);
    if greatest.abs() < GROUP_MAX_EPS {
        return block.fill(0);
    }
    let inverse = -128.0 / greatest;
    store_f16(1.0 / inverse, &mut block[208..]);
    let d = load_f16(&block[208..]);
    let mut codes = [0; 256];
    for (j, (scale, fitted)) in found.into_iter().enumerate() {
        let scale = nearest(inverse * scale).min(127) as i8;
        block[192 + j] = scale as u8;
        let d = d * f32::from(scale);
        for (code, (x, fitted)) in codes[16 * j..].iter_mut().zip(x[16 * j..][..16].iter().zip(fitted)) {
            *code = if d == 0.0 { fitted } else { (nearest(x / d).clamp(-32, 31) + 32) as u8 };
        }
    }
    let (low, high) = block[..192].split_at_mut(128);
    for (i, code) in codes.iter().enumerate() {
        let (half, quarter, j) = (i / 128, i % 128 / 32, i % 32);
        low[64 * half + 32 * (quarter % 2) + j] |= (code & 15) << (quarter / 2 * 4);
        high[32 * half + j] |= (code >> 4) << (2 * quarter);
    }
}

/// `make_qx_quants` of 16 values with codes from -32 to 31: the scale that loses least, and its codes from 0 on.
fn best_scale(x: &[f32]) -> (f32, Vec<u8>) {
    let max = furthest(x);
    if max.abs() < GROUP_MAX_EPS {
        return (0.0, vec![0; 16]);
    }
    let code = |inverse: f32, x: f32| nearest(inverse * x).clamp(-32, 31);
    let sums = |inverse: f32| {
        x.iter().fold((0.0, 0.0), |(sum_lx, sum_l2), x| {
            let (l, w) = (code(inverse, *x) as f32, x * x);
            (sum_lx + w * x * l, sum_l2 + w * l * l)
        })
    };
    let mut inverse = -32.0 / max;
    let (sum_lx, sum_l2) = sums(inverse);
    let mut scale = if sum_l2 == 0.0 { 0.0 } else { sum_lx / sum_l2 };
    let mut best = scale * sum_lx;
    for step in (-9_i8..=9).filter(|step| *step != 0) {
        let tried = -(32.0 + 0.1 * f32::from(step)) / max;
        let (sum_lx, sum_l2) = sums(tried);
        if sum_l2 > 0.0 && sum_lx * sum_lx > best * sum_l2 {
            scale = sum_lx / sum_l2;
            (best, inverse) = (scale * sum_lx, tried);
        }
    }
    (scale, x.iter().map(|x| (code(inverse, *x) + 32) as u8).collect())
}
