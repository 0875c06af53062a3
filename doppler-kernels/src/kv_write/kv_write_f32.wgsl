@group(0) @binding(2) var<storage, read_write> cache: array<f32>; // [capacity, kv_dim]

fn store_pair(pair: u32, value: vec2<f32>) {
    cache[2u * pair] = value.x;
    cache[2u * pair + 1u] = value.y;
}
