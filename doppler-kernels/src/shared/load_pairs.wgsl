// 16-bit floats, two a word; `pair` says which kind. A row may start in the middle of a word.
fn load_chunk(row: u32, chunk: u32) {
    let start = row * params.in_features;
    for (var i = 0u; i < 8u; i++) {
        let k = chunk * 32u + 4u * i;
        let at = start + k;
        var v = vec4<f32>(0.0);
        if k + 4u <= params.in_features && (at & 1u) == 0u {
            v = vec4<f32>(pair(weight[at >> 1u]), pair(weight[(at >> 1u) + 1u]));
        } else {
            for (var c = 0u; c < 4u; c++) {
                if k + c < params.in_features {
                    v[c] = pair(weight[(at + c) >> 1u])[(at + c) & 1u];
                }
            }
        }
        w[i] = v;
    }
}
