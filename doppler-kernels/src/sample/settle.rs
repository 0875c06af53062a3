//! The choice among the tokens that [`super::SampleGather`] listed.

use doppler_rdrr::DType;
use doppler_sampling::{Range, WORDS};

use super::{SCAN, SampleGather, best_of, cases, chain, variant, whole};
use crate::kernel::host_by_reference;
use crate::{Entry, Kernel, Operand, Variant};

/// The token at the position behind `start`, which moves on by one.
///
/// | operand       | shape     | dtype |
/// |---------------|-----------|-------|
/// | `best_ids`    | `[parts]` | u32   |
/// | `best_values` | `[parts]` | f32   |
/// | `settings`    | `[12]`    | u32   |
/// | `found`       | `[13]`    | u32   |
/// | `values`      | `[cols]`  | f32   |
/// | `ids`         | `[cols]`  | u32   |
/// | `start`       | `[1]`     | u32, changed in place |
/// | `id`          | `[1]`     | u32; `u32::MAX` when a logit is NaN or +∞, or all are −∞ |
#[derive(Debug, Clone, PartialEq)]
pub struct SampleSettle {
    /// Columns.
    pub cols: usize,
    /// Pieces of the [`crate::ArgMaxSplit`].
    pub parts: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "sample_settle",
    edge_cases: cases::settle_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::settle_strategy,
};

impl Kernel for SampleSettle {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        variant(&[SCAN, include_str!("settle.wgsl")])
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("best_ids", &[self.parts], DType::U32),
            Operand::read("best_values", &[self.parts], DType::F32),
            Operand::read("settings", &[WORDS], DType::U32),
            Operand::read("found", &[SampleGather::FOUND], DType::U32),
            Operand::read("values", &[self.cols], DType::F32),
            Operand::read("ids", &[self.cols], DType::U32),
            Operand::read_write("start", &[1], DType::U32),
            Operand::write("id", &[1], DType::U32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        (self.parts as u32).to_le_bytes().to_vec()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        [1, 1, 1]
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let [best_ids, best_values, settings, found, values, ids, start] = inputs else { unreachable!("seven inputs") };
        let (best, position) = (best_of(best_values), start[0] + 1.0);
        let range = Range {
            first: found[0] as usize,
            last: found[1] as usize,
            target: whole(&found[3..6]),
            total: whole(&found[6..9]),
        };
        let listed: Vec<_> =
            ids.iter().map(|id| *id as u32).zip(values.iter().copied()).take(found[2] as usize).collect();
        // The best of a piece with a NaN is nobody and positive.
        let nan = best_ids.iter().zip(*best_values).any(|(id, value)| *id == u32::MAX as f32 && *value > 0.0);
        let chosen = chain(settings).settle(&listed, best, &range, position as u64);
        let chosen = chosen.filter(|_| best.is_finite() && !nan);
        vec![vec![position], vec![chosen.unwrap_or(u32::MAX) as f32]]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
