// The cache in blocks of int8, four elements at a time: a head's quants, four a word, then a scale for each 32 of them. On its
// way, each word has its scale beside it.
alias Quad = vec2<u32>;
alias Stored = u32;
// Quads that are rounded together.
const BLOCK: u32 = 8u;
const WORDS: u32 = QUADS + HEAD_DIM / 32u;

fn unpack_quad(quad: Quad) -> vec4<f32> {
    return bitcast<f32>(quad.y) * vec4<f32>(unpack4xI8(quad.x));
}

fn pack_quad(value: vec4<f32>, largest: f32) -> Quad {
    // The least positive number instead of zero: an all-zero block divides by it.
    let quants = clamp(round(value * (127.0 / max(largest, 1e-30))), vec4<f32>(-127.0), vec4<f32>(127.0));
    return vec2<u32>(pack4xI8(vec4<i32>(quants)), bitcast<u32>(largest / 127.0));
}

fn load_key(head: u32, i: u32) -> Quad {
    return vec2<u32>(k[head * WORDS + i], k[head * WORDS + QUADS + i / BLOCK]);
}

fn load_value(head: u32, i: u32) -> Quad {
    return vec2<u32>(v[head * WORDS + i], v[head * WORDS + QUADS + i / BLOCK]);
}

fn store_key(head: u32, i: u32, quad: Quad) {
    k[head * WORDS + i] = quad.x;
    if i % BLOCK == 0u {
        k[head * WORDS + QUADS + i / BLOCK] = quad.y;
    }
}

fn store_value(head: u32, i: u32, quad: Quad) {
    v[head * WORDS + i] = quad.x;
    if i % BLOCK == 0u {
        v[head * WORDS + QUADS + i / BLOCK] = quad.y;
    }
}
