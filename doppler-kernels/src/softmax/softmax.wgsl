// Each row: exp(x - max) / sum, one row a workgroup.

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;           // [rows, cols]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;     // [rows, cols]
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let row = inv.group.x + inv.group.y * inv.groups.x;
    if row >= params.rows {
        return;
    }
    let start = row * params.cols;
    var largest = x[start];
    for (var i = inv.lane; i < params.cols; i += WG) {
        largest = max(largest, x[start + i]);
    }
    largest = reduce_max(inv, largest);
    var sum = 0.0;
    for (var i = inv.lane; i < params.cols; i += WG) {
        sum += exp(x[start + i] - largest);
    }
    let scale = 1.0 / reduce_sum(inv, sum);
    for (var i = inv.lane; i < params.cols; i += WG) {
        y[start + i] = exp(x[start + i] - largest) * scale;
    }
}
