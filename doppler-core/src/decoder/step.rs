//! A decode step of few dispatches: each product on int8 activations, fused with what is around it.
//!
//! Where the dispatches of a layer are the longer part of a step (on a large GPU each costs about as much as a small
//! product), their number decides. A layer here has five: q, k and v; their attention, from bias to cache; o onto the residual
//! stream; gate and up with their activation; down onto the residual stream. The attention is made in pieces, which one dispatch
//! more puts together where they are many; then one before it writes the new positions of several rows to the cache, which
//! otherwise the attention does. The factor of an RMS norm is applied behind the next product, so that a norm costs none.
//! Families that norm what a branch gives have two more, and one more where the values have another format than queries and
//! keys.

use std::cell::RefCell;
use std::rc::Rc;

use doppler_kernels::{
    AttentionAppend, AttentionDecode, AttentionReduce, AttentionWhole, EmbedQuantize, Linear, LinearGated,
    LinearResidual, NormResidual, Quantize, SoftCap, linear,
};
use doppler_rdrr::{DType, ModelConfig};

use super::fused::FusedLayer;
use super::{Decoder, Forward, Inputs, attention_of};
use crate::kv_cache::KvCache;
use crate::{Device, Error, Recorder, Tensor};

/// What a layer lacks to be fused, in words.
pub(super) fn lacks(c: &ModelConfig, kv: DType) -> Option<String> {
    let attention = attention_of(c, 1, 1, kv, None);
    let odd = |name: &str, n: usize| (!linear::takes_cols(n)).then(|| format!("{name} {n} is no multiple of 64"));
    odd("hidden_size", c.hidden_size)
        .or_else(|| odd("intermediate_size", c.intermediate_size))
        .or_else(|| odd("num_attention_heads * head_dim", c.q_dim()))
        .or_else(|| (!c.head_dim.is_multiple_of(32)).then(|| format!("head_dim {} is no multiple of 32", c.head_dim)))
        .or_else(|| (!AttentionDecode::fits(&attention)).then(|| "a group of query heads is too large".to_owned()))
}

/// Whether a matrix can be multiplied with int8 activations, and which not.
pub(super) fn takes(tensor: &Tensor) -> Result<Tensor, String> {
    if linear::takes(tensor.dtype()) {
        Ok(tensor.clone())
    } else {
        Err(format!("`{}` is {}, which is not multiplied with int8", tensor.label(), tensor.dtype()))
    }
}

/// The most positions that one workgroup a head goes through sooner than pieces are made and put together, on a device that
/// runs few workgroups at a time.
const MOST_POSITIONS: usize = 1024;

/// An attention that sees so many positions as one dispatch, where that takes the device less time.
fn whole_attention(device: &Device, attention: &AttentionDecode, seen: usize) -> Option<AttentionWhole> {
    let gpu = device.gpu()?;
    let whole = AttentionWhole(attention.clone());
    if whole.in_pieces(&gpu.tier) {
        return Some(whole);
    }
    let one = AttentionWhole(AttentionDecode { splits: 1, ..attention.clone() });
    let few_workgroups = gpu.adapter.kind != "discrete";
    (one.by_lanes(&gpu.tier) && seen <= MOST_POSITIONS && few_workgroups).then_some(one)
}

/// Pieces that contexts of at most `positions` are split into, each of them so many workgroups of 256 invocations.
pub(crate) fn splits(positions: usize, workgroups: usize) -> usize {
    // What a large GPU runs at a time: every further one makes queries ready and leaves sums once more. A piece of 64 positions is
    // one to four steps of the kernel.
    const WORKGROUPS: usize = 256;
    positions.div_ceil(64).min(WORKGROUPS / workgroups).max(1)
}

/// The activations of a step.
#[derive(Clone)]
struct Scratch {
    device: Device,
    rows: usize,
    hidden: Tensor,
    /// `hidden` times the next norm's weight, and its energy.
    normed: Tensor,
    energy: Tensor,
    qkv: Tensor,
    /// Of a layer whose values have another format than its queries and keys.
    values: Option<Tensor>,
    /// Pieces of attentions, by their shape.
    partials: Rc<RefCell<Vec<Tensor>>>,
    /// How many workgroups of each group of heads have ended.
    arrivals: Tensor,
    attended: Tensor,
    activated: Tensor,
    branch: Tensor,
}

impl Scratch {
    fn new(device: &Device, c: &ModelConfig, rows: usize) -> Result<Scratch, Error> {
        let f32 = |label, shape: &[usize]| device.alloc(label, shape, DType::F32);
        let a8 = |label, cols| device.alloc(label, &[rows, cols], DType::A8);
        let arrivals = device.alloc("arrivals", &[rows, c.num_key_value_heads], DType::U32)?;
        device.write(&arrivals, bytemuck::cast_slice(&vec![0u32; rows * c.num_key_value_heads]))?;
        Ok(Scratch {
            device: device.clone(),
            rows,
            hidden: f32("hidden", &[rows, c.hidden_size])?,
            normed: a8("normed", c.hidden_size)?,
            energy: f32("energy", &[rows, c.hidden_size / 32])?,
            qkv: f32("qkv", &[rows, c.q_dim() + 2 * c.kv_dim()])?,
            values: None,
            partials: Rc::default(),
            arrivals,
            attended: a8("attended", c.q_dim())?,
            activated: a8("activated", c.intermediate_size)?,
            branch: f32("branch", &[rows, c.hidden_size])?,
        })
    }

