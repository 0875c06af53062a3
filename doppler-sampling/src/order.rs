//! The order of candidates, and the best few of them without sorting a vocabulary.

use std::cmp::Ordering;

/// A token and its logit.
pub type Candidate = (u32, f32);

/// Best first: the higher logit, and of equal ones the lower id. Logits hold no NaN (the sampler has checked).
pub fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0))
}

/// The tokens that are not masked out.
pub fn candidates(logits: &[f32]) -> impl Iterator<Item = Candidate> {
    (0..).zip(logits.iter().copied()).filter(|&(_, logit)| logit > f32::NEG_INFINITY)
}

/// The `k` best candidates, in no order; fewer when there are fewer.
///
/// One pass with a buffer of a few `k`: what is not better than the k-th best so far costs one comparison.
pub fn best(logits: &[f32], k: usize) -> Vec<Candidate> {
    if k == 0 {
        return Vec::new();
    }
    let room = k.saturating_mul(4).max(1024);
    let mut kept: Vec<Candidate> = Vec::with_capacity(room.min(logits.len()));
    let mut threshold = f32::NEG_INFINITY;
    for candidate in candidates(logits) {
        // An equal logit with a higher id is worse, so it need not be kept either.
        if candidate.1 <= threshold {
            continue;
        }
        kept.push(candidate);
        if kept.len() == room {
            threshold = keep_best(&mut kept, k);
        }
    }
    keep_best(&mut kept, k);
    kept
}

/// Keeps the `k` best and returns the logit of the worst of them.
fn keep_best(kept: &mut Vec<Candidate>, k: usize) -> f32 {
    if kept.len() <= k {
        return f32::NEG_INFINITY;
    }
    let (_, last, _) = kept.select_nth_unstable_by(k - 1, best_first);
    let threshold = last.1;
    kept.truncate(k);
    threshold
}

/// Masks every candidate that is worse than `last`.
pub fn mask_after(logits: &mut [f32], last: Candidate) {
    for (id, logit) in (0..).zip(logits) {
        if best_first(&(id, *logit), &last) == Ordering::Greater {
            *logit = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_keeps_low_ids_of_equal_logits() {
        let mut few = best(&[1.0, 2.0, 2.0, 0.0, 2.0], 2);
        few.sort_by(best_first);
        assert_eq!(few, [(1, 2.0), (2, 2.0)]);
    }

    #[test]
    fn best_compacts_its_buffer() {
        // Rising logits are the worst case: every one of them enters the buffer.
        let logits: Vec<f32> = (0..100_000u32).map(|i| i as f32).collect();
        let mut few = best(&logits, 3);
        few.sort_by(best_first);
        assert_eq!(few, [(99_999, 99_999.0), (99_998, 99_998.0), (99_997, 99_997.0)]);
        assert_eq!(best(&logits, usize::MAX).len(), 100_000);
        assert!(best(&logits, 0).is_empty());
    }
}
