// 24 bytes a block of 32: f16 d and m, 32 fifth bits, 16 bytes of nibbles.
struct Raw {
    dm: u32,
    high: u32,
    q: vec4<u32>,
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let at = (row * (IN_FEATURES / 32u) + unit) * 6u;
    let q = words4(at + 2u);
    return Raw(weight[at], weight[at + 1u], q);
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let dm = unpack2x16float(raw.dm);
    let low = (raw.q & NIBBLES) | fifth_bits(raw.high);
    let high = ((raw.q >> vec4<u32>(4u)) & NIBBLES) | fifth_bits(raw.high >> 16u);
    return Unit(Half(low, dm.x, dm.y), Half(high, dm.x, dm.y));
}
