// 18 bytes a block of 32, in five words wherever it begins: f16 d, 16 bytes of nibbles.
struct Raw {
    words: vec4<u32>,
    last: u32,
    upper: u32,     // 1 if the block begins in the middle of a word
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let byte = (row * (IN_FEATURES / 32u) + unit) * 18u;
    let at = byte / 4u;
    return Raw(words4(at), weight[at + 4u], byte / 2u & 1u);
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let d = half_of(raw.words.x, raw.upper);
    let q = bytes_behind(raw.words, raw.last, raw.upper);
    return Unit(Half(q & NIBBLES, d, -8.0 * d), Half((q >> vec4<u32>(4u)) & NIBBLES, d, -8.0 * d));
}
