//! What is timed: the kernels of a decoder at the shapes of real models, and the two roofs.

use doppler_core::kernels::cases::random_weights;
use doppler_core::kernels::{
    Access, Add, ArgMax, Attention, AttentionDecode, AttentionReduce, AttentionSplit, AttentionWhole, Case, Embed,
    GatedActivation, GemmA8, Int8Rows, Kernel, KvWrite, MatMul, Operand, RmsNorm, Rope, Softmax, Stream, Tolerance,
    TopK,
};
use doppler_core::rdrr::{Activation, DType};

/// Positions in the cache while decoding.
const CONTEXT: usize = 512;

/// A model's numbers.
struct Decoder {
    name: &'static str,
    hidden_size: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    vocab_size: usize,
    /// Of the projections, and of the embedding.
    weights: [DType; 2],
}

const HEAD_DIM: usize = 64;
#[rustfmt::skip]
const SMOLLM2_135M: Decoder = Decoder {
    name: "smollm2", hidden_size: 576, intermediate_size: 1536, num_attention_heads: 9, num_key_value_heads: 3,
    vocab_size: 49_152, weights: [DType::Q4_1, DType::Q8_0],
};
#[rustfmt::skip]
const LLAMA_1B: Decoder = Decoder {
    name: "llama1b", hidden_size: 2048, intermediate_size: 8192, num_attention_heads: 32, num_key_value_heads: 8,
    vocab_size: 128_256, weights: [DType::Q4_K, DType::Q6_K],
};
#[rustfmt::skip]
const TINY: Decoder = Decoder {
    name: "tiny", hidden_size: 128, intermediate_size: 256, num_attention_heads: 2, num_key_value_heads: 1,
    vocab_size: 4096, weights: [DType::Q4_1, DType::Q8_0],
};

/// How much to run: what takes a GPU microseconds takes a software one seconds.
#[derive(Clone)]
pub struct Scale {
    decoders: &'static [Decoder],
    /// Rows of a prompt.
    prefill: usize,
    /// Elements of each of the three tensors of the largest stream.
    pub stream: usize,
    /// Rows, output and input features of the largest matrix product.
    product: [usize; 3],
    /// Positions of a deep context; 0 where decode steps are made of other kernels.
    deep: usize,
}

/// For a smoke test.
pub const TEST: Scale = Scale { decoders: &[TINY], prefill: 16, stream: 1 << 16, product: [16, 64, 256], deep: 512 };
/// For a software GPU.
pub const SOFTWARE: Scale =
    Scale { decoders: &[SMOLLM2_135M], prefill: 64, stream: 1 << 22, product: [64, 512, 512], deep: 1024 };
/// For the CPU.
pub const HOST: Scale =
    Scale { decoders: &[SMOLLM2_135M], prefill: 128, stream: 1 << 24, product: [256, 2048, 2048], deep: 0 };
/// For a real GPU.
pub const GPU: Scale = Scale {
    decoders: &[SMOLLM2_135M, LLAMA_1B],
    prefill: 512,
    stream: 1 << 26,
    product: [2048, 4096, 4096],
    deep: 32_768,
};

/// What one run does.
#[derive(Clone, Copy)]
pub enum Work {
    /// Memory bounds it.
    Bytes(u64),
    /// Arithmetic bounds it; a multiply-add is two.
    Flops(u64),
}

/// A kernel to time.
pub struct Bench {
    /// What it is for; `roof_` for what the others are held against.
    pub label: String,
    pub case: Case,
    pub work: Work,
}

impl Bench {
    /// A kernel that goes over each operand once.
    fn stream(label: String, kernel: impl Kernel + 'static) -> Bench {
        let bytes: usize = kernel.operands().iter().map(Operand::bytes).sum();
        Bench::new(label, kernel, 0, Work::Bytes(bytes as u64))
    }

    /// With `start` as position, or as the first of the ids.
    fn new(label: String, kernel: impl Kernel + 'static, start: u32, work: Work) -> Bench {
        let mut case = Case::new("bench", Box::new(kernel), Tolerance::F32);
        for operand in case.kernel.operands().iter().filter(|operand| operand.access.has_input()) {
            case = case.input(match operand.dtype {
                DType::U32 if operand.access == Access::ReadWrite => vec![0; operand.bytes()],
                DType::U32 => (0..operand.len() as u32).flat_map(|i| (start + 7 * i).to_le_bytes()).collect(),
                // A repeated piece: as good as noise here, and made in no time.
                dtype => {
                    let mut bytes = random_weights(dtype, 1 << 14, 1).repeat(operand.len().div_ceil(1 << 14));
                    bytes.truncate(operand.bytes());
                    bytes
                }
            });
        }
        Bench { label, case, work }
    }
}

/// `rows` of activations times a weight matrix.
fn product(label: String, weight: DType, [rows, out_features, in_features]: [usize; 3]) -> Bench {
    let kernel = MatMul { rows, out_features, in_features, weight, y_stride: out_features, y_offset: 0 };
    if rows == 1 {
        return Bench::stream(label, kernel);
    }
    Bench::new(label, kernel, 0, Work::Flops(2 * (rows * out_features * in_features) as u64))
}

