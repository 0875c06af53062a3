// Puts the pieces of a split attention together: one row of one head a workgroup.

struct Params {
    rows: u32,
    num_attention_heads: u32,
    head_dim: u32,
    splits: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<f32>;    // [rows, num_attention_heads, splits, head_dim + 2]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;     // [rows, num_attention_heads, head_dim]
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let query = group.y * params.num_attention_heads + group.x;
    let pitch = params.head_dim + 2u;
    let at = query * params.splits * pitch;
    var largest = partials[at];
    for (var s = 1u; s < params.splits; s++) {
        largest = max(largest, partials[at + s * pitch]);
    }
    for (var d = lane; d < params.head_dim; d += WG) {
        var sum = 0.0;
        var total = 0.0;
        for (var s = 0u; s < params.splits; s++) {
            let weight = exp(partials[at + s * pitch] - largest);
            total += weight * partials[at + s * pitch + 1u];
            sum += weight * partials[at + s * pitch + 2u + d];
        }
        y[query * params.head_dim + d] = sum / total;
    }
}
