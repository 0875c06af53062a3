// Weights come as the units that the decode step takes: a step of 64 columns is two units of each row.

var<private> b_next: array<Raw, B_PER>;

fn load_weights(thread: u32, first_feature: u32, step: u32) {
    let units = params.in_features / 32u;
    for (var i = 0u; i < B_PER; i++) {
        let at = thread + i * WG;
        let row = min(first_feature + at / 2u, params.out_features - 1u);
        b_next[i] = load_unit(row, min(step * 2u + at % 2u, units - 1u));
    }
}

// Where 16 weights go that begin at the n-th 16 of a row.
fn store_half(weights: Half, row: u32, n: u32, inside: bool) {
    let scale = select(0.0, weights.scale, inside);
    let offset = select(0.0, weights.offset, inside);
    for (var j = 0u; j < 4u; j++) {
        let quants = vec4<f32>(unpack4xI8(weights.quants[j]));
        b_tile[row * PITCH + (n & 3u) * 4u + j] = vec4<f16>(scale * quants + vec4<f32>(offset));
    }
}

fn store_weights(thread: u32, step: u32) {
    let units = params.in_features / 32u;
    for (var i = 0u; i < B_PER; i++) {
        let at = thread + i * WG;
        let unit = step * 2u + at % 2u;
        let own = unpack_unit(b_next[i], min(unit, units - 1u));
        let place = place_of(unit);
        // Half a step at the end counts nothing.
        store_half(own.first, at / 2u, place.first, unit < units);
        store_half(own.second, at / 2u, place.second, unit < units);
    }
}
