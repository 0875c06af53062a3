// Weights come as units (`linear/units`).

var<private> b_next: array<Raw, B_PER>;

fn load_weights(thread: u32, first_feature: u32, step: u32) {
    for (var i = 0u; i < B_PER; i++) {
        let at = thread + i * WG;
        let row = min(first_feature + at / ROW_UNITS, params.out_features - 1u);
        b_next[i] = load_unit(row, min(step * ROW_UNITS + at % ROW_UNITS, UNITS - 1u));
    }
}

// Bytes 0 and 2 of a word as the lowest bits of two numbers in f16 that begin at 1024: cheaper than to convert integers.
fn pair(word: u32) -> vec2<f32> {
    return unpack2x16float((word & 0x00FF00FFu) | 0x64006400u);
}

fn store_half(weights: Half, at: u32, inside: bool) {
    const ZERO: f32 = 1024.0 + 128.0 * f32(SIGNED);
    let scale = select(0.0, weights.scale, inside);
    let offset = select(0.0, weights.offset - ZERO * weights.scale, inside);
    for (var j = 0u; j < 4u; j++) {
        // Signed bytes are made unsigned first.
        let bytes = weights.quants[j] ^ (SIGNED * 0x80808080u);
        let pairs = vec4<f32>(pair(bytes), pair(bytes >> 8u)).xzyw;
        b_tile[at + j] = vec4<f16>(scale * pairs + vec4<f32>(offset));
    }
}

fn store_weights(thread: u32, step: u32) {
    for (var i = 0u; i < B_PER; i++) {
        let at = thread + i * WG;
        let unit = step * ROW_UNITS + at % ROW_UNITS;
        let own = unpack_unit(b_next[i], min(unit, UNITS - 1u));
        let to = at / ROW_UNITS * PITCH + at % ROW_UNITS * 8u;
        // Half a step at the end counts nothing.
        store_half(own.first, to, unit < UNITS);
        store_half(own.second, to + 4u, unit < UNITS);
    }
}
