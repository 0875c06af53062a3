// y = x / sqrt(mean(x^2) + eps) * weight, one row a workgroup.

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;           // [rows, cols]
@group(0) @binding(1) var<storage, read> weight: array<f32>;      // [cols]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;     // [rows, cols]
@group(0) @binding(3) var<uniform> params: Params;

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
    let scale = 1.0 / sqrt(reduce_sum(inv, sum) / f32(params.cols) + params.eps);
    for (var i = inv.lane; i < params.cols; i += WG) {
        y[start + i] = x[start + i] * scale * weight[i];
    }
}
