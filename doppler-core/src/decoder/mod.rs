//! The decoder: norm, qkv, rope, attention, o, residual, norm, mlp, residual. Knows numbers, no model families.

mod fused;
mod next;
mod prompt;
mod scratch;
mod step;
mod work;

use std::sync::Arc;

use doppler_kernels::{
    Add, Attention, AttentionHalf, AttentionReduce, AttentionSplit, Embed, GatedActivation, KvWrite, RmsNorm, Rope,
    SoftCap, linear,
};
use doppler_rdrr::{DType, Model, ModelConfig};

use crate::gpu::Uploads;
use crate::kv_cache::KvCache;
use crate::weights::{Input, Matrix, load_vector, on_matrix_units};
use crate::{Device, Error, Recorder, Recording, Tensor};
use fused::{FusedLayer, Stacked};
pub(crate) use next::{NextToken, Places};
use scratch::Scratch;
pub(crate) use scratch::{logits_bytes, most_scratch_bytes, scratch_bytes};
pub(crate) use step::splits;

/// All weights of a model on a device.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub config: ModelConfig,
    embed_tokens: Matrix,
    layers: Vec<Layer>,
    norm: Tensor,
    /// `None` when the embedding serves.
    lm_head: Option<Matrix>,
    /// The layers as a decode step takes them, or what stands in the way.
    fused: Result<Vec<FusedLayer>, String>,
    /// The layers as a prompt on matrix units takes them, or what stands in the way.
    prompt: Result<Vec<FusedLayer>, String>,
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

impl Layer {
    fn matrices(&self) -> [&Matrix; 7] {
        let [q, k, v] = [&self.q_proj, &self.k_proj, &self.v_proj].map(|projection| &projection.matrix);
        [q, k, v, &self.o_proj, &self.gate_proj, &self.up_proj, &self.down_proj]
    }
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
    pub rows: usize,
    /// Rows at the end whose logits are wanted.
    pub logit_rows: usize,
}

