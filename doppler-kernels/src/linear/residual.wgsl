// hidden += scale * (x . weight^T); y = hidden * norm_weight in blocks of int8, with the energy of hidden: 32 output
// features, one block of y, a workgroup, of all rows or of some.
@group(0) @binding(2) var<storage, read> norm_weight: array<f32>;      // [out_features]
@group(0) @binding(3) var<storage, read_write> hidden: array<f32>;     // [ALL_ROWS, out_features]
@group(0) @binding(4) var<storage, read_write> y: array<u32>;          // [ALL_ROWS, out_features], A8
@group(0) @binding(5) var<storage, read_write> energy: array<f32>;     // [ALL_ROWS, out_features / 32]
@group(0) @binding(6) var<uniform> params: Params;

// Behind the products, rows at a time by 32 invocations each, and how often.
const AT_ONCE: u32 = WG / 32u;
const ROUNDS: u32 = (ROWS + AT_ONCE - 1u) / AT_ONCE;

fn weight_row(first: u32, i: u32) -> u32 {
    return first + i;
}

@compute @workgroup_size(WG)
fn main(inv: Inv) {
    let group = inv.group.x + inv.group.y * inv.groups.x;
    if group * 32u >= OUT_FEATURES {
        return;
    }
    let own = inv.thread / 32u;
    let i = inv.thread % 32u;
    let feature = group * 32u + i;
    let blocks = OUT_FEATURES / 32u;
    // Asked for before the products, so that nothing waits for it behind them.
    let scale = norm_weight[feature];
    var before: array<f32, ROUNDS>;
    for (var round = 0u; round < ROUNDS; round++) {
        if has_row(inv, round * AT_ONCE + own) {
            before[round] = hidden[row_of(inv, round * AT_ONCE + own) * OUT_FEATURES + feature];
        }
    }
    products(inv, group * 32u);
    for (var round = 0u; round < ROUNDS; round++) {
        let r = round * AT_ONCE + own;
        let row = row_of(inv, r);
        var h = 0.0;
        if has_row(inv, r) {
            h = before[round] + params.scale * result(r, i);
            hidden[row * OUT_FEATURES + feature] = h;
        }
        write_a8(inv.thread, h * scale, OUT_FEATURES, row, group, has_row(inv, r));
        let block = block_energy(inv.thread, h, has_row(inv, r));
        if i == 0u && has_row(inv, r) {
            energy[row * blocks + group] = block;
        }
    }
}
