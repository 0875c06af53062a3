//! From logits to a token: penalties, top-k, top-p, min-p, temperature and the draw, as pure functions over a slice.
//!
//! Knows no model, no tokenizer and no GPU. Nothing here holds state: token `n` of a text depends on its logits, on the
//! tokens before it and on (seed, `n`) alone, so a text can be continued, replayed or verified from any position.
//!
//! ```
//! use doppler_sampling::Sampler;
//!
//! let sampler = Sampler::new(7).temperature(0.7).top_k(40).top_p(0.9).repeat_penalty(1.1);
//! let mut text = vec![2];
//! for position in 0..4 {
//!     let mut logits = [0.5, 1.5, -1.0, 3.0]; // in life, the model's answer to `text`
//!     text.push(sampler.sample(&mut logits, &text, position)?);
//! }
//! assert!(text.iter().all(|&id| id < 4));
//! # Ok::<(), doppler_sampling::Error>(())
//! ```
//!
//! The draw and the shares that it keeps are computed in integers ([`Chain`]): a GPU that computes the same numbers chooses
//! the same token.
//!
//! A token is taken out by setting its logit to −∞. Among equal logits the lowest id is the best one, everywhere.

mod argmax;
mod chain;
mod draw;
mod error;
mod min_p;
pub mod octaves;
mod order;
mod penalties;
pub mod rng;
mod sampler;
mod softmax;
mod temperature;
mod top_k;
mod top_p;

pub use argmax::argmax;
pub use chain::{BUCKETS, Bucket, Chain, Range, WORDS};
pub use draw::draw;
pub use error::Error;
pub use min_p::min_p;
pub use penalties::{Penalties, penalties};
pub use sampler::Sampler;
pub use softmax::softmax;
pub use temperature::temperature;
pub use top_k::top_k;
pub use top_p::top_p;
