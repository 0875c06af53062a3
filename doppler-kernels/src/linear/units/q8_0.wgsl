// 34 bytes a block of 32, in nine words wherever it begins: f16 d, 32 int8.
struct Raw {
    low: vec4<u32>,
    high: vec4<u32>,
    last: u32,
    upper: u32,     // 1 if the block begins in the middle of a word
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let byte = (row * (IN_FEATURES / 32u) + unit) * 34u;
    let at = byte / 4u;
    return Raw(words4(at), words4(at + 4u), weight[at + 8u], byte / 2u & 1u);
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let d = half_of(raw.low.x, raw.upper);
    let first = bytes_behind(raw.low, raw.high.x, raw.upper);
    let second = bytes_behind(raw.high, raw.last, raw.upper);
    return Unit(Half(first, d, 0.0), Half(second, d, 0.0));
}
