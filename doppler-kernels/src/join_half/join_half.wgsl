// The residual stream with a branch added, its RMS norm, and that as f16 under a power of two that brings a row's largest
// magnitude to 1024 ... 2048: one row a workgroup, kept in registers between the two passes.

struct Params {
    rows: u32,
    eps: f32,
    branch_scale: f32,
}

@group(0) @binding(1) var<storage, read> norm_weight: array<vec4<f32>>;    // [QUADS]
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u32>>;        // [rows, QUADS], fours of f16
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;          // [rows]

const QUADS: u32 = IN_FEATURES / 4u;
const STEPS: u32 = (QUADS + WG - 1u) / WG;

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let row = inv.group.x + inv.group.y * inv.groups.x;
    if row >= params.rows {
        return;
    }
    let factor = branch_factor(inv, row);
    var held: array<vec4<f32>, STEPS>;
    var squares = 0.0;
    var largest = 0.0;
    for (var step = 0u; step < STEPS; step++) {
        let i = step * WG + inv.lane;
        if i < QUADS {
            let h = joined(row * QUADS + i, i, factor);
            squares += dot(h, h);
            held[step] = h * norm_weight[i];
            let size = abs(held[step]);
            largest = max(largest, max(max(size.x, size.y), max(size.z, size.w)));
        }
    }
    let norm = 1.0 / sqrt(reduce_sum(inv, squares) / f32(IN_FEATURES) + params.eps);
    let own = half_scale(norm * reduce_max(inv, largest));
    let to_half = norm / own;
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
