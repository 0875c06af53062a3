//! Activations as int8: blocks of 32 with a scale, and the sums that a format's offsets are multiplied with.

use rayon::prelude::*;

use crate::isa::{self, Isa, WithIsa};

/// Elements that share a scale.
pub const BLOCK: usize = 32;
/// Blocks in a group: what is worked on at once. Rows are padded to whole groups with zeros.
pub const GROUP: usize = 8;

/// Rows of activations.
#[derive(Debug)]
pub struct Activations {
    groups: Vec<Group>,
    /// Groups in a row.
    per_row: usize,
}

/// Eight blocks of a row.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// 4 int8 in a word, −127 … 127.
    pub codes: [[u32; BLOCK / 4]; GROUP],
    /// Of each block: the largest magnitude over 127.
    pub scales: [f32; GROUP],
    /// Of each block: scale times the sum of its codes.
    pub sums: [f32; GROUP],
    /// Of each half block.
    pub halves: [[f32; GROUP]; 2],
}

const ZERO: Group =
    Group { codes: [[0; BLOCK / 4]; GROUP], scales: [0.0; GROUP], sums: [0.0; GROUP], halves: [[0.0; GROUP]; 2] };

/// Bytes of [`Activations`].
pub fn bytes(rows: usize, cols: usize) -> usize {
    rows * cols.div_ceil(BLOCK * GROUP) * size_of::<Group>()
}

impl Activations {
    /// Rounds rows of `cols` numbers, whole blocks. A block with a number that is not finite gets a scale that is not.
    pub fn new(x: &[f32], cols: usize) -> Activations {
        let per_row = cols.div_ceil(BLOCK * GROUP);
        let mut groups = vec![ZERO; x.len() / cols * per_row];
        // A few rows are too little to share.
        let rows = groups.par_chunks_mut(per_row).zip(x.par_chunks_exact(cols)).with_min_len(8);
        rows.for_each(|(groups, x)| isa::run(Round { x, groups }));
        Activations { groups, per_row }
    }

    /// Row `r`.
    #[inline(always)]
    pub fn row(&self, r: usize) -> &[Group] {
        &self.groups[r * self.per_row..][..self.per_row]
    }
}

struct Round<'a> {
    x: &'a [f32],
    groups: &'a mut [Group],
}

impl WithIsa for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn with<I: Isa>(self, _: I) {
        for (group, x) in self.groups.iter_mut().zip(self.x.chunks(BLOCK * GROUP)) {
            for (j, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
                let (codes, scale, [low, high]) = round(x);
                group.codes[j] = bytemuck::cast(codes);
                group.scales[j] = scale;
                let (low, high) = (scale * low as f32, scale * high as f32);
                group.sums[j] = low + high;
                group.halves[j / 4][j % 4 * 2] = low;
                group.halves[j / 4][j % 4 * 2 + 1] = high;
            }
        }
    }
}

/// The codes of a block, its scale, and the sums of the codes of its halves.
#[inline(always)]
pub fn round(x: &[f32; BLOCK]) -> ([i8; BLOCK], f32, [i32; 2]) {
    // As integers, magnitudes are in order and NaN is the largest.
    let largest = x.iter().fold(0, |largest, v| largest.max(v.to_bits() & 0x7FFF_FFFF));
    let largest = f32::from_bits(largest);
    // What is smaller is nothing beside any weight, and its inverse would overflow.
    let inverse = if largest < 1e-30 { 0.0 } else { 127.0 / largest };
    // Added to this, a number's fraction falls off, to even; the low byte is the integer.
    const ROUND: f32 = 12_582_912.0;
    let mut codes = [0i8; BLOCK];
    for i in 0..BLOCK {
        codes[i] = (x[i] * inverse + ROUND).to_bits() as i8;
    }
    let sum = |half: &[i8]| half.iter().map(|&q| i32::from(q)).sum();
    (codes, largest / 127.0, [sum(&codes[..16]), sum(&codes[16..])])
}

/// The numbers that [`round`] stores, of whole blocks.
pub fn rounded(x: &[f32]) -> Vec<f32> {
    let block = |x: &[f32; BLOCK]| {
        let (codes, scale, _) = round(x);
        codes.map(|q| scale * f32::from(q))
    };
    x.as_chunks::<BLOCK>().0.iter().flat_map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut x = [0.0; BLOCK];
        (x[0], x[1], x[2], x[31]) = (-2.0, 1.0, 0.5, 0.1);
        let (codes, scale, halves) = round(&x);
        assert_eq!((codes[0], codes[1], codes[2], codes[3], codes[31]), (-127, 64, 32, 0, 6));
        assert_eq!((scale, halves), (2.0 / 127.0, [-31, 6]));
        assert_eq!(round(&[0.0; BLOCK]).1, 0.0);
        x[7] = f32::NAN;
        assert!(round(&x).1.is_nan());
        x[7] = f32::INFINITY;
        assert!(!round(&x).1.is_finite());
    }

    #[test]
    fn tiny_numbers() {
        let (codes, scale, _) = round(&[1e-39; BLOCK]);
        assert_eq!(codes, [0; BLOCK]);
        assert!(scale.is_finite());
    }
}
