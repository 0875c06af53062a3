// y = x / scale as f16, where scale is a power of two that brings a row's largest magnitude to 1024 ... 2048: one row a
// workgroup.

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec2<f32>>;          // [rows, cols / 2]
@group(0) @binding(1) var<storage, read_write> y: array<u32>;          // [rows, cols / 2], pairs of f16
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;      // [rows]
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let row = inv.group.x + inv.group.y * inv.groups.x;
    if row >= params.rows {
        return;
    }
    let pairs = params.cols / 2u;
    var largest = 0.0;
    for (var i = inv.lane; i < pairs; i += WG) {
        let pair = abs(x[row * pairs + i]);
        largest = max(largest, max(pair.x, pair.y));
    }
    largest = reduce_max(inv, largest);
    let own = half_scale(largest);
    for (var i = inv.lane; i < pairs; i += WG) {
        y[row * pairs + i] = pack2x16float(x[row * pairs + i] / own);
    }
    if inv.lane == 0u {
        scale[row] = own;
    }
}
