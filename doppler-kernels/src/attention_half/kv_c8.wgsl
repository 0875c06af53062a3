// The cache in blocks of int8: a head's quants, four a word, then a scale for each 32 of them.
@group(0) @binding(1) var<storage, read> k: array<u32>;                // [capacity, num_key_value_heads, WORDS]
@group(0) @binding(2) var<storage, read> v: array<u32>;                // [capacity, num_key_value_heads, WORDS]

const WORDS: u32 = QUADS + HEAD_DIM / 32u;

fn unpacked(quants: u32, scale: u32) -> vec4<f16> {
    // Beyond the range of f16 the largest value stands in, as in a cache of f16.
    let x = bitcast<f32>(scale) * vec4<f32>(unpack4xI8(quants));
    return vec4<f16>(clamp(x, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
}

fn key_quad(head: u32, i: u32) -> vec4<f16> {
    return unpacked(k[head * WORDS + i], k[head * WORDS + QUADS + i / 8u]);
}

fn value_quad(head: u32, i: u32) -> vec4<f16> {
    return unpacked(v[head * WORDS + i], v[head * WORDS + QUADS + i / 8u]);
}
