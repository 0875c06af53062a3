//! Recordings that are kept: of the decode step, of the last few rows and of the last prompt.

use doppler_kernels::linear;
use doppler_rdrr::DType;

use super::DecoderPipeline;
use super::next::Choice;
use crate::decoder::{Forward, Inputs, NextToken, Places};
use crate::{Error, Recording, Tensor};

/// One row through the model, and the choice of the token after it.
#[derive(Debug)]
pub(super) struct DecodeStep {
    pub forward: Forward,
    pub next: NextToken,
}

impl DecodeStep {
    /// The recording of a way to choose.
    pub fn choice(&self, choice: Choice) -> Result<&Recording, Error> {
        match choice {
            Choice::Greedy => Ok(&self.next.greedy),
            Choice::Drawn(_) => self.next.drawn.as_ref().ok_or(Error::NoLogits),
        }
    }
}

/// A recording of several rows, of which the last have logits.
#[derive(Debug)]
pub(super) struct Rows {
    rows: usize,
    logit_rows: usize,
    pub forward: Forward,
}

impl DecoderPipeline {
    /// What runs next is recorded anew, by what the device knows of its kernels then: after [`Device::import_tuning`], say.
    ///
    /// [`Device::import_tuning`]: crate::Device::import_tuning
    pub fn forget_recordings(&mut self) {
        self.decode = None;
        (self.few, self.many) = (None, None);
    }

    pub(super) fn record(&self, ids: Tensor, rows: usize, logit_rows: usize) -> Result<Forward, Error> {
        let (cache, start) = (&self.cache, &self.start);
        self.decoder.record(&self.device, Inputs { cache, ids, start, rows, logit_rows })
    }

    pub(super) fn decode_step(&mut self) -> Result<&DecodeStep, Error> {
        let step = match self.decode.take() {
            Some(step) => step,
            None => {
                let forward = self.record(self.next.clone(), 1, 1)?;
                let logits = forward.logits.as_ref().ok_or(Error::NoLogits)?;
                let places = Places { start: &self.start, next: &self.next, settings: &self.settings };
                let next = NextToken::record(&self.device, logits, &places)?;
                DecodeStep { forward, next }
            }
        };
        Ok(self.decode.insert(step))
    }

    /// The pass of several rows, recorded anew when their number was another one before.
    pub(super) fn several_rows(&mut self, rows: usize, logit_rows: usize) -> Result<&Forward, Error> {
        let few = rows <= linear::MOST_ROWS;
        let before = if few { self.few.take() } else { self.many.take() };
        let forward = match before {
            Some(known) if (known.rows, known.logit_rows) == (rows, logit_rows) => known.forward,
            before => {
                // Its memory is free for the new one.
                drop(before);
                let ids = self.device.alloc("ids", &[rows], DType::U32)?;
                self.record(ids, rows, logit_rows)?
            }
        };
        let kept = if few { &mut self.few } else { &mut self.many };
        Ok(&kept.insert(Rows { rows, logit_rows, forward }).forward)
    }
}
