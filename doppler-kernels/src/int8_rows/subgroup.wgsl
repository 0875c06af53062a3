// y = x in blocks of int8: an element an invocation.

@group(0) @binding(0) var<storage, read> x: array<f32>;                // [rows, cols]

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let at = (group.x + group.y * groups.x) * WG + thread;
    let valid = at < params.rows * params.cols;
    var value = 0.0;
    if valid {
        value = x[at];
    }
    write_a8(thread, value, params.cols, at / params.cols, at % params.cols / 32u, valid);
}
