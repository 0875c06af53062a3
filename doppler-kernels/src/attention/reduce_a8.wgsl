// Puts the pieces of a split attention together, as blocks of int8: one output element an invocation.

struct Params {
    rows: u32,
    num_attention_heads: u32,
    head_dim: u32,
    splits: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<f32>;    // [rows, num_attention_heads, splits, head_dim + 2]
@group(0) @binding(1) var<storage, read_write> y: array<u32>;     // [rows, num_attention_heads, head_dim], A8
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * WG + thread;
    let valid = i < params.rows * params.num_attention_heads * params.head_dim;
    var value = 0.0;
    if valid {
        let pitch = params.head_dim + 2u;
        let at = i / params.head_dim * params.splits * pitch;
        let d = i % params.head_dim;
        var largest = partials[at];
        for (var s = 1u; s < params.splits; s++) {
            largest = max(largest, partials[at + s * pitch]);
        }
        var sum = 0.0;
        var total = 0.0;
        for (var s = 0u; s < params.splits; s++) {
            let weight = exp(partials[at + s * pitch] - largest);
            total += weight * partials[at + s * pitch + 1u];
            sum += weight * partials[at + s * pitch + 2u + d];
        }
        value = sum / total;
    }
    write_a8(thread, value, i / 32u, valid);
}
