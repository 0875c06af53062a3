//! How much a forward pass asks of a device at once.

use doppler_kernels::{AttentionHalf, Kernel};
use doppler_rdrr::DType;

use super::{Decoder, attention_of};
use crate::Device;

impl Decoder {
    /// Multiply-adds, roughly, of the largest dispatch of a forward pass whose rows end at `positions`.
    pub fn largest_dispatch(&self, device: &Device, rows: usize, positions: usize, logit_rows: usize) -> u64 {
        let c = &self.config;
        // A window in every layer, or none that bounds all of them.
        let window = (0..c.num_hidden_layers).map(|i| c.window(i)).max_by_key(|window| window.unwrap_or(usize::MAX));
        let attention = AttentionHalf(attention_of(c, rows, positions, DType::F16, window.flatten()));
        let product = |rows: usize, cols: usize| (rows * c.hidden_size) as u64 * cols as u64;
        let widest = match self.prompt_layers(device, rows) {
            Some(_) => (2 * c.intermediate_size).max(c.q_dim() + 2 * c.kv_dim()),
            None => c.intermediate_size.max(c.q_dim()),
        };
        attention.multiply_adds(positions).max(product(rows, widest)).max(product(logit_rows, c.vocab_size))
    }
}
