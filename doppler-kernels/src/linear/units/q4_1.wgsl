// 20 bytes a block of 32: f16 d and m, 16 bytes of nibbles.
fn load_unit(row: u32, unit: u32) {
    let at = (row * (params.in_features / 32u) + unit) * 5u;
    let dm = unpack2x16float(weight[at]);
    let q = vec4<u32>(weight[at + 1u], weight[at + 2u], weight[at + 3u], weight[at + 4u]);
    set_halves(unit);
    first_half.quants = q & NIBBLES;
    second_half.quants = (q >> vec4<u32>(4u)) & NIBBLES;
    set_scales(dm.x, dm.y);
}
