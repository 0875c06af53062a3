// The cache in blocks of int8: a head's quants, four a word, then a scale for each 32 of them.
@group(0) @binding(1) var<storage, read> k: array<u32>;           // [capacity, num_key_value_heads, PITCH]
@group(0) @binding(2) var<storage, read> v: array<u32>;           // [capacity, num_key_value_heads, PITCH]

const PAIRS_OF_HEAD: u32 = HEAD_DIM / 2u;
const PITCH: u32 = HEAD_DIM / 4u + HEAD_DIM / 32u;

// Where the word of a pair is, and where its scale.
fn places(pair: u32) -> vec2<u32> {
    let head = pair / PAIRS_OF_HEAD * PITCH;
    let i = pair % PAIRS_OF_HEAD;
    return vec2<u32>(head + i / 2u, head + HEAD_DIM / 4u + i / 16u);
}

fn unpacked(pair: u32, quants: u32, scale: u32) -> vec2<f32> {
    let four = unpack4xI8(quants);
    return bitcast<f32>(scale) * vec2<f32>(select(four.xy, four.zw, (pair & 1u) != 0u));
}

fn key(pair: u32) -> vec2<f32> {
    let at = places(pair);
    return unpacked(pair, k[at.x], k[at.y]);
}

fn value(pair: u32) -> vec2<f32> {
    let at = places(pair);
    return unpacked(pair, v[at.x], v[at.y]);
}