/// The same of rows in int8.
fn int8_product(label: String, weight: DType, [rows, out_features, in_features]: [usize; 3]) -> Bench {
    let product = MatMul { rows, out_features, in_features, weight, y_stride: out_features, y_offset: 0 };
    Bench::new(label, GemmA8(product), 0, Work::Flops(2 * (rows * out_features * in_features) as u64))
}

/// Everything at a scale, the roofs first.
pub fn benches(scale: &Scale) -> Vec<Bench> {
    let mut benches = vec![
        Bench::stream("roof_stream".to_owned(), Stream { len: scale.stream, pieces: (scale.stream >> 14).max(1) }),
        Bench::stream("roof_stream".to_owned(), Add::sum(scale.stream)),
        Bench::stream("roof_stream".to_owned(), ArgMax { rows: scale.stream >> 12, cols: 3 << 12 }),
    ];
    for weight in [DType::F32, DType::F16, DType::Q8_0] {
        benches.push(product(format!("roof_product_{weight}"), weight, scale.product));
    }
    for decoder in scale.decoders {
        benches.extend(matrices(decoder, scale.prefill));
        // The CPU rounds within its products.
        if scale.deep > 0 {
            benches.extend(int8_products(decoder, scale.prefill, &benches));
        }
        for rows in [1, scale.prefill] {
            benches.extend(rest(decoder, rows));
        }
        benches.extend(at_the_ends(decoder));
        benches.extend(deep(decoder, scale.deep));
    }
    benches
}

/// Each matrix of a layer in the model's own format, and the largest in all formats.
fn matrices(d: &Decoder, prefill: usize) -> Vec<Bench> {
    let [weight, head] = d.weights;
    let (hidden, mlp) = (d.hidden_size, d.intermediate_size);
    let mut benches = vec![
        product(format!("{}_decode_q_proj_{weight}", d.name), weight, [1, hidden, hidden]),
        product(format!("{}_decode_k_proj_{weight}", d.name), weight, [1, d.num_key_value_heads * HEAD_DIM, hidden]),
        product(format!("{}_decode_up_proj_{weight}", d.name), weight, [1, mlp, hidden]),
        product(format!("{}_decode_lm_head_{head}", d.name), head, [1, d.vocab_size, hidden]),
        product(format!("{}_prefill_up_proj_{weight}", d.name), weight, [prefill, mlp, hidden]),
    ];
    for &weight in DType::WEIGHTS {
        benches.push(product(format!("{}_decode_down_proj_{weight}", d.name), weight, [1, hidden, mlp]));
    }
    for weight in [weight, DType::Q4_K, DType::F16] {
        let label = format!("{}_prefill_down_proj_{weight}", d.name);
        if benches.iter().all(|bench| bench.label != label) {
            benches.push(product(label, weight, [prefill, hidden, mlp]));
        }
    }
    benches
}

/// A prompt's products in int8 in every format, each beside what it takes the place of where that is not there yet, and the
/// rounding before them.
fn int8_products(d: &Decoder, prefill: usize, before: &[Bench]) -> Vec<Bench> {
    let (hidden, mlp) = (d.hidden_size, d.intermediate_size);
    let rows = Int8Rows { rows: prefill, cols: mlp };
    let mut benches = vec![Bench::stream(format!("{}_prefill_mlp", d.name), rows)];
    for &weight in DType::WEIGHTS.iter().filter(|weight| GemmA8::takes(**weight, mlp)) {
        let shape = [prefill, hidden, mlp];
        let label = format!("{}_prefill_down_proj_{weight}", d.name);
        if before.iter().all(|bench| bench.label != label) {
            benches.push(product(label.clone(), weight, shape));
        }
        benches.push(int8_product(label, weight, shape));
    }
    benches
}

/// The attention of a decode step at the end of `positions` in so many pieces.
fn attention_decode(d: &Decoder, positions: usize, kv: DType, splits: usize) -> AttentionDecode {
    let attention = Attention {
        rows: 1,
        num_attention_heads: d.num_attention_heads,
        num_key_value_heads: d.num_key_value_heads,
        head_dim: HEAD_DIM,
        capacity: positions,
        scale: 0.125,
        softcap: None,
        sliding_window: None,
        kv,
    };
    AttentionDecode {
        attention,
        splits,
        rotary_dim: HEAD_DIM,
        positions,
        rope: true,
        bias: false,
        qk_norm: None,
        values_apart: false,
    }
}

fn attention_reduce(d: &Decoder, splits: usize) -> AttentionReduce {
    let num_attention_heads = d.num_attention_heads;
    AttentionReduce { rows: 1, num_attention_heads, head_dim: HEAD_DIM, splits, y: DType::A8 }
}

