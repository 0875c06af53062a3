// 176 bytes a block of 256: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit j of byte i belongs to element i of
// sub-block j.
struct Raw {
    header: vec4<u32>,
    bits: vec4<u32>,
    q: vec4<u32>,
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let at = (row * (IN_FEATURES / 256u) + unit / 8u) * 11u;
    return Raw(weight[at], weight[at + 1u + (unit & 1u)], weight[at + 3u + (unit & 7u)]);
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let scales = scales_k(raw.header, (unit & 7u) / 2u);
    let bits = raw.bits >> vec4<u32>(unit & 6u);
    let bit = vec4<u32>(0x01010101u);
    let low = (raw.q & NIBBLES) | ((bits & bit) << vec4<u32>(4u));
    let high = ((raw.q >> vec4<u32>(4u)) & NIBBLES) | (((bits >> vec4<u32>(1u)) & bit) << vec4<u32>(4u));
    return Unit(Half(low, scales.x, scales.y), Half(high, scales.z, scales.w));
}
