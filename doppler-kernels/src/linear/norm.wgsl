// The factor of RMS norm that the activations still lack: 1 / sqrt(mean(h^2) + eps).
@group(0) @binding(3) var<storage, read> energy: array<f32>;           // [ROWS, in_features / 32]

// Fills `norm_factors`; `products`, which calls it, ends with the barrier that makes them seen.
fn find_norm_factors(inv: Inv) {
    const BLOCKS: u32 = IN_FEATURES / 32u;
    if !sums_norm(inv) {
        return;
    }
    let lanes = min(lane(inv).y, SLICE);
    for (var r = 0u; r < ROWS; r++) {
        var sum = 0.0;
        for (var i = lane(inv).x % lanes; i < BLOCKS; i += lanes) {
            sum += energy[r * BLOCKS + i];
        }
        let total = slice_sum(inv, sum);
        if inv.thread == 0u {
            norm_factors[r] = inverseSqrt(total / f32(IN_FEATURES) + params.eps);
        }
    }
}
