//! The activations of a forward pass of many rows, and what any pass takes of memory.

use doppler_kernels::GemmHalf;
use doppler_rdrr::{DType, ModelConfig};

use super::prompt;
use crate::weights::Rounded;
use crate::{Device, Error, Tensor};

/// The activations of one forward pass, reused by every layer.
pub(super) struct Scratch {
    pub hidden: Tensor,
    pub residual: Tensor,
    pub normed: Tensor,
    pub branch: Tensor,
    pub q: [Tensor; 2],
    pub k: [Tensor; 2],
    pub v: [Tensor; 2],
    pub attended: Tensor,
    pub gate: Tensor,
    pub up: Tensor,
    pub activated: Tensor,
    /// `normed`, `attended` and `activated` as products of many rows take them.
    pub rounded_hidden: Option<Rounded>,
    pub rounded_attended: Option<Rounded>,
    pub rounded_activated: Option<Rounded>,
}

impl Scratch {
    /// `packed` says whether some matrices of the layers are.
    pub fn new(device: &Device, c: &ModelConfig, rows: usize, packed: bool) -> Result<Scratch, Error> {
        let alloc = |label, cols| device.alloc(label, &[rows, cols], DType::F32);
        let rounded = |cols| Rounded::new(device, rows, cols, packed);
        Ok(Scratch {
            hidden: alloc("hidden", c.hidden_size)?,
            residual: alloc("residual", c.hidden_size)?,
            normed: alloc("normed", c.hidden_size)?,
            branch: alloc("branch", c.hidden_size)?,
            q: [alloc("q", c.q_dim())?, alloc("q", c.q_dim())?],
            k: [alloc("k", c.kv_dim())?, alloc("k", c.kv_dim())?],
            v: [alloc("v", c.kv_dim())?, alloc("v", c.kv_dim())?],
            attended: alloc("attended", c.q_dim())?,
            gate: alloc("gate", c.intermediate_size)?,
            up: alloc("up", c.intermediate_size)?,
            activated: alloc("activated", c.intermediate_size)?,
            rounded_hidden: rounded(c.hidden_size)?,
            rounded_attended: rounded(c.q_dim())?,
            rounded_activated: rounded(c.intermediate_size)?,
        })
    }
}

/// Bytes of activations for `rows` rows with `logit_rows` rows of logits: of the pass that takes the most.
pub(crate) fn scratch_bytes(c: &ModelConfig, rows: usize, logit_rows: usize) -> u64 {
    // The half sizes are those of f16 copies, and a scale for each; copies in int8 are smaller, and made where these are not.
    let half = (c.hidden_size + c.q_dim() + c.intermediate_size) / 2 + 3;
    let plain = 4 * c.hidden_size + 3 * c.q_dim() + 4 * c.kv_dim() + 3 * c.intermediate_size;
    let bytes = |rows: usize| {
        let row = plain.max(prompt::scratch_elements(c, rows)) + half;
        (4 * row as u64).saturating_mul(rows as u64)
    };
    // Rows with logits have a last layer of their own.
    let few = if (1..rows).contains(&logit_rows) { bytes(logit_rows) } else { 0 };
    bytes(rows).saturating_add(few).saturating_add(logits_bytes(c, logit_rows))
}

/// The most that so many rows or fewer take, without logits: a shorter prompt may be made in more parts.
pub(crate) fn most_scratch_bytes(c: &ModelConfig, rows: usize) -> u64 {
    let shorter = (1..=rows.min(GemmHalf::MOST_PARTIAL_ROWS) / GemmHalf::TILE_ROWS).map(|n| n * GemmHalf::TILE_ROWS);
    shorter.chain([rows]).map(|rows| scratch_bytes(c, rows, 0)).max().unwrap_or(0)
}

/// Bytes that `rows` rows of logits take, and the rows that they are made of.
pub(crate) fn logits_bytes(c: &ModelConfig, rows: usize) -> u64 {
    let logits = c.vocab_size * if c.final_logit_softcapping.is_some() { 2 } else { 1 };
    (4 * (logits + 2 * c.hidden_size) as u64).saturating_mul(rows as u64)
}
