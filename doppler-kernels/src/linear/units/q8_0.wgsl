// 34 bytes a block of 32: f16 d, 32 int8.
struct Raw {
    d: f32,
    low: vec4<u32>,
    high: vec4<u32>,
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let at = (row * (params.in_features / 32u) + unit) * 34u;
    return Raw(half_at(at), bytes16(at + 2u), bytes16(at + 18u));
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    return Unit(Half(raw.low, raw.d, 0.0), Half(raw.high, raw.d, 0.0));
}
