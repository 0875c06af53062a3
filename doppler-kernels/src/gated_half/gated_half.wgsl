// y = activation(gate) * up / scale as f16, where scale is a power of two that brings a row's largest magnitude to
// 1024 ... 2048: one row a workgroup, kept in registers between the two passes.

struct Params {
    rows: u32,
}

@group(0) @binding(0) var<storage, read> gate_up: array<vec4<f32>>;    // [rows, 2, QUADS]
@group(0) @binding(1) var<storage, read_write> y: array<vec2<u32>>;    // [rows, QUADS], fours of f16
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;      // [rows]
@group(0) @binding(3) var<uniform> params: Params;

const QUADS: u32 = IN_FEATURES / 4u;
const STEPS: u32 = (QUADS + WG - 1u) / WG;

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let row = inv.group.x + inv.group.y * inv.groups.x;
    if row >= params.rows {
        return;
    }
    let begin = row * 2u * QUADS;
    var held: array<vec4<f32>, STEPS>;
    var largest = 0.0;
    for (var step = 0u; step < STEPS; step++) {
        let i = step * WG + inv.lane;
        if i < QUADS {
            let gate = gate_up[begin + i];
            let up = gate_up[begin + QUADS + i];
            held[step] = vec4<f32>(activate(gate.x), activate(gate.y), activate(gate.z), activate(gate.w)) * up;
            let size = abs(held[step]);
            largest = max(largest, max(max(size.x, size.y), max(size.z, size.w)));
        }
    }
    let own = half_scale(reduce_max(inv, largest));
    let to_half = 1.0 / own;
    for (var step = 0u; step < STEPS; step++) {
        let i = step * WG + inv.lane;
        if i < QUADS {
            let v = held[step] * to_half;
            y[row * QUADS + i] = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
        }
    }
    if inv.lane == 0u {
        scale[row] = own;
    }
}
