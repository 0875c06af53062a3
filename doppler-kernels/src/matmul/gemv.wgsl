// Few rows of activations: LANES invocations share an output feature, each takes every LANES-th chunk of 32 weights and
// uses it for all ROWS rows. Portable: sums meet in workgroup memory.

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let feature = (group.x + group.y * groups.x) * (WG / LANES) + lane / LANES;
    let first_row = group.z * ROWS;
    var sums: array<f32, ROWS>;
    if feature < params.out_features {
        let chunks = (params.in_features + 31u) / 32u;
        for (var chunk = lane % LANES; chunk < chunks; chunk += LANES) {
            load_chunk(feature, chunk);
            for (var r = 0u; r < ROWS; r++) {
                sums[r] += dot_chunk(min(first_row + r, params.rows - 1u), chunk);
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        partial[lane] = sums[r];
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if lane % LANES < half {
                partial[lane] += partial[lane + half];
            }
            workgroupBarrier();
        }
        if lane % LANES == 0u && feature < params.out_features && first_row + r < params.rows {
            y[(first_row + r) * params.y_stride + params.y_offset + feature] = partial[lane];
        }
        workgroupBarrier();
    }
}
