// Two blocks of 32 weights of int8, in the order of the row: weight = scale * quant + offset.
struct Weights {
    first: array<vec4<u32>, 2>,
    second: array<vec4<u32>, 2>,
    scales: vec2<f32>,
    offsets: vec2<f32>,
}

const OFFSETS: bool = true;

// The activations of a strip: of two blocks quants, scales, and scales times the sum of the quants.
struct Activations {
    first: array<vec4<u32>, 2>,
    second: array<vec4<u32>, 2>,
    scales: vec2<f32>,
    sums: vec2<f32>,
}

// Those of a strip at a place of a row that begins at `start`; all zero unless `inside`.
fn activations(place: u32, start: u32, inside: bool) -> Activations {
    let at = start + place;
    let told = select(vec4<f32>(0.0), told_at(start + 4u * PLANE + place), inside);
    let first = array(sixteen(at), sixteen(at + PLANE));
    return Activations(first, array(sixteen(at + 2u * PLANE), sixteen(at + 3u * PLANE)), told.xz, told.yw);
}

fn add_dot(sum: f32, w: Weights, x: Activations) -> f32 {
    let first = x.scales.x * f32(dot16(w.first[0], x.first[0]) + dot16(w.first[1], x.first[1]));
    let second = x.scales.y * f32(dot16(w.second[0], x.second[0]) + dot16(w.second[1], x.second[1]));
    return sum + w.scales.x * first + w.offsets.x * x.sums.x + w.scales.y * second + w.offsets.y * x.sums.y;
}
