@group(0) @binding(6) var<storage, read_write> q: array<vec4<f32>>;    // [rows, num_attention_heads, QUADS]
@group(0) @binding(7) var<storage, read> values: array<f32>;           // [VALUE_PARTS, rows, kv_dim]
@group(0) @binding(8) var<uniform> params: Params;
