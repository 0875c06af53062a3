// Few rows of activations: a subgroup shares an output feature, each lane takes every n-th chunk of 32 weights and uses it
// for all ROWS rows. A workgroup covers FEATURES output features whatever the size of its subgroups.

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    let first_feature = (group.x + group.y * groups.x) * FEATURES;
    let first_row = group.z * ROWS;
    let chunks = (params.in_features + 31u) / 32u;
    for (var f = subgroup; f < FEATURES; f += subgroups) {
        let feature = first_feature + f;
        var sums: array<f32, ROWS>;
        if feature < params.out_features {
            for (var chunk = lane; chunk < chunks; chunk += lanes) {
                load_chunk(feature, chunk);
                for (var r = 0u; r < ROWS; r++) {
                    sums[r] += dot_chunk(min(first_row + r, params.rows - 1u), chunk);
                }
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            let sum = subgroupAdd(sums[r]);
            if lane == 0u && feature < params.out_features && first_row + r < params.rows {
                y[(first_row + r) * params.y_stride + params.y_offset + feature] = sum;
            }
        }
    }
}
