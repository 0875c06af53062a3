// Q4_K: f16 d, f16 dmin, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles; 144 bytes a block of 256.
// A chunk of 32 is one of its 8 sub-blocks.
fn load_chunk(row: u32, chunk: u32) {
    let at = (row * (params.in_features / 256u) + chunk / 8u) * 36u;
    let j = chunk & 7u;
    let sm = scale_min_k(at + 1u, j);
    let ddmin = unpack2x16float(weight[at]) * sm;
    for (var i = 0u; i < 8u; i++) {
        let q = (weight[at + 4u + j / 2u * 8u + i] >> ((j & 1u) * 4u)) & 0x0F0F0F0Fu;
        w[i] = ddmin.x * vec4<f32>(unpack4xU8(q)) - ddmin.y;
    }
}
