// 22 bytes a block of 32: f16 d, 32 fifth bits, 16 bytes of nibbles.
struct Raw {
    d: f32,
    high: u32,
    q: vec4<u32>,
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let at = (row * (params.in_features / 32u) + unit) * 22u;
    return Raw(half_at(at), word_at(at + 2u), bytes16(at + 6u));
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let low = (raw.q & NIBBLES) | fifth_bits(raw.high);
    let high = ((raw.q >> vec4<u32>(4u)) & NIBBLES) | fifth_bits(raw.high >> 16u);
    let offset = -16.0 * raw.d;
    return Unit(Half(low, raw.d, offset), Half(high, raw.d, offset));
}
