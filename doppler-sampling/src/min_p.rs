//! Min-p: tokens that are not too far behind the best.

use crate::octaves::Scale;
use crate::{chain, softmax};

/// Masks tokens whose probability is below `p` times that of the best token. 0 keeps all; the best always stays.
///
/// ```
/// let mut logits = [0.0, 0.5f32.ln(), 0.01f32.ln()];
/// doppler_sampling::min_p(&mut logits, 0.1);
/// assert!(logits[1].is_finite() && logits[2] == f32::NEG_INFINITY);
/// ```
/// # Source
/// Nguyen et al. 2024, <https://arxiv.org/abs/2407.01082>
pub fn min_p(logits: &mut [f32], p: f32) {
    if p <= 0.0 {
        return;
    }
    // The ratio of two probabilities follows from the difference of their logits: no softmax is needed.
    let (max, plain, limit) = (softmax::highest(logits), Scale::of_temperature(1.0), chain::limit(p));
    let possible = logits.iter_mut().filter(|logit| **logit > f32::NEG_INFINITY);
    possible.filter(|logit| plain.octaves(max, **logit) > limit).for_each(|logit| *logit = f32::NEG_INFINITY);
}

#[cfg(test)]
mod tests {
    use super::min_p;
    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn by_hand() {
        // Probabilities 4 : 2 : 1, so the ratios to the best are 1, 0.5 and 0.25.
        for (p, expected) in [(0.0, 3), (0.2, 3), (0.3, 2), (0.6, 1), (1.0, 1)] {
            let mut logits = [4f32.ln(), 2f32.ln(), 1f32.ln()];
            min_p(&mut logits, p);
            assert_eq!(logits.iter().filter(|x| x.is_finite()).count(), expected, "p = {p}");
        }
        let mut none = [OUT; 2];
        min_p(&mut none, 0.5);
        assert_eq!(none, [OUT; 2]);
    }
}
