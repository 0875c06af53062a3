// Products of units with rows of activations.

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;          // [ROWS, in_features], A8

fn dot_half(w: Half, q: vec4<u32>, scale: u32, sums: u32, upper: u32) -> f32 {
    let sum = i32(sums << (16u - 16u * upper)) >> 16u;
    let dot = dot4I8Packed(w.quants.x, q.x) + dot4I8Packed(w.quants.y, q.y)
        + dot4I8Packed(w.quants.z, q.z) + dot4I8Packed(w.quants.w, q.w);
    return bitcast<f32>(scale) * (w.scale * f32(dot) + w.offset * f32(sum));
}

// The product of a unit with a row of activations that begins at `start`.
fn dot_unit(w: Unit, unit: u32, start: u32) -> f32 {
    let place = place_of(unit);
    let infos = infos_of(unit, start + params.in_features / 16u);
    return dot_half(w.first, x[start + place.first], infos.x, infos.y, place.first & 1u)
        + dot_half(w.second, x[start + place.second], infos.z, infos.w, place.second & 1u);
}
