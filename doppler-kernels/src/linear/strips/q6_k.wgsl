// Rows of planes, see layout.rs. A strip is half of either half of a block: four times 16 elements, 32 apart, with a scale each.
struct Raw {
    q: array<vec4<u32>, 2>,     // nibbles of the first and third sixteen, and of the others
    pairs: vec4<u32>,           // their high bits
    scales: u32,                // int8 of each
    d: u32,
}

// Four sixteens of int8: weight = scale * quant.
struct Weights {
    quants: array<vec4<u32>, 4>,
    scales: vec4<f32>,
}

const OFFSETS: bool = false;

// The activations of a strip: quants, and the scales of their blocks.
struct Activations {
    quants: array<vec4<u32>, 4>,
    scales: vec4<f32>,
}

fn load_strip(row: u32, strip: u32) -> Raw {
    const BLOCKS: u32 = STRIPS / 4u;
    let first = row / 8u * (105u * BLOCKS);
    let at = first + row % 8u * (13u * BLOCKS);
    // Behind the rows of the group, which are eight but perhaps in the last one.
    let rows = select(min(8u, WEIGHT_ROWS - row / 8u * 8u), 8u, WEIGHT_ROWS % 8u == 0u);
    let half = row % 8u * BLOCKS + strip / 4u;
    let d = weight[first + rows * (13u * BLOCKS) + half / 8u][half / 2u % 4u] >> (16u * (half & 1u));
    let q = array(weight[at + strip], weight[at + STRIPS + strip]);
    return Raw(q, weight[at + 2u * STRIPS + strip], weight[at + 3u * STRIPS + strip / 4u][strip & 3u], d);
}

fn unpack_strip(raw: Raw, strip: u32) -> Weights {
    const NIBBLE = vec4<u32>(0x3C3C3C3Cu);
    const PAIR = vec4<u32>(0xC0C0C0C0u);
    let a = raw.q[0];
    let b = raw.q[1];
    // Four times the weight's quant less 32 is an int8 whose upper two bits are the pair with its upper bit inverted.
    let pairs = raw.pairs ^ vec4<u32>(0xAAAAAAAAu);
    let quants = array(
        ((a << vec4<u32>(2u)) & NIBBLE) | ((pairs << vec4<u32>(6u)) & PAIR),
        ((b << vec4<u32>(2u)) & NIBBLE) | ((pairs << vec4<u32>(4u)) & PAIR),
        ((a >> vec4<u32>(2u)) & NIBBLE) | ((pairs << vec4<u32>(2u)) & PAIR),
        ((b >> vec4<u32>(2u)) & NIBBLE) | (pairs & PAIR),
    );
    return Weights(quants, 0.25 * unpack2x16float(raw.d).x * vec4<f32>(unpack4xI8(raw.scales)));
}

// Those of a strip at a place of a row that begins at `start`; all zero unless `inside`.
fn activations(place: u32, start: u32, inside: bool) -> Activations {
    let at = start + place / 2u * 2u + (place & 1u) * PLANE;
    let infos = start + 4u * PLANE + place / 2u * 2u;
    let scales = vec4<f32>(told_at(infos).xz, told_at(infos + 1u).xz);
    let quants = array(sixteen(at), sixteen(at + 2u * PLANE), sixteen(at + 1u), sixteen(at + 2u * PLANE + 1u));
    return Activations(quants, select(vec4<f32>(0.0), scales, inside));
}

fn add_dot(sum: f32, w: Weights, x: Activations) -> f32 {
    let first = x.scales.x * f32(dot16(w.quants[0], x.quants[0]));
    let second = x.scales.y * f32(dot16(w.quants[1], x.quants[1]));
    let third = x.scales.z * f32(dot16(w.quants[2], x.quants[2]));
    let fourth = x.scales.w * f32(dot16(w.quants[3], x.quants[3]));
    return sum + w.scales.x * first + w.scales.y * second + w.scales.z * third + w.scales.w * fourth;
}
