//! Drawing the next token from logits: temperature, top-k, top-p and min-p, the choice that the CPU would make.
//!
//! `doppler_sampling::Chain` is the definition, in integers. Behind an [`crate::ArgMaxSplit`], which knows the best logit,
//! [`SampleBuckets`] counts the tokens by their distance from it, [`SampleGather`] lists those that matter, and
//! [`SampleSettle`] chooses among them. The first two share the vocabulary among workgroups.

mod cases;
mod gather;
mod settle;

pub use gather::{ENTRY as GATHER_ENTRY, SampleGather};
pub use settle::{ENTRY as SETTLE_ENTRY, SampleSettle};

use doppler_rdrr::DType;
use doppler_sampling::{BUCKETS, Bucket, Chain, WORDS};

use crate::kernel::host_by_reference;
use crate::{Entry, Kernel, Operand, Tier, Variant};

/// What a workgroup counts in a piece of the vocabulary: tokens in buckets by their distance from the best logit.
///
/// | operand       | shape              | dtype |
/// |---------------|--------------------|-------|
/// | `x`           | `[cols]`           | f32   |
/// | `best_values` | `[parts]`          | f32   |
/// | `settings`    | `[12]`             | u32: `Chain::words` |
/// | `buckets`     | `[splits, 256, 4]` | u32: tokens, and the sum of their weights in limbs of 24 bits |
#[derive(Debug, Clone, PartialEq)]
pub struct SampleBuckets {
    /// Columns, `doppler_sampling::octaves::MOST_TOKENS` at most.
    pub cols: usize,
    /// Pieces of the vocabulary.
    pub splits: usize,
    /// Pieces of the [`crate::ArgMaxSplit`].
    pub parts: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "sample_buckets",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

/// Integers of 64 bits and the weights of tokens.
const NUMBERS: &str = include_str!("numbers.wgsl");
/// The settings and the best logit.
const CHAIN: &str = include_str!("chain.wgsl");
/// `scan`: running sums.
const SCAN: &str = include_str!("scan.wgsl");

fn variant(files: &[&'static str]) -> Vec<Variant> {
    let files = [&[NUMBERS, CHAIN], files].concat();
    vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![], files }]
}

/// 64 bits in words below 2^24.
fn limbs(x: u64) -> [f32; 3] {
    [x & 0xFF_FFFF, x >> 24 & 0xFF_FFFF, x >> 48].map(|limb| limb as f32)
}

fn whole(limbs: &[f32]) -> u64 {
    limbs.iter().rev().fold(0, |sum, limb| sum << 24 | *limb as u64)
}

fn chain(settings: &[f32]) -> Chain {
    let mut words = [0; WORDS];
    words.iter_mut().zip(settings).for_each(|(word, x)| *word = *x as u32);
    Chain::from_words(&words)
}

fn best_of(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The tokens of a piece.
fn piece(cols: usize, splits: usize, i: usize) -> std::ops::Range<usize> {
    let length = cols.div_ceil(splits);
    let begin = (i * length).min(cols);
    begin..(begin + length).min(cols)
}

impl Kernel for SampleBuckets {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        variant(&[include_str!("buckets.wgsl")])
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", &[self.cols], DType::F32),
            Operand::read("best_values", &[self.parts], DType::F32),
            Operand::read("settings", &[WORDS], DType::U32),
            Operand::write("buckets", &[self.splits, BUCKETS, 4], DType::U32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        [self.cols, self.splits, self.parts].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        [self.splits as u32, 1, 1]
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (x, best, chain) = (inputs[0], best_of(inputs[1]), chain(inputs[2]));
        let mut words = Vec::new();
        for i in 0..self.splits {
            let mut buckets = [Bucket::default(); BUCKETS];
            for &logit in &x[piece(self.cols, self.splits, i)] {
                if let Some(at) = Chain::bucket(best, logit) {
                    buckets[at].count += 1;
                    buckets[at].mass += chain.mass(best, logit);
                }
            }
            words.extend(buckets.iter().flat_map(|b| [&[b.count as f32][..], &limbs(b.mass)].concat()));
        }
        vec![words]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
