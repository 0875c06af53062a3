//! The decoder: norm, qkv, rope, attention, o, residual, norm, mlp, residual. Knows numbers, no model families.

use std::sync::Arc;

use doppler_kernels::{
    Add, ArgMax, Attention, AttentionReduce, AttentionSplit, Embed, GatedActivation, KvWrite, RmsNorm, Rope, SoftCap,
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
    q_proj: Projection,
    k_proj: Projection,
    v_proj: Projection,
    o_proj: Matrix,
    /// Of the attention's output.
    post_attention_norm: Option<Tensor>,
    /// Of the MLP's input.
    mlp_norm: Tensor,
    gate_proj: Matrix,
    up_proj: Matrix,
    down_proj: Matrix,
    /// Of the MLP's output.
    post_mlp_norm: Option<Tensor>,
}

/// The way to queries, keys or values: a matrix, and what a family adds to it.
#[derive(Debug)]
struct Projection {
    matrix: Matrix,
    bias: Option<Tensor>,
    /// Of each head.
    norm: Option<Tensor>,
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
        let vector = |name: &str, len| load_vector(device, model, name, len, |w| w);
        let offset = if c.rms_norm_weight_offset { 1.0 } else { 0.0 };
        let norm = |name: &str, len| load_vector(device, model, name, len, |w| w + offset);
        let mut layers = Vec::new();
        for i in 0..c.num_hidden_layers {
            let name = |part: &str| format!("model.layers.{i}.{part}");
            let layernorm = |part: &str| norm(&name(part), c.hidden_size);
            let mut projection = |which: &str, rows, normed: bool| {
                let part = |part: &str| name(&format!("self_attn.{which}{part}"));
                Ok::<_, Error>(Projection {
                    matrix: matrix(&part("_proj.weight"), rows, c.hidden_size)?,
                    bias: c.attention_bias.then(|| vector(&part("_proj.bias"), rows)).transpose()?,
                    norm: (normed && c.qk_norm).then(|| norm(&part("_norm.weight"), c.head_dim)).transpose()?,
                })
            };
            // Between attention and MLP a Llama has one norm, under the name that the sandwich uses for another.
            let sandwich = |part: &str| c.sandwich_norms.then(|| layernorm(part)).transpose();
            let mlp_norm = if c.sandwich_norms { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
            layers.push(Layer {
                input_layernorm: layernorm("input_layernorm.weight")?,
                q_proj: projection("q", c.q_dim(), true)?,
                k_proj: projection("k", c.kv_dim(), true)?,
                v_proj: projection("v", c.kv_dim(), false)?,
                o_proj: matrix(&name("self_attn.o_proj.weight"), c.hidden_size, c.q_dim())?,
                post_attention_norm: sandwich("post_attention_layernorm.weight")?,
                mlp_norm: layernorm(&format!("{mlp_norm}.weight"))?,
                gate_proj: matrix(&name("mlp.gate_proj.weight"), c.intermediate_size, c.hidden_size)?,
                up_proj: matrix(&name("mlp.up_proj.weight"), c.intermediate_size, c.hidden_size)?,
                down_proj: matrix(&name("mlp.down_proj.weight"), c.hidden_size, c.intermediate_size)?,
                post_mlp_norm: sandwich("post_feedforward_layernorm.weight")?,
            });
        }
        let embed_tokens = matrix("model.embed_tokens.weight", c.vocab_size, c.hidden_size)?;
        let untied = !c.tie_word_embeddings;
        let lm_head = untied.then(|| matrix("lm_head.weight", c.vocab_size, c.hidden_size)).transpose()?;
        // What scales the head's input may as well scale the norm before it.
        let scale = c.logit_input_scale as f32;
        let norm = load_vector(device, model, "model.norm.weight", c.hidden_size, |w| (w + offset) * scale)?;
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
                scale: c.embedding_scale as f32,
            };
            r.record(embed, &[&ids, &part.tensor, &s.hidden])?;
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let (keys, values) = &cache.layers[i];
            r.record(self.rms_norm(rows), &[&s.hidden, &layer.input_layernorm, &s.normed])?;
            let rope = c.rope_layers[i].then(|| cache.rope(c.layer_types[i]));
            let q = self.project(r, &layer.q_proj, rows, c.num_attention_heads, rope, start, &s.normed, &s.q)?;
            let k = self.project(r, &layer.k_proj, rows, c.num_key_value_heads, rope, start, &s.normed, &s.k)?;
            let v = self.project(r, &layer.v_proj, rows, c.num_key_value_heads, None, start, &s.normed, &s.v)?;
            let kv_write = || KvWrite { rows, kv_dim: c.kv_dim(), capacity: cache.capacity, dtype: cache.dtype };
            r.record(kv_write(), &[k, start, keys])?;
            r.record(kv_write(), &[v, start, values])?;
            self.attention(device, r, rows, c.window(i), cache, &[q, keys, values, start, &s.attended])?;
            layer.o_proj.record(r, rows, &s.attended, &s.branch)?;
            self.join(r, rows, &s, layer.post_attention_norm.as_ref(), &s.hidden, &s.residual)?;

