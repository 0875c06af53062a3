//! The decoder: norm, qkv, rope, attention, o, residual, norm, mlp, residual. Knows numbers, no model families.

use std::sync::Arc;

use doppler_kernels::{
    Add, ArgMax, Attention, AttentionReduce, AttentionSplit, Embed, GatedActivation, KvWrite, RmsNorm, Rope,
};
use doppler_rdrr::{DType, Model, ModelConfig};

use crate::kv_cache::KvCache;
use crate::weights::{Matrix, load_vector};
use crate::{Device, Error, Recorder, Recording, Tensor};

/// All weights of a model on a device.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub config: ModelConfig,
    embed_tokens: Matrix,
    layers: Vec<Layer>,
    norm: Tensor,
    /// `None` when the embedding serves.
    lm_head: Option<Matrix>,
}

#[derive(Debug)]
struct Layer {
    input_layernorm: Tensor,
    q_proj: Matrix,
    k_proj: Matrix,
    v_proj: Matrix,
    o_proj: Matrix,
    post_attention_layernorm: Tensor,
    gate_proj: Matrix,
    up_proj: Matrix,
    down_proj: Matrix,
}

/// A recorded forward pass: write `ids` and `start`, submit, read `logits`.
#[derive(Debug)]
pub(crate) struct Forward {
    pub recording: Recording,
    /// Token ids, u32 `[rows]`.
    pub ids: Tensor,
    /// Of the last rows, `[logit_rows, vocab_size]`.
    pub logits: Option<Tensor>,
}

/// What a forward pass works on besides the weights.
pub(crate) struct Inputs<'a> {
    pub cache: &'a KvCache,
    /// Token ids, u32 `[rows]`.
    pub ids: Tensor,
    /// The position of the first row, u32 `[1]`.
    pub start: &'a Tensor,
    /// Gets the likeliest token after the last row, u32 `[1]`; may be `ids` itself.
    pub next: &'a Tensor,
    pub rows: usize,
    /// Rows at the end whose logits are wanted.
    pub logit_rows: usize,
}

impl Decoder {
    /// Loads every weight; `progress` hears bytes done and in total.
    pub fn load(device: &Device, model: &Arc<Model>, mut progress: impl FnMut(u64, u64)) -> Result<Decoder, Error> {
        let c = model.config().clone();
        let total: u64 = model.tensors().iter().map(|t| t.num_bytes()).sum();
        let mut done = 0;
        let mut report = |name: &str| -> Result<(), Error> {
            done += model.tensor(name)?.num_bytes();
            progress(done, total);
            Ok(())
        };
        let mut matrix = |name: &str, rows, cols| {
            let matrix = Matrix::load(device, model, name, rows, cols)?;
            report(name)?;
            Ok::<_, Error>(matrix)
        };
        let vector = |name: &str| load_vector(device, model, name, c.hidden_size);
        let layers = (0..c.num_hidden_layers)
            .map(|i| {
                let name = |part: &str| format!("model.layers.{i}.{part}.weight");
                Ok(Layer {
                    input_layernorm: vector(&name("input_layernorm"))?,
                    q_proj: matrix(&name("self_attn.q_proj"), c.q_dim(), c.hidden_size)?,
                    k_proj: matrix(&name("self_attn.k_proj"), c.kv_dim(), c.hidden_size)?,
                    v_proj: matrix(&name("self_attn.v_proj"), c.kv_dim(), c.hidden_size)?,
                    o_proj: matrix(&name("self_attn.o_proj"), c.hidden_size, c.q_dim())?,
                    post_attention_layernorm: vector(&name("post_attention_layernorm"))?,
                    gate_proj: matrix(&name("mlp.gate_proj"), c.intermediate_size, c.hidden_size)?,
                    up_proj: matrix(&name("mlp.up_proj"), c.intermediate_size, c.hidden_size)?,
                    down_proj: matrix(&name("mlp.down_proj"), c.hidden_size, c.intermediate_size)?,
                })
            })
            .collect::<Result<_, Error>>()?;
        let embed_tokens = matrix("model.embed_tokens.weight", c.vocab_size, c.hidden_size)?;
        let untied = !c.tie_word_embeddings;
        let lm_head = untied.then(|| matrix("lm_head.weight", c.vocab_size, c.hidden_size)).transpose()?;
        let norm = vector("model.norm.weight")?;
        Ok(Decoder { config: c, embed_tokens, layers, norm, lm_head })
    }

