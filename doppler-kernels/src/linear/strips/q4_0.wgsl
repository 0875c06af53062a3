// Two blocks of 18 bytes: f16 d, 16 bytes of nibbles. The second begins in the middle of a word.
struct Raw {
    q: array<vec4<u32>, 2>,
    last: u32,
}

fn load_strip(row: u32, strip: u32) -> Raw {
    let at = (row * STRIPS + strip) * 9u;
    return Raw(array(words4(at), words4(at + 4u)), weight[at + 8u]);
}

// 16 bytes of nibbles as 32 int8: 16 times the weight's quant less 8.
fn unpack(nibbles: vec4<u32>) -> array<vec4<u32>, 2> {
    const HIGH = vec4<u32>(0xF0F0F0F0u);
    let q = nibbles ^ vec4<u32>(0x88888888u);
    return array((q << vec4<u32>(4u)) & HIGH, q & HIGH);
}

fn unpack_strip(raw: Raw, strip: u32) -> Weights {
    let d = vec2<f32>(half_of(raw.q[0].x, 0u), half_of(raw.q[1].x, 1u));
    let first = unpack(half_word_on(raw.q[0], raw.q[1].x));
    return Weights(first, unpack(vec4<u32>(raw.q[1].yzw, raw.last)), d / 16.0);
}
