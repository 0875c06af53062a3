// Weights in f16, 32 of a row at a time.
@group(0) @binding(1) var<storage, read> weight: array<vec4<f16>>;     // [out_features, in_features / 4]

struct Place {
    first: u32,
    second: u32,
}

fn place_of(unit: u32) -> Place {
    return Place(2u * unit, 2u * unit + 1u);
}

var<private> b_next: array<vec4<f16>, B_PER * 8u>;

fn load_weights(thread: u32, first_feature: u32, step: u32) {
    for (var i = 0u; i < B_PER; i++) {
        let at = thread + i * WG;
        let row = min(first_feature + at / ROW_UNITS, params.out_features - 1u);
        let unit = min(step * ROW_UNITS + at % ROW_UNITS, UNITS - 1u);
        for (var j = 0u; j < 8u; j++) {
            b_next[i * 8u + j] = weight[row * (IN_FEATURES / 4u) + unit * 8u + j];
        }
    }
}

fn store_weights(thread: u32, step: u32) {
    for (var i = 0u; i < B_PER; i++) {
        let at = thread + i * WG;
        // Half a step at the end counts nothing.
        let inside = step * ROW_UNITS + at % ROW_UNITS < UNITS;
        for (var j = 0u; j < 8u; j++) {
            b_tile[at / ROW_UNITS * PITCH + at % ROW_UNITS * 8u + j] = select(vec4<f16>(), b_next[i * 8u + j], inside);
        }
    }
}
