//! Top-p, or nucleus sampling: the fewest tokens that hold a share of the probability.

use crate::octaves::{Scale, share, weight};
use crate::{chain, order, softmax};

/// Masks all but the smallest set of best tokens whose probabilities sum to at least `p`, the softmax being taken over
/// the tokens that are still there. At least one stays; `p` of 1 or more keeps all.
///
/// ```
/// let mut logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
/// doppler_sampling::top_p(&mut logits, 0.7);
/// assert!(logits[1].is_finite() && logits[2] == f32::NEG_INFINITY);
/// ```
/// # Source
/// Holtzman et al. 2019, <https://arxiv.org/abs/1904.09751>
pub fn top_p(logits: &mut [f32], p: f32) {
    if p >= 1.0 {
        return;
    }
    let (max, plain) = (softmax::highest(logits), Scale::of_temperature(1.0));
    let mass_of = |logit| weight(plain.octaves(max, logit));
    let (mut sum, mut remaining) = (0, 0usize);
    for (_, logit) in order::candidates(logits) {
        sum += mass_of(logit);
        remaining += 1;
    }
    let wanted = share(sum, chain::fraction(p));
    // A model is mostly sure: look at a few of the best before sorting more of the vocabulary.
    let mut k = 256;
    loop {
        let mut best = order::best(logits, k);
        best.sort_unstable_by(order::best_first);
        let mut mass = 0;
        for &candidate in &best {
            mass += mass_of(candidate.1);
            if mass > wanted {
                order::mask_after(logits, candidate);
                return;
            }
        }
        if k >= remaining {
            return;
        }
        k *= 8;
    }
}

#[cfg(test)]
mod tests {
    use super::top_p;

    /// Which tokens stay of probabilities 1/8, 1/2, 1/8, 1/4.
    fn stays(p: f32) -> Vec<usize> {
        let mut logits: Vec<f32> = [0.125f32, 0.5, 0.125, 0.25].iter().map(|p| p.ln()).collect();
        top_p(&mut logits, p);
        (0..4).filter(|&i| logits[i].is_finite()).collect()
    }

    #[test]
    fn by_hand() {
        assert_eq!(stays(0.0), [1]);
        assert_eq!(stays(0.49), [1]);
        assert_eq!(stays(0.51), [1, 3]);
        assert_eq!(stays(0.74), [1, 3]);
        assert_eq!(stays(0.8), [0, 1, 3], "of equal probabilities the lower id comes first");
        assert_eq!(stays(0.9), [0, 1, 2, 3]);
        assert_eq!(stays(1.0), [0, 1, 2, 3]);
    }

    #[test]
    fn masked_tokens_count_for_nothing() {
        let mut logits = [0.0, f32::NEG_INFINITY, 0.0, 0.0];
        top_p(&mut logits, 0.6);
        assert_eq!(logits, [0.0, f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY]);
        let mut none = [f32::NEG_INFINITY; 2];
        top_p(&mut none, 0.5);
        assert_eq!(none, [f32::NEG_INFINITY; 2]);
    }

    #[test]
    fn a_flat_vocabulary_needs_more_than_the_first_look() {
        let mut logits = vec![0.0; 10_000];
        top_p(&mut logits, 0.5);
        assert_eq!(logits.iter().filter(|x| x.is_finite()).count(), 5000);
        assert!(logits[4999].is_finite() && !logits[5000].is_finite());
    }
}
