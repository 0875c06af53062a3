// y = x . weight^T: RESULTS output features a workgroup, of a matrix or of a part of its rows.
@group(0) @binding(2) var<storage, read_write> y: array<f32>;          // [ALL_ROWS, y_stride]

fn weight_row(first: u32, i: u32) -> u32 {
    return min(first + i, OUT_FEATURES - 1u);
}

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let first = (inv.group.x + inv.group.y * inv.groups.x) * RESULTS;
    products(inv, first);
    if inv.thread < RESULTS && first + inv.thread < OUT_FEATURES {
        for (var r = 0u; r < ROWS; r++) {
            if has_row(inv, r) {
                y[row_of(inv, r) * params.y_stride + params.y_offset + first + inv.thread] = result(r, inv.thread);
            }
        }
    }
}
