@group(0) @binding(6) var<storage, read_write> q: array<vec4<f32>>;    // [rows, num_attention_heads, QUADS]
@group(0) @binding(7) var<uniform> params: Params;
