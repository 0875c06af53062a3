// The factor of RMS norm that the activations still lack: 1 / sqrt(mean(h^2) + eps).
@group(0) @binding(3) var<storage, read> energy: array<f32>;           // [ROWS, in_features / 32]

// That of row r, by a whole subgroup.
fn norm_factor(inv: Inv, r: u32) -> f32 {
    var sum = 0.0;
    for (var i = inv.lane; i < UNITS; i += inv.lanes) {
        sum += energy[r * UNITS + i];
    }
    return inverseSqrt(subgroupAdd(sum) / f32(IN_FEATURES) + params.eps);
}
