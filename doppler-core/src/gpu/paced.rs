//! Long recordings in pieces: a driver takes a device for hung, and resets it, when a submission runs for seconds.

use std::ops::Range;

use doppler_kernels::Tier;

use super::pool::lock;
use super::{AdapterReport, Gpu, GpuStep, Readback};
use crate::{Error, Tensor};

/// Steps of a long recording that are submitted before the others are encoded, so that the device begins.
const FIRST_STEPS: usize = 32;

/// Submissions that may be on their way: one that runs, and one that waits, so that the device never does.
const IN_FLIGHT: usize = 2;

/// Multiply-adds in one submission that take an adapter of this kind about a tenth of a second.
pub(super) fn most_work(adapter: &AdapterReport, tier: &Tier) -> u64 {
    if tier.cooperative_matrix {
        // 20 TFLOP/s, which the slowest of them do.
        1_000_000_000_000
    } else if adapter.kind == "discrete" {
        // 500 GFLOP/s.
        25_000_000_000
    } else {
        // 50 GFLOP/s: a small GPU of a telephone or of an old laptop, or a CPU.
        2_500_000_000
    }
}

/// Consecutive steps, by the work of each, in pieces of no more than `most`; one step is never cut.
pub(crate) fn pieces(work: impl Iterator<Item = u64>, most: u64) -> Vec<Range<usize>> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut sum = 0u64;
    for (i, work) in work.enumerate() {
        sum = sum.saturating_add(work);
        match pieces.last_mut() {
            Some(piece) if sum <= most || work == 0 => piece.end = i + 1,
            _ => {
                pieces.push(i..i + 1);
                sum = work;
            }
        }
    }
    pieces
}

impl Gpu {
    /// Submits steps piece by piece, each when no more than one other is on its way, and the copy of `read` behind the last. The
    /// beginning of a long one goes before the rest of it.
    pub fn submit_paced(
        &self,
        steps: &[GpuStep],
        pieces: &[Range<usize>],
        read: Option<(&Tensor, u64)>,
    ) -> Result<Option<Readback>, Error> {
        let mut readback = None;
        for (i, piece) in pieces.iter().enumerate() {
            loop {
                let mut paced = lock(&self.paced);
                let oldest = if paced.len() < IN_FLIGHT { None } else { paced.pop_front() };
                drop(paced);
                let Some(oldest) = oldest else { break };
                self.wait(oldest)?;
            }
            let (mut begin, end) = (piece.start, piece.end);
            if i == 0 && piece.len() > 2 * FIRST_STEPS {
                begin += FIRST_STEPS;
                self.submit(&steps[..begin], None)?;
            }
            readback = self.submit(&steps[begin..end], read.filter(|_| i + 1 == pieces.len()))?;
            lock(&self.paced).extend(lock(&self.newest).clone());
        }
        Ok(readback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_by_hand() {
        let of = |work: &[u64], most| pieces(work.iter().copied(), most);
        assert!(of(&[], 5).is_empty());
        assert_eq!(of(&[0, 0, 1, 5], 5), [0..3, 3..4]);
        assert_eq!(of(&[2, 3, 1, 4], 5), [0..2, 2..4]);
        // What is small goes with what is before it, and a large step is alone.
        assert_eq!(of(&[0, 9, 0, 0, 9, 1], 5), [0..1, 1..4, 4..5, 5..6]);
        assert_eq!(of(&[u64::MAX, u64::MAX], u64::MAX - 1), [0..1, 1..2]);
    }
}
