// Q6_K in rows of planes, see layout.rs; d * scale * (q - 32). A chunk of 32 is of two strips, with a scale in each.
fn load_chunk(row: u32, chunk: u32) {
    let blocks = params.in_features / 256u;
    let at = (row / 8u * 105u + row % 8u * 13u) * blocks;
    // Behind the rows of the group, which are eight but perhaps in the last one.
    let rows = min(8u, params.out_features - row / 8u * 8u);
    let half = row % 8u * blocks + chunk / 8u;
    let d = unpack2x16float(weight[(row / 8u * 105u + rows * 13u) * blocks * 4u + half / 2u] >> (16u * (half & 1u))).x;
    let quarter = chunk & 3u;
    for (var i = 0u; i < 8u; i++) {
        let strip = chunk / 4u * 2u + i / 4u;
        let scale = d * f32(unpack4xI8(weight[(at + 12u * blocks) * 4u + strip] >> (8u * quarter)).x);
        let nibbles = weight[(at + (quarter & 1u) * 4u * blocks + strip) * 4u + i % 4u];
        let pairs = weight[(at + 8u * blocks + strip) * 4u + i % 4u];
        let q = ((nibbles >> (quarter / 2u * 4u)) & 0x0F0F0F0Fu) | (((pairs >> (2u * quarter)) & 0x03030303u) << 4u);
        w[i] = scale * (vec4<f32>(unpack4xU8(q)) - 32.0);
    }
}