    /// Records one forward pass.
    pub fn record(&self, device: &Device, inputs: Inputs<'_>) -> Result<Forward, Error> {
        let c = &self.config;
        let Inputs { cache, ids, start, next, rows, logit_rows } = inputs;
        let mut recorder = Recorder::new();
        let r = &mut recorder;
        let s = Scratch::new(device, c, rows)?;

        for part in &self.embed_tokens.parts {
            let embed = Embed {
                rows,
                hidden_size: c.hidden_size,
                vocab_start: part.first_row,
                vocab_rows: part.rows,
                vocab_size: c.vocab_size,
                weight: self.embed_tokens.dtype,
                scale: 1.0,
            };
            r.record(embed, &[&ids, &part.tensor, &s.hidden])?;
        }
        for (layer, (keys, values)) in self.layers.iter().zip(&cache.layers) {
            r.record(self.rms_norm(rows), &[&s.hidden, &layer.input_layernorm, &s.normed])?;
            layer.q_proj.record(r, rows, &s.normed, &s.q)?;
            layer.k_proj.record(r, rows, &s.normed, &s.k)?;
            layer.v_proj.record(r, rows, &s.normed, &s.v)?;
            r.record(self.rope(rows, c.num_attention_heads, cache), &[&s.q, &cache.rope, start, &s.q_rotated])?;
            r.record(self.rope(rows, c.num_key_value_heads, cache), &[&s.k, &cache.rope, start, &s.k_rotated])?;
            let kv_write = || KvWrite { rows, kv_dim: c.kv_dim(), capacity: cache.capacity, dtype: cache.dtype };
            r.record(kv_write(), &[&s.k_rotated, start, keys])?;
            r.record(kv_write(), &[&s.v, start, values])?;
            self.attention(device, r, rows, cache, &[&s.q_rotated, keys, values, start, &s.attended])?;
            layer.o_proj.record(r, rows, &s.attended, &s.branch)?;
            let add = || Add { len: rows * c.hidden_size };
            r.record(add(), &[&s.hidden, &s.branch, &s.residual])?;

            r.record(self.rms_norm(rows), &[&s.residual, &layer.post_attention_layernorm, &s.normed])?;
            layer.gate_proj.record(r, rows, &s.normed, &s.gate)?;
            layer.up_proj.record(r, rows, &s.normed, &s.up)?;
            let activation = GatedActivation { rows, cols: c.intermediate_size, activation: c.hidden_act };
            r.record(activation, &[&s.gate, &s.up, &s.activated])?;
            layer.down_proj.record(r, rows, &s.activated, &s.branch)?;
            r.record(add(), &[&s.residual, &s.branch, &s.hidden])?;
        }
        let logits = if logit_rows > 0 { Some(self.head(device, r, rows, logit_rows, &s.hidden, next)?) } else { None };
        Ok(Forward { recording: device.compile(recorder)?, ids, logits })
    }

