// y = activation(x . gate^T) * (x . up^T) in blocks of int8, the rows of gate before those of up: 32 outputs a workgroup.
@group(0) @binding(2) var<storage, read_write> y: array<u32>;          // [ALL_ROWS, out_features], A8

fn weight_row(first: u32, i: u32) -> u32 {
    return first + select(i, OUT_FEATURES + i - 32u, i >= 32u);
}

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let group = inv.group.x + inv.group.y * inv.groups.x;
    if group * 32u >= OUT_FEATURES {
        return;
    }
    products(inv, group * 32u);
    // A row by 32 invocations.
    for (var first = 0u; first < ROWS; first += WG / 32u) {
        let r = first + inv.thread / 32u;
        let i = inv.thread % 32u;
        let own = has_row(inv, r);
        var v = 0.0;
        if own {
            v = activate(result(r, i)) * result(r, 32u + i);
        }
        write_a8(inv.thread, v, OUT_FEATURES, row_of(inv, r), group, own);
    }
}
