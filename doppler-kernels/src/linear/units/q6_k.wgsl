// 210 bytes a block of 256: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, f16 d. A unit is 16 bytes of
// nibbles: 16 elements in the low ones, and those 64 further in the high ones.
fn load_unit(row: u32, unit: u32) {
    let block = unit / 8u;
    let part = unit & 7u;
    let at = (row * (params.in_features / 256u) + block) * 210u;
    let side = part / 4u;           // which 128 elements
    let odd = (part / 2u) & 1u;     // which 32 of the first 64 of them
    let half = part & 1u;           // which 16 of those
    let q = bytes16(at + 64u * side + 32u * odd + 16u * half);
    let high = bytes16(at + 128u + 32u * side + 16u * half) >> vec4<u32>(2u * odd);
    let pair = vec4<u32>(0x03030303u);
    first_half.quants = (q & NIBBLES) | ((high & pair) << vec4<u32>(4u));
    second_half.quants = ((q >> vec4<u32>(4u)) & NIBBLES) | (((high >> vec4<u32>(4u)) & pair) << vec4<u32>(4u));
    // Scales are 16 apart; the second half's is 4 further.
    let scale_at = at + 192u + 8u * side + 2u * odd + half;
    let d = half_at(at + 208u);
    let s0 = d * f32(i32(weight[scale_at >> 2u] << (24u - 8u * (scale_at & 3u))) >> 24u);
    let s1 = d * f32(i32(weight[(scale_at + 4u) >> 2u] << (24u - 8u * (scale_at & 3u))) >> 24u);
    first_half.scale = s0;
    first_half.offset = -32.0 * s0;
    second_half.scale = s1;
    second_half.offset = -32.0 * s1;
    first_half.block = block * 8u + 4u * side + odd;
    second_half.block = first_half.block + 2u;
    first_half.half = half;
    second_half.half = half;
}
