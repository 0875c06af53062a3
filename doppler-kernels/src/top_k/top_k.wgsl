// The k largest values of each row in order, one row a workgroup: k times the best of what comes after the last one.

struct Params {
    rows: u32,
    cols: u32,
    k: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;               // [rows, cols]
@group(0) @binding(1) var<storage, read_write> values: array<f32>;    // [rows, k]
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;       // [rows, k]
@group(0) @binding(3) var<uniform> params: Params;

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
    var last_value = 0.0;
    var last_id = NONE;
    for (var n = 0u; n < params.k; n++) {
        var value = 0.0;
        var id = NONE;
        for (var i = lane; i < params.cols; i += WG) {
            let v = x[start + i];
            if !is_nan(v) && better(v, i, value, id) && (n == 0u || better(last_value, last_id, v, i)) {
                value = v;
                id = i;
            }
        }
        last_id = reduce_best(lane, value, id);
        last_value = best_values[0];
        if lane == 0u {
            values[row * params.k + n] = last_value;
            ids[row * params.k + n] = last_id;
        }
        workgroupBarrier();
    }
}
