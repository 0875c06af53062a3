// Two blocks of 22 bytes: f16 d, 32 fifth bits, 16 bytes of nibbles. The second begins in the middle of a word.
struct Raw {
    first: u32,
    q: array<vec4<u32>, 2>,
    last: vec2<u32>,
}

fn load_strip(row: u32, strip: u32) -> Raw {
    let at = (row * STRIPS + strip) * 11u;
    return Raw(weight[at], array(words4(at + 1u), words4(at + 5u)), vec2<u32>(weight[at + 9u], weight[at + 10u]));
}

// 16 bytes of nibbles as 32 int8: 8 times the weight's quant less 16.
fn unpack(nibbles: vec4<u32>, bits: u32) -> array<vec4<u32>, 2> {
    const PLACE = vec4<u32>(0x78787878u);
    let low = (nibbles << vec4<u32>(3u)) & PLACE;
    let high = (nibbles >> vec4<u32>(1u)) & PLACE;
    // As bit 7, and the other way round.
    return array(low | (fifth_bits(~bits) << vec4<u32>(3u)), high | (fifth_bits(~bits >> 16u) << vec4<u32>(3u)));
}

fn unpack_strip(raw: Raw, strip: u32) -> Weights {
    let d = vec2<f32>(half_of(raw.first, 0u), half_of(raw.q[1].x, 1u));
    let bits = (raw.first >> 16u) | (raw.q[0].x << 16u);
    let first = unpack(half_word_on(raw.q[0], raw.q[1].x), bits);
    return Weights(first, unpack(vec4<u32>(raw.q[1].zw, raw.last), raw.q[1].y), d / 8.0);
}
