//! Temperature: how much the better tokens are preferred.

use crate::{argmax, softmax};

/// Divides the logits by `temperature`, after subtracting the highest; at 0 only the best token stays.
///
/// The subtraction changes no probability and keeps a temperature near 0 from overflowing.
///
/// ```
/// let mut logits = [1.0, 3.0];
/// doppler_sampling::temperature(&mut logits, 0.5);
/// assert_eq!(logits, [-4.0, 0.0]);
/// ```
pub fn temperature(logits: &mut [f32], temperature: f32) {
    if temperature > 0.0 {
        let max = softmax::highest(logits);
        logits.iter_mut().filter(|x| **x > f32::NEG_INFINITY).for_each(|x| *x = (*x - max) / temperature);
    } else if let Some(best) = argmax(logits) {
        (0..).zip(logits).filter(|(id, _)| *id != best).for_each(|(_, x)| *x = f32::NEG_INFINITY);
    }
}

#[cfg(test)]
mod tests {
    use super::temperature;
    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn edges() {
        let at = |t| {
            let mut logits = [1.0, 3.0, OUT, 3.0];
            temperature(&mut logits, t);
            logits
        };
        assert_eq!(at(0.0), [OUT, 3.0, OUT, OUT]);
        assert_eq!(at(2.0), [-1.0, 0.0, OUT, 0.0]);
        assert_eq!(at(f32::MIN_POSITIVE)[1..], [0.0, OUT, 0.0]);
    }
}
