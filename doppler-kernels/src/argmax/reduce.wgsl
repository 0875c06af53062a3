// The best of the pieces, NONE when one of them had a NaN; and the position moves on.

struct Params {
    splits: u32,
}

@group(0) @binding(0) var<storage, read> values: array<f32>;           // [splits]
@group(0) @binding(1) var<storage, read> ids: array<u32>;              // [splits]
@group(0) @binding(2) var<storage, read_write> start: array<u32>;      // [1]
@group(0) @binding(3) var<storage, read_write> id: array<u32>;         // [1]
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    var value = 0.0;
    var best = NONE;
    var nan = false;
    forget_nans(lane);
    for (var i = lane; i < params.splits; i += WG) {
        nan = nan || (ids[i] == NONE && values[i] > 0.0);
        if better(values[i], ids[i], value, best) {
            value = values[i];
            best = ids[i];
        }
    }
    note_nan(nan);
    let winner = reduce_best(lane, value, best);
    if lane == 0u {
        id[0] = select(winner, NONE, atomicLoad(&nans) != 0u);
        start[0] += 1u;
    }
}
