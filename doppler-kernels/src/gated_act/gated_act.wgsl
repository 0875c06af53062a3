// y = activation(gate) * up; ACTIVATION 0 is SiLU, 1 is GELU (tanh).

struct Params {
    len: u32,
}

@group(0) @binding(0) var<storage, read> gate: array<f32>;        // [rows, cols]
@group(0) @binding(1) var<storage, read> up: array<f32>;          // [rows, cols]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;     // [rows, cols]
@group(0) @binding(3) var<uniform> params: Params;

fn activate(v: f32) -> f32 {
    if ACTIVATION == 0u {
        return v / (1.0 + exp(-max(v, -80.0)));
    }
    // tanh saturates far below the range where some drivers overflow.
    let inner = clamp(0.7978845608028654 * (v + 0.044715 * v * v * v), -15.0, 15.0);
    return 0.5 * v * (1.0 + tanh(inner));
}

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