impl Decoder {
    /// Makes every weight; on a GPU, matrices hold what they should when `uploads` have run. `progress` hears bytes done and
    /// in total.
    pub fn load(
        device: &Device,
        model: &Arc<Model>,
        kv: DType,
        uploads: &mut Uploads,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Decoder, Error> {
        let c = model.config().clone();
        let refused = if device.gpu().is_none() {
            Some("not on a GPU".to_owned())
        } else if device.exact() {
            Some("exact products were asked for".to_owned())
        } else {
            None
        };
        let unless = |refused: Option<String>| refused.map_or(Ok(Vec::new()), Err);
        let mut fused = unless(refused.clone().or_else(|| step::lacks(&c, kv)));
        let mut prompt = unless(refused.or_else(|| prompt::lacks(&c, kv)));
        let total: u64 = model.tensors().iter().map(|t| t.num_bytes()).sum();
        let mut done = 0;
        let mut report = |name: &str| -> Result<(), Error> {
            done += model.tensor(name)?.num_bytes();
            progress(done, total);
            Ok(())
        };
        let mut matrices = |names: &[(String, usize)], cols| {
            let loaded = Matrix::load_stacked(device, model, names, cols, uploads)?;
            names.iter().try_for_each(|(name, _)| report(name))?;
            Ok::<_, Error>(loaded)
        };
        let vector = |name: &str, len| load_vector(device, model, name, len, |w| w);
        let offset = if c.rms_norm_weight_offset { 1.0 } else { 0.0 };
        let norm = |name: &str, len| load_vector(device, model, name, len, |w| w + offset);
        let mut layers = Vec::new();
        for i in 0..c.num_hidden_layers {
            let name = |part: &str| format!("model.layers.{i}.{part}");
            let layernorm = |part: &str| norm(&name(part), c.hidden_size);
            let part = |which: &str, part: &str| name(&format!("self_attn.{which}{part}"));
            let projection = |which: &str, matrix: Matrix, normed: bool| {
                Ok::<_, Error>(Projection {
                    bias: c.attention_bias.then(|| vector(&part(which, "_proj.bias"), matrix.rows)).transpose()?,
                    norm: (normed && c.qk_norm).then(|| norm(&part(which, "_norm.weight"), c.head_dim)).transpose()?,
                    matrix,
                })
            };
            // Between attention and MLP a Llama has one norm, under the name that the sandwich uses for another.
            let sandwich = |part: &str| c.sandwich_norms.then(|| layernorm(part)).transpose();
            let mlp_norm = if c.sandwich_norms { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
            let weight = |which: &str, rows| (part(which, "_proj.weight"), rows);
            let (q, k, v) = (weight("q", c.q_dim()), weight("k", c.kv_dim()), weight("v", c.kv_dim()));
            // Mixes of formats often give values a better one than queries and keys.
            let apart = model.tensor(&v.0)?.read_dtype() != model.tensor(&k.0)?.read_dtype();
            let together = if apart { vec![q, k] } else { vec![q, k, v.clone()] };
            let (mut attention, qkv) = matrices(&together, c.hidden_size)?;
            if apart {
                attention.extend(matrices(&[v], c.hidden_size)?.0);
            }
            let o = [(part("o", "_proj.weight"), c.hidden_size)];
            let mlp = |part: &str, rows| (name(&format!("mlp.{part}_proj.weight")), rows);
            let gate_up = [mlp("gate", c.intermediate_size), mlp("up", c.intermediate_size)];
            let (gate_up, both) = matrices(&gate_up, c.hidden_size)?;
            let [q, k, v] = three(attention);
            let [gate_proj, up_proj] = two(gate_up);
            let layer = Layer {
                input_layernorm: layernorm("input_layernorm.weight")?,
                q_proj: projection("q", q, true)?,
                k_proj: projection("k", k, true)?,
                v_proj: projection("v", v, false)?,
                o_proj: one(matrices(&o, c.q_dim())?.0),
                post_attention_norm: sandwich("post_attention_layernorm.weight")?,
                mlp_norm: layernorm(&format!("{mlp_norm}.weight"))?,
                gate_proj,
                up_proj,
                down_proj: one(matrices(&[mlp("down", c.hidden_size)], c.intermediate_size)?.0),
                post_mlp_norm: sandwich("post_feedforward_layernorm.weight")?,
            };
            if fused.is_ok() || prompt.is_ok() {
                let vectors = fused::vectors(device, model, &c, i)?;
                let stacked = Stacked { qkv, values_apart: apart, gate_up: both, vectors };
                fused::push(&mut fused, || stacked.fuse(&layer, step::takes));
                fused::push(&mut prompt, || stacked.fuse(&layer, prompt::takes));
            }
            layers.push(layer);
        }
        let mut rows_of_vocabulary =
            |name: &str| Ok::<_, Error>(one(matrices(&[(name.to_owned(), c.vocab_size)], c.hidden_size)?.0));
        let embed_tokens = rows_of_vocabulary("model.embed_tokens.weight")?;
        let lm_head = (!c.tie_word_embeddings).then(|| rows_of_vocabulary("lm_head.weight")).transpose()?;
        // What scales the head's input may as well scale the norm before it.
        let scale = c.logit_input_scale as f32;
        let norm = load_vector(device, model, "model.norm.weight", c.hidden_size, |w| (w + offset) * scale)?;
        Ok(Decoder { config: c, embed_tokens, layers, norm, lm_head, fused, prompt })
    }

    /// Why decode steps do not run on int8 activations, if they do not.
    pub fn why_not_int8(&self) -> Option<&str> {
        self.fused.as_ref().err().map(String::as_str)
    }

    /// Records one forward pass.
    pub fn record(&self, device: &Device, inputs: Inputs<'_>) -> Result<Forward, Error> {
        if inputs.rows <= linear::MOST_ROWS
            && let Ok(layers) = &self.fused
        {
            return self.record_step(device, layers, inputs);
        }
        if let Some(layers) = self.prompt_layers(device, inputs.rows) {
            return self.record_prompt(device, layers, inputs);
        }
        let c = &self.config;
        let Inputs { cache, ids, start, rows, logit_rows } = inputs;
        let mut recorder = Recorder::new();
        let r = &mut recorder;
        let packed = self.layers.iter().flat_map(Layer::matrices).any(|matrix| linear::takes(matrix.dtype));
        let s = Scratch::new(device, c, rows, packed)?;
        let matrix_units = on_matrix_units(device, rows);
        // Workgroups of a head each, a quarter as large.
        let splits = splits(cache.capacity, c.num_attention_heads.div_ceil(4));
        let partials = if device.gpu().is_some() && rows == 1 && splits > 1 {
            let shape = [rows, c.num_attention_heads, splits, c.head_dim + 2];
            Some(device.alloc("attention_partials", &shape, DType::F32)?)
        } else {
            None
        };

        self.embed(r, rows, &ids, &s.hidden)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let (keys, values) = &cache.layers[i];
            r.record(self.rms_norm(rows), &[&s.hidden, &layer.input_layernorm, &s.normed])?;
            let x = &Input::new(r, &s.normed, s.rounded_hidden.as_ref())?;
            let rope = c.rope_layers[i].then(|| cache.rope(c.layer_types[i]));
            let q = self.project(r, &layer.q_proj, rows, c.num_attention_heads, rope, start, x, &s.q)?;
            let k = self.project(r, &layer.k_proj, rows, c.num_key_value_heads, rope, start, x, &s.k)?;
            let v = self.project(r, &layer.v_proj, rows, c.num_key_value_heads, None, start, x, &s.v)?;
            let kv_write = || KvWrite {
                rows,
                num_key_value_heads: c.num_key_value_heads,
                head_dim: c.head_dim,
                capacity: cache.capacity,
                dtype: cache.dtype,
            };
            r.record(kv_write(), &[k, start, keys])?;
            r.record(kv_write(), &[v, start, values])?;
            self.attention(
                r,
                rows,
                c.window(i),
                cache,
                partials.as_ref(),
                matrix_units,
                &[q, keys, values, start, &s.attended],
            )?;
            let x = Input::new(r, &s.attended, s.rounded_attended.as_ref())?;
            layer.o_proj.record(r, rows, &x, &s.branch)?;
            self.join(r, rows, &s, layer.post_attention_norm.as_ref(), &s.hidden, &s.residual)?;

            r.record(self.rms_norm(rows), &[&s.residual, &layer.mlp_norm, &s.normed])?;
            let x = Input::new(r, &s.normed, s.rounded_hidden.as_ref())?;
            layer.gate_proj.record(r, rows, &x, &s.gate)?;
            layer.up_proj.record(r, rows, &x, &s.up)?;
            let activation = GatedActivation { rows, cols: c.intermediate_size, activation: c.hidden_act };
            r.record(activation, &[&s.gate, &s.up, &s.activated])?;
            let x = Input::new(r, &s.activated, s.rounded_activated.as_ref())?;
            layer.down_proj.record(r, rows, &x, &s.branch)?;
            self.join(r, rows, &s, layer.post_mlp_norm.as_ref(), &s.residual, &s.hidden)?;
        }
        let logits = if logit_rows > 0 { Some(self.head(device, r, rows, logit_rows, &s.hidden)?) } else { None };
        Ok(Forward { recording: device.compile(recorder)?, ids, logits })
    }

    /// The embeddings of `ids`, from all parts of the table.
    fn embed(&self, r: &mut Recorder, rows: usize, ids: &Tensor, out: &Tensor) -> Result<(), Error> {
        self.embed_tokens.parts.iter().try_for_each(|part| {
            let embed = Embed {
                rows,
                hidden_size: self.config.hidden_size,
                vocab_start: part.first_row,
                vocab_rows: part.rows,
                vocab_size: self.config.vocab_size,
                weight: self.embed_tokens.dtype,
                scale: self.config.embedding_scale as f32,
            };
            r.record(embed, &[ids, &part.tensor, out])
        })
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
        x: &Input<'_>,
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

    fn output_head(&self) -> &Matrix {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    /// Final norm and output head of the last rows.
    fn head(
        &self,
        device: &Device,
        r: &mut Recorder,
        rows: usize,
        logit_rows: usize,
        hidden: &Tensor,
    ) -> Result<Tensor, Error> {
        let c = &self.config;
        let alloc = |label, cols| device.alloc(label, &[logit_rows, cols], DType::F32);
        let last = alloc("last_hidden", c.hidden_size)?;
        let normed = alloc("last_normed", c.hidden_size)?;
        let logits = alloc("logits", c.vocab_size)?;
        if logit_rows == rows {
            r.record(self.rms_norm(rows), &[hidden, &self.norm, &normed])?;
        } else {
            self.select_last(device, r, rows, hidden, &last)?;
            r.record(self.rms_norm(logit_rows), &[&last, &self.norm, &normed])?;
        }
        let head = self.output_head();
        // Logits stay as near to f32 arithmetic as they can.
        let x = Input { plain: &normed, rounded: None };
        match c.final_logit_softcapping {
            None => head.record(r, logit_rows, &x, &logits)?,
            Some(cap) => {
                let raw = alloc("raw_logits", c.vocab_size)?;
                head.record(r, logit_rows, &x, &raw)?;
                r.record(SoftCap { len: logit_rows * c.vocab_size, cap: cap as f32 }, &[&raw, &logits])?;
            }
        }
        Ok(logits)
    }

    /// Copies the last of `rows` rows, as many as `to` has: it is an embedding lookup.
    fn select_last(
        &self,
        device: &Device,
        r: &mut Recorder,
        rows: usize,
        from: &Tensor,
        to: &Tensor,
    ) -> Result<(), Error> {
        let cols = from.len() / rows;
        let first = (rows - to.len() / cols) as u32;
        let picked = device.alloc("picked_rows", &[to.len() / cols], DType::U32)?;
        device.write(&picked, bytemuck::cast_slice(&(first..rows as u32).collect::<Vec<_>>()))?;
        let select = Embed {
            rows: to.len() / cols,
            hidden_size: cols,
            vocab_start: 0,
            vocab_rows: rows,
            vocab_size: rows,
            weight: DType::F32,
            scale: 1.0,
        };
        r.record(select, &[&picked, from, to])
    }

    /// With `partials` for it, one row splits the context over workgroups; otherwise each row and head is one piece of work.
    #[expect(clippy::too_many_arguments, reason = "what decides the kernel, and its operands")]
    fn attention(
        &self,
        r: &mut Recorder,
        rows: usize,
        window: Option<usize>,
        cache: &KvCache,
        partials: Option<&Tensor>,
        matrix_units: bool,
        operands: &[&Tensor; 5],
    ) -> Result<(), Error> {
        let c = &self.config;
        let attention = attention_of(c, rows, cache.capacity, cache.dtype, window);
        let Some(partials) = partials else {
            if matrix_units && AttentionHalf::takes(c.head_dim, cache.dtype) {
                return r.record(AttentionHalf(attention), operands);
            }
            return r.record(attention, operands);
        };
        let [q, keys, values, start, y] = operands;
        let splits = partials.shape()[2];
        let reduce = AttentionReduce {
            rows,
            num_attention_heads: c.num_attention_heads,
            head_dim: c.head_dim,
            splits,
            y: DType::F32,
        };
        r.record(AttentionSplit { attention, splits }, &[q, keys, values, start, partials])?;
        r.record(reduce, &[partials, y])
    }

    fn rms_norm(&self, rows: usize) -> RmsNorm {
        RmsNorm { rows, cols: self.config.hidden_size, eps: self.config.rms_norm_eps as f32 }
    }
}

/// The attention of a layer with this window.
fn attention_of(c: &ModelConfig, rows: usize, capacity: usize, kv: DType, window: Option<usize>) -> Attention {
    Attention {
        rows,
        num_attention_heads: c.num_attention_heads,
        num_key_value_heads: c.num_key_value_heads,
        head_dim: c.head_dim,
        capacity,
        scale: (1.0 / c.query_pre_attn_scalar.sqrt()) as f32,
        softcap: c.attn_logit_softcapping.map(|cap| cap as f32),
        sliding_window: window,
        kv,
    }
}

fn one(matrices: Vec<Matrix>) -> Matrix {
    let [matrix] = <[Matrix; 1]>::try_from(matrices).expect("one name gives one matrix");
    matrix
}

fn two(matrices: Vec<Matrix>) -> [Matrix; 2] {
    matrices.try_into().expect("two names give two matrices")
}

fn three(matrices: Vec<Matrix>) -> [Matrix; 3] {
    matrices.try_into().expect("three names give three matrices")
}
