@group(0) @binding(2) var<storage, read_write> cache: array<u32>; // [capacity, kv_dim / 2], pairs of f16

fn store_pair(pair: u32, value: vec2<f32>) {
    // Beyond the range of f16 the largest value is stored, never infinity.
    cache[pair] = pack2x16float(clamp(value, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}
