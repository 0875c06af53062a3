// Two blocks of 20 bytes: f16 d and m, 16 bytes of nibbles.
struct Raw {
    dm: vec2<u32>,
    q: array<vec4<u32>, 2>,
}

fn load_strip(row: u32, strip: u32) -> Raw {
    let at = (row * STRIPS + strip) * 10u;
    return Raw(vec2<u32>(weight[at], weight[at + 5u]), array(words4(at + 1u), words4(at + 6u)));
}

fn unpack_strip(raw: Raw, strip: u32) -> Weights {
    let first = unpack2x16float(raw.dm.x);
    let second = unpack2x16float(raw.dm.y);
    return Weights(
        array(raw.q[0] & LOW, (raw.q[0] >> vec4<u32>(4u)) & LOW),
        array(raw.q[1] & LOW, (raw.q[1] >> vec4<u32>(4u)) & LOW),
        vec2<f32>(first.x, second.x),
        vec2<f32>(first.y, second.y),
    );
}
