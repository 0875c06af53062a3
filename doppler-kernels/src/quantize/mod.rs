//! Activations as blocks of int8, for integer dot products.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::{grid, host_by_reference};
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// `y = x · weight` in blocks of int8, and the energy of `x`: what is left of an RMS norm is a factor for each row, which
/// the product behind it applies.
///
/// | operand  | shape               | dtype |
/// |----------|---------------------|-------|
/// | `x`      | `[rows, cols]`      | f32   |
/// | `weight` | `[cols]`            | f32   |
/// | `y`      | `[rows, cols]`      | A8    |
/// | `energy` | `[rows, cols / 32]` | f32   |
///
/// `energy` is the sum of x² over each block. A block's scale is its largest magnitude over 127.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantize {
    /// Rows of `x`.
    pub rows: usize,
    /// Columns of `x`; a multiple of 64.
    pub cols: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "quantize",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

const WG: u32 = 256;

/// Up to 32 values as int8 under one scale, and the scale.
pub(crate) fn block(values: &[f32]) -> (impl Iterator<Item = i8>, f32) {
    let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
    // The least positive number instead of zero: an all-zero block divides by it.
    let inverse = 127.0 / largest.max(1e-30);
    (values.iter().map(move |v| (v * inverse).round_ties_even().clamp(-127.0, 127.0) as i8), largest / 127.0)
}

/// The bytes of rows of `cols` values as [`DType::C8`]; whole blocks.
pub(crate) fn cache_rows(values: &[f32], cols: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() / 32 * DType::C8.block_bytes());
    for row in values.chunks_exact(cols) {
        let mut scales = Vec::with_capacity(cols / 32);
        for values in row.chunks_exact(32) {
            let (quants, scale) = block(values);
            bytes.extend(quants.map(|q| q as u8));
            scales.push(scale);
        }
        scales.iter().for_each(|scale| bytes.extend(scale.to_le_bytes()));
    }
    bytes
}

/// The bytes of rows of `cols` values as [`DType::A8`]; whole blocks.
pub(crate) fn rows(values: &[f32], cols: usize) -> Vec<u8> {
    let row = |values: &[f32]| {
        let (mut planes, mut infos) = ([const { Vec::new() }; 4], Vec::new());
        for (i, values) in values.chunks_exact(32).enumerate() {
            let (codes, scale) = block(values);
            let block: Vec<i8> = codes.collect();
            infos.extend(scale.to_le_bytes());
            for (half, codes) in block.chunks_exact(16).enumerate() {
                planes[2 * (i % 2) + half].extend(codes.iter().map(|&q| q as u8));
                infos.extend(codes.iter().map(|&q| i16::from(q)).sum::<i16>().to_le_bytes());
            }
        }
        planes.into_iter().flatten().chain(infos).collect::<Vec<u8>>()
    };
    values.chunks_exact(cols).flat_map(row).collect()
}

/// The sums of squares of blocks of 32.
pub(crate) fn energy(values: &[f32]) -> Vec<f32> {
    let sum = |block: &[f32]| block.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() as f32;
    values.chunks_exact(32).map(sum).collect()
}

impl Kernel for Quantize {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let files = vec![shared::A8, include_str!("quantize.wgsl")];
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![("WG", WG)], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.rows, self.cols];
        vec![
            Operand::read("x", &shape, DType::F32),
            Operand::read("weight", &[self.cols], DType::F32),
            Operand::write("y", &shape, DType::A8),
            Operand::write("energy", &[self.rows, self.cols / 32], DType::F32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        [self.rows, self.cols].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid((self.rows * self.cols).div_ceil(WG as usize))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (x, weight) = (inputs[0], inputs[1]);
        let scaled = x.iter().enumerate().map(|(i, v)| v * weight[i % self.cols]).collect();
        vec![scaled, energy(x)]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut block = [0.0; 32];
        block[0] = -127.0;
        block[1] = 63.5;
        block[31] = 2.0;
        assert_eq!(energy(&block), [127f32.powi(2) + 63.5f32.powi(2) + 4.0]);
        // 63.5 is a tie, which goes to the even 64.
        let quants = |at: usize| if at == 0 { [-127i8 as u8, 64] } else { [0, 2] };
        let two: Vec<f32> = block.iter().copied().chain(block.map(|v| v / 2.0)).collect();
        // Of the cache: all quants, then both scales.
        let cached = cache_rows(&two, 64);
        assert_eq!(
            [&cached[..2], &cached[30..34], &cached[62..64]].concat(),
            [quants(0), quants(1), quants(0), quants(1)].concat()
        );
        assert_eq!(cached[64..], [1f32.to_le_bytes(), 0.5f32.to_le_bytes()].concat());
        // Two strips of activations: the first sixteens of both, the second ones, the third ones, the last ones.
        let bytes = rows(&[two.clone(), vec![0.0; 64]].concat(), 128);
        assert_eq!(bytes.len(), 160);
        let at = |i: usize| &bytes[i..i + 2];
        assert_eq!(
            [at(0), at(32 + 14), at(64), at(96 + 14)].concat(),
            [quants(0), quants(1), quants(0), quants(1)].concat()
        );
        assert_eq!(bytes[..128].iter().filter(|b| **b != 0).count(), 6);
        assert_eq!(bytes[128..132], 1f32.to_le_bytes());
        assert_eq!(bytes[132..136], [(-63i16).to_le_bytes(), 2i16.to_le_bytes()].concat());
        let numbers = Operand::read("x", &[1, 128], DType::A8).numbers(&bytes).unwrap();
        assert_eq!([numbers[0], numbers[1], numbers[31], numbers[32], numbers[63]], [-127.0, 64.0, 2.0, -63.5, 1.0]);
    }
}
