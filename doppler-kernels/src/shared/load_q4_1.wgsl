// Q4_1: f16 d, f16 m, 16 bytes of nibbles; d * q + m. 20 bytes a block of 32.
fn load_chunk(row: u32, chunk: u32) {
    let at = (row * (params.in_features / 32u) + chunk) * 5u;
    let dm = unpack2x16float(weight[at]);
    for (var i = 0u; i < 4u; i++) {
        let q = weight[at + 1u + i];
        w[i] = dm.x * vec4<f32>(unpack4xU8(q & 0x0F0F0F0Fu)) + dm.y;
        w[i + 4u] = dm.x * vec4<f32>(unpack4xU8((q >> 4u) & 0x0F0F0F0Fu)) + dm.y;
    }
}
