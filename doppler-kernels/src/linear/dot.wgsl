// Products of units with rows of activations.

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;          // [ROWS, in_features], A8

// The activations of a unit: quants of both halves, and for each half its scale and its scale times the sum of its quants.
struct Activations {
    first: vec4<u32>,
    second: vec4<u32>,
    scales: vec2<f32>,
    sums: vec2<f32>,
}

fn half_sum(sums: u32, upper: u32) -> f32 {
    return f32(i32(sums << (16u - 16u * upper)) >> 16u);
}

// Those of a row that begins at `start`; all zero unless `inside`.
fn activations(unit: u32, start: u32, inside: bool) -> Activations {
    let place = place_of(unit);
    let infos = infos_of(unit, start + IN_FEATURES / 16u);
    let scales = select(vec2<f32>(0.0), bitcast<vec2<f32>>(infos.xz), inside);
    let sums = vec2<f32>(half_sum(infos.y, place.first & 1u), half_sum(infos.w, place.second & 1u));
    return Activations(x[start + place.first], x[start + place.second], scales, scales * sums);
}

fn dot_quants(w: vec4<u32>, q: vec4<u32>) -> f32 {
    return f32(dot4I8Packed(w.x, q.x) + dot4I8Packed(w.y, q.y) + dot4I8Packed(w.z, q.z) + dot4I8Packed(w.w, q.w));
}

fn dot_unit(w: Unit, x: Activations) -> f32 {
    return w.first.scale * (x.scales.x * dot_quants(w.first.quants, x.first)) + w.first.offset * x.sums.x
        + w.second.scale * (x.scales.y * dot_quants(w.second.quants, x.second)) + w.second.offset * x.sums.y;
}
