//! Before the first token: variants are chosen and tested and shaders compiled while weights are still on their way.

use super::DecoderPipeline;
use crate::Error;
use crate::gpu::Uploads;

impl DecoderPipeline {
    /// Uploads the weights, telling bytes done and in total, and records at the same time what will be run: so the load takes
    /// as long as the longer of both. Nothing on the CPU.
    ///
    /// # Errors
    /// What the device reports, that of the uploads first.
    pub(super) fn warm_up(&mut self, uploads: Uploads, progress: impl FnMut(u64, u64)) -> Result<(), Error> {
        let device = self.device.clone();
        let Some(gpu) = device.gpu() else { return Ok(()) };
        let mut recorded = Ok(());
        // Compilers run on rayon's threads anyway. This one stays the one that `progress` is told from.
        let uploaded = rayon::in_place_scope(|scope| {
            scope.spawn(|_| recorded = self.record_ahead());
            uploads.run(gpu, progress)
        });
        uploaded.and(recorded)
    }

    /// Records what will be run, a decode step and a whole chunk of a prompt, so that an unusable kernel is an error of the
    /// load and the first token does not wait for compilers. Runs nothing of it: the weights may not be there yet.
    fn record_ahead(&mut self) -> Result<(), Error> {
        self.decode_step()?;
        let rows = self.chunk_rows(self.max_seq_len, 1);
        match self.several_rows(rows, 1) {
            // A shorter prompt may still fit; one that does not will say so.
            Ok(_) | Err(Error::OutOfMemory { .. } | Error::BindingTooLarge { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
