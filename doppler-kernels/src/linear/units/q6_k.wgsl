// 210 bytes a block of 256: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, f16 d. A unit is 16 bytes of
// nibbles: 16 elements in the low ones, and those 64 further in the high ones.
struct Raw {
    q: vec4<u32>,
    bits: vec4<u32>,
    next: vec2<u32>,    // the words behind those
    scales: vec2<u32>,  // words that hold them
    d: u32,
    upper: u32,         // 1 if the block begins in the middle of a word
}

// Where a unit's first scale is in a block; the second half's is 4 further. Scales are of 16 elements.
fn scale_place(unit: u32) -> u32 {
    return 192u + 8u * (unit / 4u & 1u) + (unit & 3u);
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let byte = (row * (IN_FEATURES / 256u) + unit / 8u) * 210u;
    let upper = byte / 2u & 1u;
    let at = byte / 4u;
    let q = at + 4u * (unit & 7u);
    let bits = at + 32u + 8u * (unit / 4u & 1u) + 4u * (unit & 1u);
    let scale = (2u * upper + scale_place(unit)) / 4u;
    return Raw(
        words4(q),
        words4(bits),
        vec2<u32>(weight[q + 4u], weight[bits + 4u]),
        vec2<u32>(weight[at + scale], weight[at + scale + 1u]),
        weight[at + 52u],
        upper,
    );
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let q = bytes_from(raw.q, raw.next.x, raw.upper);
    let bits = bytes_from(raw.bits, raw.next.y, raw.upper) >> vec4<u32>(unit & 2u);
    let pair = vec4<u32>(0x03030303u);
    let low = (q & NIBBLES) | ((bits & pair) << vec4<u32>(4u));
    let high = ((q >> vec4<u32>(4u)) & NIBBLES) | (((bits >> vec4<u32>(4u)) & pair) << vec4<u32>(4u));
    let shift = 24u - 8u * ((2u * raw.upper + scale_place(unit)) & 3u);
    let scales = half_of(raw.d, raw.upper) * vec2<f32>(bitcast<vec2<i32>>(raw.scales << vec2<u32>(shift)) >> vec2<u32>(24u));
    return Unit(Half(low, scales.x, -32.0 * scales.x), Half(high, scales.y, -32.0 * scales.y));
}

fn place_of(unit: u32) -> Place {
    let first = (unit / 4u) * 8u + (unit & 3u);
    return Place(first, first + 4u);
}
