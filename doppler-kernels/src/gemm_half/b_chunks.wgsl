// Weights come in chunks of 32, as f16 at once.

var<private> b_next: array<vec4<f16>, B_PER * 8u>;

fn load_weights(thread: u32, first_feature: u32, step: u32) {
    for (var i = 0u; i < B_PER; i++) {
        let at = thread + i * WG;
        let row = min(first_feature + at / 2u, params.out_features - 1u);
        let chunk = step * 2u + at % 2u;
        let inside = chunk * 32u < params.in_features;
        load_chunk(row, select(0u, chunk, inside));
        for (var j = 0u; j < 8u; j++) {
            // Half a step at the end counts nothing.
            b_next[i * 8u + j] = vec4<f16>(select(vec4<f32>(0.0), w[j], inside));
        }
    }
}

fn store_weights(thread: u32, step: u32) {
    for (var i = 0u; i < B_PER; i++) {
        let at = thread + i * WG;
        for (var j = 0u; j < 8u; j++) {
            b_tile[at / 2u * PITCH + at % 2u * 8u + j] = b_next[i * 8u + j];
        }
    }
}
