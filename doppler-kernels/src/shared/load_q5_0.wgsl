// Q5_0: f16 d, 32 fifth bits, 16 bytes of nibbles; d * (q - 16). 22 bytes a block of 32.
fn load_chunk(row: u32, chunk: u32) {
    let at = (row * (params.in_features / 32u) + chunk) * 22u;
    let d = half_at(at);
    let fifth = word_at(at + 2u);
    let lane = vec4<u32>(0u, 1u, 2u, 3u);
    for (var i = 0u; i < 4u; i++) {
        let q = word_at(at + 6u + 4u * i);
        let low = ((vec4<u32>(fifth) >> (lane + 4u * i)) & vec4<u32>(1u)) << vec4<u32>(4u);
        let high = ((vec4<u32>(fifth) >> (lane + 4u * i + 16u)) & vec4<u32>(1u)) << vec4<u32>(4u);
        w[i] = d * vec4<f32>(unpack4xU8(q & 0x0F0F0F0Fu) | low) - 16.0 * d;
        w[i + 4u] = d * vec4<f32>(unpack4xU8((q >> 4u) & 0x0F0F0F0Fu) | high) - 16.0 * d;
    }
}
