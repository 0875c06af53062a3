@group(0) @binding(6) var<storage, read> values: array<f32>;           // [rows, kv_dim]
@group(0) @binding(7) var<uniform> params: Params;
