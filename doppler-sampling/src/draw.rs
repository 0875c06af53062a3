//! One token from probabilities and one number.

/// The token at which the running sum of `probabilities` passes `uniform` times their whole sum; `uniform` is in [0, 1).
///
/// The probabilities need not sum to 1, so the residual of a rejected draft can be given as it is. A token of
/// probability 0 is never drawn; `None` when all are 0.
///
/// ```
/// assert_eq!(doppler_sampling::draw(&[0.25, 0.0, 0.75], 0.3), Some(2));
/// ```
#[must_use]
pub fn draw(probabilities: &[f32], uniform: f64) -> Option<u32> {
    let sum: f64 = probabilities.iter().map(|&p| f64::from(p)).sum();
    let target = uniform * sum;
    let mut passed = 0.0;
    let mut last = None;
    for (id, &p) in (0..).zip(probabilities) {
        if p > 0.0 {
            passed += f64::from(p);
            last = Some(id);
            if passed > target {
                break;
            }
        }
    }
    // Without the break `last` is the last token that can be drawn at all: rounding made `target` equal to the sum.
    last
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn by_hand() {
        let p = [0.0, 1.0, 0.0, 2.0, 1.0, 0.0];
        for (uniform, id) in [(0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (0.999, 4), (1.0, 4)] {
            assert_eq!(draw(&p, uniform), Some(id), "at {uniform}");
        }
        assert_eq!(draw(&[0.0; 3], 0.5), None);
        assert_eq!(draw(&[], 0.5), None);
    }
}