    /// Room for an attention's pieces, of `values` numbers each: the same for all layers that are alike.
    fn partials(&self, heads: usize, splits: usize, values: usize) -> Result<Tensor, Error> {
        let shape = [self.rows, heads, splits, values];
        let mut made = self.partials.borrow_mut();
        if let Some(partials) = made.iter().find(|partials| partials.shape() == shape) {
            return Ok(partials.clone());
        }
        let partials = self.device.alloc("attention_partials", &shape, DType::F32)?;
        made.push(partials.clone());
        Ok(partials)
    }
}

impl Decoder {
    /// Records the decode step, of one row or a few.
    pub(super) fn record_step(
        &self,
        device: &Device,
        fused: &[FusedLayer],
        inputs: Inputs<'_>,
    ) -> Result<Forward, Error> {
        let c = &self.config;
        let Inputs { cache, ids, start, rows, logit_rows } = inputs;
        let mut recorder = Recorder::new();
        let r = &mut recorder;
        // Layers differ in this: the mixes of formats that people use give only some of them larger values.
        let together = Scratch::new(device, c, rows)?;
        let apart =
            Scratch { qkv: device.alloc("qk", &[rows, c.q_dim() + c.kv_dim()], DType::F32)?, ..together.clone() };

        let s = &together;
        self.embed_step(r, &ids, s)?;
        for (i, (layer, fused)) in self.layers.iter().zip(fused).enumerate() {
            let own;
            let s = match fused.values {
                // In a buffer of its own, which nothing else in the step waits for: a GPU makes them beside queries and keys.
                Some(_) => {
                    let values = device.alloc("values", &[rows, c.kv_dim()], DType::F32)?;
                    own = Scratch { values: Some(values), ..apart.clone() };
                    &own
                }
                None => &together,
            };
            self.attend_step(r, i, fused, cache, start, s)?;
            self.join_step(r, &fused.o_proj, &s.attended, layer.post_attention_norm.as_ref(), &layer.mlp_norm, s)?;
            self.mlp_step(r, fused, s)?;
            let next_norm = self.layers.get(i + 1).map_or(&self.norm, |next| &next.input_layernorm);
            self.join_step(r, &fused.down_proj, &s.activated, layer.post_mlp_norm.as_ref(), next_norm, s)?;
        }
        let logits = (logit_rows > 0).then(|| {
            if !self.head_takes_int8() {
                return self.head(device, r, rows, logit_rows, &s.hidden);
            }
            // Those before them cost next to nothing: the weights are read once.
            let logits = self.head_step(device, r, rows, [&s.normed, &s.energy])?;
            Ok::<_, Error>(if logit_rows == rows { logits } else { device.last_rows(&logits, logit_rows) })
        });
        let logits = logits.transpose()?;
        Ok(Forward { recording: device.compile(recorder)?, ids, logits })
    }

    /// The rows of the ids, ready for the first product.
    fn embed_step(&self, r: &mut Recorder, ids: &Tensor, s: &Scratch) -> Result<(), Error> {
        let c = &self.config;
        let (rows, first_norm) = (s.rows, &self.layers[0].input_layernorm);
        let [part] = &self.embed_tokens.parts[..] else {
            self.embed(r, rows, ids, &s.hidden)?;
            let quantize = Quantize { rows, cols: c.hidden_size };
            return r.record(quantize, &[&s.hidden, first_norm, &s.normed, &s.energy]);
        };
        let embed = EmbedQuantize {
            rows,
            hidden_size: c.hidden_size,
            vocab_size: c.vocab_size,
            weight: self.embed_tokens.dtype,
            scale: c.embedding_scale as f32,
        };
        r.record(embed, &[ids, &part.tensor, first_norm, &s.hidden, &s.normed, &s.energy])
    }

