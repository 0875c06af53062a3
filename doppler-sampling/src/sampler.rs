//! The chain of transforms and the draw, with its settings.

use crate::{Chain, Error, Penalties, argmax, min_p, octaves, penalties, softmax, temperature, top_k, top_p};

/// How tokens are chosen.
///
/// The transforms run in the order that llama.cpp documents, whatever order the setters were called in: penalties, top-k,
/// top-p, min-p, temperature, then one draw. So top-p and min-p see the model's own probabilities, among the tokens
/// that the steps before have left.
///
/// The draw and what it is made of are computed in integers: on every device the same token comes of the same logits. Its
/// distribution differs from that of exact arithmetic by less than 10⁻⁶.
///
/// Settings are checked when the sampler is used ([`Sampler::validate`] checks them earlier).
///
/// ```
/// use doppler_sampling::Sampler;
/// let sampler = Sampler::new(1).temperature(0.8).top_k(2);
/// let mut logits = [2.0, 1.0, 0.0];
/// let chances = sampler.probabilities(&mut logits, &[])?;
/// assert_eq!(chances.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 1]);
/// # Ok::<(), doppler_sampling::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    seed: u64,
    penalties: Penalties,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    temperature: f32,
}

impl Sampler {
    /// Draws from the model's own distribution: temperature 1, nothing cut off, no penalties.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Sampler { seed, penalties: Penalties::default(), top_k: 0, top_p: 1.0, min_p: 0.0, temperature: 1.0 }
    }

    /// Always the best token.
    #[must_use]
    pub fn greedy() -> Self {
        Sampler::new(0).temperature(0.0)
    }

    /// 0 is the best token, 1 the model's own distribution, more is flatter.
    #[must_use]
    pub fn temperature(self, temperature: f32) -> Self {
        Sampler { temperature, ..self }
    }

    /// Keeps the `k` best tokens; 0 keeps all.
    #[must_use]
    pub fn top_k(self, k: usize) -> Self {
        Sampler { top_k: k, ..self }
    }

    /// Keeps the fewest best tokens whose probability is at least `p`; 1 keeps all.
    #[must_use]
    pub fn top_p(self, p: f32) -> Self {
        Sampler { top_p: p, ..self }
    }

    /// Keeps tokens with at least `p` times the probability of the best; 0 keeps all.
    #[must_use]
    pub fn min_p(self, p: f32) -> Self {
        Sampler { min_p: p, ..self }
    }

    /// Divides positive and multiplies negative logits of tokens that occurred; 1 changes nothing.
    #[must_use]
    pub fn repeat_penalty(mut self, penalty: f32) -> Self {
        self.penalties.repeat = penalty;
        self
    }

    /// Subtracted from the logits of tokens that occurred; 0 changes nothing.
    #[must_use]
    pub fn presence_penalty(mut self, penalty: f32) -> Self {
        self.penalties.presence = penalty;
        self
    }

    /// Subtracted from the logits of tokens for each time that they occurred; 0 changes nothing.
    #[must_use]
    pub fn frequency_penalty(mut self, penalty: f32) -> Self {
        self.penalties.frequency = penalty;
        self
    }

    /// How many of the last tokens the penalties look at: 64 unless set, `usize::MAX` for all, 0 for none.
    #[must_use]
    pub fn penalty_last_n(mut self, tokens: usize) -> Self {
        self.penalties.last_n = tokens;
        self
    }

    /// Whether the chosen token is always the one with the highest raw logit, whatever came before: then the choice can
    /// be left to the GPU. Temperature 0 with a penalty is not.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 && self.penalties.change_nothing()
    }

    /// Whether the choice depends on the text before, and not on the logits and the position alone.
    #[must_use]
    pub fn needs_history(&self) -> bool {
        !self.penalties.change_nothing()
    }

    /// What is done behind the penalties to that many logits, for a GPU; `None` at temperature 0. Settings are valid.
    #[must_use]
    pub fn chain(&self, vocab_size: usize) -> Option<Chain> {
        let top_k = if self.top_k < vocab_size { self.top_k } else { 0 };
        (self.temperature > 0.0).then(|| Chain::new(top_k, self.top_p, self.min_p, self.temperature, self.seed))
    }

    /// The seed of the draws.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Checks every setting.
    /// # Errors
    /// [`Error::Parameter`] names the first that has no meaning.
    pub fn validate(&self) -> Result<(), Error> {
        let check = |name, value: f32, ok: bool, allowed| {
            if ok { Ok(()) } else { Err(Error::Parameter { name, value, allowed }) }
        };
        let Penalties { repeat, presence, frequency, .. } = self.penalties;
        let (temperature, top_p, min_p) = (self.temperature, self.top_p, self.min_p);
        check("temperature", temperature, temperature.is_finite() && temperature >= 0.0, "0 (greedy) or more")?;
        check("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "more than 0, up to 1 (off)")?;
        check("min_p", min_p, (0.0..=1.0).contains(&min_p), "0 (off) to 1")?;
        check("repeat_penalty", repeat, repeat.is_finite() && repeat > 0.0, "more than 0; 1 is off")?;
        check("presence_penalty", presence, presence.is_finite(), "a finite number; 0 is off")?;
        check("frequency_penalty", frequency, frequency.is_finite(), "a finite number; 0 is off")
    }

    /// The next token. `logits` are the model's for this position, one a token, and are overwritten; `history` is the
    /// text so far, for the penalties; `draw_index` is the position of the token, which selects the random number.
    /// # Errors
    /// [`Error::Parameter`] for a setting, [`Error::Logit`] for NaN or +∞, [`Error::NoCandidate`] when all are −∞.
    pub fn sample(&self, logits: &mut [f32], history: &[u32], draw_index: u64) -> Result<u32, Error> {
        self.validate()?;
        check_logits(logits)?;
        penalties(logits, history, &self.penalties);
        let chosen = match self.chain(logits.len()) {
            Some(chain) => chain.choose(logits, draw_index),
            None => argmax(logits),
        };
        chosen.ok_or(Error::NoCandidate { vocab_size: logits.len() })
    }

    /// The distribution that [`Sampler::sample`] draws from: tokens of probability above 0, by rising id. Speculative
    /// decoding compares those of the draft and of the target. `logits` are overwritten with the probabilities.
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn probabilities(&self, logits: &mut [f32], history: &[u32]) -> Result<Vec<(u32, f32)>, Error> {
        self.transform(logits, history)?;
        softmax(logits);
        Ok((0..).zip(logits.iter().copied()).filter(|&(_, p)| p > 0.0).collect())
    }

    /// Every step but the draw: what cannot be drawn becomes −∞, the rest is ready for [`softmax`].
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn transform(&self, logits: &mut [f32], history: &[u32]) -> Result<(), Error> {
        self.validate()?;
        check_logits(logits)?;
        penalties(logits, history, &self.penalties);
        if self.temperature > 0.0 {
            // None of these removes the best token, so they say nothing to a greedy choice.
            top_k(logits, self.top_k);
            top_p(logits, self.top_p);
            min_p(logits, self.min_p);
        }
        temperature(logits, self.temperature);
        Ok(())
    }
}

