// Rotates element i of each head with element i + rotary_dim / 2; copies the elements beyond rotary_dim.

struct Params {
    rows: u32,
    num_heads: u32,
    head_dim: u32,
    rotary_dim: u32,
    positions: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;           // [rows, num_heads, head_dim]
@group(0) @binding(1) var<storage, read> table: array<f32>;       // [positions, rotary_dim / 2, 2]: cos, sin
@group(0) @binding(2) var<storage, read> start: array<u32>;       // [1]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;     // [rows, num_heads, head_dim]
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    let row_len = params.num_heads * params.head_dim;
    if i >= params.rows * row_len {
        return;
    }
    let d = i % params.head_dim;
    if d >= params.rotary_dim {
        y[i] = x[i];
        return;
    }
    let half = params.rotary_dim / 2u;
    let position = start[0] + i / row_len;
    let at = (position * half + d % half) * 2u;
    // The first half takes x·cos − other·sin, the second x·cos + other·sin.
    let other = select(x[i - select(0u, half, d >= half)], -x[i + select(0u, half, d < half)], d < half);
    y[i] = x[i] * table[at] + other * table[at + 1u];
}
