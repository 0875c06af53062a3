// Two blocks of 24 bytes: f16 d and m, 32 fifth bits, 16 bytes of nibbles.
struct Raw {
    dm: vec2<u32>,
    bits: vec2<u32>,
    q: array<vec4<u32>, 2>,
}

fn load_strip(row: u32, strip: u32) -> Raw {
    let at = (row * STRIPS + strip) * 12u;
    let dm = vec2<u32>(weight[at], weight[at + 6u]);
    let bits = vec2<u32>(weight[at + 1u], weight[at + 7u]);
    return Raw(dm, bits, array(words4(at + 2u), words4(at + 8u)));
}

fn unpack(nibbles: vec4<u32>, bits: u32) -> array<vec4<u32>, 2> {
    let low = (nibbles & LOW) | fifth_bits(bits);
    return array(low, ((nibbles >> vec4<u32>(4u)) & LOW) | fifth_bits(bits >> 16u));
}

fn unpack_strip(raw: Raw, strip: u32) -> Weights {
    let first = unpack2x16float(raw.dm.x);
    let second = unpack2x16float(raw.dm.y);
    let scales = vec2<f32>(first.x, second.x);
    return Weights(unpack(raw.q[0], raw.bits.x), unpack(raw.q[1], raw.bits.y), scales, vec2<f32>(first.y, second.y));
}
