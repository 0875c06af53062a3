// 210 bytes a block of 256: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, f16 d. A unit is 16 bytes of
// nibbles: 16 elements in the low ones, and those 64 further in the high ones.
struct Raw {
    d: f32,
    scales: vec2<i32>,
    q: vec4<u32>,
    bits: vec4<u32>,
}

fn scale_at(byte: u32) -> i32 {
    return i32(weight[byte >> 2u] << (24u - 8u * (byte & 3u))) >> 24u;
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let at = (row * (params.in_features / 256u) + unit / 8u) * 210u;
    let part = unit & 7u;
    let side = part / 4u;           // which 128 elements
    let odd = (part / 2u) & 1u;     // which 32 of the first 64 of them
    let half = part & 1u;           // which 16 of those
    // Scales are 16 elements apart; the second half's is 4 further.
    let s = at + 192u + 8u * side + 2u * odd + half;
    return Raw(
        half_at(at + 208u),
        vec2<i32>(scale_at(s), scale_at(s + 4u)),
        bytes16(at + 64u * side + 32u * odd + 16u * half),
        bytes16(at + 128u + 32u * side + 16u * half),
    );
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let bits = raw.bits >> vec4<u32>(unit & 2u);
    let pair = vec4<u32>(0x03030303u);
    let low = (raw.q & NIBBLES) | ((bits & pair) << vec4<u32>(4u));
    let high = ((raw.q >> vec4<u32>(4u)) & NIBBLES) | (((bits >> vec4<u32>(4u)) & pair) << vec4<u32>(4u));
    let scales = raw.d * vec2<f32>(raw.scales);
    return Unit(Half(low, scales.x, -32.0 * scales.x), Half(high, scales.y, -32.0 * scales.y));
}

fn place_of(unit: u32) -> Place {
    let first = (unit / 4u) * 8u + (unit & 3u);
    return Place(first, first + 4u);
}
