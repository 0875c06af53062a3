//! Activations as int8: blocks of 32 with a scale, and the sums that a format's offsets are multiplied with.

use rayon::prelude::*;

/// Elements that share a scale.
pub const BLOCK: usize = 32;
/// Blocks in a group: what is worked on at once. Rows are padded to whole groups with zeros.
pub const GROUP: usize = 8;

/// Rows of activations.
#[derive(Debug, Default)]
pub struct Activations {
    /// Groups in a row.
    pub groups: usize,
    /// 4 int8 in a word, −127 … 127.
    pub codes: Vec<[[u32; BLOCK / 4]; GROUP]>,
    /// Of each block: the largest magnitude over 127.
    pub scales: Vec<[f32; GROUP]>,
    /// Of each block: scale times the sum of its codes.
    pub sums: Vec<[f32; GROUP]>,
    /// Of each half block.
    pub halves: Vec<[f32; 2 * GROUP]>,
}

/// One row of activations.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub codes: &'a [[[u32; BLOCK / 4]; GROUP]],
    pub scales: &'a [[f32; GROUP]],
    pub sums: &'a [[f32; GROUP]],
    pub halves: &'a [[f32; 2 * GROUP]],
}

impl Activations {
    /// Rounds rows of `cols` numbers, whole blocks. A block with a number that is not finite gets a scale that is not.
    pub fn new(x: &[f32], cols: usize) -> Activations {
        let (rows, groups) = (x.len() / cols, cols.div_ceil(BLOCK * GROUP));
        let all = rows * groups;
        let mut a = Activations {
            groups,
            codes: vec![[[0; BLOCK / 4]; GROUP]; all],
            scales: vec![[0.0; GROUP]; all],
            sums: vec![[0.0; GROUP]; all],
            halves: vec![[0.0; 2 * GROUP]; all],
        };
        let outputs = (a.codes.par_chunks_mut(groups).zip(a.scales.par_chunks_mut(groups)))
            .zip(a.sums.par_chunks_mut(groups).zip(a.halves.par_chunks_mut(groups)));
        let outputs = outputs.zip(x.par_chunks_exact(cols));
        let round = |(((codes, scales), (sums, halves)), x): (((&mut [_], &mut [_]), (&mut [_], &mut [_])), &[f32])| {
            pulp::Arch::new().dispatch(Round { x, codes, scales, sums, halves });
        };
        if rows < 8 {
            // Too little to share.
            let outputs = (a.codes.chunks_mut(groups).zip(a.scales.chunks_mut(groups)))
                .zip(a.sums.chunks_mut(groups).zip(a.halves.chunks_mut(groups)));
            outputs.zip(x.chunks_exact(cols)).for_each(round);
        } else {
            outputs.with_min_len(4).for_each(round);
        }
        a
    }

    /// Row `r`.
    #[inline(always)]
    pub fn row(&self, r: usize) -> Row<'_> {
        let range = r * self.groups..(r + 1) * self.groups;
        Row {
            codes: &self.codes[range.clone()],
            scales: &self.scales[range.clone()],
            sums: &self.sums[range.clone()],
            halves: &self.halves[range],
        }
    }
}

struct Round<'a> {
    x: &'a [f32],
    codes: &'a mut [[[u32; BLOCK / 4]; GROUP]],
    scales: &'a mut [[f32; GROUP]],
    sums: &'a mut [[f32; GROUP]],
    halves: &'a mut [[f32; 2 * GROUP]],
}

impl pulp::NullaryFnOnce for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (b, x) in self.x.as_chunks::<BLOCK>().0.iter().enumerate() {
            let (group, at) = (b / GROUP, b % GROUP);
            let (codes, scale, halves) = round(x);
            self.codes[group][at] = bytemuck::cast(codes);
            self.scales[group][at] = scale;
            let halves = halves.map(|half| scale * half as f32);
            self.sums[group][at] = halves[0] + halves[1];
            self.halves[group][2 * at..][..2].copy_from_slice(&halves);
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