            r.record(self.rms_norm(rows), &[&s.residual, &layer.mlp_norm, &s.normed])?;
            layer.gate_proj.record(r, rows, &s.normed, &s.gate)?;
            layer.up_proj.record(r, rows, &s.normed, &s.up)?;
            let activation = GatedActivation { rows, cols: c.intermediate_size, activation: c.hidden_act };
            r.record(activation, &[&s.gate, &s.up, &s.activated])?;
            layer.down_proj.record(r, rows, &s.activated, &s.branch)?;
            self.join(r, rows, &s, layer.post_mlp_norm.as_ref(), &s.residual, &s.hidden)?;
        }
        let logits = if logit_rows > 0 { Some(self.head(device, r, rows, logit_rows, &s.hidden, next)?) } else { None };
        Ok(Forward { recording: device.compile(recorder)?, ids, logits })
    }

    /// Queries, keys or values: product, bias, norm of each head, rotation; each step goes to the other of two tensors.
    #[expect(clippy::too_many_arguments, reason = "the operands of three kernels")]
    fn project<'a>(
        &self,
        r: &mut Recorder,
        projection: &Projection,
        rows: usize,
        num_heads: usize,
        rope: Option<&Tensor>,
        start: &Tensor,
        x: &Tensor,
        out: &'a [Tensor; 2],
    ) -> Result<&'a Tensor, Error> {
        let c = &self.config;
        let [mut from, mut to] = [&out[0], &out[1]];
        projection.matrix.record(r, rows, x, from)?;
        if let Some(bias) = &projection.bias {
            r.record(Add::bias(rows, num_heads * c.head_dim), &[from, bias, to])?;
            std::mem::swap(&mut from, &mut to);
        }
        if let Some(norm) = &projection.norm {
            let heads = RmsNorm { rows: rows * num_heads, cols: c.head_dim, eps: c.rms_norm_eps as f32 };
            r.record(heads, &[from, norm, to])?;
            std::mem::swap(&mut from, &mut to);
        }
        if let Some(table) = rope {
            let positions = table.len() / c.rotary_dim;
            let rope = Rope { rows, num_heads, head_dim: c.head_dim, rotary_dim: c.rotary_dim, positions };
            r.record(rope, &[from, table, start, to])?;
            std::mem::swap(&mut from, &mut to);
        }
        Ok(from)
    }

    /// Adds the branch to the residual stream, through its norm if it has one.
    fn join(
        &self,
        r: &mut Recorder,
        rows: usize,
        s: &Scratch,
        norm: Option<&Tensor>,
        stream: &Tensor,
        out: &Tensor,
    ) -> Result<(), Error> {
        let len = rows * self.config.hidden_size;
        let add = Add { scale: self.config.residual_scale as f32, ..Add::sum(len) };
        let Some(norm) = norm else { return r.record(add, &[stream, &s.branch, out]) };
        r.record(self.rms_norm(rows), &[&s.branch, norm, &s.normed])?;
        r.record(add, &[stream, &s.normed, out])
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
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
        let logits = match c.final_logit_softcapping {
            None => {
                head.record(r, logit_rows, &normed, &logits)?;
                logits
            }
            Some(cap) => {
                let raw = alloc("raw_logits", c.vocab_size)?;
                head.record(r, logit_rows, &normed, &raw)?;
                r.record(SoftCap { len: logit_rows * c.vocab_size, cap: cap as f32 }, &[&raw, &logits])?;
                logits
            }
        };
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
        window: Option<usize>,
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
            sliding_window: window,
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
}

/// The activations of one forward pass, reused by every layer.
struct Scratch {
    hidden: Tensor,
    residual: Tensor,
    normed: Tensor,
    branch: Tensor,
    q: [Tensor; 2],
    k: [Tensor; 2],
    v: [Tensor; 2],
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
            q: [alloc("q", c.q_dim())?, alloc("q", c.q_dim())?],
            k: [alloc("k", c.kv_dim())?, alloc("k", c.kv_dim())?],
            v: [alloc("v", c.kv_dim())?, alloc("v", c.kv_dim())?],
            attended: alloc("attended", c.q_dim())?,
            gate: alloc("gate", c.intermediate_size)?,
            up: alloc("up", c.intermediate_size)?,
            activated: alloc("activated", c.intermediate_size)?,
        })
    }
}

/// Bytes of activations for `rows` rows with `logit_rows` rows of logits.
pub(crate) fn scratch_bytes(c: &ModelConfig, rows: usize, logit_rows: usize) -> u64 {
    let logits = c.vocab_size * if c.final_logit_softcapping.is_some() { 2 } else { 1 };
    let row = 4 * c.hidden_size + 3 * c.q_dim() + 4 * c.kv_dim() + 3 * c.intermediate_size;
    4 * (rows as u64 * row as u64 + logit_rows as u64 * (logits + 2 * c.hidden_size) as u64)
}
