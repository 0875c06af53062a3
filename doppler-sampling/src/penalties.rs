//! Penalties for tokens that the text already has.

use std::collections::HashMap;

/// How tokens that came before lose logit. The default changes nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalties {
    /// How many of the last tokens count; `usize::MAX` for all.
    pub last_n: usize,
    /// Divides a positive logit and multiplies a negative one; 1 changes nothing, more than 1 discourages.
    pub repeat: f32,
    /// Subtracted once from each token that occurs.
    pub presence: f32,
    /// Subtracted for each time that a token occurs.
    pub frequency: f32,
}

impl Default for Penalties {
    fn default() -> Self {
        Penalties { last_n: 64, repeat: 1.0, presence: 0.0, frequency: 0.0 }
    }
}

impl Penalties {
    /// Whether logits come out as they went in.
    #[must_use]
    pub fn change_nothing(&self) -> bool {
        self.last_n == 0 || (self.repeat == 1.0 && self.presence == 0.0 && self.frequency == 0.0)
    }
}

/// Applies `settings` to the tokens that occur in the last tokens of `history`: first the repetition penalty, then
/// presence and frequency. Masked tokens stay masked, and ids that have no logit are ignored.
///
/// ```
/// use doppler_sampling::{Penalties, penalties};
/// let mut logits = [1.0, 2.0, -1.0];
/// penalties(&mut logits, &[1, 2, 1], &Penalties { repeat: 2.0, frequency: 0.25, ..Penalties::default() });
/// assert_eq!(logits, [1.0, 0.5, -2.25]);
/// ```
/// # Source
/// The repetition penalty: Keskar et al. 2019, <https://arxiv.org/abs/1909.05858>
pub fn penalties(logits: &mut [f32], history: &[u32], settings: &Penalties) {
    if settings.change_nothing() {
        return;
    }
    let window = history.get(history.len().saturating_sub(settings.last_n)..).unwrap_or_default();
    let mut counts: HashMap<u32, u32> = HashMap::new();
    for &id in window {
        *counts.entry(id).or_default() += 1;
    }
    for (id, count) in counts {
        let Some(logit) = usize::try_from(id).ok().and_then(|id| logits.get_mut(id)) else { continue };
        if *logit == f32::NEG_INFINITY {
            continue;
        }
        let scaled = if *logit > 0.0 { *logit / settings.repeat } else { *logit * settings.repeat };
        let subtracted = settings.presence + settings.frequency * count as f32;
        // Absurd settings may overflow; a finite logit keeps the sums after this free of ∞ − ∞.
        *logit = (scaled.clamp(f32::MIN, f32::MAX) - subtracted.clamp(f32::MIN, f32::MAX)).clamp(f32::MIN, f32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::{Penalties, penalties};

    fn run(history: &[u32], settings: Penalties) -> [f32; 4] {
        let mut logits = [4.0, -4.0, 0.0, f32::NEG_INFINITY];
        penalties(&mut logits, history, &settings);
        logits
    }

    #[test]
    fn each_by_hand() {
        let none = Penalties::default();
        let out = f32::NEG_INFINITY;
        assert_eq!(run(&[0, 1, 2, 3], none), [4.0, -4.0, 0.0, out]);
        assert_eq!(run(&[0, 1, 2, 3, 0], Penalties { repeat: 2.0, ..none }), [2.0, -8.0, 0.0, out]);
        assert_eq!(run(&[0, 1, 0], Penalties { presence: 0.5, ..none }), [3.5, -4.5, 0.0, out]);
        assert_eq!(run(&[0, 1, 0], Penalties { frequency: 0.5, ..none }), [3.0, -4.5, 0.0, out]);
        let all = Penalties { repeat: 2.0, presence: 1.0, frequency: 0.5, ..none };
        assert_eq!(run(&[0, 0], all), [0.0, -4.0, 0.0, out]);
    }

    #[test]
    fn window() {
        let settings = Penalties { presence: 1.0, last_n: 2, ..Penalties::default() };
        assert_eq!(run(&[0, 1, 2], settings)[..3], [4.0, -5.0, -1.0]);
        assert_eq!(run(&[0, 1, 2], Penalties { last_n: 0, ..settings })[..3], [4.0, -4.0, 0.0]);
        assert_eq!(run(&[0, 1, 2], Penalties { last_n: usize::MAX, ..settings })[..3], [3.0, -5.0, -1.0]);
    }

    #[test]
    fn hostile_ids_and_settings() {
        assert_eq!(run(&[4, u32::MAX], Penalties { repeat: 2.0, ..Penalties::default() })[..3], [4.0, -4.0, 0.0]);
        let absurd = Penalties { repeat: f32::MIN_POSITIVE, presence: f32::MAX, frequency: f32::MAX, last_n: 9 };
        assert!(run(&[0, 1, 2], absurd)[..3].iter().all(|x| x.is_finite()));
    }
}
