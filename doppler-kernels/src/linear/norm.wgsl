// The factor of RMS norm that the activations still lack: 1 / sqrt(mean(h^2) + eps).
@group(0) @binding(3) var<storage, read> energy: array<f32>;           // [ALL_ROWS, in_features / 32]

// Fills `norm_factors`, several rows at a time; `products`, which calls it, ends with the barrier that makes them seen.
fn find_norm_factors(inv: Inv) {
    const BLOCKS: u32 = IN_FEATURES / 32u;
    let adders = adders(inv);
    for (var first = 0u; first < ROWS; first += adders.y) {
        let r = first + adders.x;
        var sum = 0.0;
        if r < ROWS {
            for (var i = adders.z; i < BLOCKS; i += adders.w) {
                sum += energy[row_of(inv, r) * BLOCKS + i];
            }
        }
        let total = adders_sum(inv, sum);
        if r < ROWS && adders.z == 0u {
            norm_factors[r] = inverseSqrt(total / f32(IN_FEATURES) + params.eps);
        }
    }
}
