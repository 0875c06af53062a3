// F32: any number of columns; zeros beyond the last.
fn load_chunk(row: u32, chunk: u32) {
    let start = row * params.in_features;
    for (var i = 0u; i < 8u; i++) {
        let k = chunk * 32u + 4u * i;
        var v = vec4<f32>(0.0);
        if k + 4u <= params.in_features {
            let at = start + k;
            v = vec4<f32>(
                bitcast<f32>(weight[at]), bitcast<f32>(weight[at + 1u]), bitcast<f32>(weight[at + 2u]), bitcast<f32>(weight[at + 3u]));
        } else {
            for (var c = 0u; c < 4u; c++) {
                if k + c < params.in_features {
                    v[c] = bitcast<f32>(weight[start + k + c]);
                }
            }
        }
        w[i] = v;
    }
}
