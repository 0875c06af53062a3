// 34 bytes a block of 32: f16 d, 32 int8.
fn load_unit(row: u32, unit: u32) {
    let at = (row * (params.in_features / 32u) + unit) * 34u;
    set_halves(unit);
    first_half.quants = bytes16(at + 2u);
    second_half.quants = bytes16(at + 18u);
    set_scales(half_at(at), 0.0);
}
