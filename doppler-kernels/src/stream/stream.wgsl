// y[g] = the sum of the g-th piece of x: every workgroup reads one, four fours of each invocation in flight.

struct Params {
    quads: u32,
    pieces: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;     // [len / 4]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;     // [pieces]
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let piece = inv.group.x + inv.group.y * inv.groups.x;
    let length = (params.quads + params.pieces - 1u) / params.pieces;
    let begin = min(piece * length, params.quads);
    let end = min(begin + length, params.quads);
    var sum = vec4<f32>(0.0);
    var at = begin + inv.lane;
    for (; at + 3u * WG < end; at += 4u * WG) {
        let a = x[at];
        let b = x[at + WG];
        let c = x[at + 2u * WG];
        let d = x[at + 3u * WG];
        sum += (a + b) + (c + d);
    }
    for (; at < end; at += WG) {
        sum += x[at];
    }
    let total = reduce_sum(inv, sum.x + sum.y + sum.z + sum.w);
    if inv.lane == 0u && piece < params.pieces {
        y[piece] = total;
    }
}
