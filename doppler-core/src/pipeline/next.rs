//! The next token: chosen on the device, with steps in flight, or from logits that the CPU reads.

use doppler_sampling::{Chain, Sampler};

use super::{AHEAD, DecoderPipeline};
use crate::device::Pending;
use crate::{Error, Pipeline};

/// What stands for a token when no token can be chosen: a logit is NaN, say.
const NONE: u32 = u32::MAX;

/// How the device chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Choice {
    /// The likeliest token.
    #[default]
    Greedy,
    /// By these settings.
    Drawn(Chain),
}

impl DecoderPipeline {
    /// Why the logits are read back for each token that `sampler` chooses, one row of the vocabulary instead of four bytes;
    /// `None` when the device chooses.
    #[must_use]
    pub fn why_logits_are_read(&self, sampler: &Sampler) -> Option<&'static str> {
        if sampler.needs_history() {
            Some("penalties depend on the text before")
        } else if !sampler.is_greedy() && self.device.gpu().is_none() {
            Some("not on a GPU")
        } else {
            None
        }
    }

    /// Waits for the steps that run ahead of the last token: nothing of this pipeline runs on the device then, but perhaps what a
    /// rewind or another choice of tokens has dropped just before.
    ///
    /// # Errors
    /// As [`Pipeline::next`].
    pub async fn idle(&mut self) -> Result<(), Error> {
        for step in std::mem::take(&mut self.ahead) {
            self.ahead.push_back(Pending::Ready(step.bytes().await?));
        }
        Ok(())
    }

    /// The next token by `sampler`, appended.
    pub(super) async fn choose(&mut self, sampler: &Sampler) -> Result<u32, Error> {
        sampler.validate()?;
        if self.tokens.len() >= self.max_seq_len {
            return Err(self.context_full(self.tokens.len() + 1));
        }
        let id = if self.why_logits_are_read(sampler).is_some() {
            let mut logits = self.last_logits().await?;
            sampler.sample(&mut logits, &self.tokens, self.tokens.len() as u64)?
        } else {
            let chain = sampler.chain(self.config().vocab_size);
            self.choose_ahead(sampler, chain.map_or(Choice::Greedy, Choice::Drawn)).await?
        };
        self.tokens.push(id);
        Ok(id)
    }

    /// The next token by the device; so many more steps are on their way that it never waits for the CPU to look.
    async fn choose_ahead(&mut self, sampler: &Sampler, choice: Choice) -> Result<u32, Error> {
        if self.choice != choice {
            // What is in flight was chosen in another way.
            self.ahead.clear();
            if let Choice::Drawn(chain) = &choice {
                self.device.write(&self.settings, bytemuck::cast_slice(&chain.words()))?;
            }
            self.choice = choice;
        }
        if let Some(mut logits) = self.logits.take() {
            // They are here already: the CPU chooses, and the device goes on from there.
            let id = match choice {
                Choice::Greedy => argmax(&logits),
                Choice::Drawn(_) => sampler.sample(&mut logits, &[], self.tokens.len() as u64)?,
            };
            if id == NONE {
                return Err(Error::NanLogits);
            }
            self.device.write(&self.next, bytemuck::bytes_of(&id))?;
            self.ahead.push_back(Pending::Ready(id.to_le_bytes().to_vec()));
        } else if self.computed + 1 != self.tokens.len() + self.ahead.len() {
            // After a rewind, or when a step in flight was lost to a cancelled call: the last token goes through again.
            self.ahead.clear();
            let before_last = self.tokens.len().checked_sub(1).ok_or(Error::NoLogits)?;
            self.computed = self.computed.min(before_last);
        }
        // The CPU computes at once: running ahead would only waste work there.
        let wanted = if self.device.gpu().is_some() { 1 + AHEAD } else { 1 };
        while self.ahead.len() < wanted && self.computed < self.max_seq_len {
            let step = self.step_ahead()?;
            self.ahead.push_back(step);
        }
        let bytes = self.ahead.pop_front().ok_or(Error::NoLogits)?.bytes().await?;
        let id: u32 = bytemuck::pod_read_unaligned(&bytes);
        if id == NONE { Err(Error::NanLogits) } else { Ok(id) }
    }

    /// Submits the decode step of the token at `computed`, which is on the device already when steps are in flight.
    fn step_ahead(&mut self) -> Result<Pending, Error> {
        self.reserve(self.computed + 1)?;
        self.go_to(self.computed)?;
        if let Some(token) = self.tokens.get(self.computed) {
            self.device.write(&self.next, bytemuck::bytes_of(token))?;
        }
        let (device, next, choice) = (self.device.clone(), self.next.clone(), self.choice);
        let step = self.decode_step()?;
        let recordings = [&step.forward.recording, step.choice(choice)?];
        let pending = device.submit(&recordings, Some((&next, 1)))?.ok_or(Error::NoLogits)?;
        self.computed += 1;
        // The last kernel of a choice on a GPU has moved on.
        self.position_there = device.gpu().map(|_| self.computed);
        Ok(pending)
    }

    /// The logits after the last token.
    async fn last_logits(&mut self) -> Result<Vec<f32>, Error> {
        if let Some(logits) = self.logits.take() {
            return Ok(logits);
        }
        let before_last = self.tokens.len().checked_sub(1).ok_or(Error::NoLogits)?;
        self.computed = self.valid().min(before_last);
        self.compute(&[], 1).await
    }
}

/// The index of the largest value; the lowest wins ties.
fn argmax(values: &[f32]) -> u32 {
    if values.iter().any(|value| value.is_nan()) {
        return NONE;
    }
    doppler_sampling::argmax(values).unwrap_or(0)
}
