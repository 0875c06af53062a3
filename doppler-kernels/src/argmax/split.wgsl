// The best (value, id) of each of `splits` equal pieces of a row, a workgroup each. A NaN gives NONE.

struct Params {
    cols: u32,
    splits: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;                // [cols]
@group(0) @binding(1) var<storage, read_write> values: array<f32>;     // [splits]
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;        // [splits]
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> any_nan: array<u32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let length = (params.cols + params.splits - 1u) / params.splits;
    let begin = min(group.x * length, params.cols);
    let end = min(begin + length, params.cols);
    var value = 0.0;
    var id = NONE;
    var nan = 0u;
    for (var i = begin + lane; i < end; i += WG) {
        let v = x[i];
        nan |= select(0u, 1u, is_nan(v));
        if better(v, i, value, id) {
            value = v;
            id = i;
        }
    }
    any_nan[lane] = nan;
    let best = reduce_best(lane, value, id);
    if lane == 0u {
        var nans = 0u;
        for (var i = 0u; i < WG; i++) {
            nans |= any_nan[i];
        }
        // An empty piece loses to every other; a piece with a NaN wins, so that the NaN is seen.
        values[group.x] = select(select(best_values[0], -3.4e38, best == NONE), 3.4e38, nans != 0u);
        ids[group.x] = select(best, NONE, nans != 0u);
    }
}
