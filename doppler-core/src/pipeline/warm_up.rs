//! Before the first token: variants are chosen and tested and shaders compiled while weights are still on their way.

use super::DecoderPipeline;
use crate::Error;

impl DecoderPipeline {
    /// Records what will be run, a decode step and a whole chunk of a prompt, so that an unusable kernel is an error of the
    /// load and the first token does not wait for compilers. Runs nothing of it.
    pub(super) fn warm_up(&mut self) -> Result<(), Error> {
        if self.device.gpu().is_none() {
            return Ok(());
        }
        self.decode_step()?;
        let rows = self.chunk_rows(self.max_seq_len, 1);
        match self.several_rows(rows, 1) {
            // A shorter prompt may still fit; one that does not will say so.
            Ok(_) | Err(Error::OutOfMemory { .. } | Error::BindingTooLarge { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
