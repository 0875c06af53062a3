// y = cap · tanh(x / cap).

struct Params {
    len: u32,
    cap: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;           // [len]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;     // [len]
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i < params.len {
        // Beyond 15 tanh is 1 in f32, and some drivers overflow on the way to it.
        y[i] = params.cap * tanh(clamp(x[i] / params.cap, -15.0, 15.0));
    }
}
