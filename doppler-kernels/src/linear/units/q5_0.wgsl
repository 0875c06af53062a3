// 22 bytes a block of 32, in six words wherever it begins: f16 d, 32 fifth bits, 16 bytes of nibbles.
struct Raw {
    first: u32,
    words: vec4<u32>,
    last: u32,
    upper: u32,     // 1 if the block begins in the middle of a word
}

fn load_unit(row: u32, unit: u32) -> Raw {
    let byte = (row * (IN_FEATURES / 32u) + unit) * 22u;
    let at = byte / 4u;
    return Raw(weight[at], words4(at + 1u), weight[at + 5u], byte / 2u & 1u);
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let d = half_of(raw.first, raw.upper);
    let bits = select((raw.first >> 16u) | (raw.words.x << 16u), raw.words.x, raw.upper == 1u);
    let q = bytes_behind(raw.words, raw.last, raw.upper);
    let low = (q & NIBBLES) | fifth_bits(bits);
    let high = ((q >> vec4<u32>(4u)) & NIBBLES) | fifth_bits(bits >> 16u);
    return Unit(Half(low, d, -16.0 * d), Half(high, d, -16.0 * d));
}
