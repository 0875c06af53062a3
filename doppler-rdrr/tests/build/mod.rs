//! Builds small GGUF and safetensors files, right or wrong in any way a test wants.
#![allow(dead_code)]

use std::path::Path;

/// A GGUF file in the making; every part can be replaced by bytes that lie.
#[derive(Clone)]
pub struct GgufFile {
    pub version: u32,
    pub alignment: usize,
    pub keys: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<TensorEntry>,
    /// The counts in the header, where they shall not be the true ones.
    pub counts: Option<(u64, u64)>,
}

#[derive(Clone)]
pub struct TensorEntry {
    pub name: String,
    /// Innermost first, as the file has them.
    pub dims: Vec<u64>,
    pub kind: u32,
    pub data: Vec<u8>,
    /// The offset in the table, where it shall not be the true one.
    pub offset: Option<u64>,
}

pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q8_0: u32 = 8;

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

/// A value with its type in front.
pub mod value {
    pub fn raw(kind: u32, bytes: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], bytes].concat()
    }
    pub fn u32(number: u32) -> Vec<u8> {
        raw(4, &number.to_le_bytes())
    }
    pub fn f32(number: f32) -> Vec<u8> {
        raw(6, &number.to_le_bytes())
    }
    pub fn bool(flag: u8) -> Vec<u8> {
        raw(7, &[flag])
    }
    pub fn string(string: &str) -> Vec<u8> {
        let mut bytes = 8_u32.to_le_bytes().to_vec();
        super::text(&mut bytes, string.as_bytes());
        bytes
    }
    pub fn array(kind: u32, count: u64, items: &[u8]) -> Vec<u8> {
        [&9_u32.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), items].concat()
    }
    pub fn strings<'a>(items: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
        let (mut bytes, mut count) = (Vec::new(), 0);
        for item in items {
            super::text(&mut bytes, item.as_bytes());
            count += 1;
        }
        array(8, count, &bytes)
    }
    pub fn i32s(items: &[i32]) -> Vec<u8> {
        array(5, items.len() as u64, &items.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<u8>>())
    }
    pub fn f32s(items: &[f32]) -> Vec<u8> {
        array(6, items.len() as u64, &items.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<u8>>())
    }
}

impl GgufFile {
    pub fn new() -> Self {
        GgufFile { version: 3, alignment: 32, keys: Vec::new(), tensors: Vec::new(), counts: None }
    }

    pub fn set(&mut self, key: &str, value: Vec<u8>) -> &mut Self {
        match self.keys.iter_mut().find(|(name, _)| name == key) {
            Some(entry) => entry.1 = value,
            None => self.keys.push((key.to_owned(), value)),
        }
        self
    }

    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.keys.retain(|(name, _)| name != key);
        self
    }

    pub fn push(&mut self, name: &str, shape: &[usize], kind: u32, data: Vec<u8>) -> &mut Self {
        let dims = shape.iter().rev().map(|n| *n as u64).collect();
        self.tensors.push(TensorEntry { name: name.to_owned(), dims, kind, data, offset: None });
        self
    }

    /// [`Self::set`], [`Self::remove`] and [`Self::push`] for closures that return nothing.
    pub fn put(&mut self, key: &str, value: Vec<u8>) {
        self.set(key, value);
    }

    pub fn cut(&mut self, key: &str) {
        self.remove(key);
    }

    pub fn add(&mut self, name: &str, shape: &[usize], kind: u32, data: Vec<u8>) {
        self.push(name, shape, kind, data);
    }

    pub fn tensor(&mut self, name: &str) -> &mut TensorEntry {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        let counts = self.counts.unwrap_or((self.tensors.len() as u64, self.keys.len() as u64));
        out.extend(counts.0.to_le_bytes());
        out.extend(counts.1.to_le_bytes());
        for (key, value) in &self.keys {
            text(&mut out, key.as_bytes());
            out.extend(value);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            text(&mut out, tensor.name.as_bytes());
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|n| out.extend(n.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(offset as u64).to_le_bytes());
            offset = (offset + tensor.data.len()).next_multiple_of(self.alignment);
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
            out.extend(&tensor.data);
        }
        out
    }
}

pub const HIDDEN: usize = 64;
pub const INNER: usize = 96;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
pub const HEAD_DIM: usize = 16;
pub const LAYERS: usize = 2;

