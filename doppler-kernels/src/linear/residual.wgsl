// hidden += scale * (x . weight^T); y = hidden * norm_weight in blocks of int8, with the energy of hidden: 32 output
// features, one block of y, a workgroup.
@group(0) @binding(2) var<storage, read> norm_weight: array<f32>;      // [out_features]
@group(0) @binding(3) var<storage, read_write> hidden: array<f32>;     // [ROWS, out_features]
@group(0) @binding(4) var<storage, read_write> y: array<u32>;          // [ROWS, out_features], A8
@group(0) @binding(5) var<storage, read_write> energy: array<f32>;     // [ROWS, out_features / 32]
@group(0) @binding(6) var<uniform> params: Params;

fn weight_row(first: u32, i: u32) -> u32 {
    return first + i;
}

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let group = inv.group.x + inv.group.y * inv.groups.x;
    if group * 32u >= OUT_FEATURES {
        return;
    }
    let feature = group * 32u + (inv.thread & 31u);
    let blocks = OUT_FEATURES / 32u;
    // Asked for before the products, so that nothing waits for it behind them.
    let scale = norm_weight[feature];
    var before: array<f32, ROWS>;
    if inv.thread < 32u {
        for (var r = 0u; r < ROWS; r++) {
            before[r] = hidden[r * OUT_FEATURES + feature];
        }
    }
    products(inv, group * 32u);
    for (var r = 0u; r < ROWS; r++) {
        var h = 0.0;
        if inv.thread < 32u {
            h = before[r] + params.scale * result(r, inv.thread);
            hidden[r * OUT_FEATURES + feature] = h;
        }
        write_a8(inv.thread, h * scale, OUT_FEATURES, r, group, inv.thread < 32u);
        let block = block_energy(inv.thread, h);
        if inv.thread == 0u {
            energy[r * blocks + group] = block;
        }
    }
}
