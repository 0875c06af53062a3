// 176 bytes a block of 256: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit j of byte i belongs to element i of
// sub-block j.
fn load_unit(row: u32, unit: u32) {
    let block = unit / 8u;
    let part = unit & 7u;
    let at = (row * (params.in_features / 256u) + block) * 11u;
    let q = weight[at + 3u + part];
    let high = weight[at + 1u + (part & 1u)] >> vec4<u32>(part & 6u);
    scales_k(weight[at], part / 2u);
    let bit = vec4<u32>(0x01010101u);
    first_half.quants = (q & NIBBLES) | ((high & bit) << vec4<u32>(4u));
    second_half.quants = ((q >> vec4<u32>(4u)) & NIBBLES) | (((high >> vec4<u32>(1u)) & bit) << vec4<u32>(4u));
    first_half.block = block * 8u + (part & 6u);
    second_half.block = first_half.block + 1u;
    first_half.half = part & 1u;
    second_half.half = part & 1u;
}
