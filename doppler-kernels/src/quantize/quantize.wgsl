// y = x * weight in blocks of int8; energy = the sum of x^2 over each block. 8 blocks a workgroup.

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;                // [rows, cols]
@group(0) @binding(1) var<storage, read> weight: array<f32>;           // [cols]
@group(0) @binding(2) var<storage, read_write> y: array<u32>;          // [rows, cols], A8
@group(0) @binding(3) var<storage, read_write> energy: array<f32>;     // [rows, cols / 32]
@group(0) @binding(4) var<uniform> params: Params;

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
    let scaled = value * weight[at % params.cols];
    let col = at % params.cols;
    write_a8(thread, scaled, params.cols, at / params.cols, col / 32u, valid);
    let block = block_energy(thread, value, valid);
    if valid && (thread & 31u) == 0u {
        energy[at / 32u] = block;
    }
}
