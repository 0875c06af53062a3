//! How packed weights lie on a GPU: as in the file, but for formats whose blocks begin where no word does.

use std::borrow::Cow;

use doppler_rdrr::DType;
use rayon::prelude::*;

/// Rows of a matrix that are laid out together, from its first row on: a matrix may be split between them.
pub const GROUP_ROWS: usize = 8;

const BLOCK: usize = 210;

/// Rows of `cols` weights as kernels on a GPU read them; no bytes more. `bytes` begins with the first row of a group.
///
/// Of Q6_K, whose blocks are 210 bytes, a lane would have to put its 64 weights (a strip) together from twenty words, and lanes
/// beside each other would read words far apart. So a row is four planes: of each strip the low nibbles of its first half, 16
/// bytes, and those of its second, its pairs of high bits, and its four scales. Half of a strip is 16 weights and the 16 that
/// are 64 further; the halves are 32 apart. Behind the rows of a group are the scales of their blocks, in f16: they are where no
/// row would end at whole 16 bytes.
#[must_use]
pub fn on_gpu(dtype: DType, bytes: &[u8], cols: usize) -> Cow<'_, [u8]> {
    if dtype != DType::Q6_K {
        return Cow::Borrowed(bytes);
    }
    let row_bytes = cols / 256 * BLOCK;
    let mut planes = vec![0; bytes.len()];
    let groups = planes.par_chunks_mut(GROUP_ROWS * row_bytes).zip(bytes.par_chunks(GROUP_ROWS * row_bytes));
    groups.for_each(|(planes, rows)| group(rows, row_bytes, planes));
    Cow::Owned(planes)
}

fn group(rows: &[u8], row_bytes: usize, planes: &mut [u8]) {
    let blocks = row_bytes / BLOCK;
    let (rows_of_planes, scales) = planes.split_at_mut(rows.len() / BLOCK * (BLOCK - 2));
    for (from, to) in rows.chunks_exact(BLOCK).zip(scales.chunks_exact_mut(2)) {
        to.copy_from_slice(&from[208..]);
    }
    for (row, planes) in rows.chunks_exact(row_bytes).zip(rows_of_planes.chunks_exact_mut(blocks * (BLOCK - 2))) {
        let (first, rest) = planes.split_at_mut(blocks * 64);
        let (second, rest) = rest.split_at_mut(blocks * 64);
        let (pairs, scales) = rest.split_at_mut(blocks * 64);
        for strip in 0..4 * blocks {
            let block = &row[strip / 4 * BLOCK..][..BLOCK];
            // Which half of the block, and which sixteen of its 32.
            let (part, half) = (strip / 2 % 2, strip % 2);
            let (low, high) = (64 * part + 16 * half, 128 + 32 * part + 16 * half);
            first[16 * strip..][..16].copy_from_slice(&block[low..low + 16]);
            second[16 * strip..][..16].copy_from_slice(&block[low + 32..low + 48]);
            pairs[16 * strip..][..16].copy_from_slice(&block[high..high + 16]);
            for (i, scale) in scales[4 * strip..][..4].iter_mut().enumerate() {
                *scale = block[192 + 8 * part + 2 * i + half];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_lost_and_groups_stand_alone() {
        // Ten rows of three blocks, each byte told by its place.
        let rows: Vec<u8> = (0..10 * 3 * BLOCK).map(|i| (i * 7 % 251) as u8).collect();
        let planes = on_gpu(DType::Q6_K, &rows, 768);
        let sorted = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.sort_unstable();
            bytes
        };
        let group = GROUP_ROWS * 3 * BLOCK;
        for part in [0..group, group..rows.len()] {
            assert_eq!(sorted(&planes[part.clone()]), sorted(&rows[part.clone()]));
            assert_eq!(*on_gpu(DType::Q6_K, &rows[part.clone()], 768), planes[part]);
        }
        // The second row's second block: its third strip, and the scale of the whole.
        let (block, row) = (&rows[4 * BLOCK..], &planes[3 * 208..]);
        let strip = 4 + 2;
        assert_eq!(row[16 * strip..][..16], block[64..80]);
        assert_eq!(row[3 * 64 + 16 * strip..][..16], block[96..112]);
        assert_eq!(row[2 * 3 * 64 + 16 * strip..][..16], block[160..176]);
        assert_eq!(row[3 * 3 * 64 + 4 * strip..][..4], [block[200], block[202], block[204], block[206]]);
        assert_eq!(planes[8 * 3 * 208 + 2 * 4..][..2], block[208..210]);
        assert!(matches!(on_gpu(DType::Q4_K, &rows[..144], 256), Cow::Borrowed(_)));
    }
}
