//! A prompt in few dispatches: rows go from product to product on matrix units in f16, and what lies between two products
//! is one kernel.
//!
//! A layer here has ten dispatches: q, k and v; everything up to their attention; that; its rows in f16; o; the residual
//! stream up to the next product; gate and up; their activation; down; the residual stream. Where the values have another
//! format than queries and keys, they are a product of their own.

use doppler_kernels::{AttentionDecode, AttentionHeads, GatedHalf, GemmHalf, JoinHalf, Quantize, linear};
use doppler_rdrr::{DType, ModelConfig};

use super::fused::FusedLayer;
use super::{Decoder, Forward, Inputs, Layer, attention_of};
use crate::kv_cache::KvCache;
use crate::weights::{Half, on_matrix_units};
use crate::{Device, Error, Recorder, Tensor};

/// What a layer lacks to be fused, in words.
pub(super) fn lacks(c: &ModelConfig, kv: DType) -> Option<String> {
    let fits = AttentionDecode::fits(&attention_of(c, 1, 1, kv, None));
    (!fits).then(|| "heads are no multiple of 4, or a group of query heads is too large".to_owned())
}

/// Whether a matrix can be multiplied on matrix units, and which not.
pub(super) fn takes(tensor: &Tensor) -> Result<Tensor, String> {
    let cols = tensor.shape().last().copied().unwrap_or(1);
    if GemmHalf::takes(tensor.dtype(), cols) {
        Ok(tensor.clone())
    } else {
        Err(format!("`{}`, {} with {cols} columns, cannot be multiplied in f16", tensor.label(), tensor.dtype()))
    }
}

/// The activations of a prompt. What products give is in parts: `[parts · rows, cols]`.
struct Scratch {
    rows: usize,
    hidden: Tensor,
    /// The norm of `hidden`.
    normed: Half,
    /// Of layers whose values are with queries and keys, and of those whose are not: `None` where there are no such.
    together: Option<Tensor>,
    apart: Option<[Tensor; 2]>,
    q: Tensor,
    attended: Tensor,
    half_attended: Half,
    /// What attention and MLP give.
    branches: [Tensor; 2],
    gate_up: Tensor,
    activated: Half,
}

impl Scratch {
    fn new(device: &Device, c: &ModelConfig, fused: &[FusedLayer], rows: usize) -> Result<Scratch, Error> {
        let alloc = |label, cols| device.alloc(label, &[rows, cols], DType::F32);
        let any = |apart| fused.iter().any(|layer| layer.values.is_some() == apart);
        let (hidden, qk) = (c.hidden_size, c.q_dim() + c.kv_dim());
        let parts = |label, cols, from| {
            let parts = GemmHalf::parts_that_fill(rows, cols, from);
            device.alloc(label, &[parts * rows, cols], DType::F32)
        };
        let apart = || Ok::<_, Error>([parts("qk", qk, hidden)?, parts("values", c.kv_dim(), hidden)?]);
        Ok(Scratch {
            rows,
            hidden: alloc("hidden", c.hidden_size)?,
            normed: Half::new(device, rows, c.hidden_size)?,
            together: any(false).then(|| parts("qkv", qk + c.kv_dim(), hidden)).transpose()?,
            apart: any(true).then(apart).transpose()?,
            q: alloc("q", c.q_dim())?,
            attended: alloc("attended", c.q_dim())?,
            half_attended: Half::new(device, rows, c.q_dim())?,
            branches: [parts("branch", hidden, c.q_dim())?, parts("branch", hidden, c.intermediate_size)?],
            gate_up: alloc("gate_up", 2 * c.intermediate_size)?,
            activated: Half::new(device, rows, c.intermediate_size)?,
        })
    }
}

/// Elements of f32 activations of each of so many rows.
pub(super) fn scratch_elements(c: &ModelConfig, rows: usize) -> usize {
    let parts = |cols: usize, from: usize| GemmHalf::parts_that_fill(rows, cols, from) * cols;
    let (hidden, qk) = (c.hidden_size, c.q_dim() + c.kv_dim());
    let projected = parts(qk + c.kv_dim(), hidden) + parts(qk, hidden) + parts(c.kv_dim(), hidden);
    let branches = parts(hidden, c.q_dim()) + parts(hidden, c.intermediate_size);
    hidden + projected + 2 * c.q_dim() + branches + 2 * c.intermediate_size
}

/// Parts of what a product of `rows` rows gave.
fn parts_of(y: &Tensor, rows: usize) -> usize {
    y.shape()[0] / rows
}

impl Decoder {
    /// The layers, if a prompt of so many rows goes through them on matrix units.
    pub(super) fn prompt_layers(&self, device: &Device, rows: usize) -> Option<&[FusedLayer]> {
        self.prompt.as_deref().ok().filter(|_| on_matrix_units(device, rows))
    }

    /// Why prompts do not run on matrix units in few dispatches, if they do not.
    pub fn why_prompts_are_not_fused(&self, device: &Device) -> Option<&str> {
        let no_units = || (!on_matrix_units(device, usize::MAX)).then_some("the device has no matrix units");
        self.prompt.as_ref().err().map(String::as_str).or_else(no_units)
    }

