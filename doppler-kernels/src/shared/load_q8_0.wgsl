// Q8_0: f16 d, 32 signed bytes; d * q. 34 bytes a block of 32.
fn load_chunk(row: u32, chunk: u32) {
    let at = (row * (params.in_features / 32u) + chunk) * 34u;
    let d = half_at(at);
    for (var i = 0u; i < 8u; i++) {
        w[i] = d * vec4<f32>(unpack4xI8(word_at(at + 2u + 4u * i)));
    }
}
