// 18 bytes a block of 32: f16 d, 16 bytes of nibbles.
struct Raw {
    d: f32,
    q: vec4<u32>,
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let at = (row * (params.in_features / 32u) + unit) * 18u;
    return Raw(half_at(at), bytes16(at + 2u));
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let offset = -8.0 * raw.d;
    return Unit(Half(raw.q & NIBBLES, raw.d, offset), Half((raw.q >> vec4<u32>(4u)) & NIBBLES, raw.d, offset));
}
