// cache[start + r] = x[r] in blocks of int8: four elements an invocation, eight invocations a block.

struct Params {
    rows: u32,
    kv_dim: u32,
    capacity: u32,
}

// Words of a head: four quants each, then the scales.
const QUADS: u32 = HEAD_DIM / 4u;
const PITCH: u32 = QUADS + HEAD_DIM / 32u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;     // [rows, kv_dim / 4]
@group(0) @binding(1) var<storage, read> start: array<u32>;       // [1]
@group(0) @binding(2) var<storage, read_write> cache: array<u32>; // [capacity, num_key_value_heads, PITCH]
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> largest: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    let quads = params.kv_dim / 4u;
    let row = i / quads;
    let fits = row < params.rows && start[0] + row < params.capacity;
    var value = vec4<f32>(0.0);
    if fits {
        value = x[i];
    }
    let size = abs(value);
    largest[lane] = max(max(size.x, size.y), max(size.z, size.w));
    workgroupBarrier();
    if !fits {
        return;
    }
    var most = 0.0;
    for (var j = 0u; j < 8u; j++) {
        most = max(most, largest[(lane & ~7u) + j]);
    }
    // The least positive number instead of zero: an all-zero block divides by it.
    let quants = clamp(round(value * (127.0 / max(most, 1e-30))), vec4<f32>(-127.0), vec4<f32>(127.0));
    let quad = start[0] * quads + i;
    let head = quad / QUADS * PITCH;
    cache[head + quad % QUADS] = pack4xI8(vec4<i32>(quants));
    if (lane & 7u) == 0u {
        cache[head + QUADS + quad % QUADS / 8u] = bitcast<u32>(most / 127.0);
    }
}
