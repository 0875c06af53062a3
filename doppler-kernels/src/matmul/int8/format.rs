//! Packed weights as 7-bit or signed 8-bit codes with scales and offsets: each weight is `scale · code + offset`.

use super::activations::GROUP;
use crate::isa::Isa;
use crate::matmul::decode::widen;

/// A packed format whose blocks take B bytes.
pub trait Format<const B: usize> {
    /// Sub-blocks of 32 in a block.
    const SUB_BLOCKS: usize;
    /// Codes are i8, not u8 below 128.
    const SIGNED: bool = false;
    /// Products of a code and an int8, in pairs, that i16 can hold the sum of.
    const SUMMABLE: usize;
    /// Scales are of 16 elements, not of 32.
    const HALVES: bool = false;
    /// There are offsets.
    const OFFSETS: bool = true;

    /// Scales and offsets of up to a group of sub-blocks, or of their halves.
    fn scales<I: Isa>(isa: I, blocks: &[[u8; B]]) -> Scales;
    /// The codes of sub-block `j` of a block.
    fn codes<I: Isa>(isa: I, block: &[u8; B], j: usize) -> I::Codes;
}

/// Of the sub-blocks of a group; of their halves where the format has [`Format::HALVES`].
pub struct Scales {
    pub scales: [[f32; GROUP]; 2],
    pub offsets: [[f32; GROUP]; 2],
}

#[inline(always)]
fn u16_at<const B: usize>(block: &[u8; B], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

#[inline(always)]
fn u32_at<const B: usize>(block: &[u8; B], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// N bytes from `at` on.
#[inline(always)]
fn bytes_at<const B: usize, const N: usize>(block: &[u8; B], at: usize) -> [u8; N] {
    *block[at..].first_chunk().expect("a block's parts lie inside it")
}

/// The f16 scale at the start of each block; the offset is the f16 after it, or a multiple of the scale.
#[inline(always)]
fn plain_scales<I: Isa, const B: usize>(isa: I, blocks: &[[u8; B]], offset: Option<f32>) -> Scales {
    let [scales, offsets] = match offset {
        Some(factor) => {
            let mut bits = [0u16; GROUP];
            for (i, block) in blocks.iter().enumerate().take(GROUP) {
                bits[i] = u16_at(block, 0);
            }
            let scales = isa.widened::<false>(bits);
            [scales, isa.mul(scales, isa.splat(factor))]
        }
        None => {
            let mut words = [0u32; GROUP];
            for (i, block) in blocks.iter().enumerate().take(GROUP) {
                words[i] = u32_at(block, 0);
            }
            isa.widened_pairs(words)
        }
    };
    Scales { scales: [isa.numbers(scales), [0.0; GROUP]], offsets: [isa.numbers(offsets), [0.0; GROUP]] }
}

macro_rules! nibble_format {
    ($name:ident, $bytes:literal, $codes:literal, $fifth:expr, $offset:expr) => {
        pub struct $name;

        impl Format<$bytes> for $name {
            const SUB_BLOCKS: usize = 1;
            const SUMMABLE: usize = if $fifth.is_some() { 4 } else { 8 };

            #[inline(always)]
            fn scales<I: Isa>(isa: I, blocks: &[[u8; $bytes]]) -> Scales {
                plain_scales(isa, blocks, $offset)
            }

            #[inline(always)]
            fn codes<I: Isa>(isa: I, block: &[u8; $bytes], _: usize) -> I::Codes {
                let codes = isa.nibbles(bytes_at(block, $codes));
                const FIFTH: Option<usize> = $fifth;
                match FIFTH {
                    Some(at) => isa.or(codes, isa.fifth_bits(u32_at(block, at))),
                    None => codes,
                }
            }
        }
    };
}

nibble_format!(Q4_0, 18, 2, None::<usize>, Some(-8.0));
nibble_format!(Q4_1, 20, 4, None::<usize>, None);
nibble_format!(Q5_0, 22, 6, Some(2), Some(-16.0));
nibble_format!(Q5_1, 24, 8, Some(4), None);

pub struct Q8_0;

impl Format<34> for Q8_0 {
    const SUB_BLOCKS: usize = 1;
    const SIGNED: bool = true;
    const SUMMABLE: usize = 1;
    const OFFSETS: bool = false;

    #[inline(always)]
    fn scales<I: Isa>(isa: I, blocks: &[[u8; 34]]) -> Scales {
        plain_scales(isa, blocks, Some(0.0))
    }

    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &[u8; 34], _: usize) -> I::Codes {
        isa.bytes(bytes_at(block, 2))
    }
}

/// Q4_K and Q5_K: two f16 that multiply 6-bit scales and minima, packed into 12 bytes.
#[inline(always)]
fn k_scales<I: Isa, const B: usize>(isa: I, blocks: &[[u8; B]]) -> Scales {
    let block = &blocks[0];
    let (d, dmin) = (widen(u16_at(block, 0)), widen(u16_at(block, 2)));
    let [a, b, c] = [u32_at(block, 4), u32_at(block, 8), u32_at(block, 12)];
    let high = |word: u32| (word >> 6 & 0x0303_0303) << 4;
    let bytes = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32).to_le_bytes();
    let scales = bytes(a & 0x3F3F_3F3F, (c & 0x0F0F_0F0F) | high(a));
    let minima = bytes(b & 0x3F3F_3F3F, (c >> 4 & 0x0F0F_0F0F) | high(b));
    let mut s = Scales { scales: [[0.0; GROUP]; 2], offsets: [[0.0; GROUP]; 2] };
    for i in 0..GROUP {
        s.scales[0][i] = f32::from(scales[i]);
        s.offsets[0][i] = f32::from(minima[i]);
    }
    s.scales[0] = isa.numbers(isa.mul(isa.floats(s.scales[0]), isa.splat(d)));
    s.offsets[0] = isa.numbers(isa.mul(isa.floats(s.offsets[0]), isa.splat(-dmin)));
    s
}

