// 144 bytes a block of 256: f16 d and dmin, 12 bytes of scales and minima, 128 bytes of nibbles. A unit is 16 of those
// bytes: half of sub-block 2j in the low nibbles, half of sub-block 2j + 1 in the high ones.
struct Raw {
    header: vec4<u32>,
    q: vec4<u32>,
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let at = (row * (IN_FEATURES / 256u) + unit / 8u) * 9u;
    return Raw(weight[at], weight[at + 1u + (unit & 7u)]);
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let scales = scales_k(raw.header, (unit & 7u) / 2u);
    let low = raw.q & NIBBLES;
    let high = (raw.q >> vec4<u32>(4u)) & NIBBLES;
    return Unit(Half(low, scales.x, scales.y), Half(high, scales.z, scales.w));
}
