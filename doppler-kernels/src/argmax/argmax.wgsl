// The index of each row's largest value, one row a workgroup; the lowest wins ties; NONE when any value is NaN.

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;           // [rows, cols]
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;   // [rows]
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let row = group.x + group.y * groups.x;
    if row >= params.rows {
        return;
    }
    forget_nans(lane);
    let start = row * params.cols;
    var value = 0.0;
    var id = NONE;
    var nan = false;
    // Four loads in flight.
    for (var i = lane; i < params.cols; i += 4u * WG) {
        for (var j = 0u; j < 4u; j++) {
            let at = i + j * WG;
            if at < params.cols {
                let v = x[start + at];
                nan = nan || is_nan(v);
                if better(v, at, value, id) {
                    value = v;
                    id = at;
                }
            }
        }
    }
    note_nan(nan);
    let best = reduce_best(lane, value, id);
    if lane == 0u {
        ids[row] = select(best, NONE, atomicLoad(&nans) != 0u);
    }
}