/// Reproducible numbers in (-1, 1).
pub fn numbers(seed: &str, count: usize) -> Vec<f32> {
    let mut state =
        seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The letters that GPT-2 writes the 256 bytes with.
pub fn byte_letters() -> Vec<String> {
    let plain = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || (174..=255).contains(&b);
    let mut extra = 256..;
    let mut code = |byte| if plain(byte) { byte } else { extra.next().unwrap() };
    (0..256).map(|byte| char::from_u32(code(byte)).unwrap().to_string()).collect()
}

pub const MERGES: [&str; 6] = ["h e", "l l", "he ll", "hell o", "Ġ w", "1 2"];

/// Tokens of the tiny byte-level vocabulary: bytes, merged words, then `<|bos|>` and `<|im_end|>`.
pub fn vocabulary() -> Vec<String> {
    let mut tokens = byte_letters();
    tokens.extend(MERGES.iter().map(|merge| merge.replace(' ', "")));
    tokens.extend(["<|bos|>".to_owned(), "<|im_end|>".to_owned()]);
    tokens
}

/// Name in GGUF, name in RDRR and shape of each weight of the tiny model.
pub fn weights() -> Vec<(String, String, Vec<usize>)> {
    let vocab = vocabulary().len();
    let (q, kv) = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM);
    let mut all = vec![("token_embd".to_owned(), "model.embed_tokens".to_owned(), vec![vocab, HIDDEN])];
    for layer in 0..LAYERS {
        for (theirs, ours, shape) in [
            ("attn_norm", "input_layernorm", vec![HIDDEN]),
            ("attn_q", "self_attn.q_proj", vec![q, HIDDEN]),
            ("attn_k", "self_attn.k_proj", vec![kv, HIDDEN]),
            ("attn_v", "self_attn.v_proj", vec![kv, HIDDEN]),
            ("attn_output", "self_attn.o_proj", vec![HIDDEN, q]),
            ("ffn_norm", "post_attention_layernorm", vec![HIDDEN]),
            ("ffn_gate", "mlp.gate_proj", vec![INNER, HIDDEN]),
            ("ffn_up", "mlp.up_proj", vec![INNER, HIDDEN]),
            ("ffn_down", "mlp.down_proj", vec![HIDDEN, INNER]),
        ] {
            all.push((format!("blk.{layer}.{theirs}"), format!("model.layers.{layer}.{ours}"), shape));
        }
    }
    all.push(("output_norm".to_owned(), "model.norm".to_owned(), vec![HIDDEN]));
    all.into_iter().map(|(a, b, shape)| (a + ".weight", b + ".weight", shape)).collect()
}

/// A complete Llama with tied embeddings in F32: each weight's numbers are `numbers(its RDRR name)`, in GGUF's order.
pub fn llama() -> GgufFile {
    let mut file = GgufFile::new();
    let tokens = vocabulary();
    let mut kinds = vec![1; tokens.len()];
    kinds[tokens.len() - 2..].fill(3);
    file.set("general.architecture", value::string("llama"))
        .set("general.name", value::string("tiny"))
        .set("llama.block_count", value::u32(LAYERS as u32))
        .set("llama.context_length", value::u32(128))
        .set("llama.embedding_length", value::u32(HIDDEN as u32))
        .set("llama.feed_forward_length", value::u32(INNER as u32))
        .set("llama.attention.head_count", value::u32(HEADS as u32))
        .set("llama.attention.head_count_kv", value::u32(KV_HEADS as u32))
        .set("llama.attention.layer_norm_rms_epsilon", value::f32(1e-5))
        .set("llama.rope.freq_base", value::f32(10_000.0))
        .set("llama.rope.dimension_count", value::u32(HEAD_DIM as u32))
        .set("tokenizer.ggml.model", value::string("gpt2"))
        .set("tokenizer.ggml.pre", value::string("gpt-2"))
        .set("tokenizer.ggml.tokens", value::strings(tokens.iter().map(String::as_str)))
        .set("tokenizer.ggml.token_type", value::i32s(&kinds))
        .set("tokenizer.ggml.merges", value::strings(MERGES))
        .set("tokenizer.ggml.bos_token_id", value::u32(tokens.len() as u32 - 2))
        .set("tokenizer.ggml.eos_token_id", value::u32(tokens.len() as u32 - 1))
        .set("tokenizer.chat_template", value::string("{{ messages }}"));
    for (theirs, ours, shape) in weights() {
        let values = numbers(&ours, shape.iter().product());
        let rows = rope_pairs(&ours, &values);
        file.push(&theirs, &shape, F32, f32_bytes(&rows));
    }
    file
}

