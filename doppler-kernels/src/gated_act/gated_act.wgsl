// y = activation(gate) * up.

struct Params {
    len: u32,
}

@group(0) @binding(0) var<storage, read> gate: array<f32>;        // [rows, cols]
@group(0) @binding(1) var<storage, read> up: array<f32>;          // [rows, cols]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;     // [rows, cols]
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i < params.len {
        y[i] = activate(gate[i]) * up[i];
    }
}