fn check_logits(logits: &[f32]) -> Result<(), Error> {
    if logits.len() > octaves::MOST_TOKENS {
        return Err(Error::TooManyTokens { vocab_size: logits.len(), most: octaves::MOST_TOKENS });
    }
    let mut any = false;
    for (id, &value) in (0..).zip(logits) {
        if value.is_nan() || value == f32::INFINITY {
            return Err(Error::Logit { id, value });
        }
        any |= value > f32::NEG_INFINITY;
    }
    if any { Ok(()) } else { Err(Error::NoCandidate { vocab_size: logits.len() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn greedy_is_argmax_with_the_lowest_id() {
        let sampler = Sampler::greedy();
        assert!(sampler.is_greedy());
        assert_eq!(sampler.sample(&mut [1.0, 5.0, 5.0, OUT], &[1, 1], 0), Ok(1));
        assert_eq!(sampler.probabilities(&mut [1.0, 5.0, 5.0, OUT], &[]), Ok(vec![(1, 1.0)]));
    }

    #[test]
    fn a_penalty_at_temperature_0_is_not_the_gpus_argmax() {
        let sampler = Sampler::greedy().repeat_penalty(2.0);
        assert!(!sampler.is_greedy());
        assert!(sampler.clone().penalty_last_n(0).is_greedy());
        assert_eq!(sampler.sample(&mut [4.0, 5.0], &[1], 0), Ok(0));
    }

    #[test]
    fn top_p_is_taken_of_what_top_k_leaves() {
        // Of 0.4, 0.3, 0.2, 0.1 top-k leaves 0.4 and 0.3, that is 0.571 and 0.429: the first alone holds 0.5.
        let mut logits = [0.4f32.ln(), 0.3f32.ln(), 0.2f32.ln(), 0.1f32.ln()];
        let chances = Sampler::new(0).top_k(2).top_p(0.5).probabilities(&mut logits, &[]);
        assert_eq!(chances, Ok(vec![(0, 1.0)]));
    }

    #[test]
    fn broken_logits_are_errors() {
        let sampler = Sampler::new(0);
        for greedy in [sampler.clone(), Sampler::greedy()] {
            let error = greedy.sample(&mut [0.0, f32::NAN], &[], 0).unwrap_err();
            assert!(matches!(error, Error::Logit { id: 1, value } if value.is_nan()), "{error}");
            let infinite = Error::Logit { id: 0, value: f32::INFINITY };
            assert_eq!(greedy.sample(&mut [f32::INFINITY, 0.0], &[], 0), Err(infinite));
            assert_eq!(greedy.sample(&mut [OUT, OUT], &[], 0), Err(Error::NoCandidate { vocab_size: 2 }));
            assert_eq!(greedy.sample(&mut [], &[], 0), Err(Error::NoCandidate { vocab_size: 0 }));
        }
    }

    #[test]
    fn every_setting_is_checked_by_name() {
        let new = || Sampler::new(0);
        let cases = [
            ("temperature", new().temperature(-1.0)),
            ("temperature", new().temperature(f32::NAN)),
            ("temperature", new().temperature(f32::INFINITY)),
            ("top_p", new().top_p(0.0)),
            ("top_p", new().top_p(1.1)),
            ("min_p", new().min_p(-0.1)),
            ("min_p", new().min_p(f32::NAN)),
            ("repeat_penalty", new().repeat_penalty(0.0)),
            ("presence_penalty", new().presence_penalty(f32::INFINITY)),
            ("frequency_penalty", new().frequency_penalty(f32::NAN)),
        ];
        for (expected, sampler) in cases {
            let error = sampler.sample(&mut [0.0], &[], 0).unwrap_err();
            assert!(matches!(error, Error::Parameter { name, .. } if name == expected), "{error}");
        }
        assert_eq!(new().top_p(1.5).validate().unwrap_err().to_string(), {
            "sampler setting `top_p` is 1.5; choose more than 0, up to 1 (off)"
        });
    }

    #[test]
    fn any_temperature_above_0_draws() {
        for t in [f32::MIN_POSITIVE, 1e-20, 1.0, 1e20, f32::MAX] {
            let drawn = Sampler::new(3).temperature(t).sample(&mut [f32::MIN, 0.0, f32::MAX], &[], 9).unwrap();
            assert!(drawn < 3);
        }
    }
}
