// The cache in f16, two a word: needs no f16 in shaders.
@group(0) @binding(1) var<storage, read> k: array<u32>;           // [capacity, num_key_value_heads, HEAD_DIM / 2]
@group(0) @binding(2) var<storage, read> v: array<u32>;           // [capacity, num_key_value_heads, HEAD_DIM / 2]

fn key(pair: u32) -> vec2<f32> {
    return unpack2x16float(k[pair]);
}

fn value(pair: u32) -> vec2<f32> {
    return unpack2x16float(v[pair]);
}
