@group(0) @binding(6) @coherent var<storage, read_write> partials: array<vec4<f32>>; // [rows, num_attention_heads, splits, QUADS + 1]
@group(0) @binding(7) var<storage, read_write> arrivals: array<atomic<u32>>; // [rows, num_key_value_heads]
