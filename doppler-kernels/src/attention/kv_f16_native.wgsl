// The cache in f16, where shaders have the type.
@group(0) @binding(1) var<storage, read> k: array<vec2<f16>>;     // [capacity, num_key_value_heads, HEAD_DIM / 2]
@group(0) @binding(2) var<storage, read> v: array<vec2<f16>>;     // [capacity, num_key_value_heads, HEAD_DIM / 2]

fn key(pair: u32) -> vec2<f32> {
    return vec2<f32>(k[pair]);
}

fn value(pair: u32) -> vec2<f32> {
    return vec2<f32>(v[pair]);
}
