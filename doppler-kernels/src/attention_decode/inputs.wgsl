// What every kernel of a new position takes first.
@group(0) @binding(0) var<storage, read> qkv: array<f32>;              // [rows, q_dim + 2 * kv_dim], or without the values
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<vec2<f32>>;      // [positions, rotary_dim / 2]: cos, sin
@group(0) @binding(3) var<storage, read> start: array<u32>;            // [1]
@group(0) @binding(4) var<storage, read_write> k: array<Stored>;       // [capacity, num_key_value_heads, a head]
@group(0) @binding(5) var<storage, read_write> v: array<Stored>;       // [capacity, num_key_value_heads, a head]