    fn attend_step(
        &self,
        r: &mut Recorder,
        i: usize,
        fused: &FusedLayer,
        cache: &KvCache,
        start: &Tensor,
        s: &Scratch,
    ) -> Result<(), Error> {
        let c = &self.config;
        let rows = s.rows;
        let seen = c.window(i).unwrap_or(usize::MAX).min(cache.capacity);
        let splits = splits(seen, c.num_key_value_heads * rows);
        r.record(self.linear(&fused.qkv, rows, true), &[&s.normed, &fused.qkv, &s.qkv, &s.energy])?;
        if let (Some(values), Some(new_values)) = (&fused.values, &s.values) {
            r.record(self.linear(values, rows, true), &[&s.normed, values, new_values, &s.energy])?;
        }
        let table = cache.rope(c.layer_types[i]);
        let attention = self.attention_decode(i, cache, rows, splits, fused.values.is_some());
        let (keys, values) = &cache.layers[i];
        let mut operands = vec![&s.qkv, &fused.vectors, table, start, keys, values];
        operands.extend(&s.values);
        let (num_attention_heads, head_dim) = (c.num_attention_heads, c.head_dim);
        if let Some(whole) = whole_attention(&s.device, &attention, seen) {
            let partials = s.partials(num_attention_heads, whole.0.splits, head_dim + 4)?;
            operands.splice(6..6, [&partials, &s.arrivals, &s.attended]);
            return r.record(whole, &operands);
        }
        if rows > 1 {
            r.record(AttentionAppend(attention.clone()), &operands)?;
        }
        let partials = s.partials(num_attention_heads, splits, head_dim + 2)?;
        operands.insert(6, &partials);
        r.record(attention, &operands)?;
        let reduce = AttentionReduce { rows, num_attention_heads, head_dim, splits, y: DType::A8 };
        r.record(reduce, &[&partials, &s.attended])
    }

    fn mlp_step(&self, r: &mut Recorder, fused: &FusedLayer, s: &Scratch) -> Result<(), Error> {
        let c = &self.config;
        let gated = LinearGated {
            rows: s.rows,
            out_features: c.intermediate_size,
            in_features: c.hidden_size,
            weight: fused.gate_up.dtype(),
            activation: c.hidden_act,
            eps: c.rms_norm_eps as f32,
        };
        r.record(gated, &[&s.normed, &fused.gate_up, &s.activated, &s.energy])
    }

    /// Adds a branch to the residual stream, through its norm if it has one, and readies that for the next product.
    fn join_step(
        &self,
        r: &mut Recorder,
        weight: &Tensor,
        x: &Tensor,
        norm: Option<&Tensor>,
        next_norm: &Tensor,
        s: &Scratch,
    ) -> Result<(), Error> {
        let c = &self.config;
        let scale = c.residual_scale as f32;
        let Some(norm) = norm else {
            let linear = LinearResidual {
                rows: s.rows,
                out_features: c.hidden_size,
                in_features: x.len() / s.rows,
                weight: weight.dtype(),
                scale,
            };
            return r.record(linear, &[x, weight, next_norm, &s.hidden, &s.normed, &s.energy]);
        };
        r.record(self.linear(weight, s.rows, false), &[x, weight, &s.branch])?;
        let join = NormResidual { rows: s.rows, cols: c.hidden_size, eps: c.rms_norm_eps as f32, scale };
        r.record(join, &[&s.branch, norm, next_norm, &s.hidden, &s.normed, &s.energy])
    }

    /// Whether the output head is multiplied with int8 activations, not with f32.
    pub(super) fn head_takes_int8(&self) -> bool {
        linear::takes(self.output_head().dtype)
    }

    /// The logits of `rows` rows that are quantized, given with their energies.
    pub(super) fn head_step(
        &self,
        device: &Device,
        r: &mut Recorder,
        rows: usize,
        [normed, energy]: [&Tensor; 2],
    ) -> Result<Tensor, Error> {
        let c = &self.config;
        let logits = device.alloc("logits", &[rows, c.vocab_size], DType::F32)?;
        for part in &self.output_head().parts {
            let linear =
                Linear { y_stride: c.vocab_size, y_offset: part.first_row, ..self.linear(&part.tensor, rows, true) };
            r.record(linear, &[normed, &part.tensor, &logits, energy])?;
        }
        let Some(cap) = c.final_logit_softcapping else { return Ok(logits) };
        let capped = device.alloc("capped_logits", &[rows, c.vocab_size], DType::F32)?;
        r.record(SoftCap { len: rows * c.vocab_size, cap: cap as f32 }, &[&logits, &capped])?;
        Ok(capped)
    }

    fn linear(&self, weight: &Tensor, rows: usize, normed: bool) -> Linear {
        let [out_features, in_features] = *weight.shape() else { unreachable!("a matrix") };
        let eps = normed.then_some(self.config.rms_norm_eps as f32);
        Linear { rows, out_features, in_features, weight: weight.dtype(), y_stride: out_features, y_offset: 0, eps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fill_a_large_gpu_and_are_no_shorter_than_a_step() {
        // Of eight heads, contexts of several lengths, and steps of several rows.
        assert_eq!([1, 64, 65, 512, 4096].map(|positions| splits(positions, 8)), [1, 1, 2, 8, 32]);
        assert_eq!([1, 2, 3, 4, 5, 8].map(|rows| splits(1024, 8 * rows)), [16, 16, 10, 8, 6, 4]);
        // Of one head, three, eight, and more than a GPU runs at a time.
        assert_eq!([1, 3, 8, 512].map(|heads| splits(32_768, heads)), [256, 85, 32, 1]);
    }
}
