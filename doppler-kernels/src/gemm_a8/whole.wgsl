// Formats whose blocks of 32 weights have one scale and offset. Sixteens are in the order of the row.

// Of each block and row: scale of the activations, and scale times the sum of their quants; scale and offset of the weights.
var<workgroup> x_infos: array<vec2<f32>, 2u * TILE>;
var<workgroup> w_infos: array<vec2<f32>, 2u * TILE>;

// Where a block of a step begins in a row of activations, in sixteens.
fn block_place(step: u32, block: u32) -> u32 {
    return 4u * step + 2u * block;
}

// Which sixteen of a step the one at a place of a row is.
fn sixteen_of(place: u32) -> u32 {
    return place & 3u;
}

fn store_info(at: u32, scale: f32, sums: vec2<f32>) {
    x_infos[at] = vec2<f32>(scale, scale * (sums.x + sums.y));
}

fn store_weights(half: Half, sixteen: u32, row: u32) {
    w_quants[sixteen * PITCH + row] = half.quants;
    // The other half of the block has the same.
    if (sixteen & 1u) == 0u {
        w_infos[sixteen / 2u * TILE + row] = vec2<f32>(half.scale, half.offset);
    }
}

// A block of four rows of weights.
struct Weights {
    first: Four,
    second: Four,
    scales: vec4<f32>,
    offsets: vec4<f32>,
}

fn weights(block: u32, tx: u32) -> Weights {
    let at = block * TILE + tx;
    let a = w_infos[at];
    let b = w_infos[at + 16u];
    let c = w_infos[at + 32u];
    let d = w_infos[at + 48u];
    let scales = vec4<f32>(a.x, b.x, c.x, d.x);
    let offsets = vec4<f32>(a.y, b.y, c.y, d.y);
    return Weights(four(2u * block, tx), four(2u * block + 1u, tx), scales, offsets);
}

// Their products with the same block of a row of activations.
fn products(w: Weights, block: u32, row: u32) -> vec4<f32> {
    let first = x_quants[2u * block * PITCH + row];
    let second = x_quants[(2u * block + 1u) * PITCH + row];
    let info = x_infos[block * TILE + row];
    return info.x * w.scales * vec4<f32>(dots(w.first, first) + dots(w.second, second)) + info.y * w.offsets;
}
