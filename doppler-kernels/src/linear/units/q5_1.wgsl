// 24 bytes a block of 32: f16 d and m, 32 fifth bits, 16 bytes of nibbles.
fn load_unit(row: u32, unit: u32) {
    let at = (row * (params.in_features / 32u) + unit) * 6u;
    let dm = unpack2x16float(weight[at]);
    let high = weight[at + 1u];
    let q = vec4<u32>(weight[at + 2u], weight[at + 3u], weight[at + 4u], weight[at + 5u]);
    set_halves(unit);
    first_half.quants = (q & NIBBLES) | fifth_bits(high);
    second_half.quants = ((q >> vec4<u32>(4u)) & NIBBLES) | fifth_bits(high >> 16u);
    set_scales(dm.x, dm.y);
}
