// The best (value, id) of each of `splits` equal pieces of a row, a workgroup each. A NaN gives NONE.

struct Params {
    cols: u32,
    splits: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;                // [cols]
@group(0) @binding(1) var<storage, read_write> values: array<f32>;     // [splits]
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;        // [splits]
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let length = (params.cols + params.splits - 1u) / params.splits;
    let begin = min(group.x * length, params.cols);
    let end = min(begin + length, params.cols);
    var value = 0.0;
    var id = NONE;
    var nan = false;
    forget_nans(lane);
    for (var i = begin + lane; i < end; i += 4u * WG) {
        // Four loads in flight; behind the end the last element once more.
        let at = min(vec4<u32>(i) + vec4<u32>(0u, WG, 2u * WG, 3u * WG), vec4<u32>(end - 1u));
        let v = vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]);
        for (var j = 0u; j < 4u; j++) {
            nan = nan || is_nan(v[j]);
            if better(v[j], at[j], value, id) {
                value = v[j];
                id = at[j];
            }
        }
    }
    note_nan(nan);
    let best = reduce_best(lane, value, id);
    if lane == 0u {
        // An empty piece loses to every other; a piece with a NaN wins, so that the NaN is seen.
        values[group.x] = select(select(best_values[0], -3.4e38, best == NONE), 3.4e38, atomicLoad(&nans) != 0u);
        ids[group.x] = select(best, NONE, atomicLoad(&nans) != 0u);
    }
}
