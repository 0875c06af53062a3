//! What a pipeline has to be tuned: its decode step and prompts of several lengths.

use std::time::Duration;

use doppler_rdrr::DType;

use super::DecoderPipeline;
use crate::Error;
use crate::tune::{Tuner, TuningReport};

/// Lengths of prompts are rounded up to these powers of four when a variant is looked up; short ones first, since a slow
/// device has no time for the others. (`GemmHalf` has another order of variants for 17 to 32 rows than for 64, so that what is
/// measured of it at 64 is not taken for them: the registry's first choice is.)
const LENGTHS: [usize; 3] = [16, 64, 256];

impl DecoderPipeline {
    /// Times the variants of the kernels of a decode step and of prompts on this model's own tensors, and takes the fastest
    /// from then on, on this adapter with this driver, also in later programs. Takes `budget` at most, but for what is
    /// under way by then; the context is forgotten. On the CPU there is nothing to choose, and the report is empty.
    ///
    /// # Errors
    /// What the device reports.
    pub fn tune(&mut self, budget: Duration) -> Result<TuningReport, Error> {
        let device = self.device.clone();
        let Some(gpu) = device.gpu() else { return Ok(TuningReport::default()) };
        self.forget_flight();
        self.tokens.clear();
        self.computed = 0;
        let longest = self.chunk_rows(self.max_seq_len, 1);
        self.reserve(longest)?;
        let mut tuner = Tuner::new(gpu, budget);
        // Deep in the context, as most steps are: its cost is what grows.
        let deep = self.cache.capacity * 3 / 4;
        self.go_to(deep)?;
        device.write(&self.next, bytemuck::bytes_of(&0u32))?;
        tuner.recording(&self.decode_step()?.forward.recording, 0.5)?;
        self.go_to(0)?;
        let shorter = LENGTHS.into_iter().filter(|length| *length < longest);
        for rows in shorter.chain([longest]).filter(|rows| *rows > 1) {
            let ids = device.alloc("ids", &[rows], DType::U32)?;
            device.write(&ids, &vec![0; 4 * rows])?;
            let forward = self.record(ids, rows, 1)?;
            tuner.recording(&forward.recording, if rows == longest { 1.0 } else { 0.5 })?;
        }
        let report = tuner.finish()?;
        self.forget_recordings();
        Ok(report)
    }
}
