// Q6_K: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, f16 d; d * scale * (q - 32). 210 bytes a block of
// 256. A chunk of 32 has two scales.
fn load_chunk(row: u32, chunk: u32) {
    let at = (row * (params.in_features / 256u) + chunk / 8u) * 210u;
    let half = (chunk & 7u) / 4u;
    let quarter = chunk & 3u;
    let d = half_at(at + 208u);
    let scale_at = at + 192u + half * 8u + quarter * 2u;
    for (var i = 0u; i < 8u; i++) {
        let scale = d * f32(unpack4xI8(byte_at(scale_at + i / 4u)).x);
        let low = (word_at(at + half * 64u + (quarter & 1u) * 32u + 4u * i) >> (quarter / 2u * 4u)) & 0x0F0F0F0Fu;
        let high = ((word_at(at + 128u + half * 32u + 4u * i) >> (quarter * 2u)) & 0x03030303u) << 4u;
        w[i] = scale * (vec4<f32>(unpack4xU8(low | high)) - 32.0);
    }
}
