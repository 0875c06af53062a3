//! Logits to probabilities.

/// Replaces logits by probabilities: `exp(logit − max)` over its sum, which is kept in f64. Masked tokens get 0.
///
/// Logits hold neither NaN nor +∞. When all are −∞ all probabilities are 0.
///
/// ```
/// let mut logits = [0.0, f32::NEG_INFINITY, 0.0];
/// doppler_sampling::softmax(&mut logits);
/// assert_eq!(logits, [0.5, 0.0, 0.5]);
/// ```
pub fn softmax(logits: &mut [f32]) {
    let max = highest(logits);
    let mut sum = 0.0;
    for x in logits.iter_mut() {
        *x = weight(*x, max);
        sum += f64::from(*x);
    }
    if sum > 0.0 {
        logits.iter_mut().for_each(|x| *x = (f64::from(*x) / sum) as f32);
    }
}

/// The highest logit, −∞ when there is none.
pub fn highest(logits: &[f32]) -> f32 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Probability of a logit, not yet divided by the sum of all.
pub fn weight(logit: f32, max: f32) -> f32 {
    // Masked tokens are most of a vocabulary after top-k; the comparison is cheaper than `exp`, and −∞ − −∞ is NaN.
    if logit == f32::NEG_INFINITY { 0.0 } else { (logit - max).exp() }
}

#[cfg(test)]
mod tests {
    use super::softmax;

    #[test]
    fn by_hand() {
        // exp of ln 1, ln 2, ln 5 are 1, 2, 5 of 8; a common shift changes nothing.
        for shift in [0.0f32, 80.0, -80.0] {
            let mut x = [shift, 2.0f32.ln() + shift, 5.0f32.ln() + shift];
            softmax(&mut x);
            for (p, expected) in x.iter().zip([0.125, 0.25, 0.625]) {
                assert!((p - expected).abs() < 2e-6, "{p} is not {expected}");
            }
        }
        let mut masked = [f32::NEG_INFINITY; 2];
        softmax(&mut masked);
        assert_eq!(masked, [0.0, 0.0]);
    }
}