    /// Final norm and output head of the last rows, and the likeliest token after the very last.
    fn head(
        &self,
        device: &Device,
        r: &mut Recorder,
        rows: usize,
        logit_rows: usize,
        hidden: &Tensor,
        next: &Tensor,
    ) -> Result<Tensor, Error> {
        let c = &self.config;
        let alloc = |label, cols| device.alloc(label, &[logit_rows, cols], DType::F32);
        let last = alloc("last_hidden", c.hidden_size)?;
        let normed = alloc("last_normed", c.hidden_size)?;
        let logits = alloc("logits", c.vocab_size)?;
        // Selecting rows is an embedding lookup in the hidden states.
        let select = |count: usize, table: &Tensor, table_rows: usize, out: &Tensor, r: &mut Recorder| {
            let first = (table_rows - count) as u32;
            let picked = device.alloc("picked_rows", &[count], DType::U32)?;
            device.write(&picked, bytemuck::cast_slice(&(first..first + count as u32).collect::<Vec<_>>()))?;
            let cols = table.len() / table_rows;
            let rows = Embed {
                rows: count,
                hidden_size: cols,
                vocab_start: 0,
                vocab_rows: table_rows,
                vocab_size: table_rows,
                weight: DType::F32,
                scale: 1.0,
            };
            r.record(rows, &[&picked, table, out])
        };
        if logit_rows == rows {
            r.record(self.rms_norm(rows), &[hidden, &self.norm, &normed])?;
        } else {
            select(logit_rows, hidden, rows, &last, r)?;
            r.record(self.rms_norm(logit_rows), &[&last, &self.norm, &normed])?;
        }
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens).record(r, logit_rows, &normed, &logits)?;
        if logit_rows == 1 {
            r.record(ArgMax { rows: 1, cols: c.vocab_size }, &[&logits, next])?;
        } else {
            let row = device.alloc("last_logits", &[1, c.vocab_size], DType::F32)?;
            select(1, &logits, logit_rows, &row, r)?;
            r.record(ArgMax { rows: 1, cols: c.vocab_size }, &[&row, next])?;
        }
        Ok(logits)
    }

    /// One row on a GPU splits the context over workgroups; otherwise each row and head is one piece of work.
    fn attention(
        &self,
        device: &Device,
        r: &mut Recorder,
        rows: usize,
        cache: &KvCache,
        operands: &[&Tensor; 5],
    ) -> Result<(), Error> {
        let c = &self.config;
        let attention = Attention {
            rows,
            num_attention_heads: c.num_attention_heads,
            num_key_value_heads: c.num_key_value_heads,
            head_dim: c.head_dim,
            capacity: cache.capacity,
            scale: (1.0 / c.query_pre_attn_scalar.sqrt()) as f32,
            softcap: c.attn_logit_softcapping.map(|cap| cap as f32),
            sliding_window: c.sliding_window,
            kv: cache.dtype,
        };
        // A piece of 64 positions is one step of the kernel; more than 64 pieces would make the reduction the longer part.
        let splits = cache.capacity.div_ceil(64).min(64);
        if device.gpu().is_none() || rows > 1 || splits == 1 {
            return r.record(attention, operands);
        }
        let [q, keys, values, start, y] = operands;
        let partials =
            device.alloc("attention_partials", &[rows, c.num_attention_heads, splits, c.head_dim + 2], DType::F32)?;
        let reduce = AttentionReduce { rows, num_attention_heads: c.num_attention_heads, head_dim: c.head_dim, splits };
        r.record(AttentionSplit { attention, splits }, &[q, keys, values, start, &partials])?;
        r.record(reduce, &[&partials, y])
    }

    fn rms_norm(&self, rows: usize) -> RmsNorm {
        RmsNorm { rows, cols: self.config.hidden_size, eps: self.config.rms_norm_eps as f32 }
    }

    fn rope(&self, rows: usize, num_heads: usize, cache: &KvCache) -> Rope {
        let head_dim = self.config.head_dim;
        Rope { rows, num_heads, head_dim, rotary_dim: head_dim, positions: cache.capacity }
    }
}

/// The activations of one forward pass, reused by every layer.
struct Scratch {
    hidden: Tensor,
    residual: Tensor,
    normed: Tensor,
    branch: Tensor,
    q: Tensor,
    q_rotated: Tensor,
    k: Tensor,
    k_rotated: Tensor,
    v: Tensor,
    attended: Tensor,
    gate: Tensor,
    up: Tensor,
    activated: Tensor,
}

impl Scratch {
    fn new(device: &Device, c: &ModelConfig, rows: usize) -> Result<Scratch, Error> {
        let alloc = |label, cols| device.alloc(label, &[rows, cols], DType::F32);
        Ok(Scratch {
            hidden: alloc("hidden", c.hidden_size)?,
            residual: alloc("residual", c.hidden_size)?,
            normed: alloc("normed", c.hidden_size)?,
            branch: alloc("branch", c.hidden_size)?,
            q: alloc("q", c.q_dim())?,
            q_rotated: alloc("q_rotated", c.q_dim())?,
            k: alloc("k", c.kv_dim())?,
            k_rotated: alloc("k_rotated", c.kv_dim())?,
            v: alloc("v", c.kv_dim())?,
            attended: alloc("attended", c.q_dim())?,
            gate: alloc("gate", c.intermediate_size)?,
            up: alloc("up", c.intermediate_size)?,
            activated: alloc("activated", c.intermediate_size)?,
        })
    }
}

/// Bytes of activations for `rows` rows with `logit_rows` rows of logits.
pub(crate) fn scratch_bytes(c: &ModelConfig, rows: usize, logit_rows: usize) -> u64 {
    let row = 4 * c.hidden_size + 3 * c.q_dim() + 3 * c.kv_dim() + 3 * c.intermediate_size;
    4 * (rows as u64 * row as u64 + logit_rows as u64 * (c.vocab_size + 2 * c.hidden_size) as u64)
}
