// Two blocks of 34 bytes: f16 d, 32 int8. The second begins in the middle of a word.
struct Raw {
    q: array<vec4<u32>, 4>,
    last: u32,
}

fn load_strip(row: u32, strip: u32) -> Raw {
    let at = (row * STRIPS + strip) * 17u;
    return Raw(array(words4(at), words4(at + 4u), words4(at + 8u), words4(at + 12u)), weight[at + 16u]);
}

fn unpack_strip(raw: Raw, strip: u32) -> Weights {
    let q = raw.q;
    let d = vec2<f32>(half_of(q[0].x, 0u), half_of(q[2].x, 1u));
    let first = array(half_word_on(q[0], q[1].x), half_word_on(q[1], q[2].x));
    return Weights(first, array(vec4<u32>(q[2].yzw, q[3].x), vec4<u32>(q[3].yzw, raw.last)), d);
}