/// The attention of a decode step: at the end of a deep context, in both small caches and in few pieces and many; of short ones
/// in one dispatch and in two.
fn deep(d: &Decoder, positions: usize) -> Vec<Bench> {
    let mut benches = Vec::new();
    let cache = |positions: usize, kv: DType| {
        let shape = [positions, d.num_key_value_heads, HEAD_DIM];
        Work::Bytes(2 * kv.tensor_bytes(&shape).expect("heads are whole blocks") as u64)
    };
    for splits in [32, 64, 128, 256].into_iter().filter(|splits| splits * 4 <= positions) {
        benches.push(Bench::stream(format!("{}_deep_{splits}", d.name), attention_reduce(d, splits)));
        for kv in [DType::F16, DType::C8] {
            let decode = attention_decode(d, positions, kv, splits);
            let label = format!("{}_deep_{kv}_{splits}", d.name);
            benches.push(Bench::new(label, decode, positions as u32 - 1, cache(positions, kv)));
        }
    }
    for positions in [CONTEXT, 2 * CONTEXT].into_iter().filter(|short| *short < positions) {
        let (kv, splits) = (DType::F16, positions / 64);
        let label = |splits: usize| format!("{}_{positions}_{splits}", d.name);
        let (last, bytes) = (positions as u32 - 1, || cache(positions, kv));
        let whole = AttentionWhole(attention_decode(d, positions, kv, splits));
        benches.push(Bench::new(label(splits), whole, last, bytes()));
        benches.push(Bench::new(label(splits), attention_decode(d, positions, kv, splits), last, bytes()));
        benches.push(Bench::stream(label(splits), attention_reduce(d, splits)));
    }
    benches
}

/// Everything of a layer but the matrices, for one row at the end of the context or a prompt from its start.
fn rest(d: &Decoder, rows: usize) -> Vec<Bench> {
    let label = |what| format!("{}_{}_{what}", d.name, if rows == 1 { "decode" } else { "prefill" });
    let (heads, kv_heads) = (d.num_attention_heads, d.num_key_value_heads);
    let (kv_dim, capacity) = (kv_heads * HEAD_DIM, CONTEXT.max(rows));
    let start = if rows == 1 { CONTEXT - 1 } else { 0 };
    let attention = Attention {
        rows,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim: HEAD_DIM,
        capacity,
        scale: 0.125,
        softcap: None,
        sliding_window: None,
        kv: DType::F16,
    };
    // Rows of queries, keys and values, and a part of the tables, not the whole of them.
    let touched = |f32s: usize, f16s: usize| Work::Bytes((4 * f32s + 2 * f16s) as u64);
    let queries = rows * heads * HEAD_DIM;
    let rope = Rope { rows, num_heads: heads, head_dim: HEAD_DIM, rotary_dim: HEAD_DIM, positions: capacity };
    let kv_write = KvWrite { rows, num_key_value_heads: kv_heads, head_dim: HEAD_DIM, capacity, dtype: DType::F16 };
    let mut benches = vec![
        Bench::stream(label("norm"), RmsNorm { rows, cols: d.hidden_size, eps: 1e-5 }),
        Bench::stream(label("residual"), Add::sum(rows * d.hidden_size)),
        Bench::stream(label("mlp"), GatedActivation { rows, cols: d.intermediate_size, activation: Activation::Silu }),
        Bench::new(label("q"), rope, start as u32, touched(2 * queries + rows * HEAD_DIM, 0)),
        Bench::new(label("keys"), kv_write, start as u32, touched(rows * kv_dim, rows * kv_dim)),
    ];
    if rows > 1 {
        let flops = 4 * heads * HEAD_DIM * rows * (rows + 1) / 2;
        benches.push(Bench::new(label("causal"), attention, 0, Work::Flops(flops as u64)));
        return benches;
    }
    let splits = CONTEXT / 64;
    let reduce = AttentionReduce { rows, num_attention_heads: heads, head_dim: HEAD_DIM, splits, y: DType::F32 };
    let partials = heads * splits * (HEAD_DIM + 2);
    let bytes = |written| touched(queries + written, 2 * CONTEXT * kv_dim);
    benches.push(Bench::stream(label("reduce"), reduce));
    benches.push(Bench::new(label("whole"), attention.clone(), start as u32, bytes(queries)));
    benches.push(Bench::new(label("split"), AttentionSplit { attention, splits }, start as u32, bytes(partials)));
    benches
}

/// From ids to rows, and from logits to ids.
fn at_the_ends(d: &Decoder) -> Vec<Bench> {
    let (rows, cols, weight) = (CONTEXT, d.vocab_size, d.weights[1]);
    let embed = Embed {
        rows,
        hidden_size: d.hidden_size,
        vocab_start: 0,
        vocab_rows: cols,
        vocab_size: cols,
        weight,
        scale: 1.0,
    };
    let row_bytes = weight.row_bytes(d.hidden_size).expect("a row is whole blocks");
    let touched = rows * (4 + row_bytes + 4 * d.hidden_size);
    vec![
        Bench::new(format!("{}_prefill_{weight}", d.name), embed, 0, Work::Bytes(touched as u64)),
        Bench::stream(format!("{}_logits", d.name), ArgMax { rows: 1, cols }),
        Bench::stream(format!("{}_logits", d.name), Softmax { rows: 1, cols }),
        Bench::stream(format!("{}_logits_40", d.name), TopK { rows: 1, cols, k: 40 }),
    ]
}
