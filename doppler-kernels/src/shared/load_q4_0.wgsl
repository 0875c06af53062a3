// Q4_0: f16 d, 16 bytes of nibbles; d * (q - 8). 18 bytes a block of 32.
fn load_chunk(row: u32, chunk: u32) {
    let at = (row * (params.in_features / 32u) + chunk) * 18u;
    let d = half_at(at);
    for (var i = 0u; i < 4u; i++) {
        let q = word_at(at + 2u + 4u * i);
        w[i] = d * vec4<f32>(unpack4xU8(q & 0x0F0F0F0Fu)) - 8.0 * d;
        w[i + 4u] = d * vec4<f32>(unpack4xU8((q >> 4u) & 0x0F0F0F0Fu)) - 8.0 * d;
    }
}
