// 18 bytes a block of 32: f16 d, 16 bytes of nibbles.
fn load_unit(row: u32, unit: u32) {
    let at = (row * (params.in_features / 32u) + unit) * 18u;
    let q = bytes16(at + 2u);
    set_halves(unit);
    first_half.quants = q & NIBBLES;
    second_half.quants = (q >> vec4<u32>(4u)) & NIBBLES;
    let d = half_at(at);
    set_scales(d, -8.0 * d);
}