    /// Records a prompt.
    pub(super) fn record_prompt(
        &self,
        device: &Device,
        fused: &[FusedLayer],
        inputs: Inputs<'_>,
    ) -> Result<Forward, Error> {
        let c = &self.config;
        let Inputs { cache, ids, start, rows, logit_rows } = inputs;
        let mut recorder = Recorder::new();
        let r = &mut recorder;
        let s = &Scratch::new(device, c, fused, rows)?;

        self.embed(r, rows, &ids, &s.hidden)?;
        let no_branch = JoinHalf { parts: 0, ..self.join_half(rows, false) };
        let first_norm = &self.layers[0].input_layernorm;
        r.record(no_branch, &[&s.hidden, first_norm, &s.normed.rows, &s.normed.scale])?;
        // Behind the last attention only rows that have logits are needed.
        let few = (1..rows).contains(&logit_rows).then(|| Scratch::new(device, c, &[], logit_rows)).transpose()?;
        for (i, (layer, fused)) in self.layers.iter().zip(fused).enumerate() {
            let last = i + 1 == self.layers.len();
            self.heads_prompt(r, i, fused, cache, start, s)?;
            if last && logit_rows == 0 {
                break;
            }
            let (keys, values) = &cache.layers[i];
            self.attention(r, rows, c.window(i), cache, None, true, &[&s.q, keys, values, start, &s.attended])?;
            match &few {
                Some(few) if last => {
                    self.select_last(device, r, rows, &s.attended, &few.attended)?;
                    self.select_last(device, r, rows, &s.hidden, &few.hidden)?;
                    self.behind_attention(r, i, layer, fused, few)?;
                }
                _ => self.behind_attention(r, i, layer, fused, s)?,
            }
        }
        let hidden = few.as_ref().map_or(&s.hidden, |few| &few.hidden);
        let logits = if logit_rows > 0 { Some(self.prompt_head(device, r, logit_rows, hidden)?) } else { None };
        Ok(Forward { recording: device.compile(recorder)?, ids, logits })
    }

    /// o, the residual stream, the MLP and the stream again.
    fn behind_attention(
        &self,
        r: &mut Recorder,
        i: usize,
        layer: &Layer,
        fused: &FusedLayer,
        s: &Scratch,
    ) -> Result<(), Error> {
        let c = &self.config;
        s.half_attended.fill(r, &s.attended)?;
        s.half_attended.product(r, &fused.o_proj, &s.branches[0])?;
        self.join_prompt(r, &s.branches[0], layer.post_attention_norm.as_ref(), &layer.mlp_norm, s)?;

        s.normed.product(r, &fused.gate_up, &s.gate_up)?;
        let gated = GatedHalf { rows: s.rows, cols: c.intermediate_size, activation: c.hidden_act };
        r.record(gated, &[&s.gate_up, &s.activated.rows, &s.activated.scale])?;
        s.activated.product(r, &fused.down_proj, &s.branches[1])?;
        // Behind the last layer the head norms the rows itself.
        let next_norm = self.layers.get(i + 1).map_or(&self.norm, |next| &next.input_layernorm);
        self.join_prompt(r, &s.branches[1], layer.post_mlp_norm.as_ref(), next_norm, s)
    }

    /// The logits of all `rows` of `hidden`: of few, as a decode step makes them.
    fn prompt_head(&self, device: &Device, r: &mut Recorder, rows: usize, hidden: &Tensor) -> Result<Tensor, Error> {
        if rows > linear::MOST_ROWS || self.fused.is_err() || !self.head_takes_int8() {
            return self.head(device, r, rows, rows, hidden);
        }
        let cols = self.config.hidden_size;
        let normed = device.alloc("last_normed", &[rows, cols], DType::A8)?;
        let energy = device.alloc("last_energy", &[rows, cols / 32], DType::F32)?;
        r.record(Quantize { rows, cols }, &[hidden, &self.norm, &normed, &energy])?;
        self.head_step(device, r, rows, [&normed, &energy])
    }

    /// From the norm of the stream to queries, and to keys and values in the cache.
    fn heads_prompt(
        &self,
        r: &mut Recorder,
        i: usize,
        fused: &FusedLayer,
        cache: &KvCache,
        start: &Tensor,
        s: &Scratch,
    ) -> Result<(), Error> {
        let c = &self.config;
        let (projected, new_values) = match (&fused.values, &s.together, &s.apart) {
            (None, Some(qkv), _) => (qkv, None),
            (Some(values), _, Some([qk, new_values])) => {
                s.normed.product(r, values, new_values)?;
                (qk, Some(new_values))
            }
            _ => unreachable!("there is room for each kind of layer"),
        };
        s.normed.product(r, &fused.qkv, projected)?;
        let table = cache.rope(c.layer_types[i]);
        let of = self.attention_decode(i, cache, s.rows, 1, new_values.is_some());
        let (keys, values) = &cache.layers[i];
        let mut operands = vec![projected, &fused.vectors, table, start, keys, values, &s.q];
        operands.extend(new_values);
        let value_parts = new_values.map_or(1, |values| parts_of(values, s.rows));
        r.record(AttentionHeads { of, parts: parts_of(projected, s.rows), value_parts }, &operands)
    }

    /// Adds the branch to the residual stream, through its norm if it has one, and norms that for the next product.
    fn join_prompt(
        &self,
        r: &mut Recorder,
        branch: &Tensor,
        norm: Option<&Tensor>,
        next_norm: &Tensor,
        s: &Scratch,
    ) -> Result<(), Error> {
        let mut operands = vec![&s.hidden, next_norm, &s.normed.rows, &s.normed.scale, branch];
        operands.extend(norm);
        let join = JoinHalf { parts: parts_of(branch, s.rows), ..self.join_half(s.rows, norm.is_some()) };
        r.record(join, &operands)
    }

    fn join_half(&self, rows: usize, branch_norm: bool) -> JoinHalf {
        let c = &self.config;
        let (eps, branch_scale) = (c.rms_norm_eps as f32, c.residual_scale as f32);
        JoinHalf { rows, cols: c.hidden_size, parts: 1, branch_norm, branch_scale, eps }
    }
}

#[cfg(all(test, feature = "gpu-tests"))]
#[path = "prompt_tests.rs"]
mod tests;
