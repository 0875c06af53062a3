//! What can go wrong while choosing a token.

/// An error of the sampler.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting outside of what has a meaning.
    #[error("sampler setting `{name}` is {value}; choose {allowed}")]
    Parameter {
        /// The setter.
        name: &'static str,
        /// What it was given.
        value: f32,
        /// What it takes.
        allowed: &'static str,
    },
    /// NaN or +∞: no probability follows from it.
    #[error(
        "the logit of token {id} is {value}; the computation before it is broken, check the model with `inspect --verify` and the device with `selftest`"
    )]
    Logit {
        /// The first such token.
        id: u32,
        /// Its logit.
        value: f32,
    },
    /// More tokens than weights can be summed of.
    #[error("{vocab_size} tokens are too many to draw from; a sampler takes {most}")]
    TooManyTokens {
        /// Number of logits.
        vocab_size: usize,
        /// What can be summed.
        most: usize,
    },
    /// No token can be chosen.
    #[error("none of the {vocab_size} tokens can be chosen: every logit is -inf; allow at least one token")]
    NoCandidate {
        /// Number of logits.
        vocab_size: usize,
    },
}
