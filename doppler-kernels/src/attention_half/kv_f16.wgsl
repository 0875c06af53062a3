// The cache in f16.
@group(0) @binding(1) var<storage, read> k: array<vec4<f16>>;          // [capacity, num_key_value_heads, HEAD_DIM / 4]
@group(0) @binding(2) var<storage, read> v: array<vec4<f16>>;          // [capacity, num_key_value_heads, HEAD_DIM / 4]

fn key_quad(head: u32, i: u32) -> vec4<f16> {
    return k[head * QUADS + i];
}

fn value_quad(head: u32, i: u32) -> vec4<f16> {
    return v[head * QUADS + i];
}
