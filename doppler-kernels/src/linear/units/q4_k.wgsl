// 144 bytes a block of 256: f16 d and dmin, 12 bytes of scales and minima, 128 bytes of nibbles. A unit is 16 of those
// bytes: half of sub-block 2j in the low nibbles, half of sub-block 2j + 1 in the high ones.
fn load_unit(row: u32, unit: u32) {
    let block = unit / 8u;
    let part = unit & 7u;
    let at = (row * (params.in_features / 256u) + block) * 9u;
    let q = weight[at + 1u + part];
    scales_k(weight[at], part / 2u);
    first_half.quants = q & NIBBLES;
    second_half.quants = (q >> vec4<u32>(4u)) & NIBBLES;
    first_half.block = block * 8u + (part & 6u);
    second_half.block = first_half.block + 1u;
    first_half.half = part & 1u;
    second_half.half = part & 1u;
}