pub struct Q4K;

impl Format<144> for Q4K {
    const SUB_BLOCKS: usize = 8;
    const SUMMABLE: usize = 8;

    #[inline(always)]
    fn scales<I: Isa>(isa: I, blocks: &[[u8; 144]]) -> Scales {
        k_scales(isa, blocks)
    }

    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &[u8; 144], j: usize) -> I::Codes {
        isa.bits(bytes_at(block, 16 + j / 2 * 32), j % 2 * 4, 15, 0)
    }
}

pub struct Q5K;

impl Format<176> for Q5K {
    const SUB_BLOCKS: usize = 8;
    const SUMMABLE: usize = 4;

    #[inline(always)]
    fn scales<I: Isa>(isa: I, blocks: &[[u8; 176]]) -> Scales {
        k_scales(isa, blocks)
    }

    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &[u8; 176], j: usize) -> I::Codes {
        let low = isa.bits(bytes_at(block, 48 + j / 2 * 32), j % 2 * 4, 15, 0);
        isa.or(low, isa.bits(bytes_at(block, 16), j, 1, 4))
    }
}

pub struct Q6K;

impl Format<210> for Q6K {
    const SUB_BLOCKS: usize = 8;
    const SUMMABLE: usize = 2;
    const HALVES: bool = true;

    #[inline(always)]
    fn scales<I: Isa>(isa: I, blocks: &[[u8; 210]]) -> Scales {
        let d = widen(u16_at(&blocks[0], 208));
        let mut s = Scales { scales: [[0.0; GROUP]; 2], offsets: [[0.0; GROUP]; 2] };
        for half in 0..2 {
            for i in 0..GROUP {
                s.scales[half][i] = f32::from(blocks[0][192 + half * GROUP + i] as i8);
            }
            let scales = isa.mul(isa.floats(s.scales[half]), isa.splat(d));
            s.scales[half] = isa.numbers(scales);
            s.offsets[half] = isa.numbers(isa.mul(scales, isa.splat(-32.0)));
        }
        s
    }

    #[inline(always)]
    fn codes<I: Isa>(isa: I, block: &[u8; 210], j: usize) -> I::Codes {
        let (half, quarter) = (j / 4, j % 4);
        let low = isa.bits(bytes_at(block, half * 64 + quarter % 2 * 32), quarter / 2 * 4, 15, 0);
        isa.or(low, isa.bits(bytes_at(block, 128 + half * 32), quarter * 2, 3, 4))
    }
}
