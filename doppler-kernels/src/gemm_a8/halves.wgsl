// Q6_K: each 16 weights have a scale and an offset. A step's blocks are those that hold the halves of its units: 64 apart.

// Of each block and row of activations, their scale; of each sixteen, scale times the sum of its quants. Of each sixteen and
// row of weights, scale and offset.
var<workgroup> x_scales: array<f32, 2u * TILE>;
var<workgroup> x_sums: array<vec2<f32>, 2u * TILE>;
var<workgroup> w_infos: array<vec2<f32>, 4u * TILE>;

// Where a block of a step begins in a row of activations, in sixteens.
fn block_place(step: u32, block: u32) -> u32 {
    return step / 2u * 8u + 2u * (step & 1u) + 4u * block;
}

// Which sixteen of a step the one at a place of a row is.
fn sixteen_of(place: u32) -> u32 {
    return (place & 1u) + (place & 4u) / 2u;
}

fn store_info(at: u32, scale: f32, sums: vec2<f32>) {
    x_scales[at] = scale;
    x_sums[at] = scale * sums;
}

fn store_weights(half: Half, sixteen: u32, row: u32) {
    w_quants[sixteen * PITCH + row] = half.quants;
    w_infos[sixteen * TILE + row] = vec2<f32>(half.scale, half.offset);
}

// Sixteens of four rows of weights.
struct Infos {
    scales: vec4<f32>,
    offsets: vec4<f32>,
}

fn infos(sixteen: u32, tx: u32) -> Infos {
    let at = sixteen * TILE + tx;
    let a = w_infos[at];
    let b = w_infos[at + 16u];
    let c = w_infos[at + 32u];
    let d = w_infos[at + 48u];
    return Infos(vec4<f32>(a.x, b.x, c.x, d.x), vec4<f32>(a.y, b.y, c.y, d.y));
}

// A block of them.
struct Weights {
    first: Four,
    second: Four,
    first_infos: Infos,
    second_infos: Infos,
}

fn weights(block: u32, tx: u32) -> Weights {
    let first = 2u * block;
    return Weights(four(first, tx), four(first + 1u, tx), infos(first, tx), infos(first + 1u, tx));
}

// Their products with the same block of a row of activations.
fn products(w: Weights, block: u32, row: u32) -> vec4<f32> {
    let at = block * TILE + row;
    let first = vec4<f32>(dots(w.first, x_quants[2u * block * PITCH + row]));
    let second = vec4<f32>(dots(w.second, x_quants[(2u * block + 1u) * PITCH + row]));
    let sums = x_sums[at];
    return x_scales[at] * (w.first_infos.scales * first + w.second_infos.scales * second)
        + sums.x * w.first_infos.offsets + sums.y * w.second_infos.offsets;
}
