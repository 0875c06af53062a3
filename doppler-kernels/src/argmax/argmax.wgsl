// The index of each row's largest value, one row a workgroup; the lowest wins ties; NONE when any value is NaN.

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;           // [rows, cols]
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;   // [rows]
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> any_nan: array<u32, WG>;

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
    any_nan[lane] = select(0u, 1u, nan);
    let best = reduce_best(lane, value, id);
    if lane == 0u {
        var nans = 0u;
        for (var i = 0u; i < WG; i++) {
            nans |= any_nan[i];
        }
        ids[row] = select(best, NONE, nans != 0u);
    }
}
