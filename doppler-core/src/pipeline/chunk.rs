//! How a prompt is cut: as many rows as the settings allow, and fewer where one dispatch would take a device too long.

use super::DecoderPipeline;

/// Fewer rows than this are no faster: weights and cache are read for each chunk.
const LEAST_ROWS: usize = 16;

impl DecoderPipeline {
    /// Rows of the next chunk of a prompt, `left` of which are to come; logits are wanted of its last `logit_rows`.
    pub(super) fn chunk_rows(&self, left: usize, logit_rows: usize) -> usize {
        let most = self.device.gpu().map_or(u64::MAX, |gpu| gpu.most_work);
        let largest = |rows: usize| {
            let of_head = (logit_rows + rows).saturating_sub(left).min(rows);
            self.decoder.largest_dispatch(&self.device, rows, self.computed + rows, of_head)
        };
        let mut rows = self.prefill_chunk;
        while rows > LEAST_ROWS && largest(rows.min(left)) > most {
            rows /= 2;
        }
        rows.min(left)
    }
}
