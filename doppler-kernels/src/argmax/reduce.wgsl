// The best of the pieces, NONE when one of them had a NaN; and the position moves on.

struct Params {
    splits: u32,
}

@group(0) @binding(0) var<storage, read> values: array<f32>;           // [splits]
@group(0) @binding(1) var<storage, read> ids: array<u32>;              // [splits]
@group(0) @binding(2) var<storage, read_write> start: array<u32>;      // [1]
@group(0) @binding(3) var<storage, read_write> id: array<u32>;         // [1]
@group(0) @binding(4) var<uniform> params: Params;

var<workgroup> any_nan: array<u32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    var value = 0.0;
    var best = NONE;
    var nan = 0u;
    for (var i = lane; i < params.splits; i += WG) {
        nan |= select(0u, 1u, ids[i] == NONE && values[i] > 0.0);
        if better(values[i], ids[i], value, best) {
            value = values[i];
            best = ids[i];
        }
    }
    any_nan[lane] = nan;
    let winner = reduce_best(lane, value, best);
    if lane == 0u {
        var nans = 0u;
        for (var i = 0u; i < WG; i++) {
            nans |= any_nan[i];
        }
        id[0] = select(winner, NONE, nans != 0u);
        start[0] += 1u;
    }
}
