// hidden += scale * rms_norm(x) * weight; y = hidden * norm_weight in blocks of int8, with the energy of hidden: one row a
// workgroup.

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;                // [rows, cols]
@group(0) @binding(1) var<storage, read> weight: array<f32>;           // [cols]
@group(0) @binding(2) var<storage, read> norm_weight: array<f32>;      // [cols]
@group(0) @binding(3) var<storage, read_write> hidden: array<f32>;     // [rows, cols]
@group(0) @binding(4) var<storage, read_write> y: array<u32>;          // [rows, cols], A8
@group(0) @binding(5) var<storage, read_write> energy: array<f32>;     // [rows, cols / 32]
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let row = inv.group.x + inv.group.y * inv.groups.x;
    if row >= params.rows {
        return;
    }
    let start = row * params.cols;
    var sum = 0.0;
    for (var i = inv.lane; i < params.cols; i += WG) {
        let v = x[start + i];
        sum += v * v;
    }
    let factor = params.scale / sqrt(reduce_sum(inv, sum) / f32(params.cols) + params.eps);
    for (var first = 0u; first < params.cols; first += WG) {
        let i = first + inv.lane;
        let valid = i < params.cols;
        var h = 0.0;
        if valid {
            h = hidden[start + i] + x[start + i] * factor * weight[i];
            hidden[start + i] = h;
        }
        write_a8(inv.lane, h * norm_weight[min(i, params.cols - 1u)], params.cols, row, i / 32u, valid);
        let squares = block_energy(inv.lane, h, valid);
        if valid && (inv.lane & 31u) == 0u {
            energy[(start + i) / 32u] = squares;
        }
    }
}
