@group(0) @binding(8) var<storage, read_write> y: array<u32>;          // [rows, num_attention_heads * HEAD_DIM], A8
@group(0) @binding(9) var<storage, read> values: array<f32>;           // [rows, kv_dim]
@group(0) @binding(10) var<uniform> params: Params;