/// A GGUF file that is only a tokenizer of SentencePiece's kind.
pub fn sentencepiece() -> GgufFile {
    let mut tokens: Vec<(String, f32, i32)> =
        vec![("<unk>".into(), 0.0, 2), ("<s>".into(), 0.0, 3), ("</s>".into(), 0.0, 3)];
    tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
    for (rank, piece) in ["▁h", "ll", "▁he", "llo", "▁hello", "▁▁"].iter().enumerate() {
        tokens.push(((*piece).into(), -(rank as f32), 1));
    }
    for (rank, letter) in "▁ehlowd!".chars().enumerate() {
        tokens.push((letter.to_string(), -100.0 - rank as f32, 1));
    }
    let mut file = GgufFile::new();
    file.set("tokenizer.ggml.model", value::string("llama"))
        .set("tokenizer.ggml.tokens", value::strings(tokens.iter().map(|token| token.0.as_str())))
        .set("tokenizer.ggml.scores", value::f32s(&tokens.iter().map(|token| token.1).collect::<Vec<_>>()))
        .set("tokenizer.ggml.token_type", value::i32s(&tokens.iter().map(|token| token.2).collect::<Vec<_>>()))
        .set("tokenizer.ggml.unknown_token_id", value::u32(0))
        .set("tokenizer.ggml.bos_token_id", value::u32(1))
        .set("tokenizer.ggml.eos_token_id", value::u32(2));
    file
}

/// What GGUF's writers do to query and key rows: `[heads, 2, half]` becomes `[heads, half, 2]`.
pub fn rope_pairs(name: &str, values: &[f32]) -> Vec<f32> {
    if !name.contains("q_proj") && !name.contains("k_proj") {
        return values.to_vec();
    }
    let half = HEAD_DIM / 2;
    let row = |index: usize| &values[index * HIDDEN..][..HIDDEN];
    let heads = values.len() / HIDDEN / HEAD_DIM;
    let mut out = Vec::new();
    for head in 0..heads {
        for pair in 0..half {
            for part in 0..2 {
                out.extend_from_slice(row(head * HEAD_DIM + part * half + pair));
            }
        }
    }
    out
}

/// A safetensors file of these tensors: name, dtype, shape, bytes.
pub fn safetensors(tensors: &[(String, &str, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let end = data.len() + bytes.len();
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [data.len(), end] });
        header.insert(name.clone(), entry);
        data.extend(bytes);
    }
    with_header(&serde_json::Value::from(header).to_string(), &data)
}

pub fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// The tiny model's tensors as a Hugging Face folder has them, in `dtype`.
pub fn hf_tensors(dtype: &'static str) -> Vec<(String, &'static str, Vec<usize>, Vec<u8>)> {
    weights()
        .into_iter()
        .map(|(_, name, shape)| {
            let values = numbers(&name, shape.iter().product());
            let bytes = match dtype {
                "F32" => f32_bytes(&values),
                "F16" => values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
            };
            (name, dtype, shape, bytes)
        })
        .collect()
}

pub fn hf_config() -> serde_json::Value {
    serde_json::json!({
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": vocabulary().len(),
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": true,
        "bos_token_id": 262,
        "eos_token_id": 263,
        "rope_scaling": null,
        "unknown_setting": { "kept": "out" },
    })
}

/// Writes a Hugging Face folder without its weights.
pub fn hf_folder(folder: &Path, config: &serde_json::Value) {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("config.json", config.to_string());
    write(
        "tokenizer.json",
        r#"{"version":"1.0","added_tokens":[],"model":{"type":"BPE","vocab":{},"merges":[]}}"#.into(),
    );
    write(
        "tokenizer_config.json",
        r#"{"bos_token":{"content":"<|bos|>"},"eos_token":"<|im_end|>",
            "chat_template":[{"name":"rag","template":"no"},{"name":"default","template":"yes"}]}"#
            .into(),
    );
}
