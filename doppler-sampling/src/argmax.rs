//! The best token.

/// The token with the highest logit, the lowest id of equal ones; `None` when every logit is −∞ or there is none.
///
/// NaN is never the best.
///
/// ```
/// assert_eq!(doppler_sampling::argmax(&[0.0, 3.0, 3.0]), Some(1));
/// ```
#[must_use]
pub fn argmax(logits: &[f32]) -> Option<u32> {
    let mut best = None;
    let mut highest = f32::NEG_INFINITY;
    for (id, &logit) in (0..).zip(logits) {
        if logit > highest {
            highest = logit;
            best = Some(id);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::argmax;

    #[test]
    fn edges() {
        assert_eq!(argmax(&[]), None);
        assert_eq!(argmax(&[f32::NEG_INFINITY; 3]), None);
        assert_eq!(argmax(&[f32::NAN, -5.0]), Some(1));
        assert_eq!(argmax(&[-0.0, 0.0]), Some(0));
    }
}
