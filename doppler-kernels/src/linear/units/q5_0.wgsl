// 22 bytes a block of 32: f16 d, 32 fifth bits, 16 bytes of nibbles.
fn load_unit(row: u32, unit: u32) {
    let at = (row * (params.in_features / 32u) + unit) * 22u;
    let high = word_at(at + 2u);
    let q = bytes16(at + 6u);
    set_halves(unit);
    first_half.quants = (q & NIBBLES) | fifth_bits(high);
    second_half.quants = ((q >> vec4<u32>(4u)) & NIBBLES) | fifth_bits(high >> 16u);
    let d = half_at(at);
    set_scales(d, -16.0 * d);
}
