// cache[start + r] = x[r], two elements an invocation.

struct Params {
    rows: u32,
    kv_dim: u32,
    capacity: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;           // [rows, kv_dim]
@group(0) @binding(1) var<storage, read> start: array<u32>;       // [1]
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    let pairs = params.kv_dim / 2u;
    let row = i / pairs;
    if row >= params.rows || start[0] + row >= params.capacity {
        return;
    }
    store_pair(start[0] * pairs + i, vec2<f32>(x[2u * i], x[2u * i + 1u]));
}
