// Q5_K: as Q4_K with 32 bytes of fifth bits (bit j of byte i belongs to element i of sub-block j) before the nibbles;
// 176 bytes a block of 256.
fn load_chunk(row: u32, chunk: u32) {
    let at = (row * (params.in_features / 256u) + chunk / 8u) * 44u;
    let j = chunk & 7u;
    let sm = scale_min_k(at + 1u, j);
    let ddmin = unpack2x16float(weight[at]) * sm;
    for (var i = 0u; i < 8u; i++) {
        let q = (weight[at + 12u + j / 2u * 8u + i] >> ((j & 1u) * 4u)) & 0x0F0F0F0Fu;
        let fifth = ((weight[at + 4u + i] >> j) & 0x01010101u) << 4u;
        w[i] = ddmin.x * vec4<f32>(unpack4xU8(q | fifth)) - ddmin.y;
    }
}
