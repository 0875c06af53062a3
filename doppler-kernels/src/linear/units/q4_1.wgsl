// 20 bytes a block of 32: f16 d and m, 16 bytes of nibbles.
struct Raw {
    dm: u32,
    q: vec4<u32>,
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let at = (row * (IN_FEATURES / 32u) + unit) * 5u;
    return Raw(weight[at], words4(at + 1u));
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let dm = unpack2x16float(raw.dm);
    return Unit(Half(raw.q & NIBBLES, dm.x, dm.y), Half((raw.q >> vec4<u32>(4u)) & NIBBLES, dm.x, dm.y));
}
