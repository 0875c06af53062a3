@group(0) @binding(6) var<storage, read_write> partials: array<f32>;   // [rows, num_attention_heads, splits, HEAD_DIM + 2]
@group(0) @binding(7) var<uniform> params: Params;
