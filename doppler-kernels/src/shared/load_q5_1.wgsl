// Q5_1: f16 d, f16 m, 32 fifth bits, 16 bytes of nibbles; d * q + m. 24 bytes a block of 32.
fn load_chunk(row: u32, chunk: u32) {
    let at = (row * (params.in_features / 32u) + chunk) * 6u;
    let dm = unpack2x16float(weight[at]);
    let fifth = weight[at + 1u];
    let lane = vec4<u32>(0u, 1u, 2u, 3u);
    for (var i = 0u; i < 4u; i++) {
        let q = weight[at + 2u + i];
        let low = ((vec4<u32>(fifth) >> (lane + 4u * i)) & vec4<u32>(1u)) << vec4<u32>(4u);
        let high = ((vec4<u32>(fifth) >> (lane + 4u * i + 16u)) & vec4<u32>(1u)) << vec4<u32>(4u);
        w[i] = dm.x * vec4<f32>(unpack4xU8(q & 0x0F0F0F0Fu) | low) + dm.y;
        w[i + 4u] = dm.x * vec4<f32>(unpack4xU8((q >> 4u) & 0x0F0F0F0Fu) | high) + dm.y;
    }
}
