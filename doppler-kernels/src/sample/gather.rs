//! The tokens that may be drawn, found by what [`super::SampleBuckets`] counted.

use doppler_rdrr::DType;
use doppler_sampling::{BUCKETS, Bucket, Chain, WORDS};

use super::{SCAN, best_of, cases, chain, limbs, piece, variant, whole};
use crate::kernel::host_by_reference;
use crate::{Entry, Kernel, Operand, Variant};

/// Lists the tokens of the buckets that matter to the position behind `start`, by rising id.
///
/// | operand       | shape              | dtype |
/// |---------------|--------------------|-------|
/// | `x`           | `[cols]`           | f32   |
/// | `best_values` | `[parts]`          | f32   |
/// | `settings`    | `[12]`             | u32   |
/// | `buckets`     | `[splits, 256, 4]` | u32   |
/// | `start`       | `[1]`              | u32   |
/// | `found`       | `[13]`             | u32: first and last bucket, number of tokens, `Range::target` and `Range::total` in limbs of 24 bits, the random number in words of 16 bits |
/// | `values`      | `[cols]`           | f32: the listed logits; the rest is left |
/// | `ids`         | `[cols]`           | u32: their tokens; the rest is left |
#[derive(Debug, Clone, PartialEq)]
pub struct SampleGather {
    /// Columns.
    pub cols: usize,
    /// Pieces of the vocabulary.
    pub splits: usize,
    /// Pieces of the [`crate::ArgMaxSplit`].
    pub parts: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "sample_gather",
    edge_cases: cases::gather_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::gather_strategy,
};

impl SampleGather {
    /// Words of `found`.
    pub const FOUND: usize = 13;
}

impl Kernel for SampleGather {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        variant(&[SCAN, include_str!("random.wgsl"), include_str!("gather.wgsl")])
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", &[self.cols], DType::F32),
            Operand::read("best_values", &[self.parts], DType::F32),
            Operand::read("settings", &[WORDS], DType::U32),
            Operand::read("buckets", &[self.splits, BUCKETS, 4], DType::U32),
            Operand::read("start", &[1], DType::U32),
            Operand::write("found", &[SampleGather::FOUND], DType::U32),
            Operand::read_write("values", &[self.cols], DType::F32),
            Operand::read_write("ids", &[self.cols], DType::U32),
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
        let (mut values, mut ids) = (inputs[5].to_vec(), inputs[6].to_vec());
        let mut buckets = [Bucket::default(); BUCKETS];
        for (i, words) in inputs[3].chunks_exact(4).enumerate() {
            let bucket = &mut buckets[i % BUCKETS];
            bucket.count += words[0] as u32;
            bucket.mass += whole(&words[1..]);
        }
        let position = inputs[4][0] as u64 + 1;
        let range = chain.range(&buckets, position);
        let mut listed = 0;
        for i in (0..self.splits).flat_map(|split| piece(self.cols, self.splits, split)) {
            if Chain::bucket(best, x[i]).is_some_and(|b| (range.first..=range.last).contains(&b)) {
                (values[listed], ids[listed]) = (x[i], i as f32);
                listed += 1;
            }
        }
        let random = chain.random(position);
        let halves = [0, 16, 32, 48].map(|shift| (random >> shift & 0xFFFF) as f32);
        let first = [range.first, range.last, listed].map(|n| n as f32);
        let found = [&first[..], &limbs(range.target), &limbs(range.total), &halves].concat();
        vec![found, values, ids]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
